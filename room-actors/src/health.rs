//! Whether this node takes writes, and why not.

use rookery_proto::errors::{Code, WireError};
use tokio::{sync::watch, time::Instant};

use crate::limits::UNAVAILABLE_RETRY;

/// What the node can do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Everything.
    Ready,
    /// The store fails: new writes are refused, reads from memory go on, what is in flight is
    /// tried again until it succeeds.
    Failing {
        /// Since when.
        since: Instant,
        /// The store's error, for people who run the node; never sent to clients.
        reason: String,
    },
    /// Another incarnation took this node's shards: nothing is acknowledged any more.
    Fenced,
    /// [`RoomsNode::stop`](crate::RoomsNode::stop) was called.
    Stopping,
}

impl Health {
    /// Why a write is refused; `None`: it is not.
    pub(crate) fn refusal(&self) -> Option<WireError> {
        let message = match self {
            Self::Ready => return None,
            Self::Failing { .. } => "storage unavailable",
            Self::Fenced => "the room has moved",
            Self::Stopping => "the server is stopping",
        };
        Some(WireError::new(Code::Unavailable, message).retry_after(UNAVAILABLE_RETRY))
    }
}

/// The latest health, changed from several places.
#[derive(Clone, Debug)]
pub(crate) struct HealthCell {
    sender: watch::Sender<Health>,
}

impl HealthCell {
    pub(crate) fn new() -> Self {
        Self {
            sender: watch::Sender::new(Health::Ready),
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Health> {
        self.sender.subscribe()
    }

    /// A commit failed.
    pub(crate) fn failing(&self, reason: String) {
        self.sender.send_if_modified(|health| match health {
            Health::Ready => {
                tracing::warn!(error = reason, "store fails, new writes are refused");
                *health = Health::Failing {
                    since: Instant::now(),
                    reason,
                };
                true
            }
            Health::Failing { .. } | Health::Fenced | Health::Stopping => false,
        });
    }

    /// Every failed commit has succeeded.
    pub(crate) fn recovered(&self) {
        self.sender.send_if_modified(|health| match health {
            Health::Failing { since, .. } => {
                tracing::info!(failing.ms = ms(*since), "store works again");
                *health = Health::Ready;
                true
            }
            Health::Ready | Health::Fenced | Health::Stopping => false,
        });
    }

    pub(crate) fn fenced(&self) {
        self.sender.send_if_modified(|health| {
            if *health == Health::Fenced {
                return false;
            }
            tracing::error!("another node took this one's shards, all rooms are dropped");
            *health = Health::Fenced;
            true
        });
    }

    pub(crate) fn stopping(&self) {
        self.sender.send_if_modified(|health| match health {
            Health::Ready | Health::Failing { .. } => {
                *health = Health::Stopping;
                true
            }
            Health::Fenced | Health::Stopping => false,
        });
    }
}

fn ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
