//! What goes into a room.

use rookery_cluster::EndpointId;
use rookery_persistence::{LogRow, MarkRow, SentRow};
use rookery_proto::{
    errors::WireError,
    ids::{Offset, UserId},
    link::{self, Grant},
};
use tokio::time::Instant;

use crate::limits::LANES_MAX;

/// Both clocks, read by the shell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// Milliseconds since the Unix epoch; may step.
    pub(crate) ms: u64,
    /// Monotonic.
    pub(crate) at: Instant,
}

/// Stands for one request that waits for its reply. The shell knows who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ticket(pub(crate) usize);

/// Who speaks, checked.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) user: UserId,
    pub(crate) name: String,
    pub(crate) session: u64,
    pub(crate) lane: u32,
    pub(crate) gateway: EndpointId,
    pub(crate) grant: Grant,
}

impl Who {
    /// Takes a gateway's word for who speaks.
    pub(crate) fn new(gateway: &EndpointId, caller: link::Caller) -> Result<Self, WireError> {
        let user = UserId::parse(&caller.user)
            .map_err(|error| WireError::invalid("caller.user", error.to_string()))?;
        if caller.lane >= LANES_MAX {
            return Err(WireError::invalid("caller.lane", "must be below 64"));
        }
        Ok(Self {
            user,
            grant: caller.grant(),
            name: caller.name,
            session: caller.session,
            lane: caller.lane,
            gateway: gateway.clone(),
        })
    }
}

/// What a lane asks that lost a room's stream, or whose room has a new owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResyncAsk {
    pub(crate) lane: u32,
    /// The last offset it has; `None`: more sessions of the resync before it.
    pub(crate) after: Option<Offset>,
    /// Returned in the answer.
    pub(crate) number: u64,
}

/// What a command must know that is not in memory. The room waits while the shell reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A message older than the ring, with its marks.
    Message(Offset),
    /// The newest sent ids of a user.
    Sender(UserId),
    /// One sent id of a user who has more than memory keeps.
    SentId(UserId, String),
    /// The message count at an offset older than the ring.
    Count(Offset),
    /// Rows `from..=to`, some older than the ring, with their marks.
    Page(Offset, Offset),
    /// Whether this node still owns the room: a client knows an offset beyond the head.
    Fence,
}

impl Need {
    /// For metrics and logs.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::Sender(_) => "sender",
            Self::SentId(..) => "sent_id",
            Self::Count(_) => "count",
            Self::Page(..) => "page",
            Self::Fence => "fence",
        }
    }
}

/// What the store said. Rows of all epochs: the state keeps the canonical ones.
#[derive(Debug)]
pub(crate) enum Fact {
    Message {
        target: Offset,
        rows: Vec<LogRow>,
        marks: Vec<MarkRow>,
    },
    Sender {
        user: UserId,
        rows: Vec<SentRow>,
    },
    SentId {
        user: UserId,
        client_id: String,
        rows: Vec<SentRow>,
    },
    Count {
        offset: Offset,
        rows: Vec<LogRow>,
    },
    Page {
        from: Offset,
        to: Offset,
        rows: Vec<LogRow>,
        marks: Vec<MarkRow>,
    },
    /// The fence was read: this node owns the room.
    NotFenced,
}
