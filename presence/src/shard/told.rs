//! What a shard's actor is told, and the commands that come of it.

use std::sync::Arc;

use bytes::Bytes;
use rookery_cluster::EndpointId;
use rookery_proto::{
    ids::{SessionId, UserId},
    link::{Caller, UserRequest},
};
use tokio::sync::oneshot;

use super::admission::Admitted;
use crate::user::{Address, Choice, Command, SessionKey};

/// What the actor is told.
pub(crate) enum ShardMessage {
    /// Host: a session's request about one user; answered by one reply on the link. If lost: the
    /// gateway's deadline answers.
    Request {
        from: EndpointId,
        user: UserId,
        request: Box<UserRequest>,
        place: Admitted,
    },
    /// Host: what else concerns one user. If lost: a new announcement heals sessions.
    Work {
        from: EndpointId,
        user: UserId,
        work: Work,
        place: Admitted,
    },
    /// Host: something happened to a gateway. Not lost while the actor lives.
    Gateway {
        gateway: EndpointId,
        change: GatewayChange,
    },
    /// Host: a deadline has passed. If lost: the host sends another.
    Tick,
    /// Store task: a read of `last_seen` ended; `None`: it failed.
    Read {
        user: UserId,
        stored_ms: Option<u64>,
    },
    /// Store task: a write of `last_seen` ended.
    Written {
        user: UserId,
        last_seen_ms: u64,
        stored: bool,
    },
    /// Host: the node stops; answered with what the store does not have yet.
    Leave { reply: oneshot::Sender<Unsaved> },
}

/// A packet without a reply, split by user.
pub(crate) enum Work {
    Opened {
        caller: Caller,
        status: i32,
    },
    Closed {
        session: u64,
    },
    /// A closed session watched this user.
    WatcherClosed {
        session: u64,
    },
    Notify {
        notice: Bytes,
        except_session: u64,
    },
}

/// What may happen to a gateway; see [`Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GatewayChange {
    Silent,
    Doubted,
    Swept,
    Gone,
}

/// `last_seen` values that the store does not have.
pub(crate) type Unsaved = Vec<(UserId, u64)>;

impl Work {
    pub(super) fn into_command(self, from: EndpointId) -> Command {
        match self {
            Self::Opened { caller, status } => Command::Opened {
                at: address(from, &caller),
                device: device(&caller),
                // A session that chose nothing is simply there.
                choice: Choice::from_wire(status).unwrap_or(Choice::Online),
            },
            Self::Closed { session } => Command::Closed {
                session: SessionKey {
                    gateway: from,
                    session,
                },
            },
            Self::WatcherClosed { session } => Command::Unwatch {
                session: SessionKey {
                    gateway: from,
                    session,
                },
            },
            Self::Notify {
                notice,
                except_session,
            } => Command::Notify {
                notice,
                except_session,
            },
        }
    }
}

pub(super) fn address(gateway: EndpointId, caller: &Caller) -> Address {
    Address {
        key: SessionKey {
            gateway,
            session: caller.session,
        },
        lane: caller.lane,
    }
}

/// The device's name; a session that names none is a device of its own.
pub(super) fn device(caller: &Caller) -> Arc<str> {
    if caller.device.is_empty() {
        SessionId(caller.session).to_string().into()
    } else {
        caller.device.as_str().into()
    }
}
