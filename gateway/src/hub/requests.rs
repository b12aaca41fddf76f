//! Requests of a lane that wait for their reply, and commands that need several.

use prost::Message as _;
use rookery_cluster::Role;
use rookery_proto::{
    ids::SessionId,
    link::{RoomRequest, UserRequest, packet},
    shard::Shard,
    v1::{Presence, RoomPage, presence::Status},
};
use rustc_hash::FxHashMap;

use super::wheel::Millis;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) session: SessionId,
    /// Id of the client's frame.
    pub(super) id: String,
    pub(super) then: Then,
    pub(super) deadline: Millis,
    /// Kept for another owner, should the first not be it.
    pub(super) ask: Ask,
    /// Bytes of `ask`, as counted against the lane's bound.
    pub(super) bytes: usize,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Room(Box<RoomRequest>),
    User(Box<UserRequest>),
}

impl Ask {
    /// Whose owner is asked.
    pub(super) fn target(&self) -> (Role, Shard) {
        match self {
            Self::Room(request) => (Role::Rooms, Shard::of(&request.room)),
            Self::User(request) => (Role::Presence, Shard::of(&request.user)),
        }
    }

    pub(super) fn body(&self) -> packet::Body {
        match self {
            Self::Room(request) => packet::Body::RoomRequest((**request).clone()),
            Self::User(request) => packet::Body::UserRequest((**request).clone()),
        }
    }

    pub(super) fn room(&self) -> &str {
        match self {
            Self::Room(request) => &request.room,
            Self::User(_) => "",
        }
    }

    pub(super) fn number(&mut self, number: u64) {
        match self {
            Self::Room(request) => request.request = number,
            Self::User(request) => request.request = number,
        }
    }

    /// The number it was sent under.
    pub(super) fn sent_as(&self) -> u64 {
        match self {
            Self::Room(request) => request.request,
            Self::User(request) => request.request,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Room(request) => request.encoded_len(),
            Self::User(request) => request.encoded_len(),
        }
    }
}

/// What to do with the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Pass it on.
    Answer,
    /// The session listens from here on, then pass it on.
    Join,
    /// The session listens no more, then pass it on.
    Leave,
    /// The user's status as this device tells it, then pass it on.
    Status(Status),
    /// Ask each room of the list for its summary.
    RoomList,
    /// One part of a gathering.
    Part { gathering: u64, slot: usize },
    /// Tell the session as a signal.
    Rewatch,
}

/// A command answered once several replies are in.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) session: SessionId,
    pub(super) id: String,
    pub(super) parts: Parts,
    /// Replies still missing.
    pub(super) missing: usize,
}

/// What is gathered.
#[derive(Debug)]
pub(super) enum Parts {
    Rooms(RoomPage),
    Watch {
        users: Vec<Presence>,
        /// Whether any user's owner has answered, be it that nothing is known yet.
        answered: bool,
    },
    Unwatch,
}

/// All of a lane.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: FxHashMap<u64, Request>,
    gatherings: FxHashMap<u64, Gathering>,
    last_number: u64,
    bytes: usize,
}

impl Requests {
    /// A number never used before.
    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) fn insert(&mut self, number: u64, request: Request) {
        self.bytes += request.bytes;
        self.waiting.insert(number, request);
    }

    pub(super) fn take(&mut self, number: u64) -> Option<Request> {
        let request = self.waiting.remove(&number)?;
        self.bytes -= request.bytes;
        Some(request)
    }

    pub(super) fn get(&self, number: u64) -> Option<&Request> {
        self.waiting.get(&number)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Opens a gathering under a number of its own.
    pub(super) fn gather(&mut self, gathering: Gathering) -> u64 {
        let number = self.next_number();
        self.gatherings.insert(number, gathering);
        number
    }

    pub(super) fn gathering(&mut self, number: u64) -> Option<&mut Gathering> {
        self.gatherings.get_mut(&number)
    }

    pub(super) fn end_gathering(&mut self, number: u64) -> Option<Gathering> {
        self.gatherings.remove(&number)
    }
}
