//! The rule of two silences, case by case.

use std::time::Duration;

use rookery_proto::link::Load;
use tokio::time::Instant;

use crate::{
    endpoint::Role,
    membership::{
        beat::{Beat, Claims, NodeState},
        observer::{Life, Observer},
    },
};

fn beat(number: u64, state: NodeState) -> Beat {
    Beat {
        node: "other".to_owned(),
        role: Role::Rooms,
        incarnation: 9,
        state,
        number,
        membership_epoch: 0,
        claims: Claims::new(),
        load: Load::default(),
    }
}

/// What an observer goes through, at milliseconds.
enum Seen {
    /// A heartbeat of that number.
    Beat(u64),
    /// One that says it does not serve.
    Suspended(u64),
    /// A read that begins then, takes 10 ms and shows the row of that number.
    Row(u64),
    /// A read that shows no row.
    NoRow,
    /// The observer stops to serve, and begins again 10 ms later.
    Break,
}
use Seen::{Beat as B, Break, NoRow, Row, Suspended};

/// What is known at the end of a story that starts at 0, when the observer begins to serve.
fn check(story: &[(u64, Seen)], at_ms: u64, expected: Life) {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut observer = Observer::new(true);
    observer.set_serving(true, start);
    for (ms, seen) in story {
        let now = at(*ms);
        match seen {
            B(number) => {
                observer.heard(beat(*number, NodeState::Serving), now);
            }
            Suspended(number) => {
                observer.heard(beat(*number, NodeState::Suspended), now);
            }
            Row(number) => {
                let row = beat(*number, NodeState::Serving);
                observer.read(vec![row], now, at(ms + 10));
            }
            NoRow => {
                observer.read(Vec::new(), now, at(ms + 10));
            }
            Break => {
                observer.set_serving(false, now);
                observer.set_serving(true, at(ms + 10));
            }
        }
        observer.judge(at(ms + 10));
    }
    observer.judge(at(at_ms));
    let known = observer.known().next().expect("it was heard of").1;
    assert_eq!(known.life(at(at_ms)), expected);
}

#[test]
fn both_silences_make_dead() {
    check(
        &[(0, B(1)), (500, Row(1)), (2_020, Row(1))],
        2_100,
        Life::Dead,
    );
    check(
        &[(0, B(1)), (500, NoRow), (2_020, NoRow)],
        2_100,
        Life::Dead,
    );
    // Known from the table alone.
    check(&[(0, Row(1)), (2_020, Row(1))], 2_100, Life::Dead);
}

/// Found by the simulation (seed 120): the last write of the dead had reached one replica of three.
#[test]
fn row_that_comes_and_goes_with_the_replicas_asked_is_no_sign_of_life() {
    check(
        &[(0, B(1)), (500, Row(5)), (2_020, Row(4)), (3_600, Row(5))],
        3_700,
        Life::Dead,
    );
    check(
        &[(0, B(1)), (500, Row(5)), (2_020, NoRow), (3_600, Row(6))],
        3_700,
        Life::Alive,
    );
}

#[test]
fn one_silence_is_not_enough() {
    // Silent on the bus, the row goes on.
    check(
        &[(0, B(1)), (500, Row(1)), (2_020, Row(2)), (3_600, Row(3))],
        4_000,
        Life::Alive,
    );
    // The row stands still, the bus carries heartbeats.
    check(
        &[(0, B(1)), (500, Row(1)), (1_500, B(2)), (2_100, Row(1))],
        2_200,
        Life::Alive,
    );
    // No read at all.
    check(&[(0, B(1))], 60_000, Life::Suspect);
    // The bus has not been silent for long enough.
    check(
        &[(0, B(1)), (10, Row(1)), (1_600, Row(1))],
        1_990,
        Life::Alive,
    );
}

#[test]
fn reads_must_be_far_apart_fresh_and_after_the_last_heartbeat() {
    check(
        &[(0, B(1)), (600, Row(1)), (2_100, Row(1))],
        2_200,
        Life::Suspect,
    );
    check(
        &[
            (0, B(1)),
            (100, Row(1)),
            (400, B(2)),
            (600, Row(1)),
            (2_000, Row(1)),
        ],
        2_500,
        Life::Suspect,
    );
    // The second read is old when the bus has been silent for long enough.
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut observer = Observer::new(true);
    observer.set_serving(true, start);
    observer.heard(beat(1, NodeState::Serving), start);
    for ms in [10, 1_600] {
        observer.read(vec![beat(1, NodeState::Serving)], at(ms), at(ms + 10));
    }
    assert!(observer.judge(at(2_601)).is_empty());
    assert_eq!(observer.judge(at(2_600)).len(), 1);
}

#[test]
fn heartbeat_that_does_not_serve_or_is_repeated_is_no_sign_of_life() {
    check(
        &[
            (0, B(1)),
            (500, Row(1)),
            (1_900, Suspended(2)),
            (2_020, Row(1)),
        ],
        2_100,
        Life::Dead,
    );
    check(
        &[(0, B(1)), (500, Row(1)), (1_900, B(1)), (2_020, Row(1))],
        2_100,
        Life::Dead,
    );
}

#[test]
fn dead_lives_again_when_heard_or_its_row_moves() {
    let dead = || vec![(0, B(1)), (500, Row(1)), (2_020, Row(1))];
    let mut story = dead();
    story.push((2_200, B(2)));
    check(&story, 2_300, Life::Alive);
    let mut story = dead();
    story.push((2_200, Row(2)));
    check(&story, 2_300, Life::Alive);
    check(&dead(), 60_000, Life::Dead);
}

#[test]
fn what_was_not_heard_while_not_serving_is_no_evidence() {
    let story = [(0, B(1)), (500, Row(1)), (1_000, Break), (2_020, Row(1))];
    check(&story, 2_900, Life::Suspect);
    let story = [(0, B(1)), (1_000, Break), (1_100, Row(1)), (2_700, Row(1))];
    check(&story, 2_800, Life::Suspect);
    let story = [
        (0, B(1)),
        (500, Row(1)),
        (1_000, Break),
        (2_020, Row(1)),
        (3_600, Row(1)),
    ];
    check(&story, 3_700, Life::Dead);
}
