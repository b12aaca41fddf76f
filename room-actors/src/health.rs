//! Whether this node takes writes, and why not.

use std::sync::{Arc, Mutex};

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
        /// What clients are told.
        told: &'static str,
    },
    /// The node may not serve in its cluster now: new writes are refused.
    Suspended {
        /// Why.
        reason: &'static str,
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
            Self::Failing { told, .. } => told,
            Self::Suspended { .. } => "the node is cut off",
            Self::Fenced => "the room has moved",
            Self::Stopping => "the server is stopping",
        };
        Some(WireError::new(Code::Unavailable, message).retry_after(UNAVAILABLE_RETRY))
    }
}

/// The latest health, changed from several places.
#[derive(Clone, Debug)]
pub(crate) struct HealthCell {
    causes: Arc<Mutex<Causes>>,
    sender: watch::Sender<Health>,
}

/// Why it is not ready; the gravest is shown.
#[derive(Debug, Default)]
struct Causes {
    fenced: bool,
    stopping: bool,
    failing: Option<(Instant, String, &'static str)>,
    suspended: Option<&'static str>,
}

impl Causes {
    fn health(&self) -> Health {
        if self.fenced {
            return Health::Fenced;
        }
        if self.stopping {
            return Health::Stopping;
        }
        match (&self.failing, self.suspended) {
            (Some((since, reason, told)), _) => Health::Failing {
                since: *since,
                reason: reason.clone(),
                told,
            },
            (None, Some(reason)) => Health::Suspended { reason },
            (None, None) => Health::Ready,
        }
    }
}

impl HealthCell {
    pub(crate) fn new() -> Self {
        Self {
            causes: Arc::default(),
            sender: watch::Sender::new(Health::Ready),
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Health> {
        self.sender.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Causes)) {
        let mut causes = self.causes.lock().expect("no panic while held");
        change(&mut causes);
        let health = causes.health();
        self.sender.send_if_modified(|shown| {
            let news = *shown != health;
            *shown = health;
            news
        });
    }

    /// A commit failed: why, and what clients are told.
    pub(crate) fn failing(&self, reason: String, told: &'static str) {
        self.change(|causes| {
            if causes.failing.is_none() {
                tracing::warn!(error = reason, "store fails, new writes are refused");
                causes.failing = Some((Instant::now(), reason, told));
            }
        });
    }

    /// Every failed commit has succeeded.
    pub(crate) fn recovered(&self) {
        self.change(|causes| {
            if let Some((since, ..)) = causes.failing.take() {
                tracing::info!(failing.ms = ms(since), "store works again");
            }
        });
    }

    /// The cluster does not let this node serve, or lets it again.
    pub(crate) fn suspended(&self, reason: Option<&'static str>) {
        self.change(|causes| causes.suspended = reason);
    }

    pub(crate) fn fenced(&self) {
        self.change(|causes| {
            if !causes.fenced {
                tracing::error!("another node took this one's shards, all rooms are dropped");
            }
            causes.fenced = true;
        });
    }

    pub(crate) fn stopping(&self) {
        self.change(|causes| causes.stopping = true);
    }
}

fn ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
