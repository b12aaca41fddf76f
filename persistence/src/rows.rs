//! The things stored. Every row derived from an event carries the event's offset and epoch.

use bytes::Bytes;
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    v1,
};

/// What an event is, as stored. Numbers are for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// The room's first event.
    RoomOpened = 1,
    /// A new message.
    Message = 2,
    /// An edit of a message.
    Edited = 3,
    /// The deletion of a message.
    Deleted = 4,
    /// A reaction on a message.
    ReactionAdded = 5,
    /// The end of a reaction.
    ReactionRemoved = 6,
    /// A new member.
    MemberJoined = 7,
    /// A member who left.
    MemberLeft = 8,
}

impl EventKind {
    /// The kind of that number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::RoomOpened,
            2 => Self::Message,
            3 => Self::Edited,
            4 => Self::Deleted,
            5 => Self::ReactionAdded,
            6 => Self::ReactionRemoved,
            7 => Self::MemberJoined,
            8 => Self::MemberLeft,
            _ => return None,
        })
    }
}

/// One event at its offset. Key: (room, offset, epoch).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Where it stands.
    pub offset: Offset,
    /// Under which ownership it was written.
    pub epoch: Epoch,
    /// What it is.
    pub kind: EventKind,
    /// Messages in the log up to and including this row.
    pub message_count: u64,
    /// The message an edit, delete or reaction is about; [`Offset::ZERO`] otherwise. A row with a
    /// target is also kept as a [`MarkRow`].
    pub target: Offset,
    /// The encoded `rookery.v1.Event`: the bytes that clients' frames are made of.
    pub event: Bytes,
}

/// An edit, delete or reaction, found by its message. Key: (room, target, offset, epoch).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkRow {
    /// The message.
    pub target: Offset,
    /// Offset of the marking event.
    pub offset: Offset,
    /// Epoch of the marking event.
    pub epoch: Epoch,
    /// What it is.
    pub kind: EventKind,
    /// The encoded `rookery.v1.Event`.
    pub event: Bytes,
}

/// A room's settings as of an event. Key: (room, offset, epoch).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRow {
    /// Offset of the event that made them so.
    pub offset: Offset,
    /// Its epoch.
    pub epoch: Epoch,
    /// Group, direct or channel.
    pub kind: v1::room::Kind,
    /// Display name.
    pub name: String,
    /// Anyone may join (groups).
    pub public: bool,
    /// Who created it.
    pub creator: UserId,
    /// `clientId` of its creation; may be empty.
    pub client_id: String,
}

/// A user's membership as of an event. Key: (room, user, offset, epoch).
///
/// Also kept by user, as [`UserRoomRow`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// The user.
    pub user: UserId,
    /// Display name of that moment.
    pub name: String,
    /// Offset of the event.
    pub offset: Offset,
    /// Its epoch.
    pub epoch: Epoch,
    /// The role; `None`: not a member any more.
    pub role: Option<v1::member::Role>,
}

/// A membership found by its user. The newest row per room only nominates: the room decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRoomRow {
    /// The room.
    pub room: RoomId,
    /// Offset of the event.
    pub offset: Offset,
    /// Its epoch.
    pub epoch: Epoch,
    /// In, or out again.
    pub member: bool,
}

/// The result of a `send` with a `clientId`. Key: (room, user, client id, offset, epoch).
/// Kept for [`crate::limits::SENT_ID_TTL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentRow {
    /// Who sent.
    pub user: UserId,
    /// The client's id.
    pub client_id: String,
    /// Offset it got.
    pub offset: Offset,
    /// Its epoch.
    pub epoch: Epoch,
    /// XXH3-64 of what was sent, to tell a retry from a conflict.
    pub digest: u64,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
}

/// How far a user has read a room. Only ever written for committed events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorRow {
    /// The user.
    pub user: UserId,
    /// Read up to here.
    pub offset: Offset,
    /// Messages in the log up to that offset.
    pub message_count: u64,
}

/// What is kept of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserRow {
    /// When the user was last seen, in milliseconds since the Unix epoch; 0: never.
    pub last_seen_ms: u64,
}

/// What one room adds in one group commit.
#[derive(Clone, Debug)]
pub struct RoomWrite {
    /// The room.
    pub room: RoomId,
    /// Events, by ascending offset. Rows with a target are kept as marks too.
    pub log: Vec<LogRow>,
    /// New settings.
    pub settings: Option<RoomRow>,
    /// Memberships that began, changed or ended.
    pub members: Vec<MemberRow>,
    /// Client ids of sends. Rooms write them behind the events they are of.
    pub sent: Vec<SentRow>,
    /// Cursors that moved, each user once.
    pub cursors: Vec<CursorRow>,
}

impl RoomWrite {
    /// Nothing to write yet.
    #[must_use]
    pub const fn new(room: RoomId) -> Self {
        Self {
            room,
            log: Vec::new(),
            settings: None,
            members: Vec::new(),
            sent: Vec::new(),
            cursors: Vec::new(),
        }
    }
}
