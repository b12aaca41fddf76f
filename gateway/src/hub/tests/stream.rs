use std::sync::Arc;

use prost::Message as _;
use rookery_cluster::Role;
use rookery_proto::{
    errors::Code,
    ids::SessionId,
    link::{packet::Body as Packet, room_request},
    v1::{self, ack, client_frame::Command},
};

use super::fakes::*;
use crate::{
    hub::input::{Delivery, Input, LinkPacket, Resynced, RoomEvent, RoomSignal},
    protocol::{Body, SharedFrame},
};

fn signal(room: &str, except: u64) -> LinkPacket {
    let signal = v1::Signal {
        room: room.to_owned(),
        body: Some(v1::signal::Body::Roster(v1::RosterSignal::default())),
    };
    LinkPacket::Signal(Arc::new(RoomSignal {
        room: room.to_owned(),
        except: SessionId(except),
        frame: SharedFrame::new(Body::Signal, signal.encode_to_vec().into()),
    }))
}

/// The event by which a user left.
fn left(room: &str, offset: u64, user: &str) -> LinkPacket {
    let event = Arc::into_inner(room_event(room, 1, offset));
    LinkPacket::Event(Arc::new(RoomEvent {
        left: Some(user.to_owned()),
        ..event.unwrap()
    }))
}

fn resync(bench: &mut Bench) -> rookery_proto::link::RoomResync {
    match bench.packet() {
        Packet::RoomResync(resync) => resync,
        other => panic!("{other:?}"),
    }
}

#[test]
fn events_of_a_batch_reach_every_listener_in_order() {
    let mut bench = Bench::new();
    let (ada, bob) = (bench.login(1, "ada"), bench.login(2, "bob"));
    bench.join(1, "r", 1, 4);
    bench.join(2, "r", 1, 4);
    check(&ada, &["ack j"]);
    check(&bob, &["ack j"]);
    let packets = vec![
        event("r", 1, 5),
        event("other", 1, 1),
        event("r", 1, 6),
        signal("r", 1),
    ];
    bench.link(Role::Rooms, packets);
    check(&ada, &["event 5", "event 6"]);
    check(&bob, &["event 5", "event 6", "signal"]);
}

#[test]
fn answers_keep_their_place_among_the_events_of_their_room() {
    let mut bench = Bench::new();
    let (ada, bob) = (bench.login(1, "ada"), bench.login(2, "bob"));
    bench.join(1, "r", 1, 4);
    check(&ada, &["ack j"]);
    bench.command(1, "h", send("r", "x"));
    let send = bench.room_request().request;
    bench.command(2, "j", join("r"));
    let join = bench.room_request().request;
    let done = acked(ack::Result::Done(v1::Done {}));
    let packets = vec![
        event("r", 1, 5),
        reply(send, done),
        reply(join, joined("r", 1, 5)),
        event("r", 1, 6),
        signal("r", 1),
        event("r", 1, 7),
    ];
    bench.link(Role::Rooms, packets);
    check(&ada, &["event 5", "ack h", "event 6", "event 7"]);
    check(&bob, &["ack j", "event 6", "signal", "event 7"]);
    bench.no_packet();
}

#[test]
fn old_and_repeated_events_are_dropped() {
    let mut bench = Bench::new();
    let ada = bench.login(1, "ada");
    bench.join(1, "r", 2, 4);
    let packets = vec![
        event("r", 1, 5),
        event("r", 2, 4),
        event("r", 2, 5),
        event("r", 2, 5),
        event("r", 3, 6),
        event("r", 2, 7),
    ];
    bench.link(Role::Rooms, packets);
    check(&ada, &["ack j", "event 5", "event 6"]);
    bench.no_packet();
}

#[test]
fn gap_is_fetched_and_what_came_behind_it_waits() {
    let mut bench = Bench::new();
    let ada = bench.login(1, "ada");
    bench.join(1, "r", 1, 4);
    bench.link(Role::Rooms, vec![event("r", 1, 7), event("r", 1, 8)]);
    check(&ada, &["ack j"]);
    let asked = resync(&mut bench);
    assert_eq!(
        (asked.after_offset, asked.lane, asked.sessions.len()),
        (4, 3, 1)
    );
    bench.no_packet();
    bench.link(
        Role::Rooms,
        vec![event("r", 1, 9), resynced(&asked, 1, 7), event("r", 1, 10)],
    );
    check(
        &ada,
        &[
            "event 5", "event 6", "event 7", "event 8", "event 9", "event 10",
        ],
    );
    bench.no_packet();
}

#[test]
fn resync_without_answer_is_asked_again() {
    let mut bench = Bench::new();
    let ada = bench.login(1, "ada");
    bench.join(1, "r", 1, 4);
    bench.uplink.refuses.set(true);
    bench.link(Role::Rooms, vec![event("r", 1, 6)]);
    bench.uplink.refuses.set(false);
    bench.wait(250);
    bench.no_packet();
    bench.wait(100);
    let old = resync(&mut bench);
    assert_eq!(old.after_offset, 4);
    bench.wait(550);
    bench.no_packet();
    bench.wait(100);
    let asked = resync(&mut bench);
    assert_eq!(asked.after_offset, 4);
    // Nobody knows whether the newest, which says who listens, came there.
    bench.link(Role::Rooms, vec![resynced(&old, 1, 6)]);
    bench.wait(1_300);
    let asked = resync(&mut bench);
    assert_eq!(asked.after_offset, 6);
    bench.link(Role::Rooms, vec![resynced(&asked, 1, 6)]);
    check(&ada, &["ack j", "event 5", "event 6"]);
    bench.wait(5_000);
    bench.no_packet();
}

#[test]
fn stream_that_cannot_be_made_whole_tells_every_listener_to_resume() {
    let mut bench = Bench::new();
    let (ada, bob) = (bench.login(1, "ada"), bench.login(2, "bob"));
    bench.join(1, "r", 1, 4);
    bench.join(2, "r", 1, 4);
    bench.link(Role::Rooms, vec![event("r", 1, 7)]);
    let asked = resync(&mut bench);
    let reset = Resynced {
        number: asked.number,
        room: "r".to_owned(),
        epoch: 1,
        head: 5_000,
        reset: true,
        events: Vec::new(),
    };
    bench.link(
        Role::Rooms,
        vec![LinkPacket::Resynced(Arc::new(reset)), event("r", 1, 5_001)],
    );
    check(&ada, &["ack j", "notice resumeRoom"]);
    check(&bob, &["ack j", "notice resumeRoom"]);
    for _ in 0..2 {
        assert!(matches!(bench.packet(), Packet::RoomDetach(_)));
    }
    bench.no_packet();
}

#[test]
fn lost_link_resyncs_every_room_of_that_node() {
    let mut bench = Bench::new();
    bench.login(1, "ada");
    bench.join(1, "r", 1, 4);
    bench.join(1, "s", 1, 9);
    bench.link(Role::Rooms, vec![LinkPacket::Lost]);
    let mut asked = [resync(&mut bench), resync(&mut bench)];
    asked.sort_by_key(|resync| resync.after_offset);
    let [r, s] = asked;
    assert_eq!((r.room.as_str(), r.after_offset), ("r", 4));
    assert_eq!((s.room.as_str(), s.after_offset), ("s", 9));
    bench.link(Role::Rooms, vec![resynced(&r, 1, 4), resynced(&s, 2, 9)]);
    bench.wait(5_000);
    bench.no_packet();
}

#[test]
fn join_that_knows_more_than_the_stream_gets_nothing_twice() {
    let mut bench = Bench::new();
    let (ada, bob) = (bench.login(1, "ada"), bench.login(2, "bob"));
    bench.join(1, "r", 1, 4);
    bench.join(2, "r", 1, 6);
    let asked = resync(&mut bench);
    assert_eq!(asked.after_offset, 4);
    bench.link(
        Role::Rooms,
        vec![event("r", 1, 7), resynced(&asked, 1, 7), event("r", 1, 8)],
    );
    check(&ada, &["ack j", "event 5", "event 6", "event 7", "event 8"]);
    check(&bob, &["ack j", "event 7", "event 8"]);
}

#[test]
fn join_answered_after_a_resync_that_did_not_list_it_is_listed_by_another() {
    let mut bench = Bench::new();
    bench.login(1, "ada");
    bench.login(2, "bob");
    bench.join(1, "r", 1, 4);
    bench.command(2, "j", join("r"));
    let join = bench.room_request().request;
    bench.link(Role::Rooms, vec![event("r", 1, 6)]);
    let asked = resync(&mut bench);
    assert_eq!(asked.sessions.len(), 1);
    bench.reply(Role::Rooms, join, joined("r", 1, 6));
    bench.no_packet();
    bench.link(Role::Rooms, vec![resynced(&asked, 1, 6)]);
    let asked = resync(&mut bench);
    assert_eq!((asked.after_offset, asked.sessions.len()), (6, 2));
    bench.link(Role::Rooms, vec![resynced(&asked, 1, 6)]);
    bench.wait(5_000);
    bench.no_packet();
}

#[test]
fn join_of_an_owner_that_is_none_any_more_is_to_be_repeated() {
    let mut bench = Bench::new();
    let (ada, bob) = (bench.login(1, "ada"), bench.login(2, "bob"));
    bench.join(1, "r", 2, 4);
    bench.join(2, "r", 1, 4);
    check(&bob, &["ack j", "notice resumeRoom"]);
    bench.link(Role::Rooms, vec![event("r", 2, 5)]);
    check(&ada, &["ack j", "event 5"]);
    check(&bob, &[]);
}

#[test]
fn all_sessions_of_a_user_who_left_stop_listening() {
    let mut bench = Bench::new();
    let (one, two, bob) = (
        bench.login(1, "ada"),
        bench.login(2, "ada"),
        bench.login(3, "bob"),
    );
    for session in [1, 2, 3] {
        bench.join(session, "r", 1, 4);
    }
    for wire in [&one, &two, &bob] {
        check(wire, &["ack j"]);
    }
    bench.link(Role::Rooms, vec![left("r", 5, "ada"), event("r", 1, 6)]);
    check(&one, &["event 5"]);
    check(&two, &["event 5"]);
    check(&bob, &["event 5", "event 6"]);
    bench.no_packet();
}

#[test]
fn user_who_left_and_came_back_behind_a_hole_goes_on_listening() {
    let mut bench = Bench::new();
    let (ada, bob) = (bench.login(1, "ada"), bench.login(2, "bob"));
    bench.join(1, "r", 1, 4);
    bench.join(2, "r", 1, 4);
    // What came after 4 is lost on the way; meanwhile ada left and joined again.
    bench.join(1, "r", 1, 7);
    let asked = resync(&mut bench);
    assert_eq!(asked.after_offset, 4);
    bench.link(
        Role::Rooms,
        vec![
            event("r", 1, 5),
            left("r", 6, "ada"),
            event("r", 1, 7),
            event("r", 1, 8),
        ],
    );
    check(&ada, &["ack j", "ack j", "event 8"]);
    check(&bob, &["ack j", "event 5", "event 6", "event 7", "event 8"]);
}

#[test]
fn session_that_left_or_ended_is_told_nothing_and_detached() {
    let mut bench = Bench::new();
    let (ada, bob) = (bench.login(1, "ada"), bench.login(2, "bob"));
    bench.join(1, "r", 1, 4);
    bench.join(2, "r", 1, 4);
    check(&ada, &["ack j"]);
    bench.command(
        1,
        "l",
        Command::Leave(v1::Leave {
            room: "r".to_owned(),
            session_only: true,
        }),
    );
    let leave = bench.room_request().request;
    let done = acked(ack::Result::Done(v1::Done {}));
    bench.link(
        Role::Rooms,
        vec![event("r", 1, 5), reply(leave, done), event("r", 1, 6)],
    );
    check(&ada, &["event 5", "ack l"]);
    check(&bob, &["ack j", "event 5", "event 6"]);
    bench.give(Input::Gone {
        session: SessionId(2),
    });
    assert!(matches!(bench.packet(), Packet::RoomDetach(detach) if detach.session == 2));
    assert!(matches!(bench.packet(), Packet::SessionClosed(_)));
    bench.link(Role::Rooms, vec![event("r", 1, 7)]);
    bench.no_packet();
}

#[test]
fn join_answered_after_its_session_ended_is_detached() {
    let mut bench = Bench::new();
    bench.login(1, "ada");
    bench.command(1, "j", join("r"));
    let request = bench.room_request().request;
    bench.give(Input::Gone {
        session: SessionId(1),
    });
    assert!(matches!(bench.packet(), Packet::SessionClosed(_)));
    bench.reply(Role::Rooms, request, joined("r", 1, 4));
    assert!(matches!(bench.packet(), Packet::RoomDetach(detach) if detach.session == 1));
}

/// Presence tells these sessions that their user left by the event at that offset.
fn left_elsewhere(sessions: &[u64], offset: u64) -> LinkPacket {
    let left = v1::LeftRoom {
        room: "r".to_owned(),
        offset,
    };
    let notice = v1::Notice {
        body: Some(v1::notice::Body::LeftRoom(left.clone())),
    };
    LinkPacket::Delivery(Arc::new(Delivery {
        sessions: sessions.iter().copied().map(SessionId).collect(),
        frame: SharedFrame::new(Body::Notice, notice.encode_to_vec().into()),
        left_room: Some(left),
        told_of: None,
    }))
}

#[test]
fn notice_that_the_user_left_elsewhere_ends_listening() {
    // By a node that does not say where, at the next offset, and behind a hole.
    for offset in [0, 5, 7] {
        let mut bench = Bench::new();
        let ada = bench.login(2, "ada");
        bench.join(2, "r", 1, 4);
        bench.link(Role::Presence, vec![left_elsewhere(&[2, 99], offset)]);
        bench.link(Role::Rooms, vec![event("r", 1, 5)]);
        check(&ada, &["ack j", "notice leftRoom"]);
    }
}

#[test]
fn late_word_of_a_leave_does_not_end_who_joined_again() {
    let mut bench = Bench::new();
    let (ada, bob, eve) = (
        bench.login(1, "ada"),
        bench.login(2, "bob"),
        bench.login(3, "eve"),
    );
    bench.join(1, "r", 1, 4);
    bench.join(2, "r", 1, 4);
    bench.link(Role::Rooms, vec![left("r", 5, "ada")]);
    bench.join(1, "r", 1, 6);
    let asked = resync(&mut bench);
    bench.link(Role::Presence, vec![left_elsewhere(&[1], 5)]);
    bench.link(Role::Rooms, vec![resynced(&asked, 1, 6), event("r", 1, 7)]);
    check(&ada, &["ack j", "event 5", "ack j", "event 7"]);
    check(&bob, &["ack j", "event 5", "event 6", "event 7"]);
    // Ahead of the stream, whose hole has the leave.
    bench.join(3, "r", 1, 7);
    bench.join(3, "r", 1, 10);
    bench.link(Role::Presence, vec![left_elsewhere(&[3], 9)]);
    let asked = resync(&mut bench);
    bench.link(
        Role::Rooms,
        vec![resynced(&asked, 1, 10), event("r", 1, 11)],
    );
    check(&eve, &["ack j", "ack j", "event 11"]);
}

#[test]
fn who_left_behind_a_hole_is_told_so_and_the_others_go_on() {
    let mut bench = Bench::new();
    let (ada, bob, eve) = (
        bench.login(1, "ada"),
        bench.login(2, "bob"),
        bench.login(3, "eve"),
    );
    for session in [1, 2, 3] {
        bench.join(session, "r", 1, 4);
    }
    // bob's leave, on another device, is lost on the way.
    bench.link(Role::Rooms, vec![event("r", 1, 6)]);
    let asked = resync(&mut bench);
    assert_eq!(asked.sessions.len(), 3);
    let packets = vec![
        room_refused(&asked, 1, &[2]),
        resynced(&asked, 1, 6),
        event("r", 1, 7),
    ];
    bench.link(Role::Rooms, packets);
    for wire in [&ada, &eve] {
        check(wire, &["ack j", "event 5", "event 6", "event 7"]);
    }
    check(&bob, &["ack j", "notice leftRoom"]);
    bench.wait(5_000);
    // The owner does not list it, so nothing is to be taken back; nothing more is asked.
    bench.no_packet();
}

#[test]
fn room_whose_last_listener_left_behind_a_hole_is_forgotten() {
    let mut bench = Bench::new();
    let bob = bench.login(2, "bob");
    bench.join(2, "r", 1, 4);
    bench.link(Role::Rooms, vec![LinkPacket::Lost]);
    let asked = resync(&mut bench);
    let packets = vec![
        room_refused(&asked, 1, &[2, 99]),
        resynced(&asked, 1, 6),
        event("r", 1, 7),
    ];
    bench.link(Role::Rooms, packets);
    check(&bob, &["ack j", "notice leftRoom"]);
    bench.wait(5_000);
    bench.no_packet();
    // A new start, should the user come back.
    bench.join(2, "r", 1, 8);
    bench.link(Role::Rooms, vec![event("r", 1, 9)]);
    check(&bob, &["ack j", "event 9"]);
}

#[test]
fn refusal_of_an_older_resync_or_owner_ends_nothing() {
    let mut bench = Bench::new();
    let bob = bench.login(2, "bob");
    bench.join(2, "r", 2, 4);
    bench.link(Role::Rooms, vec![LinkPacket::Lost]);
    let old = resync(&mut bench);
    bench.link(Role::Rooms, vec![LinkPacket::Lost]);
    let asked = resync(&mut bench);
    let packets = vec![
        room_refused(&old, 2, &[2]),
        room_refused(&asked, 1, &[2]),
        resynced(&asked, 2, 4),
        event("r", 2, 5),
    ];
    bench.link(Role::Rooms, packets);
    check(&bob, &["ack j", "event 5"]);
}

#[test]
fn resume_refused_to_who_left_ends_listening() {
    let mut bench = Bench::new();
    let (ada, bob) = (bench.login(1, "ada"), bench.login(2, "bob"));
    bench.join(1, "r", 1, 4);
    bench.join(2, "r", 1, 4);
    bench.command(2, "again", resume("r", 4));
    let request = bench.room_request();
    assert!(matches!(
        request.command,
        Some(room_request::Command::Join(join)) if join.resume
    ));
    let packets = vec![
        event("r", 1, 5),
        reply(request.request, refused(Code::NotMember)),
        event("r", 1, 6),
    ];
    bench.link(Role::Rooms, packets);
    check(&ada, &["ack j", "event 5", "event 6"]);
    check(&bob, &["ack j", "event 5", "error again NOT_MEMBER"]);
    // Refused for another reason, it goes on as it was.
    bench.command(1, "again", resume("r", 6));
    let request = bench.room_request().request;
    let packets = vec![reply(request, refused(Code::Unavailable)), event("r", 1, 7)];
    bench.link(Role::Rooms, packets);
    check(&ada, &["error again UNAVAILABLE", "event 7"]);
}
