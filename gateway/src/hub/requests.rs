//! Requests of a lane that wait for their reply, and commands that need several.

use prost::Message as _;
use rookery_cluster::{EndpointId, Role};
use rookery_proto::{
    ids::SessionId,
    link::{RoomRequest, UserRequest, packet, room_request},
    shard::Shard,
    v1::{Presence, RoomPage, presence::Status, room::Kind},
};
use rustc_hash::FxHashMap;

use super::routes::Target;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) session: SessionId,
    /// Id of the client's frame.
    pub(super) id: String,
    pub(super) then: Then,
    /// Kept for another owner, should the first not be it.
    pub(super) ask: Ask,
    /// Bytes of `ask`, as counted against the lane's bound.
    pub(super) bytes: usize,
    pub(super) state: State,
    /// Times it was sent.
    pub(super) tries: u16,
    /// When it was last sent.
    pub(super) stamp: Stamp,
    /// A join whose owner may have forgotten the session before the answer comes.
    pub(super) relist: bool,
    /// An earlier try may have been done.
    pub(super) maybe_done: bool,
}

/// When a request was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stamp {
    /// Of its shard.
    pub(super) turn: u64,
    /// Among all that the lane sent, from 1.
    pub(super) order: u64,
    /// Resyncs the lane had asked for.
    pub(super) resyncs: u64,
}

/// Where a request is; see [`retries`](super::retries).
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Here: never sent, or certainly not done.
    Held,
    /// On its way to this node, or its answer is.
    Sent(EndpointId),
    /// Sent, and the answer may never come.
    Doubt,
}

impl Request {
    /// A request not sent yet.
    pub(super) fn new(session: SessionId, id: String, then: Then, ask: Ask) -> Self {
        Self {
            session,
            id,
            then,
            bytes: ask.bytes(),
            ask,
            state: State::Held,
            tries: 0,
            stamp: Stamp::default(),
            relist: false,
            maybe_done: false,
        }
    }

    /// Whether it, or its answer, is on the way at that node.
    pub(super) fn is_at(&self, node: &EndpointId) -> bool {
        matches!(&self.state, State::Sent(to) if to == node)
    }

    /// Makes it the next try, sent to that node in that turn.
    pub(super) fn sent(&mut self, key: u64, to: &EndpointId, stamp: Stamp) {
        self.tries = self.tries.wrapping_add(1);
        self.state = State::Sent(to.clone());
        self.stamp = stamp;
        self.relist = false;
        self.ask
            .number(key << TRY_BITS | u64::from(self.tries), stamp.turn);
    }
}

/// A request's number on the wire is its key and, in the lowest bits, which try it is.
const TRY_BITS: u32 = u16::BITS;

/// The request and the try that a reply answers.
pub(super) fn key_and_try(number: u64) -> (u64, u16) {
    let tries = number & u64::from(u16::MAX);
    let tries = u16::try_from(tries).expect("is masked");
    (number >> TRY_BITS, tries)
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Room(Box<RoomRequest>),
    User(Box<UserRequest>),
}

impl Ask {
    /// Whose owner is asked.
    pub(super) fn target(&self) -> Target {
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

    /// Whether asked twice is as good as asked once, for the one who asks too: the second answer is
    /// the first, or what a reader of the log takes for it. An edit or a reaction is not: its
    /// second answer says that nothing had to change, while the first try is in the log.
    pub(super) fn is_repeatable(&self) -> bool {
        use room_request::Command;
        let Self::Room(request) = self else {
            return true;
        };
        match &request.command {
            Some(Command::Send(send)) => !send.client_id.is_empty(),
            Some(Command::CreateRoom(create)) => {
                !create.client_id.is_empty() || create.kind() == Kind::Direct
            }
            Some(
                Command::Edit(_) | Command::Delete(_) | Command::React(_) | Command::Unreact(_),
            ) => false,
            Some(
                Command::Join(_)
                | Command::Leave(_)
                | Command::MarkRead(_)
                | Command::Typing(_)
                | Command::History(_)
                | Command::Summary(_),
            )
            | None => true,
        }
    }

    fn number(&mut self, number: u64, turn: u64) {
        match self {
            Self::Room(request) => {
                request.request = number;
                request.turn = turn;
            }
            Self::User(request) => request.request = number,
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
    last_key: u64,
    bytes: usize,
}

impl Requests {
    /// A key never used before.
    pub(super) fn next_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }

    pub(super) fn insert(&mut self, key: u64, request: Request) {
        self.bytes += request.bytes;
        self.waiting.insert(key, request);
    }

    pub(super) fn take(&mut self, key: u64) -> Option<Request> {
        let request = self.waiting.remove(&key)?;
        self.bytes -= request.bytes;
        Some(request)
    }

    pub(super) fn get(&self, key: u64) -> Option<&Request> {
        self.waiting.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut Request> {
        self.waiting.get_mut(&key)
    }

    /// All that wait, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Request)> {
        self.waiting.iter().map(|(&key, request)| (key, request))
    }

    /// As [`iter`](Self::iter).
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Request> {
        self.waiting.values_mut()
    }

    /// Requests of a shard at that node that were sent after the one of that order.
    pub(super) fn sent_after(&self, order: u64, target: Target, node: &EndpointId) -> Vec<u64> {
        let after = self.iter().filter(|(_, request)| {
            request.stamp.order > order && request.is_at(node) && request.ask.target() == target
        });
        after.map(|(key, _)| key).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Opens a gathering under a number of its own.
    pub(super) fn gather(&mut self, gathering: Gathering) -> u64 {
        let number = self.next_key();
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
