use rookery_persistence::{CursorRow, RoomWrite};
use rookery_proto::ids::{Offset, UserId};

use super::*;
use crate::{limits::DERIVED_FLUSH_INTERVAL, room::tests::sim::room};

#[test]
fn message_that_moves_no_cursor_arms_no_timer() {
    let mut sim = group();
    // Further than the log: of a longer one, before somebody brought back an older state.
    let mut write = RoomWrite::new(room());
    write.cursors.push(CursorRow {
        user: UserId::parse(&user_name(1)).unwrap(),
        offset: Offset(1_000),
        message_count: 900,
    });
    sim.rows.write(write);
    sim.passivate();
    run(&mut sim, 1, send("moves nothing", "")).unwrap();
    assert_eq!(sim.state.timer_due(sim.now.at), None);
    sim.now.at += DERIVED_FLUSH_INTERVAL * 3;
    assert_eq!(sim.state.timer_due(sim.now.at), None, "nor a late one");

    run(&mut sim, 0, send("moves the sender's", "")).unwrap();
    assert_eq!(
        sim.state.timer_due(sim.now.at),
        None,
        "after a silence it is written at once"
    );
    run(&mut sim, 0, send("again", "")).unwrap();
    let due = sim.state.timer_due(sim.now.at);
    assert!(due.is_some(), "what moved is written some time");
    sim.now.at += DERIVED_FLUSH_INTERVAL;
    sim.hand_over(false);
    sim.commit_all();
    assert_eq!(sim.state.timer_due(sim.now.at), None, "it is written");
}
