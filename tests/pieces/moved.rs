//! An embedded installation that people used, moved into a cluster that they go on using.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rookery_loadtest::{
    client::{CallError, Client, ConnectOptions, command},
    server::{Server, ServerOptions},
    services::NatsServer,
};
use rookery_proto::{
    errors::Code,
    v1::{self, event::Body},
};
use tempfile::TempDir;

use super::{CLEAN, copy};

/// Until the only node has taken its shards. Generous: the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(60);

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_rookery"))
}

/// Asks again as long as nobody owns the room.
async fn served<T>(mut ask: impl AsyncFnMut() -> Result<T, CallError>) -> Result<T> {
    let until = Instant::now() + DEADLINE;
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    loop {
        pace.tick().await;
        match ask().await {
            Err(error) if error.code() == Some(Code::Unavailable) && Instant::now() < until => {}
            answer => return Ok(answer?),
        }
    }
}

/// Everything of the room, with its offsets.
async fn log(client: &Client) -> Result<Vec<v1::Event>> {
    served(async || client.whole_log("lab").await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn room_goes_on_in_the_cluster_where_it_was() -> Result<()> {
    let missing = (
        NatsServer::start("moved", "max_payload: 1MB"),
        copy::migrated("moved"),
    );
    let (Some(nats), Some(keyspace)) = missing else {
        return Ok(());
    };
    // A room with some of everything, on one machine.
    let folder = TempDir::new()?;
    let mut embedded = Server::start(binary(), ServerOptions::dev(folder.path())).await?;
    let connect = async |server: &Server, name: &str| {
        Client::connect(&ConnectOptions::named(server.address(), name)).await
    };
    let (ada, _ada) = connect(&embedded, "ada").await?;
    let (bob, _bob) = connect(&embedded, "bob").await?;
    ada.create(command::create_group("lab", false, &["bob"], "c"))
        .await?;
    let mut sent = Vec::new();
    for number in 1..=5 {
        let client_id = format!("m{number}");
        sent.push(
            ada.send("lab", &format!("text {number}"), &client_id)
                .await?
                .offset,
        );
    }
    bob.append(command::react("lab", sent[0], "👍")).await?;
    ada.append(command::edit("lab", sent[1], "edited")).await?;
    ada.append(command::delete("lab", sent[2])).await?;
    bob.mark_read("lab", sent[3]).await?;
    let before = ada.whole_log("lab").await?;
    let unread = bob.rooms().await?[0].unread;
    ensure!(embedded.terminate().await?.success(), "{}", embedded.log());

    let (data, source) = (folder.path().to_owned(), folder.path().join("rookery.db"));
    ensure!(source.exists(), "the database is in the folder of the data");
    copy::copy(&data, &keyspace).with(CLEAN, &["compared and equal: 1 rooms"]);

    // The same room, in a cluster.
    let elsewhere = TempDir::new()?;
    let mut options = ServerOptions::dev(elsewhere.path())
        .arg("--nats")
        .arg(&nats.url());
    options.args.extend(keyspace.flags());
    let cluster = Server::start(binary(), options).await?;
    let (ada, _ada) = connect(&cluster, "ada").await?;
    let (bob, _bob) = connect(&cluster, "bob").await?;
    ensure!(log(&ada).await? == before, "the same log");
    let rooms = served(async || bob.rooms().await).await?;
    ensure!((rooms.len(), rooms[0].unread) == (1, unread), "{rooms:?}");
    // A retry from before has its old answer, a new message the next offset.
    let again = served(async || ada.send("lab", "text 5", "m5").await).await?;
    ensure!(again.duplicate && again.offset == sent[4], "{again:?}");
    let next = served(async || ada.send("lab", "after the move", "m6").await).await?;
    let last = before.last().context("events")?.offset;
    ensure!(
        (next.offset, next.duplicate) == (last + 1, false),
        "{next:?}"
    );
    let after = log(&bob).await?;
    ensure!(after[..before.len()] == before, "nothing of it has changed");
    let Some(Body::Message(message)) = &after[before.len()].body else {
        anyhow::bail!("the last event is the message");
    };
    ensure!(message.text == "after the move", "{message:?}");
    Ok(())
}
