//! One session, as its worker knows it.
//!
//! ```text
//!   Waiting ──welcome──► Open ──close──► Closing ──reader gone, or linger over──► (removed)
//!      └────────────── close ───────────────▲
//! ```

use std::{sync::Arc, time::Duration};

use rookery_proto::{
    ids::{SessionId, UserId},
    link::{Caller, Grant},
    v1::presence::Status,
};
use rustc_hash::FxHashSet;

use super::{
    bucket::{Bucket, Rate},
    queue::Queue,
    wheel::Millis,
    wire::Wire,
};
use crate::{
    auth::{Claims, Grants, Verifier},
    config::GatewayConfig,
    limits::TOKEN_NOTICE,
    protocol::Encoding,
};

/// Never, as a time.
pub(super) const NEVER: Millis = Millis::MAX;

/// What a worker needs of the configuration.
pub(crate) struct Settings {
    pub(super) verifier: Arc<Verifier>,
    pub(super) heartbeat_ms: Millis,
    pub(super) authenticate_ms: Millis,
    pub(super) rate: Rate,
    pub(super) queue_bytes_max: usize,
    pub(super) rooms_max: usize,
    pub(super) watched_max: usize,
    pub(super) frame_bytes_max: u32,
    pub(super) server_version: String,
}

impl Settings {
    pub(crate) fn new(config: &GatewayConfig, verifier: Arc<Verifier>) -> Self {
        Self {
            verifier,
            heartbeat_ms: millis(config.heartbeat_interval),
            authenticate_ms: millis(config.authenticate_timeout),
            rate: Rate {
                per_second: config.commands_per_second,
                burst: config.commands_burst,
            },
            queue_bytes_max: config.session_queue_bytes_max,
            rooms_max: config.rooms_per_session_max as usize,
            watched_max: config.watched_users_max as usize,
            frame_bytes_max: config.frame_bytes_max,
            server_version: config.server_version.clone(),
        }
    }
}

pub(super) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(NEVER)
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// For the first frame, until this time.
    Waiting { until: Millis },
    /// Commands are taken and events delivered.
    Open,
    /// A close frame is queued or sent; the socket ends at `until` at the latest.
    Closing { until: Millis, peer_closed: bool },
}

/// One session. Ten thousand idle ones cost ten thousand of these, so what only some sessions
/// have is boxed.
#[derive(Debug)]
pub(super) struct Session<W> {
    pub(super) wire: W,
    pub(super) id: SessionId,
    pub(super) encoding: Encoding,
    pub(super) phase: Phase,
    /// There from `welcome` on.
    pub(super) who: Option<Box<Who>>,
    pub(super) queue: Queue,
    /// Rooms it listens to.
    pub(super) rooms: Vec<Seat>,
    pub(super) bucket: Bucket,
    pub(super) next_ping: Millis,
    /// When it is told to reconnect elsewhere; [`NEVER`] unless the gateway moves its sessions.
    pub(super) moves_at: Millis,
    /// Time of the earliest timer that will fire for it.
    pub(super) armed: Millis,
    /// Joins without an answer.
    pub(super) joining: u16,
    /// Requests without an answer.
    pub(super) waiting: u16,
    /// Frames in a row that were no commands.
    pub(super) invalid: u16,
    /// Commands in a row that came too fast.
    pub(super) limited: u16,
    /// The socket is full; `Writable` will come.
    pub(super) blocked: bool,
    /// It is in the list of sessions to flush.
    pub(super) touched: bool,
}

/// A session's place in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    /// The room's key.
    pub(super) room: u32,
    /// The index among its listeners.
    pub(super) index: u32,
}

/// Who a session is.
#[derive(Debug)]
pub(super) struct Who {
    pub(super) user: UserId,
    pub(super) name: Arc<str>,
    pub(super) device: Box<str>,
    pub(super) grants: Grants,
    /// Unix milliseconds; 0: never.
    pub(super) expires_ms: u64,
    /// When to say that the token expires, Unix milliseconds; [`NEVER`] once said.
    pub(super) notice_ms: u64,
    pub(super) status: Status,
    pub(super) watched: FxHashSet<UserId>,
}

impl Who {
    pub(super) fn new(claims: Claims, device: Box<str>, wall_ms: u64) -> Self {
        let mut who = Self {
            user: claims.user.clone(),
            name: Arc::clone(&claims.name),
            device,
            grants: Grants::default(),
            expires_ms: 0,
            notice_ms: NEVER,
            status: Status::Online,
            watched: FxHashSet::default(),
        };
        who.renew(claims, wall_ms);
        who
    }

    /// Takes name, grants and expiry of a newer token of the same user.
    pub(super) fn renew(&mut self, claims: Claims, wall_ms: u64) {
        self.name = claims.name;
        self.grants = claims.grants;
        self.expires_ms = claims.expires_s.map_or(0, |s| s.saturating_mul(1_000));
        self.notice_ms = NEVER;
        if self.expires_ms > 0 {
            let left = self.expires_ms.saturating_sub(wall_ms);
            self.notice_ms = self.expires_ms - millis(TOKEN_NOTICE).min(left / 2);
        }
    }

    /// Whether the token has expired.
    pub(super) fn expired(&self, wall_ms: u64) -> bool {
        self.expires_ms > 0 && wall_ms >= self.expires_ms
    }

    pub(super) fn caller(&self, session: SessionId, lane: u32, grant: Grant) -> Caller {
        Caller {
            session: session.0,
            user: self.user.as_str().to_owned(),
            name: (*self.name).to_owned(),
            device: (*self.device).to_owned(),
            lane,
            grant: grant.into(),
        }
    }
}

impl<W: Wire> Session<W> {
    /// When something is next to be done for it.
    pub(super) fn due(&self, settings: &Settings, now: Millis, wall_ms: u64) -> Millis {
        let silent = self.wire.heard().saturating_add(2 * settings.heartbeat_ms);
        match self.phase {
            Phase::Waiting { until } => until,
            Phase::Closing { until, .. } => until,
            Phase::Open => {
                let token = self.who.as_ref().map_or(NEVER, |who| {
                    let expires = if who.expires_ms == 0 {
                        NEVER
                    } else {
                        who.expires_ms
                    };
                    let wall = expires.min(who.notice_ms);
                    now.saturating_add(wall.saturating_sub(wall_ms))
                });
                silent.min(self.next_ping).min(self.moves_at).min(token)
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    pub(super) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. })
    }
}
