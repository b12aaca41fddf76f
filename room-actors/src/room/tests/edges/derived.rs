use proptest::{collection::vec, prelude::*};
use rookery_proto::ids::Offset;

use super::*;
use crate::limits::{DERIVED_BEHIND_MAX, DERIVED_FLUSH_INTERVAL, WAKE_TAIL_OFFSETS};

/// A group in which user 0 has sent so often, each time with an id, while the store writes no
/// derived row but those that opened the room.
fn group_with_sends(count: usize) -> Sim {
    let mut sim = group();
    assert!(sim.state.is_settled());
    for id in 0..count {
        assert!(!sim.state.is_full());
        sim.apply(Sim::who(0, 0, Grant::None), send("x", &id.to_string()));
        sim.commit(usize::MAX);
    }
    sim
}

#[test]
fn what_comes_after_a_silence_is_written_at_once_and_the_rest_together() {
    let mut sim = group();
    sim.now.at += DERIVED_FLUSH_INTERVAL;
    let first = sim.now.at;
    sim.apply(Sim::who(0, 0, Grant::None), send("x", "first"));
    sim.commit(1);
    assert!(sim.derived.is_some());
    for id in 0..200 {
        sim.apply(Sim::who(0, 0, Grant::None), send("x", &id.to_string()));
        sim.commit(1);
    }
    assert_eq!(sim.state.timer_due(sim.now.at), None, "one write at a time");
    sim.write_derived();
    assert_eq!(sim.rows.sent.len(), 1);
    let due = sim.state.timer_due(sim.now.at).unwrap();
    assert!(due - first >= DERIVED_FLUSH_INTERVAL);
    let again = run_without_derived(&mut sim, send("x", "7"));
    assert_eq!(offset(again), 10, "memory knows");
    sim.now.at = due;
    sim.hand_over(false);
    sim.write_derived();
    assert_eq!(sim.rows.sent.len(), 201);
    assert!(sim.state.is_settled());
}

/// The answer to user 0, while derived rows wait.
fn run_without_derived(sim: &mut Sim, command: Command) -> Answer {
    let ticket = sim.apply(Sim::who(0, 0, Grant::None), command);
    sim.commit(usize::MAX);
    sim.answers.remove(&ticket).unwrap()
}

#[test]
fn takeover_writes_what_its_former_owner_had_not() {
    let mut sim = group_with_sends(200);
    // Never landed.
    sim.crash(0);
    assert_eq!(sim.rows.sent.len(), 200);
    assert_eq!(offset(run(&mut sim, 0, send("x", "7"))), 9);
}

#[test]
fn room_waits_rather_than_go_beyond_what_its_successor_derives() {
    let mut sim = group();
    let mut sends = 0;
    while !sim.state.is_full() {
        sends += 1;
        sim.apply(Sim::who(0, 0, Grant::None), send("x", &sends.to_string()));
        sim.commit(usize::MAX);
    }
    let opening = 1;
    assert_eq!(sim.state.head().0, opening + DERIVED_BEHIND_MAX);
    sim.write_derived();
    assert!(!sim.state.is_full());
}

#[derive(Clone, Debug)]
enum Op {
    Send(usize, usize),
    Commit(usize),
    Wait,
    WriteDerived,
    Crash(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0..2_usize, 1..400_usize).prop_map(|(user, count)| Op::Send(user, count)),
        6 => (1..600_usize).prop_map(Op::Commit),
        1 => Just(Op::Wait),
        3 => Just(Op::WriteDerived),
        1 => (0..600_usize).prop_map(Op::Crash),
    ];
    vec(op, 1..60)
}

/// Every id whose event a successor could not read in its tail is in the store.
fn check_reach(sim: &Sim) {
    let Some(((newest, _), _)) = sim.rows.log.last_key_value() else {
        return;
    };
    let first = newest.0.saturating_sub(u64::from(WAKE_TAIL_OFFSETS)) + 1;
    let missing = (3..first.min(sim.state.head().0 + 1))
        .map(Offset)
        .find(|offset| {
            let mut rows = sim.rows.sent.iter();
            !rows.any(|row| row.offset == *offset)
        });
    assert_eq!(missing, None, "of {newest:?}, the tail begins at {first}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sent_id_is_stored_before_its_event_leaves_the_reach_of_a_successor(ops in ops()) {
        let mut sim = group();
        let mut ids = 0_u64;
        // The first event of the second user is a message, too.
        sim.run(Sim::who(1, 1, Grant::None), send("x", "first")).unwrap();
        for op in ops {
            match op {
                Op::Send(user, count) => {
                    for _ in 0..count {
                        if sim.state.is_full() {
                            break;
                        }
                        ids += 1;
                        let who = Sim::who(user, user as u64, Grant::None);
                        sim.apply(who, send("x", &format!("id-{ids}")));
                    }
                }
                Op::Commit(count) => sim.commit(count),
                Op::Wait => {
                    sim.now.at += DERIVED_FLUSH_INTERVAL;
                    sim.hand_over(false);
                }
                Op::WriteDerived => sim.write_derived(),
                Op::Crash(landed) => {
                    sim.crash(landed);
                    sim.answers.clear();
                }
            }
            check_reach(&sim);
        }
        sim.hand_over(false);
        sim.commit_all();
        prop_assert!(!sim.state.is_full(), "it goes on once all is written");
    }
}
