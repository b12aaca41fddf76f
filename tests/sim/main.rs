//! Whole clusters in one thread, on paused time, from a seed.
//!
//! Reading order: [`world`] (dice, clock, processes), [`replica`], [`quorum`] and [`store`] (the
//! database), [`net`] (the bus), [`cluster`] (nodes: the real rooms over them), [`client`],
//! [`stream`] and [`work`] (gateways with a client each), [`run`] (what happens), [`judge`] (what
//! must hold), [`mutation`] (rules broken on purpose), [`search`] (many seeds).
//! `docs/simulation.md` says how to replay one.

mod client;
mod cluster;
mod contract;
mod judge;
mod mutation;
mod net;
mod node;
mod quorum;
mod replica;
mod run;
mod search;
mod store;
mod stream;
mod trace;
mod work;
mod world;

use mutation::Mutation;
use search::{outcome, search, setting};

/// Seeds of a run of the test suite.
const SEEDS: u64 = 1_000;
/// Findings shown of one seed.
const SHOWN: usize = 12;

#[test]
fn seeds_break_no_promise() {
    if let Some(seed) = setting::<u64>("ROOKERY_SIM_SEED") {
        let broken = setting::<String>("ROOKERY_SIM_BREAK");
        let mutation = broken.map(|name| {
            let mut all = Mutation::ALL.into_iter();
            all.find(|it| format!("{it:?}") == name)
                .expect("a mutation")
        });
        let found = outcome(seed, mutation, true).found;
        for found in &found {
            println!("{found}");
        }
        assert!(found.is_empty(), "seed {seed} broke a promise");
        return;
    }
    let count = setting("ROOKERY_SIM_SEEDS").unwrap_or(SEEDS);
    let first = setting("ROOKERY_SIM_FIRST").unwrap_or(1);
    let seen = search(first, count, None, |_| false);
    println!("{} seeds, {} records", seen.seeds, seen.records);
    for (seed, found) in &seen.wrong {
        println!("seed {seed} broke a promise; to see it again:");
        println!(
            "  ROOKERY_SIM_SEED={seed} cargo test --test sim seeds_break_no_promise -- --nocapture"
        );
        for found in found.iter().take(SHOWN) {
            println!("  {found}");
        }
    }
    assert!(
        seen.wrong.is_empty(),
        "{} seeds broke a promise",
        seen.wrong.len()
    );
}

#[test]
fn same_seed_gives_the_same_history() {
    // The last one has real membership.
    for seed in (1..=6).chain([20]) {
        let text = || {
            let records = outcome(seed, None, false).records;
            let lines = records.iter().map(|it| serde_json::to_string(it).unwrap());
            lines.collect::<Vec<_>>()
        };
        let (one, other) = (text(), text());
        let differs = one.iter().zip(&other).position(|(one, other)| one != other);
        if let Some(line) = differs {
            panic!("seed {seed} line {line}:\n{}\n{}", one[line], other[line]);
        }
        assert_eq!(one.len(), other.len(), "seed {seed}");
    }
}

#[test]
fn each_rule_broken_on_purpose_is_found() {
    let only = setting::<String>("ROOKERY_SIM_BREAK");
    let count = setting("ROOKERY_SIM_SEEDS").unwrap_or(SEEDS);
    let mut missed = Vec::new();
    for mutation in Mutation::FOUND {
        if only
            .as_ref()
            .is_some_and(|only| *only != format!("{mutation:?}"))
        {
            continue;
        }
        let seen = search(1, count, Some(mutation), |found| {
            mutation.is_shown_by(found)
        });
        let shown = seen.wrong.iter().find_map(|(seed, found)| {
            let right = found
                .iter()
                .find(|it| mutation.is_shown_by(std::slice::from_ref(it)));
            right.map(|found| (seed, found))
        });
        match shown {
            Some((seed, found)) => println!("{mutation:?}: seed {seed}: {found}"),
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
