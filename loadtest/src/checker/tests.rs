//! Right histories are sound; each named fault is found, and nothing else is said of it.

mod again;
mod faults;
mod made;
mod presence;
mod redacted;

use proptest::prelude::*;
use rookery_proto::v1::{self, ack::Result as Answer, server_frame::Frame};

use super::{simulation::right_history, *};
use crate::{client::command, history::What};
use faults::{ask_at_rest, faults, lose_answer};

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
fn room_of_which_only_the_opening_was_acknowledged_must_be_judged_too() {
    let mut history = made::History::new();
    history.ask(0, "o", command::create_group(made::ROOM, true, &[], ""));
    let room = v1::Room {
        id: made::ROOM.to_owned(),
        ..v1::Room::default()
    };
    let created = v1::RoomCreated { room: Some(room) };
    history.ack(0, "o", Answer::RoomCreated(created));
    let report = check(&history.0);
    assert_eq!(report.unjudged_rooms, [made::ROOM], "{report}");
    assert!(!report.is_sound());
    history.read(Vec::new());
    assert_eq!(check(&history.0).verdicts(), [Verdict::Lost]);
}

#[test]
fn log_that_says_it_goes_on_far_beyond_its_end_is_a_gap() {
    let mut history = made::History::new();
    history.read(Vec::new());
    let last = history.0.last_mut().unwrap();
    if let What::Received(frame) = &mut last.what
        && let Some(Frame::Ack(v1::Ack {
            result: Some(Answer::History(page)),
            ..
        })) = &mut frame.frame
    {
        page.head = 1 << 60;
    }
    let report = check(&history.0);
    assert_eq!(report.verdicts(), [Verdict::Gap]);
    let shown = report.to_string();
    assert!(shown.contains("far beyond"), "{shown}");
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

    #[test]
    fn answer_that_is_lost_is_counted_apart_as_unknown_and_happened(seed: u64) {
        let mut records = right_history(seed, STEPS);
        let before = check(&records).totals;
        if lose_answer(&mut records, &mut fastrand::Rng::with_seed(seed)).is_some() {
            let report = check(&records);
            prop_assert!(report.is_sound(), "{}", report);
            let mut want = before.clone();
            want.acked -= 1;
            want.unknown_happened += 1;
            prop_assert_eq!(report.totals, want);
        }
    }

    #[test]
    fn command_that_was_never_served_is_counted_apart_as_unknown_and_not_happened(
        seed: u64,
        which in 0..3,
    ) {
        let mut records = right_history(seed, STEPS);
        let before = check(&records).totals;
        let never = match which {
            0 => command::send("red", "never served", "never served"),
            1 => command::edit("red", 2, "never served"),
            _ => command::react("red", 2, "never served"),
        };
        ask_at_rest(&mut records, 1, never, |_| None);
        let report = check(&records);
        prop_assert!(report.is_sound(), "{}", report);
        let mut want = before.clone();
        want.records += 2;
        want.changes += 1;
        want.unknown_not_happened += 1;
        prop_assert_eq!(report.totals, want);
    }
}
