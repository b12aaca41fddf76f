//! `rookery-loadtest verify` as people call it: the faults happen, everything is sound, and what
//! was kept is judged again, and found wrong once it is made so.

use std::{
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result};
use rookery_loadtest::history::{HistoryReader, HistoryWriter, Purpose, Record, What};
use rookery_proto::v1::{ack::Result as Answer, server_frame::Frame};
use tempfile::TempDir;

const PLAN: &str = r#"
about = "A short one."

[target]
kind = "embedded"
settings = [
  "gateway.commands_per_second=1000000",
  "gateway.commands_burst=1000000",
  "rooms.sends_per_second=1000000",
  "rooms.sends_burst=1000000",
  "presence.grace=1s",
  "presence.throttle=100ms",
]

[workload]
clients = 6
users = 4
rooms = 2
pace-ms = 5
weights = { leave = 3 }

[faults]
list = ["kill-server", "cut-clients", "stop-server"]

[window]
faults = 2
"#;

/// The tool's own program, which `cargo test --workspace` builds beside the server.
fn tool(arguments: &[&str]) -> Result<Output> {
    let tool = super::binary().with_file_name("rookery-loadtest");
    let output = Command::new(&tool).args(arguments).output();
    output.with_context(|| {
        let tool = tool.display();
        format!("cargo build -p rookery-loadtest builds {tool}")
    })
}

fn words(output: &Output) -> String {
    let words = [&output.stderr[..], &output.stdout].concat();
    String::from_utf8_lossy(&words).into_owned()
}

#[test]
fn faults_of_a_plan_happen_in_order_and_its_histories_are_sound_until_one_is_broken() -> Result<()>
{
    let dir = TempDir::new()?;
    let path = |name: &str| -> Result<String> {
        let path = dir.path().join(name).into_os_string().into_string();
        path.ok().context("a path of text")
    };
    let (plan, folder) = (path("short.toml")?, path("run")?);
    std::fs::write(&plan, PLAN)?;
    let rookery = super::binary().to_str().context("a path of text")?;
    let verify = ["verify", &plan, "--seed", "5", "--rookery", rookery];
    let ran = tool(&[&verify[..], &["--folder", &folder, "--keep"]].concat())?;
    let said = words(&ran);
    assert_eq!(ran.status.code(), Some(0), "{said}");
    let mut rest = said.as_str();
    for part in [
        "short.toml, seed 5: A short one.",
        "kill-server: ",
        "cut-clients: ",
        "window 0 is sound",
        "stop-server: ",
        "window 1 is sound",
        "2 windows in ",
        "3 faults of 3 kinds",
        "sound\n",
    ] {
        let found = rest.find(part);
        let found = found.with_context(|| format!("{part:?} in order in {said}"))?;
        rest = &rest[found + part.len()..];
    }

    for window in ["run/window0.jsonl", "run/window1.jsonl"] {
        let checked = tool(&["check", &path(window)?])?;
        assert_eq!(checked.status.code(), Some(0), "{}", words(&checked));
    }
    let (kept, broken) = (path("run/window1.jsonl")?, path("broken.jsonl")?);
    lose_a_message(kept.as_ref(), broken.as_ref())?;
    let checked = tool(&["check", &broken])?;
    let said = words(&checked);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    let mut lines = said.lines().map(|line| line.split_whitespace());
    assert!(lines.any(|line| line.eq(["lost", "1"])), "{said}");
    assert!(said.ends_with("NOT SOUND\n"), "{said}");
    Ok(())
}

/// Writes the history again as if the log did not hold the first message that was acknowledged.
fn lose_a_message(kept: &Path, broken: &Path) -> Result<()> {
    let mut reader = HistoryReader::open(kept)?;
    let writer = HistoryWriter::create(broken, &reader.header().clone())?;
    let mut records = reader.by_ref().collect::<Result<Vec<Record>, _>>()?;
    let appended = |record: &Record| match answer(record)? {
        Answer::Appended(appended) if appended.offset > 0 => {
            Some((appended.room.clone(), appended.offset))
        }
        _ => None,
    };
    let lost = records.iter().find_map(appended);
    let (room, offset) = lost.context("something was acknowledged")?;
    let is_judge = |record: &&Record| matches!(&record.what, What::Opened { purpose, .. } if *purpose == Purpose::Judge);
    let judge = records.iter().find(is_judge).context("a judge")?.client;
    for record in &mut records {
        if record.client == judge
            && let What::Received(frame) = &mut record.what
            && let Some(Frame::Ack(ack)) = &mut frame.frame
            && let Some(Answer::History(page)) = &mut ack.result
            && page.room == room
        {
            page.events.retain(|event| event.offset != offset);
        }
    }
    for record in &records {
        writer.append(record);
    }
    Ok(writer.finish()?)
}

fn answer(record: &Record) -> Option<&Answer> {
    let What::Received(frame) = &record.what else {
        return None;
    };
    match frame.frame.as_ref()? {
        Frame::Ack(ack) => ack.result.as_ref(),
        _ => None,
    }
}
