//! Plans are read, and what is wrong with one is named with its line.

use super::*;

const SMALL: &str = "about = \"x\"\n[target]\nkind = \"embedded\"\n[window]\nseconds = 1\n";

fn parse(text: &str) -> Result<Plan, DocumentError> {
    let document = Document {
        kind: "plan",
        name: "p",
    };
    Plan::parse(document, text)
}

#[test]
fn every_built_in_plan_can_be_used() {
    for (name, _) in BUILT_IN {
        let plan = Plan::load(name).unwrap();
        let named: Vec<Kind> = plan.schedule(Rng::with_seed(1)).take(60).collect();
        assert_eq!(named.is_empty(), plan.fault_count() == 0, "{name}");
    }
    assert!(BUILT_IN.iter().any(|(name, _)| *name == DEFAULT));
}

#[test]
fn every_kind_of_fault_is_in_a_built_in_plan() {
    for kind in Kind::ALL {
        let plans = BUILT_IN.map(|(name, _)| Plan::load(name).unwrap());
        let played = plans.iter().any(|plan| plan.faults.deck.contains_key(kind));
        assert!(played, "{kind}");
    }
}

#[test]
fn wrong_plan_is_refused_with_key_and_line() {
    for (text, words) in [
        ("abuot = 1", &["line 1", "abuot"][..]),
        (
            &SMALL.replace("seconds = 1", "seconds = 0"),
            &["line 5", "0"],
        ),
        (
            &SMALL.replace("seconds = 1", "secs = 1"),
            &["line 5", "secs"],
        ),
        (&SMALL.replace("embedded", "moon"), &["line 3", "moon"]),
        (
            &SMALL.replace("seconds = 1", ""),
            &["line 4: window", "never ends"],
        ),
        (
            &format!("{SMALL}[faults]\ndeck = {{ kill-noode = 1 }}"),
            &["line 7", "kill-noode"],
        ),
        (
            &format!("{SMALL}[faults]\ndeck = {{ kill-server = 1, kill-node = 1 }}"),
            &["line 7: kill-node", "a cluster"],
        ),
        (
            &format!("{SMALL}[faults]\nlist = [\"kill-server\"]\ndeck = {{ stop-server = 1 }}"),
            &["line 7: list", "not both"],
        ),
        (
            &format!("{SMALL}[faults]\ncount = 3"),
            &["line 7: count", "neither"],
        ),
        (
            &format!("{SMALL}[workload.weights]\nsend = 0"),
            &["line 7: send"],
        ),
        (
            &format!("{SMALL}[workload.weights]\nshout = 1"),
            &["line 7", "shout"],
        ),
        (
            &format!("{SMALL}[workload]\nclients = -1"),
            &["line 7", "-1"],
        ),
        (
            &format!("{SMALL}[workload]\nclients = 4294967295"),
            &["line 7: clients", "at most 10000"],
        ),
        (
            &SMALL.replace("seconds = 1", "seconds = 9223372036854775807"),
            &["line 5: seconds", "at most"],
        ),
        (
            &SMALL.replace("seconds = 1", "seconds = 1\nfaults = 9223372036854775807"),
            &["line 6: faults", "at most"],
        ),
        (
            &format!("{SMALL}[faults]\ndeck = {{ kill-server = 4294967295 }}"),
            &["line 7: kill-server", "at most"],
        ),
        (
            &SMALL.replace("\"embedded\"", "\"cluster\"\nnodes = 1000000"),
            &["line 4: nodes", "at most 64"],
        ),
        (
            &SMALL.replace("\"embedded\"", "\"cluster\"\nnats-servers = 2"),
            &["line 4: nats-servers", "1 or 3"],
        ),
        (
            &SMALL.replace("\"embedded\"", "\"url\"\nurls = [\"nowhere\"]"),
            &["nowhere"],
        ),
    ] {
        let error = parse(text).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{word:?} in {error}\nof {text}");
        }
    }
    let error = Plan::load("no-such-plan").unwrap_err().to_string();
    assert!(error.contains("embedded"), "{error}");
}

#[test]
fn deck_is_played_whole_in_an_order_of_the_seed_and_list_in_its_own() {
    let faults = "[faults]\ndeck = { kill-server = 2, stop-server = 1, cut-clients = 3 }";
    let plan = parse(&format!("{SMALL}{faults}")).unwrap();
    assert_eq!(plan.fault_count(), 6);
    let play = |seed| -> Vec<Kind> { plan.schedule(Rng::with_seed(seed)).take(12).collect() };
    for seed in 0..20 {
        let mut first = play(seed)[..6].to_vec();
        first.sort_unstable();
        assert_eq!(
            first,
            [
                Kind::KillServer,
                Kind::KillServer,
                Kind::StopServer,
                Kind::CutClients,
                Kind::CutClients,
                Kind::CutClients
            ]
        );
        assert_eq!(play(seed), play(seed));
    }
    assert!((0..20).any(|seed| play(seed) != play(0)));

    let faults = "[faults]\nlist = [\"stop-server\", \"kill-server\"]\ncount = 3";
    let plan = parse(&format!("{SMALL}{faults}")).unwrap();
    assert_eq!(plan.fault_count(), 3);
    let played: Vec<Kind> = plan.schedule(Rng::with_seed(1)).take(3).collect();
    assert_eq!(
        played,
        [Kind::StopServer, Kind::KillServer, Kind::StopServer]
    );
}
