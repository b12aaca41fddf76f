//! What happens to a user, and what has to be done then.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rookery_cluster::EndpointId;
use tokio::time::Instant;

use super::status::{Choice, Shown};
use crate::refusal::Refusal;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    /// Unix milliseconds; may step.
    pub(crate) wall_ms: u64,
}

/// What is the same for all users of a shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) grace: Duration,
    pub(crate) throttle: Duration,
    pub(crate) store_retry: Duration,
    /// Until then a user without a session is unknown, not offline.
    pub(crate) known_from: Instant,
}

/// Names a session; ordered by gateway first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionKey {
    pub(crate) gateway: EndpointId,
    pub(crate) session: u64,
}

/// Where a session is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) key: SessionKey,
    pub(crate) lane: u32,
}

/// What happens to a user. Sent by the shard's actor; all can be repeated without harm.
#[derive(Debug)]
pub(crate) enum Command {
    /// A gateway announced a session, for the first time or again.
    Opened {
        at: Address,
        device: Arc<str>,
        choice: Choice,
    },
    /// A gateway closed a session.
    Closed { session: SessionKey },
    /// A session chose a status for its device; it exists even if its announcement was lost.
    Choose {
        at: Address,
        device: Arc<str>,
        choice: Choice,
    },
    /// A session watches this user; answered by [`Effect::Answer`] or [`Effect::Refuse`].
    Watch {
        at: Address,
        request: u64,
        own: bool,
    },
    /// A session stopped watching this user.
    Unwatch { session: SessionKey },
    /// Something addressed to the person.
    Notify { notice: Bytes, except_session: u64 },
    /// The gateway has gone silent; it may come back.
    GatewaySilent { gateway: EndpointId },
    /// Packets of the gateway were lost; it was asked to announce its sessions again.
    GatewayDoubted { gateway: EndpointId },
    /// The gateway had time to announce again: what it did not announce is gone.
    GatewaySwept { gateway: EndpointId },
    /// The gateway is gone, with all its sessions.
    GatewayGone { gateway: EndpointId },
    /// [`Effect::Read`] ended; `None`: it failed.
    LastSeenRead { stored_ms: Option<u64> },
    /// [`Effect::Write`] ended.
    LastSeenWritten { last_seen_ms: u64, stored: bool },
    /// A deadline passed.
    Tick,
}

/// What the actor has to do.
#[derive(Debug)]
pub(crate) enum Effect {
    Answer {
        to: Address,
        request: u64,
        shown: Shown,
    },
    Refuse {
        to: Address,
        request: u64,
        refusal: Refusal,
    },
    /// Tell watchers how the user looks now.
    Show {
        shown: Shown,
        to: Vec<Address>,
    },
    Deliver {
        notice: Bytes,
        to: Vec<Address>,
    },
    /// No session can be given the notice.
    Push {
        notice: Bytes,
    },
    /// A session is not tracked: the user has too many.
    SessionRefused,
    Read,
    Write {
        last_seen_ms: u64,
    },
}
