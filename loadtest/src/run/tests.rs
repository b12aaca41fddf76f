//! Runs with light processes that are scripts.

use std::{
    io::Write as _,
    num::NonZeroU32,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{Run, Subject, Summary, is_good};
use crate::{
    light::orders::{Report, StagePart, TickPart, Wire},
    outcome::{Counts, Outcome},
    scenario::Scenario,
};

/// What the script says after each order.
struct Script {
    opened: String,
    stage: String,
    settled: Counts,
    rounds: NonZeroU32,
}

fn line(report: &Report) -> String {
    serde_json::to_string(report).unwrap()
}

/// A second of 10 sends, each heard by 5.
fn second() -> StagePart {
    let mut part = StagePart {
        took_ms: 1_000,
        ..StagePart::default()
    };
    part.counts.acked = 10;
    part.counts.delivered = 50;
    part.latency.ack.record(1_000);
    part
}

/// A server that does nothing.
struct Quiet(Child);

impl Quiet {
    fn start() -> Self {
        Self(Command::new("sleep").arg("60").spawn().unwrap())
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Default for Script {
    fn default() -> Self {
        let tick = TickPart {
            connections: 5,
            counts: second().counts,
            latency: second().latency,
        };
        let said = [
            Report::Measuring(0),
            Report::Tick(tick),
            Report::Stage(second()),
        ];
        Self {
            opened: [Report::Progress(7), Report::Opened]
                .map(|it| line(&it))
                .join("\n"),
            stage: said.iter().map(line).collect::<Vec<_>>().join("\n"),
            settled: Counts::default(),
            rounds: NonZeroU32::MIN,
        }
    }
}

impl Script {
    fn write(&self, folder: &Path) -> std::path::PathBuf {
        let path = folder.join("light");
        let script = format!(
            "#!/bin/sh\nread -r task\nwhile read -r order; do case \"$order\" in\n\
             '\"open\"') echo '{}' ;;\n'\"connect\"') echo '{}' ;;\n\
             '{{\"stage\":0}}') echo '{}' ;;\n'\"settle\"') echo '{}' ;;\n\
             '\"end\"') exit 0 ;;\n*) exit 3 ;;\nesac; done\n",
            self.opened,
            line(&Report::Joined),
            self.stage,
            line(&Report::Settled(self.settled)),
        );
        // Written by another process: a file that this one has open for writing, or a child that
        // another test starts meanwhile, cannot be run.
        let mut writer = Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod +x \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = writer.stdin.take().unwrap();
        input.write_all(script.as_bytes()).unwrap();
        drop(input);
        assert!(writer.wait().unwrap().success());
        path
    }

    async fn run(&self, changes: &[&str]) -> (Outcome, anyhow::Result<()>) {
        let folder = TempDir::new().unwrap();
        let server = Quiet::start();
        let changes: Vec<String> = ["people.connections=10", "stage.0.seconds=1"]
            .iter()
            .chain(changes)
            .map(|change| (*change).to_owned())
            .collect();
        let run = Run {
            scenario: Scenario::load("mixed", &changes).unwrap(),
            subject: Subject::Attached {
                urls: vec!["http://127.0.0.1:9".parse().unwrap()],
                wire: Wire::Rookery,
                processes: vec![("server".to_owned(), server.0.id())],
                admins: Vec::new(),
            },
            sides: Vec::new(),
            rounds: self.rounds,
            processes: Some(2),
            tool: self.write(folder.path()),
        };
        let mut pictures = 0;
        let shown = &mut |_: &_| pictures += 1;
        let ran = run.run(shown, std::future::pending()).await;
        assert!(pictures > 0 || ran.1.is_err());
        ran
    }
}

#[tokio::test]
async fn parts_of_two_processes_are_one_outcome() {
    let (outcome, ended) = Script::default().run(&[]).await;
    ended.unwrap();
    let side = &outcome.sides[0];
    assert_eq!(side.name, "rookery");
    let stage = &side.stages[0];
    assert_eq!((stage.counts.acked, stage.counts.delivered), (20, 100));
    assert_eq!((stage.ticks[0].acked, stage.ticks[0].connections), (20, 10));
    assert_eq!(stage.latency.ack.count(), 2);
    let roles: Vec<&str> = side.processes.iter().map(|one| &*one.role).collect();
    assert_eq!(roles, ["server", "load", "load"]);
    assert!(stage.memory_bytes["server"] > 0 && side.bytes_per_connection.contains_key("server"));
    assert!(side.kernel_bytes_per_connection.is_some());
    let figures = side.figures();
    let whole = figures["connect/bytes_per_connection"].value;
    assert_eq!(
        whole, side.bytes_per_connection["server"],
        "the load's own is told apart"
    );
    assert!(figures.contains_key("connect/bytes_per_connection_load"));
    assert!(
        side.bytes_per_room.is_empty(),
        "as many connections as rooms"
    );
    assert!(is_good(&outcome), "{}", Summary(&outcome));
}

#[tokio::test]
async fn what_a_room_takes_is_told_where_there_are_many_more_than_connections() {
    let (outcome, ended) = Script::default().run(&["people.rooms=100"]).await;
    ended.unwrap();
    let told: Vec<&String> = outcome.sides[0].bytes_per_room.keys().collect();
    let expected = [
        "connect/bytes_per_room_joined",
        "connect/bytes_per_room_opened",
        "mixed/bytes_per_room",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn rooms_are_only_waited_for_to_sleep_where_the_server_says_whether_they_do() {
    let (_, ended) = Script::default().run(&["people.rooms_asleep=true"]).await;
    let error = format!("{:#}", ended.unwrap_err());
    assert!(
        error.contains("people.rooms_asleep") && error.contains("--admin"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_missing_at_the_end_breaks_the_bound_and_the_run() {
    let script = Script {
        settled: Counts {
            lost: 3,
            ..Counts::default()
        },
        ..Script::default()
    };
    let (outcome, ended) = script.run(&[]).await;
    ended.unwrap();
    assert_eq!(outcome.sides[0].stages[0].counts.lost, 6);
    assert!(!outcome.bounds[0].holds);
    assert!(!is_good(&outcome));
    // Also where no bound speaks of it.
    let (outcome, _) = script.run(&["bound.0.figure=mixed/refused"]).await;
    assert!(outcome.bounds[0].holds);
    assert!(!is_good(&outcome));
}

#[tokio::test]
async fn each_round_is_a_side_of_its_own_and_a_bad_one_is_named() {
    let script = Script {
        rounds: NonZeroU32::new(3).unwrap(),
        ..Script::default()
    };
    let (outcome, ended) = script.run(&[]).await;
    ended.unwrap();
    let rounds: Vec<u32> = outcome.sides.iter().map(|side| side.round).collect();
    assert_eq!((rounds, outcome.names()), (vec![1, 2, 3], vec!["rookery"]));
    let figures = outcome.figures().of("rookery");
    assert!((figures["mixed/acks_per_second"].value - 20.0).abs() < 1e-9);

    let script = Script {
        opened: "{}".to_owned(),
        ..script
    };
    let error = format!("{:#}", script.run(&[]).await.1.unwrap_err());
    assert!(error.contains("rookery failed in round 1"), "{error}");
}

#[tokio::test]
async fn a_process_that_fails_ends_the_run_with_its_words() {
    for (said, told) in [
        (
            line(&Report::Failed("no port is left".to_owned())),
            "no port is left",
        ),
        ("{\"what\":1}".to_owned(), "no report"),
    ] {
        let script = Script {
            opened: said,
            ..Script::default()
        };
        let (outcome, ended) = script.run(&[]).await;
        let error = format!("{:#}", ended.unwrap_err());
        assert!(error.contains(told), "{error}");
        assert!(outcome.sides[0].stages.is_empty());
        assert!(!is_good(&outcome));
    }
}

#[tokio::test]
async fn a_run_that_is_interrupted_keeps_what_it_measured() {
    let folder = TempDir::new().unwrap();
    let server = Quiet::start();
    let script = Script {
        // Nothing more is said: it would be waited for.
        stage: line(&Report::Measuring(0)),
        ..Script::default()
    };
    let run = Run {
        scenario: Scenario::load("mixed", &[]).unwrap(),
        subject: Subject::Attached {
            urls: vec!["http://127.0.0.1:9".parse().unwrap()],
            wire: Wire::Rookery,
            processes: vec![("server".to_owned(), server.0.id())],
            admins: Vec::new(),
        },
        sides: Vec::new(),
        rounds: NonZeroU32::MIN,
        processes: None,
        tool: script.write(folder.path()),
    };
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut tell = Some(tell);
    let shown = &mut |picture: &super::Picture| {
        if picture.doing == "mixed"
            && let Some(tell) = tell.take()
        {
            tell.send(()).unwrap();
        }
    };
    let interrupted = async {
        let _ = told.await;
    };
    let (outcome, ended) = run.run(shown, interrupted).await;
    assert!(ended.unwrap_err().is::<super::Interrupted>());
    assert!(
        outcome.sides[0].processes.len() == 2,
        "{:?}",
        outcome.sides[0]
    );
    assert!(!is_good(&outcome), "it is not whole");
    let bound = &outcome.bounds[0];
    assert!(bound.not_checked.is_some() && !bound.holds, "{bound:?}");
}
