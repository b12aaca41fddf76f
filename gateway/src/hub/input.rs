//! What reaches a lane.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rookery_cluster::{EndpointId, OwnerChanges, Owners};
use rookery_proto::{
    close::CloseCode,
    ids::SessionId,
    link::{Reply, RoomRefused},
    shard::Shard,
    v1::{LeftRoom, client_frame::Command},
};

use super::wire::Socket;
use crate::{
    auth::{AuthError, Claims},
    protocol::{BadFrame, Encoding, SharedFrame},
};

/// One input of a worker. `W` is its end of a socket.
#[derive(Debug)]
pub(crate) enum Input<W = Socket> {
    /// A connection was upgraded. Sent by `conn::start`, before anything else of that session.
    Opened(Box<Opened<W>>),
    /// A reader got a valid command.
    Command {
        session: SessionId,
        /// The frame's id.
        id: String,
        command: Command,
    },
    /// A reader got a message that is no command.
    Invalid {
        session: SessionId,
        bad: Box<BadFrame>,
    },
    /// A reader got a ping.
    Ping { session: SessionId, payload: Bytes },
    /// The client closed.
    PeerClosed {
        session: SessionId,
        code: Option<u16>,
    },
    /// The client broke the protocol; its reader drops all that follows.
    Violated { session: SessionId, code: CloseCode },
    /// The reader has ended. Always the last of a session.
    Gone { session: SessionId },
    /// A socket that was full takes bytes again, or is gone.
    Writable { session: SessionId },
    /// Packets of one peer for this lane. Sent by the inbox task, in the order received.
    Link {
        from: EndpointId,
        packets: Vec<LinkPacket>,
    },
    /// Shards have other owners. Sent by the owners task, each change once and in order.
    Owners(Arc<NewOwners>),
    /// Time has passed. Lost when the lane is full, which looks at the clock with each batch.
    Tick,
    /// Sent by [`Gateway::move_sessions`](crate::Gateway::move_sessions).
    Move { over: Duration },
    /// Closes every session. Sent by [`Gateway::stop`](crate::Gateway::stop).
    CloseAll,
    /// The thread ends.
    Stop,
}

/// A connection that was just upgraded.
#[derive(Debug)]
pub(crate) struct Opened<W> {
    pub(crate) session: SessionId,
    pub(crate) wire: W,
    pub(crate) encoding: Encoding,
    pub(crate) auth: Result<Option<Claims>, AuthError>,
    pub(crate) device: Option<String>,
}

/// Who owns what from now on, and what differs from before.
#[derive(Debug)]
pub(crate) struct NewOwners {
    pub(crate) owners: Arc<Owners>,
    pub(crate) changes: OwnerChanges,
}

/// A packet from a peer, prepared once for all lanes.
#[derive(Clone, Debug)]
pub(crate) enum LinkPacket {
    /// The answer to a request of this lane.
    Reply(Box<Reply>),
    /// One committed event.
    Event(Arc<RoomEvent>),
    /// The answer to a resync of this lane.
    Resynced(Arc<Resynced>),
    /// Sessions of a resync of this lane that do not listen.
    Refused(Box<RoomRefused>),
    /// A signal of a room.
    Signal(Arc<RoomSignal>),
    /// For sessions of this lane.
    Delivery(Arc<Delivery>),
    /// The peer's stream to us had a hole, or starts anew.
    Lost,
    /// The peer has said nothing for a while.
    Silent,
}

/// See `link.RoomEvent`.
#[derive(Debug)]
pub(crate) struct RoomEvent {
    pub(crate) room: String,
    pub(crate) epoch: u64,
    pub(crate) offset: u64,
    pub(crate) frame: SharedFrame,
    /// The user who left the room by this event.
    pub(crate) left: Option<String>,
}

/// See `link.RoomEvents`.
#[derive(Debug)]
pub(crate) struct Resynced {
    pub(crate) room: String,
    pub(crate) epoch: u64,
    pub(crate) head: u64,
    pub(crate) reset: bool,
    pub(crate) events: Vec<Arc<RoomEvent>>,
    /// Of the resync answered.
    pub(crate) number: u64,
}

/// See `link.RoomSignal`.
#[derive(Debug)]
pub(crate) struct RoomSignal {
    pub(crate) room: String,
    pub(crate) except: SessionId,
    pub(crate) frame: SharedFrame,
}

/// See `link.UserDelivery`.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) sessions: Vec<SessionId>,
    pub(crate) frame: SharedFrame,
    /// The room these sessions' user left on another device.
    pub(crate) left_room: Option<LeftRoom>,
    /// How a user of that shard is: only its owner can know.
    pub(crate) told_of: Option<Shard>,
}
