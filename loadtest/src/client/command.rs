//! The commands of the wire, each made in one call.

use rookery_proto::v1;
pub use rookery_proto::v1::client_frame::Command;

/// A group room. `client_id` makes a retry return the first result; empty: none.
#[must_use]
pub fn create_group(room: &str, public: bool, members: &[&str], client_id: &str) -> Command {
    Command::CreateRoom(v1::CreateRoom {
        room: room.to_owned(),
        kind: v1::room::Kind::Group.into(),
        name: room.to_owned(),
        members: members.iter().map(|member| (*member).to_owned()).collect(),
        public,
        client_id: client_id.to_owned(),
    })
}

/// A direct room with one other user.
#[must_use]
pub fn create_direct(other: &str) -> Command {
    Command::CreateRoom(v1::CreateRoom {
        kind: v1::room::Kind::Direct.into(),
        members: vec![other.to_owned()],
        ..v1::CreateRoom::default()
    })
}

/// A channel.
#[must_use]
pub fn create_channel(room: &str) -> Command {
    Command::CreateRoom(v1::CreateRoom {
        room: room.to_owned(),
        kind: v1::room::Kind::Channel.into(),
        name: room.to_owned(),
        ..v1::CreateRoom::default()
    })
}

/// Joins without events.
#[must_use]
pub fn join(room: &str) -> Command {
    Command::Join(v1::Join {
        room: room.to_owned(),
        ..v1::Join::default()
    })
}

/// Joins with all events after an offset; 0 is the beginning.
#[must_use]
pub fn join_after(room: &str, offset: u64) -> Command {
    Command::Join(v1::Join {
        room: room.to_owned(),
        from: Some(v1::join::From::AfterOffset(offset)),
        resume: false,
    })
}

/// Takes up a room that the user has, after an offset; makes nobody a member.
#[must_use]
pub fn resume(room: &str, offset: u64) -> Command {
    Command::Join(v1::Join {
        room: room.to_owned(),
        from: Some(v1::join::From::AfterOffset(offset)),
        resume: true,
    })
}

/// Joins with the newest `messages`.
#[must_use]
pub fn join_last(room: &str, messages: u32) -> Command {
    Command::Join(v1::Join {
        room: room.to_owned(),
        from: Some(v1::join::From::Last(messages)),
        resume: false,
    })
}

/// Watches the presence of users.
#[must_use]
pub fn watch_presence(users: &[String]) -> Command {
    Command::WatchPresence(v1::WatchPresence {
        users: users.to_vec(),
    })
}

/// Leaves a room; `session_only` stays a member.
#[must_use]
pub fn leave(room: &str, session_only: bool) -> Command {
    Command::Leave(v1::Leave {
        room: room.to_owned(),
        session_only,
    })
}

/// Sends a message; `client_id` may be empty.
#[must_use]
pub fn send(room: &str, text: &str, client_id: &str) -> Command {
    Command::Send(v1::Send {
        room: room.to_owned(),
        text: text.to_owned(),
        client_id: client_id.to_owned(),
    })
}

/// Edits the message at `target`.
#[must_use]
pub fn edit(room: &str, target: u64, text: &str) -> Command {
    Command::Edit(v1::Edit {
        room: room.to_owned(),
        target,
        text: text.to_owned(),
    })
}

/// Deletes the message at `target`.
#[must_use]
pub fn delete(room: &str, target: u64) -> Command {
    Command::Delete(v1::Delete {
        room: room.to_owned(),
        target,
    })
}

/// Reacts to the message at `target`.
#[must_use]
pub fn react(room: &str, target: u64, emoji: &str) -> Command {
    Command::React(v1::React {
        room: room.to_owned(),
        target,
        emoji: emoji.to_owned(),
    })
}

/// Takes a reaction back.
#[must_use]
pub fn unreact(room: &str, target: u64, emoji: &str) -> Command {
    Command::Unreact(v1::Unreact {
        room: room.to_owned(),
        target,
        emoji: emoji.to_owned(),
    })
}

/// Moves the own cursor forward.
#[must_use]
pub fn mark_read(room: &str, offset: u64) -> Command {
    Command::MarkRead(v1::MarkRead {
        room: room.to_owned(),
        offset,
    })
}

/// Says that the user types, or stopped.
#[must_use]
pub fn typing(room: &str, active: bool) -> Command {
    Command::Typing(v1::Typing {
        room: room.to_owned(),
        active,
    })
}

/// A page after an offset (exclusive).
#[must_use]
pub fn history_after(room: &str, offset: u64, limit: u32) -> Command {
    Command::History(v1::History {
        room: room.to_owned(),
        from: Some(v1::history::From::AfterOffset(offset)),
        limit,
    })
}

/// A page before an offset (exclusive).
#[must_use]
pub fn history_before(room: &str, offset: u64, limit: u32) -> Command {
    Command::History(v1::History {
        room: room.to_owned(),
        from: Some(v1::history::From::BeforeOffset(offset)),
        limit,
    })
}

/// The newest page.
#[must_use]
pub fn history_newest(room: &str, limit: u32) -> Command {
    Command::History(v1::History {
        room: room.to_owned(),
        from: None,
        limit,
    })
}

/// One page of the own rooms after a room id.
#[must_use]
pub fn rooms(after: &str, limit: u32) -> Command {
    Command::Rooms(v1::Rooms {
        after: after.to_owned(),
        limit,
    })
}

/// The room a command is about, where it is about one.
#[must_use]
pub fn room_of(command: &Command) -> Option<&str> {
    Some(match command {
        Command::CreateRoom(c) => &c.room,
        Command::Join(c) => &c.room,
        Command::Leave(c) => &c.room,
        Command::Send(c) => &c.room,
        Command::Edit(c) => &c.room,
        Command::Delete(c) => &c.room,
        Command::React(c) => &c.room,
        Command::Unreact(c) => &c.room,
        Command::MarkRead(c) => &c.room,
        Command::Typing(c) => &c.room,
        Command::History(c) => &c.room,
        Command::Authenticate(_)
        | Command::RefreshToken(_)
        | Command::Ping(_)
        | Command::Rooms(_)
        | Command::SetPresence(_)
        | Command::WatchPresence(_)
        | Command::UnwatchPresence(_) => return None,
    })
}
