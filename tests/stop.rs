//! Stopping in the middle of work, and with a store that cannot finish.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use rookery_loadtest::{
    checker,
    client::{Client, ConnectOptions, command},
    history::{Header, HistoryWriter},
    server::{Server, ServerOptions},
    wait::eventually,
    workload::{Progress, Workload},
};
use rookery_proto::errors::Code;
use tempfile::TempDir;

/// For anything that must happen. Generous: the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(60);

async fn start(folder: &TempDir, settings: &[&str]) -> Result<Server> {
    let mut options = ServerOptions::dev(folder.path());
    for setting in settings {
        options = options.arg("--set").arg(setting);
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_rookery"));
    Ok(Server::start(binary, options).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_is_clean_and_loses_nothing() -> Result<()> {
    let folder = TempDir::new()?;
    let unlimited = [
        "gateway.commands_per_second=1000000",
        "gateway.commands_burst=1000000",
        "rooms.sends_per_second=1000000",
        "rooms.sends_burst=1000000",
    ];
    let mut server = start(&folder, &unlimited).await?;
    let workload = Workload {
        seed: 11,
        clients: 20,
        users: 15,
        // Until told that it is enough: nobody is done before the server stops.
        operations: u64::MAX,
        prefix: "stop".to_owned(),
        ..Workload::default()
    };
    let file = folder.path().join("history.jsonl");
    let history = Arc::new(HistoryWriter::create(&file, &Header::new([]))?);
    let progress = Arc::new(Progress::default());
    let address = server.address().clone();
    let stop = async {
        eventually("the work is under way", DEADLINE, || {
            progress.invoked() >= 500 && progress.in_flight() > 0
        })
        .await;
        let status = server.terminate().await?;
        assert_eq!(status.code(), Some(0), "{}", server.log());
        server.restart().await?;
        let before = progress.acked();
        eventually("the work goes on", DEADLINE, || {
            progress.acked() >= before + 500
        })
        .await;
        progress.finish();
        anyhow::Ok(())
    };
    let (outcome, stopped) = tokio::join!(workload.run(&address, &history, &progress), stop);
    stopped?;
    let outcome = outcome.context("the workload")?;
    history.finish()?;
    assert!(outcome.unsettled.is_empty(), "{:?}", outcome.unsettled);
    let report = checker::check_file(&file)?;
    assert!(report.is_sound(), "{report}");
    assert!(
        progress.reconnects() >= 20,
        "clients were there when it stopped"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_refuses_is_not_ready_and_its_stop_says_that_it_could_not_finish() -> Result<()>
{
    let folder = TempDir::new()?;
    let settings = ["store.bytes_max=512KiB", "shutdown.grace=2s"];
    let mut server = start(&folder, &settings).await?;
    let options = ConnectOptions::named(server.address(), "ada");
    let (client, mut incoming) = Client::connect(&options).await?;
    client
        .create(command::create_group("lab", false, &[], "c"))
        .await?;
    let text = "x".repeat(10_000);
    let mut acked = 0;
    let refused = loop {
        match client.send("lab", &text, &format!("m{acked}")).await {
            Ok(_) => acked += 1,
            Err(error) if error.code() == Some(Code::RateLimited) => {}
            Err(error) => break error,
        }
        assert!(acked < 1_000, "512 KiB hold no thousand messages of 10 KB");
        while incoming.next_now().is_some() {}
    };
    assert_eq!(refused.code(), Some(Code::Unavailable), "{refused:?}");
    assert!(refused.to_string().contains("storage full"), "{refused}");
    assert!(acked > 10, "{acked}");

    let admin = server.admin().authority().to_owned();
    let (status, body) = tokio::task::spawn_blocking(move || get(&admin, "/readyz")).await??;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("\"rooms\":\"the store fails"), "{body}");
    // What is there can still be read.
    let page = client.history(command::history_newest("lab", 5)).await?;
    assert_eq!(page.events.len(), 5);

    let status = server.terminate().await?;
    assert_eq!(status.code(), Some(75), "{}", server.log());
    Ok(())
}

fn get(address: &str, path: &str) -> Result<(u16, String)> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let status = response.split(' ').nth(1).context("a status")?.parse()?;
    Ok((status, response))
}
