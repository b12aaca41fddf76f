use rookery_cluster::Role;
use rookery_proto::{
    close::CloseCode,
    ids::SessionId,
    v1::{self, ack},
};

use super::fakes::*;
use crate::{
    hub::{Input, session::millis},
    limits::{LISTENERS_AHEAD, SLOW_CLOSE_LINGER},
};

#[test]
fn full_socket_is_waited_for_once_and_then_gets_the_rest() {
    let mut bench = Bench::new();
    let ada = bench.login(2, "ada");
    bench.join(2, "r", 1, 0);
    check(&ada, &["ack j"]);
    ada.set_room(10);
    bench.link(Role::Rooms, vec![event("r", 1, 1)]);
    bench.link(Role::Rooms, vec![event("r", 1, 2), event("r", 1, 3)]);
    let blocked: Vec<_> = bench
        .worker
        .take_blocked()
        .map(|(session, _)| session)
        .collect();
    assert_eq!(blocked, [SessionId(2)]);
    check(&ada, &[]);
    ada.set_room(u64::MAX);
    bench.give(Input::Writable {
        session: SessionId(2),
    });
    check(&ada, &["event 1", "event 2", "event 3"]);
    assert_eq!(bench.worker.take_blocked().count(), 0);
}

#[test]
fn reader_that_falls_too_far_behind_is_closed_and_others_are_not() {
    let mut bench = Bench::with(|config| config.session_queue_bytes_max = 512 * 1024);
    let (slow, quick) = (bench.login(2, "ada"), bench.login(4, "bob"));
    bench.join(2, "r", 1, 0);
    bench.join(4, "r", 1, 0);
    slow.set_room(100);
    let mut delivered = 0;
    for offset in 1..=20_000 {
        bench.link(Role::Rooms, vec![event("r", 1, offset)]);
        delivered += quick
            .got()
            .iter()
            .filter(|got| got.words().starts_with("event"))
            .count();
    }
    assert_eq!(delivered, 20_000);
    assert_eq!(bench.worker.counts.slow_readers, 1);
    // Whatever was under way is finished, then the close frame is the last.
    slow.set_room(u64::MAX);
    bench.give(Input::Writable {
        session: SessionId(2),
    });
    let got = slow.got();
    assert_eq!(
        got.last(),
        Some(&Got::Close(CloseCode::SlowReader.number()))
    );
    assert!(got.len() < 10, "its queue was dropped: {}", got.len());
    bench.wait(millis(SLOW_CLOSE_LINGER) - 100);
    assert_eq!(
        bench.worker.session_count(),
        2,
        "it may still come to its close frame"
    );
    bench.wait(200);
    assert_eq!(bench.worker.session_count(), 1);
}

#[test]
fn large_answers_alone_never_look_like_a_slow_reader() {
    let mut bench = Bench::with(|config| config.session_queue_bytes_max = 512 * 1024);
    let ada = bench.login(2, "ada");
    ada.set_room(1_000);
    bench.command(2, "h", send("r", "x"));
    let request = bench.room_request().request;
    let event = v1::Event {
        body: Some(v1::event::Body::Message(v1::Message {
            text: "x".repeat(1024 * 1024),
            ..v1::Message::default()
        })),
        ..v1::Event::default()
    };
    let page = v1::HistoryPage {
        events: vec![event],
        ..v1::HistoryPage::default()
    };
    bench.reply(Role::Rooms, request, acked(ack::Result::History(page)));
    assert_eq!(bench.worker.counts.slow_readers, 0);
    ada.set_room(u64::MAX);
    bench.give(Input::Writable {
        session: SessionId(2),
    });
    check(&ada, &["ack h"]);
}

#[test]
fn broken_socket_ends_its_session_and_no_other() {
    let mut bench = Bench::new();
    let (ada, bob) = (bench.login(2, "ada"), bench.login(4, "bob"));
    bench.join(2, "r", 1, 0);
    bench.join(4, "r", 1, 0);
    ada.break_it();
    bench.link(Role::Rooms, vec![event("r", 1, 1)]);
    assert_eq!(bench.worker.session_count(), 1);
    check(&bob, &["ack j", "event 1"]);
    assert_eq!(ada.shut(), Some(std::net::Shutdown::Both));
}

#[test]
fn listeners_of_a_large_room_get_each_event_once_whatever_their_sockets_take() {
    let listeners = 3 * LISTENERS_AHEAD as u64 + 1;
    let mut bench = Bench::new();
    let mut wires = Vec::new();
    for session in 1..=listeners {
        let wire = bench.login(session, &format!("user-{session}"));
        bench.join(session, "r", 1, 0);
        check(&wire, &["ack j"]);
        match session % 5 {
            0 => wire.set_room(0),
            1 => wire.set_room(10),
            2 if session > 30 => wire.break_it(),
            _ => {}
        }
        wires.push((session, wire));
    }
    for offset in 1..=2 {
        bench.link(Role::Rooms, vec![event("r", 1, offset)]);
    }
    let broken = |session: u64| session % 5 == 2 && session > 30;
    let blocked: Vec<_> = bench
        .worker
        .take_blocked()
        .map(|(session, _)| session.0)
        .collect();
    let full: Vec<u64> = (1..=listeners).filter(|it| it % 5 < 2).collect();
    assert_eq!(blocked, full);
    for (session, wire) in wires {
        if broken(session) {
            check(&wire, &[]);
            continue;
        }
        wire.set_room(u64::MAX);
        if full.contains(&session) {
            let session = SessionId(session);
            bench.give(Input::Writable { session });
        }
        check(&wire, &["event 1", "event 2"]);
    }
    let alive = (1..=listeners).filter(|it| !broken(*it)).count();
    assert_eq!(bench.worker.session_count(), alive);
    assert_eq!(bench.worker.counts.frames_out, {
        let welcomes_and_answers = 2 * listeners;
        welcomes_and_answers + 2 * alive as u64 + (listeners - alive as u64)
    });
}
