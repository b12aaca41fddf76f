//! Edges of the machine, one by one. Here is what the tests share.

mod cursors;
mod derived;
mod messages;
mod rooms;

use rookery_proto::{
    errors::Code,
    limits::TEXT_BYTES_MAX,
    link::{Grant, room_request::Command},
    v1::{self, ack, notice, room::Kind, signal},
};
use tokio::time::Duration;

use super::sim::{Answer, Sim, create, gateway, user_name};
use crate::{
    limits::{EMOJI_PER_MESSAGE_MAX, IN_FLIGHT_EVENTS_MAX, Memory, RoomLimits},
    request::unavailable,
    room::effects::Effects,
};

pub(super) fn sim() -> Sim {
    Sim::new(Memory::default())
}

/// A private group of users 0 (owner) and 1.
pub(super) fn group() -> Sim {
    let mut sim = sim();
    run(&mut sim, 0, create(Kind::Group, &[1], false)).unwrap();
    sim
}

pub(super) fn channel() -> Sim {
    let mut sim = sim();
    sim.run(
        Sim::who(0, 0, Grant::Admin),
        create(Kind::Channel, &[], false),
    )
    .unwrap();
    sim
}

pub(super) fn run(sim: &mut Sim, user: usize, command: Command) -> Answer {
    sim.run(Sim::who(user, user as u64, Grant::None), command)
}

pub(super) fn send(text: &str, client_id: &str) -> Command {
    Command::Send(v1::Send {
        room: "r".into(),
        text: text.into(),
        client_id: client_id.into(),
    })
}

pub(super) fn edit(target: u64, text: &str) -> Command {
    Command::Edit(v1::Edit {
        room: "r".into(),
        target,
        text: text.into(),
    })
}

pub(super) fn delete(target: u64) -> Command {
    Command::Delete(v1::Delete {
        room: "r".into(),
        target,
    })
}

pub(super) fn react(target: u64, emoji: &str) -> Command {
    Command::React(v1::React {
        room: "r".into(),
        target,
        emoji: emoji.into(),
    })
}

pub(super) fn unreact(target: u64, emoji: &str) -> Command {
    Command::Unreact(v1::Unreact {
        room: "r".into(),
        target,
        emoji: emoji.into(),
    })
}

pub(super) fn leave(session_only: bool) -> Command {
    Command::Leave(v1::Leave {
        room: "r".into(),
        session_only,
    })
}

pub(super) fn join(from: Option<v1::join::From>) -> Command {
    Command::Join(v1::Join {
        room: "r".into(),
        from,
        resume: false,
    })
}

pub(super) fn resume(after: u64) -> Command {
    Command::Join(v1::Join {
        room: "r".into(),
        from: Some(v1::join::From::AfterOffset(after)),
        resume: true,
    })
}

pub(super) fn history(limit: u32) -> Command {
    Command::History(v1::History {
        room: "r".into(),
        limit,
        from: None,
    })
}

pub(super) fn mark_read(offset: u64) -> Command {
    Command::MarkRead(v1::MarkRead {
        room: "r".into(),
        offset,
    })
}

pub(super) fn offset(answer: Answer) -> u64 {
    match answer {
        Ok(ack::Result::Appended(appended)) => appended.offset,
        other => panic!("not appended: {other:?}"),
    }
}

pub(super) fn joined(answer: Answer) -> v1::Joined {
    match answer {
        Ok(ack::Result::Joined(joined)) => joined,
        other => panic!("not joined: {other:?}"),
    }
}

pub(super) fn check_refused(answer: Answer, code: Code, field: &str) {
    let error = answer.expect_err("must be refused");
    assert_eq!(
        (error.code, error.field.unwrap_or_default()),
        (code, field),
        "{error:?}"
    );
}
