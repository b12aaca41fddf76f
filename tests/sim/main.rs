//! Whole clusters in one thread, on paused time, from a seed.
//!
//! Reading order: [`world`] (dice, clock, processes), [`replica`], [`quorum`] and [`store`] (the
//! database), [`net`] (the bus), [`cluster`] and [`keeper`] (nodes: the real rooms over them), [`client`],
//! [`stream`] and [`work`] (gateways with a client each), [`presence`] (people and the gateways they
//! use), [`profile`] (kinds of runs), [`run`] (what happens), [`judge`] (what
//! must hold), [`mutation`] (rules broken on purpose), [`search`] (many seeds).
//! `docs/simulation.md` says how to replay one.

mod client;
mod cluster;
mod contract;
mod judge;
mod keeper;
mod mutation;
mod net;
mod node;
mod presence;
mod profile;
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
use search::{outcome, outcome_under, search, setting};

/// Seeds of a run of the test suite.
const SEEDS: u64 = 1_000;
/// Seeds beyond those that found a fault of ours, under the schedule of its day.
const FAULTS_FOUND_BY: [u64; 1] = [1959];
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
    println!(
        "{} seeds, {} records, {} rooms woken at rest",
        seen.seeds, seen.records, seen.at_rest
    );
    let profile = setting::<String>("ROOKERY_SIM_PROFILE");
    let profile = profile.map_or_else(String::new, |it| format!("ROOKERY_SIM_PROFILE={it} "));
    for (seed, found) in &seen.wrong {
        println!("seed {seed} broke a promise; to see it again:");
        println!(
            "  {profile}ROOKERY_SIM_SEED={seed} cargo test --test sim seeds_break_no_promise -- --nocapture"
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
    assert!(
        count < SEEDS || seen.at_rest > count,
        "too few planned moves: {}",
        seen.at_rest
    );
}

#[test]
fn seeds_that_found_faults_are_sound() {
    for seed in FAULTS_FOUND_BY {
        let found = outcome(seed, None, false).found;
        assert!(found.is_empty(), "seed {seed}: {found:?}");
    }
}

#[test]
fn same_seed_gives_the_same_history() {
    // The last two have real membership, the first of them also people.
    let sound = (1..=6).chain([20, 40]).map(|seed| (seed, None));
    let broken = Mutation::ALL.into_iter().map(|rule| (1, Some(rule)));
    for (seed, mutation) in sound.chain(broken) {
        let text = || {
            let outcome = outcome(seed, mutation, false);
            let records = outcome.records.iter();
            let lines = records.map(|it| serde_json::to_string(it).unwrap());
            let facts = outcome.facts.iter().map(|it| format!("{it:?}"));
            lines.chain(facts).collect::<Vec<_>>()
        };
        let (one, other) = (text(), text());
        let differs = one.iter().zip(&other).position(|(one, other)| one != other);
        if let Some(line) = differs {
            panic!(
                "seed {seed} {mutation:?} line {line}:\n{}\n{}",
                one[line], other[line]
            );
        }
        assert_eq!(one.len(), other.len(), "seed {seed} {mutation:?}");
    }
}

#[test]
fn each_rule_broken_on_purpose_is_found() {
    let only = setting::<String>("ROOKERY_SIM_BREAK");
    let count = setting("ROOKERY_SIM_SEEDS").unwrap_or(SEEDS);
    let from = setting("ROOKERY_SIM_FIRST");
    let mut missed = Vec::new();
    for mutation in Mutation::ALL {
        if only
            .as_ref()
            .is_some_and(|only| *only != format!("{mutation:?}"))
        {
            continue;
        }
        let began = std::time::Instant::now();
        let first = from.unwrap_or_else(|| mutation.first());
        let seen = search(first, count, Some(mutation), |found| {
            mutation.is_shown_by(found)
        });
        let shown = seen.wrong.iter().find_map(|(seed, found)| {
            let right = found
                .iter()
                .find(|it| mutation.is_shown_by(std::slice::from_ref(it)));
            right.map(|found| (seed, found))
        });
        match shown {
            Some((seed, found)) => {
                let took = began.elapsed();
                println!("{mutation:?}: seed {seed} of {first}.., {took:.1?}: {found}");
                // It is the rule: without breaking it, the same seed is sound.
                let sound = outcome_under(mutation.profile(), *seed, None, false).found;
                assert!(sound.is_empty(), "seed {seed} is not sound: {}", sound[0]);
            }
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
