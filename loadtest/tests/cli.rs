//! The binary's contract: its words and its exit status.

#![expect(clippy::unwrap_used, reason = "a test's helpers")]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use rookery_loadtest::{
    outcome::{Counts, FORMAT, Latencies, Machine, Outcome, Side, StageOutcome},
    scenario::{BUILT_IN, Scenario},
};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rookery-loadtest"))
        .args(args)
        .output()
        .unwrap()
}

fn check(path: &Path, lines: &[&str]) -> (Option<i32>, String) {
    fs::write(path, lines.join("\n") + "\n").unwrap();
    let output = run(&["check", path.to_str().unwrap()]);
    let words = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(words).unwrap())
}

/// One user opens a room and sends a message; the judge reads the log.
const SOUND: [&str; 9] = [
    r#"{"rookeryHistory":1,"about":{"seed":"1"}}"#,
    r#"{"at":1,"client":0,"session":1,"what":{"opened":{"user":"ann","purpose":"take","sessionId":"a"}}}"#,
    r#"{"at":2,"client":0,"session":1,"what":{"sent":{"id":"1","createRoom":{"room":"r","kind":"GROUP"}}}}"#,
    r#"{"at":3,"client":0,"session":1,"what":{"received":{"ack":{"id":"1","roomCreated":{"room":{"id":"r"}}}}}}"#,
    r#"{"at":4,"client":0,"session":1,"what":{"sent":{"id":"2","send":{"room":"r","text":"hi","clientId":"k"}}}}"#,
    r#"{"at":5,"client":0,"session":1,"what":{"received":{"ack":{"id":"2","appended":{"room":"r","offset":2,"epoch":1}}}}}"#,
    r#"{"at":6,"client":1,"session":1,"what":{"opened":{"user":"ann","purpose":"judge","sessionId":"b"}}}"#,
    r#"{"at":7,"client":1,"session":1,"what":{"sent":{"id":"1","history":{"room":"r","afterOffset":0}}}}"#,
    r#"{"at":8,"client":1,"session":1,"what":{"received":{"ack":{"id":"1","history":{"room":"r","head":2,"events":[{"room":"r","epoch":1,"offset":1,"actor":{"id":"ann"},"roomOpened":{}},{"room":"r","epoch":1,"offset":2,"actor":{"id":"ann"},"message":{"text":"hi","clientId":"k"}}]}}}}}"#,
];

#[test]
fn check_tells_sound_from_unsound_from_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let (code, words) = check(&path, &SOUND);
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("\nsound\n"), "{words}");

    let lost = SOUND[8].replace("\"hi\"", "\"ho\"");
    let mut lines = SOUND;
    lines[8] = &lost;
    let (code, words) = check(&path, &lines);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("acknowledged at offset 2") && words.contains("NOT SOUND"));

    // Without the final log nothing can be said, and that is not sound.
    let (code, words) = check(&path, &SOUND[..6]);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("no final log was read of room r"), "{words}");

    let (code, words) = check(&path, &["{}"]);
    assert_eq!(code, Some(64), "{words}");
    assert!(words.contains("history header"), "{words}");
}

#[test]
fn made_history_is_judged_sound_from_its_file_and_says_what_that_cost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made.jsonl");
    let out = path.to_str().unwrap();
    let (code, said) = words(run(&["make", "--operations", "2000", "--out", out]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(" records in "), "{said}");
    let (code, said) = words(run(&["check", out]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\nsound\n"), "{said}");
    for word in ["judged ", " bytes each in ", " MiB of memory"] {
        assert!(said.contains(word), "{word} in {said}");
    }
    let nowhere = dir.path().join("none").join("made.jsonl");
    let (code, said) = words(run(&["make", "--out", nowhere.to_str().unwrap()]));
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("cannot use history file"), "{said}");
    let refused = run(&["make", "--operations", "0", "--out", out]);
    assert_eq!(refused.status.code(), Some(64));
}

/// A run in which so many deliveries were lost, as its file stands.
fn result(path: &Path, lost: u64) {
    let scenario = Scenario::load("hot-room", &[]).unwrap();
    let counts = Counts {
        delivered: 1_000,
        lost,
        ..Counts::default()
    };
    let stage = StageOutcome {
        name: scenario.stages[0].name.clone(),
        began_ms: 0,
        took_ms: 1_000,
        counts,
        latency: Latencies::default(),
        ticks: Vec::new(),
        cpu_us: BTreeMap::from([("server".to_owned(), 700)]),
        memory_bytes: BTreeMap::new(),
        server_counters: BTreeMap::new(),
    };
    let side = Side {
        name: "rookery".to_owned(),
        round: 1,
        server: String::new(),
        connect_s: 0.5,
        stages: vec![stage],
        processes: Vec::new(),
        bytes_per_connection: [("server".to_owned(), 1_500.0)].into(),
        kernel_bytes_per_connection: None,
        bytes_per_room: BTreeMap::new(),
    };
    let outcome = Outcome {
        format: FORMAT,
        tool: "test".to_owned(),
        began_unix_ms: 0,
        scenario,
        machine: Machine::default(),
        sides: vec![side],
        bounds: Vec::new(),
        ended_early: None,
    };
    outcome.write(path).unwrap();
}

fn words(output: Output) -> (Option<i32>, String) {
    let words = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(words).unwrap())
}

#[test]
fn compare_fails_with_the_name_of_what_got_worse() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (good, bad) = (file("good.json"), file("bad.json"));
    result(good.as_ref(), 0);
    result(bad.as_ref(), 3);
    let (code, said) = words(run(&["compare", &good, &good]));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = words(run(&["compare", &good, &bad]));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("regression: rookery ") && said.contains("/lost: 0 → 3"),
        "{said}"
    );
    let refused = [
        vec!["--figure", "lost=0.5"],
        vec!["--figure", "lost"],
        vec!["--figure", "no_such=2"],
        vec!["--max-regression", "many"],
    ];
    for arguments in refused {
        let (code, said) = words(run(&[&["compare", &good, &bad][..], &arguments].concat()));
        assert_eq!(code, Some(64), "{said}");
        assert!(said.contains(arguments[0]), "{said}");
    }
    fs::write(&bad, "{}").unwrap();
    let (code, said) = words(run(&["compare", &good, &bad]));
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("bad.json is not a result"), "{said}");
}

#[test]
fn report_writes_a_page_of_each_run_or_names_the_file_that_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (one, two, page) = (file("one.json"), file("two.json"), file("page.html"));
    result(one.as_ref(), 0);
    result(two.as_ref(), 3);
    let (code, said) = words(run(&["report", &one, &two, "--out", &page]));
    assert_eq!(code, Some(0), "{said}");
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("one.json") && html.contains("two.json"));
    assert!(html.contains("events lost 3, doubled 0"));
    let (code, said) = words(run(&["report", &one, &page, "--out", &page]));
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("page.html is not a result"), "{said}");
    assert_eq!(run(&["report", "--out", &page]).status.code(), Some(64));
}

#[test]
fn plan_shows_its_formulas_and_learns_its_costs_from_runs() {
    let asked = ["plan", "--users", "1000", "--rooms", "10", "--rate", "50"];
    let (code, said) = words(run(&asked));
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "deliveries = sends × people",
        "= 50 × 100",
        "docs/performance.md",
        "result:",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (one, costs) = (file("one.json"), file("costs.toml"));
    result(one.as_ref(), 0);
    let (code, said) = words(run(&["plan", "learn", &one, "--out", &costs]));
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("gateway_bytes_per_connection = 1,500: one.json"),
        "{said}"
    );
    let (code, said) = words(run(&[&asked[..], &["--costs", &costs]].concat()));
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("nobody measured") && said.contains("one.json"),
        "{said}"
    );

    for (wrong, named) in [
        (vec!["--utilisation", "2"], "--utilisation"),
        (vec!["--members", "5000"], "--members"),
        (vec!["--rate-per-user", "1"], "--rate-per-user"),
        (vec!["--costs", &one], "one.json"),
        (vec!["--costs", "/no/such"], "--costs"),
        (vec!["--spare", "-1"], "--spare"),
    ] {
        let (code, said) = words(run(&[&asked[..], &wrong].concat()));
        assert_eq!(code, Some(64), "{said}");
        assert!(said.contains(named), "{said}");
    }
    assert_eq!(run(&["plan", "--users", "9"]).status.code(), Some(64));
}

#[test]
fn the_page_on_load_names_every_scenario_with_what_it_is_for() {
    let page = include_str!("../../docs/load.md");
    for (name, _) in BUILT_IN {
        let about = Scenario::load(name, &[]).unwrap().about;
        let row = format!("| `{name}` | {about} |");
        assert!(page.contains(&row), "{row}");
    }
}

#[test]
fn help_teaches_and_bad_arguments_are_refused() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for word in ["record", "check", "Exit status", "64"] {
        assert!(help.contains(word), "{word} in {help}");
    }
    // Each command says what it does in more than a line, how it is used, and what its status means.
    for command in [
        "run", "report", "compare", "plan", "load", "verify", "record", "check", "make",
        "failover", "moves", "rolling", "lost", "sends",
    ] {
        let help = String::from_utf8(run(&[command, "--help"]).stdout).unwrap();
        assert!(help.contains("Exit status: 0 "), "{command}: {help}");
        assert!(help.contains("  rookery-loadtest "), "{command}: {help}");
        let (about, _) = help.split_once("Usage:").unwrap();
        assert!(about.trim().lines().count() > 1, "{command}: {about}");
    }
    let help = run(&["record", "--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(
        String::from_utf8(help.stdout)
            .unwrap()
            .contains("--operations 20000")
    );
    assert_eq!(
        run(&["record", "--url", "nonsense", "--out", "x"])
            .status
            .code(),
        Some(64)
    );
    assert_eq!(run(&["fly"]).status.code(), Some(64));
    assert_eq!(run(&["check", "/no/such/file"]).status.code(), Some(64));
}

#[test]
fn numbers_that_nothing_can_be_made_of_are_refused_by_their_flags() {
    let most = u64::MAX.to_string();
    for (command, flag, number) in [
        ("load", "--senders", "0"),
        ("load", "--in-flight", &most),
        ("load", "--text-bytes", &most),
        ("load", "--seconds", "0"),
        ("load", "--warm-up", &most),
        ("record", "--rooms", "0"),
        ("record", "--deadline", &most),
        ("moves", "--moves", "0"),
        ("failover", "--rooms", "0"),
        ("lost", "--pace", &most),
    ] {
        let (code, said) = words(run(&[command, flag, number]));
        assert_eq!(code, Some(64), "{said}");
        assert!(said.contains(&format!("'{flag} <")), "{flag} in {said}");
    }
}

#[test]
fn verify_shows_its_plans_and_refuses_what_it_cannot_do() {
    let shown = run(&["verify", "cluster", "--show"]);
    assert_eq!(shown.status.code(), Some(0));
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("kill-node = 4"), "{shown}");

    let dir = tempfile::tempdir().unwrap();
    let plan = dir.path().join("plan.toml");
    let text = "about = \"x\"\n[target]\nkind = \"embedded\"\n[faults]\nlist = [\"kill-node\"]\n";
    fs::write(&plan, text).unwrap();
    let plan = plan.to_str().unwrap();
    let full = dir.path().to_str().unwrap();
    for (arguments, words) in [
        (&["verify", plan][..], &["line 5: kill-node"][..]),
        (&["verify", "no-such"], &["no-such", "cluster-of-three"]),
        (
            &["verify", "embedded", "--url", "http://127.0.0.1:1"],
            &["--url", "faults"],
        ),
        (&["verify", "quiet", "--hours", "0"], &["--hours"]),
        (
            &["verify", "quiet", "--rookery", "/no/such/rookery"],
            &["--rookery", "/no/such/rookery"],
        ),
        (
            &[
                "verify",
                "quiet",
                "--url",
                "http://127.0.0.1:1",
                "--folder",
                full,
            ],
            &["--folder", "not empty"],
        ),
        (&["verify", "quiet", "--keep"], &["--folder"]),
    ] {
        let output = run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{word} in {said}");
        }
    }
}
