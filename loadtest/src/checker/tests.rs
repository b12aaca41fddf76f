//! Right histories are sound; each named fault is found, and nothing else is said of it.

mod again;
mod faults;
mod made;
mod presence;
mod redacted;

use proptest::prelude::*;

use super::{simulation::right_history, *};
use faults::faults;

const STEPS: usize = 900;

#[test]
fn right_history_exercises_every_rule() {
    let mut sum = Totals::default();
    for seed in 0..10 {
        let report = check(&right_history(seed, 3 * STEPS));
        assert!(report.is_sound(), "seed {seed}:\n{report}");
        sum.unknown_happened += report.totals.unknown_happened;
        sum.unknown_not_happened += report.totals.unknown_not_happened;
        sum.refused += report.totals.refused;
        sum.unread_checked += report.totals.unread_checked;
        sum.replicas += report.totals.replicas;
        sum.read += report.totals.read;
    }
    assert!(sum.unknown_happened > 10, "{sum:?}");
    assert!(sum.unknown_not_happened > 10, "{sum:?}");
    assert!(sum.unread_checked > 500, "{sum:?}");
    assert!(sum.read > 1_000, "{sum:?}");
    assert_eq!(sum.replicas, 100);
}

#[test]
fn each_fault_is_judged_as_that_fault_alone() {
    for (name, verdict, inject) in faults() {
        let mut injected = 0;
        for seed in 0..40 {
            let mut records = right_history(seed, STEPS);
            let mut random = fastrand::Rng::with_seed(seed);
            if inject(&mut records, &mut random).is_none() {
                continue;
            }
            injected += 1;
            let report = check(&records);
            assert_eq!(
                report.verdicts(),
                [verdict],
                "{name}, seed {seed}:\n{report}"
            );
            assert!(!report.is_sound());
            assert!(!report.examples(verdict).is_empty());
        }
        assert!(
            injected >= 5,
            "{name}: only {injected} of 40 histories could be made wrong so"
        );
    }
}

#[test]
fn every_verdict_has_a_fault_that_shows_it() {
    for verdict in Verdict::ALL {
        assert!(
            faults().iter().any(|(_, shown, _)| *shown == verdict),
            "{verdict:?}"
        );
    }
}

#[test]
fn room_nobody_judged_is_not_sound() {
    let mut records = right_history(1, STEPS);
    faults::forget_final_log(&mut records, "red");
    let report = check(&records);
    assert_eq!(report.unjudged_rooms, ["red"]);
    assert!(!report.is_sound());
    assert_eq!(report.verdicts(), []);
}

#[test]
fn file_is_judged_as_its_records_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("h.jsonl");
    let mut records = right_history(2, STEPS);
    let write = |records: &[Record]| {
        use std::fmt::Write as _;
        let mut text = "{\"rookeryHistory\":1}\n".to_owned();
        for record in records {
            writeln!(text, "{}", serde_json::to_string(record).unwrap()).unwrap();
        }
        text
    };
    std::fs::write(&path, write(&records)).unwrap();
    let report = check_file(&path).unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.totals, check(&records).totals);

    let (_, verdict, inject) = faults()[0];
    inject(&mut records, &mut fastrand::Rng::with_seed(2)).unwrap();
    std::fs::write(&path, write(&records) + "{\"at\":1,").unwrap();
    let report = check_file(&path).unwrap();
    assert_eq!(report.verdicts(), [verdict]);
    assert!(report.torn);
    let shown = report.to_string();
    assert!(
        shown.ends_with("NOT SOUND") && shown.contains("left out"),
        "{shown}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn right_history_is_always_sound(seed: u64, steps in 0usize..2_000) {
        let report = check(&right_history(seed, steps));
        prop_assert!(report.is_sound(), "{}", report);
    }

    #[test]
    fn wrong_history_is_never_sound(seed: u64, fault in 0..faults().len()) {
        let (name, verdict, inject) = faults()[fault];
        let mut records = right_history(seed, STEPS);
        if inject(&mut records, &mut fastrand::Rng::with_seed(seed)).is_some() {
            let report = check(&records);
            prop_assert_eq!(report.verdicts(), vec![verdict], "{}: {}", name, report);
        }
    }
}
