//! Short runs of every built-in scenario, on the real server and on the floor: nothing is lost,
//! and CPU stays within a ratio to the floor measured in the same run. Never absolute times.
//!
//! The server, the floor and the light processes are debug builds here, and two or three runs
//! share the machine: the ratios are far from those of docs/performance.md. They catch a cost that
//! grew by a multiple.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rookery_loadtest::{
    outcome::Outcome,
    run::{FLOOR, Run, Subject, Summary, is_good},
    scenario::{Bound, Scenario},
};

/// The tool's own program, which `cargo test --workspace` builds beside the server.
fn tool() -> PathBuf {
    let tool = Path::new(env!("CARGO_BIN_EXE_rookery")).with_file_name("rookery-loadtest");
    assert!(
        tool.exists(),
        "cargo build -p rookery-loadtest builds {}",
        tool.display()
    );
    tool
}

/// The scenario, small and short; `changes` on top.
fn small(name: &str, changes: &[&str]) -> Scenario {
    let all = ["people.connections=50", "people.rooms=10"];
    let changes = all.iter().chain(changes);
    let changes: Vec<String> = changes.map(|change| (*change).to_owned()).collect();
    let mut scenario = Scenario::load(name, &changes).expect("the changes are of the scenario");
    for stage in &mut scenario.stages {
        stage.warm_up_seconds = 0;
        // A storm ends when all are back.
        stage.seconds = if stage.cut > 0.0 { 30 } else { 1 };
    }
    scenario
}

/// Runs it on the server and on the floor.
async fn run(scenario: Scenario) -> Outcome {
    let run = Run {
        scenario,
        subject: Subject::Embedded {
            rookery: env!("CARGO_BIN_EXE_rookery").into(),
        },
        sides: vec!["rookery".to_owned(), FLOOR.to_owned()],
        processes: Some(2),
        tool: tool(),
    };
    run.check()
        .expect("this machine is enough for 50 connections");
    let (outcome, ended) = run.run(&mut |_| {}, std::future::pending()).await;
    ended.unwrap_or_else(|error| panic!("{error:#}\n{}", Summary(&outcome)));
    outcome
}

/// Runs it; all must be there, and the figure at most so many times the floor's.
async fn keeps_its_word(mut scenario: Scenario, ratio: Option<(&str, f64)>) {
    if let Some((figure, max)) = ratio {
        scenario.bounds.push(Bound {
            figure: figure.to_owned(),
            max: Some(max),
            min: None,
            over: Some(FLOOR.to_owned()),
        });
    }
    let outcome = run(scenario).await;
    let summary = Summary(&outcome);
    assert!(is_good(&outcome), "{summary}");
    for side in &outcome.sides {
        assert_eq!(
            side.stages.len(),
            outcome.scenario.stages.len(),
            "{summary}"
        );
        for stage in &side.stages {
            let counts = &stage.counts;
            let wanted = stage.name != "held";
            assert_eq!(counts.acked > 0, wanted, "{}: {summary}", stage.name);
            assert_eq!(counts.delivered > 0, wanted, "{}: {summary}", stage.name);
            assert_eq!((counts.lost, counts.doubled), (0, 0), "{summary}");
            assert_eq!((counts.failed, counts.refused), (0, 0), "{summary}");
        }
        assert!(
            side.bytes_per_connection.contains_key("server"),
            "{summary}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fanout_reaches_every_listener_at_a_bounded_ratio_to_the_floor() {
    let scenario = small("fanout", &["people.rooms=1"]);
    keeps_its_word(scenario, Some(("200-a-second/cpu_us_per_delivery", 20.0))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_all_reached_when_woken() {
    keeps_its_word(small("idle", &[]), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_loses_nothing() {
    let few = ["people.rooms=40", "stage.0.rates.sends=50"];
    keeps_its_word(small("chat", &few), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storm_comes_back_whole_and_resumed() {
    let scenario = small("storm", &[]);
    keeps_its_word(scenario, Some(("storm/cpu_us_per_connect", 40.0))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn churn_loses_nothing() {
    let few = ["stage.0.rates.reconnects=50"];
    keeps_its_word(small("churn", &few), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dm_loses_nothing() {
    let few = [
        "people.rooms=100",
        "stage.0.rates.sends=200",
        "stage.0.rates.typing=50",
        "stage.0.rates.reads=100",
    ];
    keeps_its_word(small("dm", &few), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hot_room_loses_nothing() {
    keeps_its_word(small("hot-room", &["people.rooms=1"]), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mixed_encodings_lose_nothing_at_a_bounded_ratio_to_the_floor() {
    let scenario = small("mixed", &[]);
    keeps_its_word(scenario, Some(("mixed/cpu_us_per_delivery", 20.0))).await;
}

fn command(arguments: &[&str]) -> Output {
    Command::new(tool())
        .args(["run", "mixed", "--rookery", env!("CARGO_BIN_EXE_rookery")])
        .args(["people.connections=10", "stage.0.seconds=1"])
        .arg("stage.0.warm_up_seconds=0")
        .args(arguments)
        .output()
        .expect("the tool was built")
}

#[test]
fn a_bound_that_is_broken_fails_the_command_and_the_results_are_written() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let out = folder.path().join("out.json");
    let page = folder.path().join("out.html");
    let (out_text, page_text) = (out.to_string_lossy(), page.to_string_lossy());
    let output = command(&[
        "bound.0.figure=mixed/deliveries_per_second",
        "bound.0.max=1",
        "--out",
        &out_text,
        "--report",
        &page_text,
    ]);
    let words = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(
        words.contains("BROKEN mixed/deliveries_per_second"),
        "{words}"
    );
    let outcome = Outcome::read(&out).expect("it was written");
    assert!(!outcome.bounds[0].holds);
    let page = fs::read_to_string(page).expect("it was written");
    assert!(page.contains("</html>"));
}

#[test]
fn bad_arguments_are_told_by_their_names_before_anything_is_started() {
    for (arguments, named) in [
        (&["people.connections=0"][..], "people.connections"),
        (&["--side", "ceiling"], "--side ceiling"),
        (&["--out", "/no/such/folder/out.json"], "--out"),
        (
            &["people.connections=1000000"],
            "people.connections=1000000",
        ),
        (&["--gateways", "0"], "--gateways"),
        (&["--wire", "pusher"], "--url"),
    ] {
        let output = command(arguments);
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {words}");
        assert!(words.contains(named), "{arguments:?}: {words}");
    }
}
