//! Short runs of every built-in scenario, on the real server and on the floor: nothing is lost,
//! and CPU stays within a ratio to the floor measured in the same run. Never absolute times.
//!
//! The server, the floor and the light processes are debug builds here, and two or three runs
//! share the machine: the ratios are far from those of docs/performance.md. Each bound is twice the
//! median of three rounds as it was seen on two cores: it catches a cost that doubled, and a round
//! that was disturbed does not break it.

mod interrupt;

use std::{
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rookery_loadtest::{
    outcome::Outcome,
    run::{FLOOR, Run, Subject, Summary, is_good},
    scenario::{BUILT_IN, Bound, Scenario},
};

/// How often each side is measured: the bounds are about the median of the rounds' ratios.
const ROUNDS: u32 = 3;

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

/// The scenario, small and short; `changes` on top. Bounds against the floor are those of release
/// builds: a debug build's are put in their place.
fn small(name: &str, changes: &[&str]) -> Scenario {
    let all = ["people.connections=50", "people.rooms=10"];
    let changes = all.iter().chain(changes);
    let changes: Vec<String> = changes.map(|change| (*change).to_owned()).collect();
    let mut scenario = Scenario::load(name, &changes).expect("the changes are of the scenario");
    scenario.bounds.retain(|bound| bound.over.is_none());
    for stage in &mut scenario.stages {
        stage.warm_up_seconds = 0;
        // A storm ends when all are back.
        stage.seconds = if stage.cut > 0.0 { 30 } else { 1 };
    }
    scenario
}

/// Runs it on the server and on the floor, in turn.
async fn run(scenario: Scenario) -> Outcome {
    let run = Run {
        scenario,
        subject: Subject::Embedded {
            rookery: env!("CARGO_BIN_EXE_rookery").into(),
        },
        sides: vec!["rookery".to_owned(), FLOOR.to_owned()],
        rounds: NonZeroU32::new(ROUNDS).expect("some"),
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
async fn keeps_its_word(mut scenario: Scenario, figure: &str, max: f64) {
    scenario.bounds.push(Bound {
        figure: figure.to_owned(),
        max: Some(max),
        min: None,
        over: Some(FLOOR.to_owned()),
    });
    let outcome = run(scenario).await;
    let summary = Summary(&outcome);
    assert!(is_good(&outcome), "{summary}");
    assert!(
        outcome
            .bounds
            .iter()
            .all(|bound| bound.not_checked.is_none()),
        "{summary}"
    );
    assert_eq!(outcome.sides.len(), 2 * ROUNDS as usize, "{summary}");
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

/// Each scenario's test: its name, changes that make it small, and what its server may cost at most
/// as a multiple of the floor.
macro_rules! scenarios {
    ($($test:ident: $name:literal, $changes:expr, $figure:literal at most $max:literal;)+) => {
        const TRIED: &[&str] = &[$($name),+];

        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            keeps_its_word(small($name, &$changes), $figure, $max).await;
        })+
    };
}

scenarios! {
    fanout_reaches_every_listener_at_a_bounded_cost:
        "fanout", ["people.rooms=1"], "200-a-second/cpu_us_per_delivery" at most 10.0;
    idle_connections_are_all_reached_when_woken:
        "idle", [], "woken/cpu_us_per_delivery" at most 20.0;
    chat_loses_nothing_at_a_bounded_cost:
        "chat", ["people.rooms=40", "stage.0.rates.sends=50"], "day/cpu_us_per_send" at most 13.0;
    storm_comes_back_whole_at_a_bounded_cost:
        "storm", [], "storm/cpu_us_per_connect" at most 14.0;
    churn_loses_nothing_at_a_bounded_cost:
        "churn", ["stage.0.rates.reconnects=50"], "churn/cpu_us_per_connect" at most 13.0;
    dm_loses_nothing_at_a_bounded_cost:
        "dm",
        [
            "people.rooms=100",
            "stage.0.rates.sends=200",
            "stage.0.rates.typing=50",
            "stage.0.rates.reads=100",
        ],
        "talk/cpu_us_per_send" at most 28.0;
    hot_room_loses_nothing_at_a_bounded_cost:
        "hot-room", ["people.rooms=1"], "10-a-second/cpu_us_per_delivery" at most 12.0;
    mixed_encodings_lose_nothing_at_a_bounded_cost:
        "mixed", [], "mixed/cpu_us_per_delivery" at most 13.0;
}

#[test]
fn every_built_in_scenario_is_tried() {
    assert_eq!(TRIED, BUILT_IN.map(|(name, _)| name));
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
fn a_ratio_to_a_side_that_is_not_run_is_said_and_fails_nothing() {
    let ratio = [
        "bound.0.figure=mixed/cpu_us_per_delivery",
        "bound.0.max=0.001",
        "bound.0.over=floor",
    ];
    let alone = command(&ratio);
    let words = String::from_utf8_lossy(&alone.stdout);
    assert_eq!(alone.status.code(), Some(0), "{words}");
    assert!(
        words.contains("NOT CHECKED mixed/cpu_us_per_delivery"),
        "{words}"
    );
    let beside = command(&[&ratio[..], &["--against", "floor", "--rounds", "2"]].concat());
    let words = String::from_utf8_lossy(&beside.stdout);
    assert_eq!(beside.status.code(), Some(1), "{words}");
    assert!(
        words.contains("2 rounds") && words.contains("BROKEN mixed/cpu"),
        "{words}"
    );
}

#[test]
fn rooms_are_cold_after_a_restart_and_joined_from_the_store() {
    let cold = [
        "people.connections=10",
        "people.rooms=100",
        "people.rooms_cold=true",
    ];
    let output = command(&cold);
    let words = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{words}");
    assert!(words.contains("bytes per room cold"), "{words}");
    let floor = command(&[&cold[..], &["--against", "floor"]].concat());
    let words = String::from_utf8_lossy(&floor.stderr);
    assert_eq!(floor.status.code(), Some(64), "{words}");
    assert!(words.contains("people.rooms_cold"), "{words}");
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
        (&["--rounds", "0"], "--rounds"),
        (&["--rounds", "101"], "--rounds"),
    ] {
        let output = command(arguments);
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {words}");
        assert!(words.contains(named), "{arguments:?}: {words}");
    }
}
