//! What the gateway asks again, and what the log shows twice then.

use rookery_proto::v1::{self, ack::Result as Answer, event::Body, server_frame::Frame};

use super::made::{History, ROOM, appended, event_of, person};
use crate::{
    checker::{Report, Verdict, check},
    client::command,
};

fn joins(offset: u64) -> v1::Event {
    let member = v1::Member {
        user: Some(person("bob")),
        ..v1::Member::default()
    };
    let body = Body::MemberJoined(v1::MemberJoined {
        member: Some(member),
    });
    event_of("bob", offset, body)
}

fn leaves(offset: u64) -> v1::Event {
    let body = Body::MemberLeft(v1::MemberLeft {
        user: Some(person("bob")),
    });
    event_of("bob", offset, body)
}

fn message(offset: u64) -> v1::Event {
    let body = Body::Message(v1::Message {
        text: "hi".to_owned(),
        client_id: "m".to_owned(),
        ..v1::Message::default()
    });
    event_of("ada", offset, body)
}

fn opened() -> v1::Event {
    let room = v1::Room {
        kind: v1::room::Kind::Group.into(),
        ..v1::Room::default()
    };
    let body = Body::RoomOpened(v1::RoomOpened {
        room: Some(room),
        ..v1::RoomOpened::default()
    });
    event_of("ada", 1, body)
}

/// Bob is in the room, leaves on one device and joins on the other at the same time.
fn begun() -> History {
    let mut history = History::new();
    history.ask(0, "o", command::create_group(ROOM, true, &[], ""));
    let room = v1::Room {
        id: ROOM.to_owned(),
        ..v1::Room::default()
    };
    let created = v1::RoomCreated { room: Some(room) };
    history.ack(0, "o", Answer::RoomCreated(created));
    history.ask(1, "j", command::join(ROOM));
    history.frame(0, Frame::Event(joins(2)));
    history.ask(1, "l", command::leave(ROOM, false));
    history.ask(3, "j", command::join(ROOM));
    history
}

/// The log has the leave twice. Ada sends a message between, before or after the leave was
/// acknowledged.
fn told(acked_before_message: bool) -> Report {
    let mut history = begun();
    let done = || Answer::Done(v1::Done {});
    if acked_before_message {
        history.ack(1, "l", done());
    }
    history.ask(0, "m", command::send(ROOM, "hi", "m"));
    history.ack(0, "m", appended(5));
    if !acked_before_message {
        history.ack(1, "l", done());
    }
    history.read(vec![
        opened(),
        joins(2),
        leaves(3),
        joins(4),
        message(5),
        leaves(6),
    ]);
    check(&history.0)
}

#[test]
fn leave_done_again_behind_a_join_elsewhere_is_sound_while_it_had_no_answer() {
    let report = told(false);
    assert!(report.is_sound(), "{report}");
}

/// The same, and later bob comes and goes twice more: those are the later commands' events.
#[test]
fn event_is_not_taken_for_that_of_a_command_that_began_after_it_was_known() {
    let mut history = begun();
    let done = || Answer::Done(v1::Done {});
    for event in [leaves(3), joins(4), leaves(5)] {
        history.frame(0, Frame::Event(event));
    }
    history.ack(1, "l", done());
    for (number, offset) in [("2", 6), ("3", 8)] {
        let (join, leave) = (format!("j{number}"), format!("l{number}"));
        history.ask(1, &join, command::join(ROOM));
        history.frame(0, Frame::Event(joins(offset)));
        let room = v1::Room {
            id: ROOM.to_owned(),
            member_count: 1,
            ..v1::Room::default()
        };
        let joined = v1::Joined {
            room: Some(room),
            head: offset,
            cursor: offset,
            ..v1::Joined::default()
        };
        history.ack(1, &join, Answer::Joined(joined));
        history.ask(1, &leave, command::leave(ROOM, false));
        history.frame(0, Frame::Event(leaves(offset + 1)));
        history.ack(1, &leave, done());
    }
    let comings = [joins(2), leaves(3), joins(4), leaves(5)];
    let later = [joins(6), leaves(7), joins(8), leaves(9)];
    history.read([&[opened()][..], &comings, &later].concat());
    let report = check(&history.0);
    assert!(report.is_sound(), "{report}");
}

#[test]
fn leave_done_again_after_it_was_acknowledged_is_a_duplicate() {
    let report = told(true);
    assert_eq!(report.verdicts(), [Verdict::Duplicate], "{report}");
}
