//! How sessions begin, live and end: welcome, tokens, heartbeat, moving, closing.

use std::{net::Shutdown, time::Duration};

use bytes::Bytes;
use rookery_cluster::Role;
use rookery_proto::{
    close::CloseCode,
    errors::{Code, WireError},
    ids::SessionId,
    limits::{DEVICE_BYTES_MAX, HISTORY_EVENTS_MAX, TEXT_BYTES_MAX},
    link::{Grant, RoomDetach, SessionClosed, SessionOpened, packet},
    shard::Shard,
    v1::{self, ack, notice, server_frame::Frame},
};

use super::{
    bucket::Bucket,
    input::Opened,
    queue::Queue,
    routes::Target,
    session::{NEVER, Phase, Session, Who, millis},
    uplink::Uplink,
    wheel::Millis,
    wire::Wire,
    worker::Worker,
};
use crate::{
    auth::{AuthError, Claims},
    limits::{CLOSE_LINGER, INVALID_FRAMES_MAX, SLOW_CLOSE_LINGER},
    protocol::BadFrame,
    ws::frame,
};

impl<W: Wire, U: Uplink> Worker<W, U> {
    pub(super) fn on_opened(&mut self, opened: Opened<W>) {
        let session = Session {
            wire: opened.wire,
            id: opened.session,
            encoding: opened.encoding,
            phase: Phase::Waiting {
                until: self.now.saturating_add(self.settings.authenticate_ms),
            },
            who: None,
            queue: Queue::default(),
            rooms: Vec::new(),
            bucket: Bucket::full(self.settings.rate, self.now),
            next_ping: NEVER,
            moves_at: NEVER,
            armed: NEVER,
            joining: 0,
            waiting: 0,
            invalid: 0,
            limited: 0,
            blocked: false,
            touched: false,
        };
        let key = u32::try_from(self.sessions.insert(session)).expect("fewer than 2^32 sessions");
        self.by_id.insert(opened.session, key);
        self.counts.opened += 1;
        match opened.auth {
            Ok(Some(claims)) => self.welcome(key, claims, opened.device),
            Ok(None) => self.arm(key),
            Err(error) => self.refuse_token(key, String::new(), "token", error),
        }
    }

    /// `authenticate`: only as the first frame.
    pub(super) fn on_authenticate(&mut self, key: u32, id: String, frame: v1::Authenticate) {
        if self.sessions[key as usize].is_open() {
            let error = WireError::invalid("authenticate", "is only for the first frame");
            self.answer_error(key, id, error, "authenticated twice");
            return;
        }
        let (claims, field) = if frame.token.is_empty() && !frame.name.is_empty() {
            let claims = self.settings.verifier.verify_name(&frame.name);
            (claims, "authenticate.name")
        } else {
            (self.verify(&frame.token), "authenticate.token")
        };
        match claims {
            Ok(_) if !is_device(&frame.device) => {
                let message =
                    format!("must have at most {DEVICE_BYTES_MAX} bytes and no control characters");
                let error = WireError::invalid("authenticate.device", message);
                self.answer_error(key, id, error, "bad device");
                self.close(key, CloseCode::NotAuthenticated);
            }
            Ok(claims) => self.welcome(key, claims, Some(frame.device)),
            Err(error) => self.refuse_token(key, id, field, error),
        }
    }

    /// `refreshToken`: the same user, else nothing changes.
    pub(super) fn on_refresh(&mut self, key: u32, id: String, token: &str) {
        let wall_ms = self.wall_ms;
        let claims = match self.verify(token) {
            Ok(claims) => claims,
            Err(error) => {
                let error = error.into_wire("refreshToken.token");
                self.answer_error(key, id, error, "refreshed with a bad token");
                return;
            }
        };
        let Some(who) = self.sessions[key as usize].who.as_mut() else {
            return;
        };
        if who.user != claims.user {
            let error = WireError::new(Code::Forbidden, "token is of another user")
                .at("refreshToken.token");
            self.answer_error(key, id, error, "refreshed with a token of another user");
            return;
        }
        who.renew(claims, wall_ms);
        let token_expires_ms = who.expires_ms;
        self.answer_ack(
            key,
            id,
            ack::Result::TokenRefreshed(v1::TokenRefreshed { token_expires_ms }),
        );
        self.arm(key);
    }

    fn verify(&self, token: &str) -> Result<Claims, AuthError> {
        self.settings.verifier.verify(token, self.wall_ms / 1_000)
    }

    fn refuse_token(&mut self, key: u32, id: String, field: &'static str, error: AuthError) {
        tracing::debug!(session.id = %self.sessions[key as usize].id, error = %error, "token refused");
        self.answer_error(key, id, error.into_wire(field), "token refused");
        self.close(key, CloseCode::TokenInvalid);
    }

    fn welcome(&mut self, key: u32, claims: Claims, device: Option<String>) {
        let (now, wall_ms, heartbeat_ms) = (self.now, self.wall_ms, self.settings.heartbeat_ms);
        let session = &mut self.sessions[key as usize];
        let device = device
            .filter(|device| !device.is_empty())
            .unwrap_or_else(|| session.id.to_string());
        let who = Who::new(claims, device.into(), wall_ms);
        let welcome = v1::Welcome {
            session_id: session.id.to_string(),
            user: Some(v1::User {
                id: who.user.as_str().to_owned(),
                name: (*who.name).to_owned(),
            }),
            heartbeat_interval_ms: u32::try_from(heartbeat_ms).unwrap_or(u32::MAX),
            limits: Some(self.settings.limits()),
            server_version: self.settings.server_version.clone(),
            token_expires_ms: who.expires_ms,
            time_ms: wall_ms,
        };
        tracing::debug!(session.id = %session.id, user.id = %who.user, "session opened");
        session.phase = Phase::Open;
        // Spread, so that the sessions of a reconnect storm do not ping in step for ever.
        session.next_ping = now + heartbeat_ms / 2 + fastrand::u64(..heartbeat_ms / 2 + 1);
        session.who = Some(Box::new(who));
        self.answer(key, Frame::Welcome(welcome));
        self.announce(key);
        self.arm(key);
    }

    /// Tells presence that this session exists.
    pub(super) fn announce(&mut self, key: u32) {
        let session = &self.sessions[key as usize];
        let Some(who) = &session.who else { return };
        let target = (Role::Presence, Shard::of(who.user.as_str()));
        if let Some(owner) = self.routes.owner(target) {
            let opened = SessionOpened {
                caller: Some(who.caller(session.id, self.lane, Grant::None)),
                status: who.status.into(),
            };
            self.uplink.send(owner, packet::Body::SessionOpened(opened));
        }
    }

    /// Sends to a shard's owner, where there is one: who takes the shard later knows nothing that
    /// this would change.
    pub(super) fn tell_owner(&self, target: Target, body: packet::Body) {
        if let Some(owner) = self.routes.owner(target) {
            self.uplink.send(owner, body);
        }
    }

    pub(super) fn on_invalid(&mut self, session: SessionId, bad: BadFrame) {
        let Some(key) = self.find_not_closing(session) else {
            return;
        };
        self.counts.frames_in += 1;
        let error = v1::Error {
            code: bad.code.into(),
            message: bad.message,
            field: bad.field,
            ..v1::Error::default()
        };
        self.answer_error_frame(key, bad.id, error, "frame is no command");
        let session = &mut self.sessions[key as usize];
        session.invalid += 1;
        if !session.is_open() {
            self.close(key, CloseCode::NotAuthenticated);
        } else if session.invalid >= INVALID_FRAMES_MAX {
            self.close(key, CloseCode::TooManyErrors);
        }
    }

    // ---- time ------------------------------------------------------------------------------

    pub(super) fn on_session_due(&mut self, session: SessionId) {
        let Some(key) = self.find(session) else {
            return;
        };
        let (now, wall_ms, heartbeat_ms) = (self.now, self.wall_ms, self.settings.heartbeat_ms);
        let session = &mut self.sessions[key as usize];
        if session.armed > now {
            // An earlier timer did what this one was set for.
            return;
        }
        session.armed = NEVER;
        match session.phase {
            Phase::Waiting { until } if now >= until => {
                self.close(key, CloseCode::AuthenticateTimeout);
            }
            Phase::Closing { until, .. } if now >= until => {
                self.remove(key);
                return;
            }
            Phase::Waiting { .. } | Phase::Closing { .. } => {}
            Phase::Open => {
                let expired = session.who.as_ref().is_some_and(|who| who.expired(wall_ms));
                if now >= session.wire.heard().saturating_add(2 * heartbeat_ms) {
                    self.counts.dead_peers += 1;
                    self.close(key, CloseCode::HeartbeatTimeout);
                } else if expired {
                    self.close(key, CloseCode::TokenExpired);
                } else if now >= session.moves_at {
                    self.close(key, CloseCode::GoingAway);
                } else {
                    self.remind(key);
                }
            }
        }
        self.arm(key);
    }

    /// The ping and the notice that a living session gets.
    fn remind(&mut self, key: u32) {
        let (now, heartbeat_ms) = (self.now, self.settings.heartbeat_ms);
        let session = &mut self.sessions[key as usize];
        let mut token_expires_ms = None;
        if let Some(who) = &mut session.who
            && self.wall_ms >= who.notice_ms
        {
            who.notice_ms = NEVER;
            token_expires_ms = Some(who.expires_ms);
        }
        let ping = now >= session.next_ping;
        if ping {
            session.next_ping = now + heartbeat_ms;
        }
        if let Some(token_expires_ms) = token_expires_ms {
            let expiring = v1::TokenExpiring { token_expires_ms };
            self.notice(key, notice::Body::TokenExpiring(expiring));
        }
        if ping {
            self.push(key, frame::ping());
        }
    }

    /// Tells every session to go, each at a time of its own inside the window.
    pub(super) fn on_move(&mut self, over: Duration) {
        let window = millis(over);
        let keys: Vec<u32> = self.by_id.values().copied().collect();
        let count = keys.len().max(1) as Millis;
        for (index, key) in (0..).zip(keys) {
            let session = &mut self.sessions[key as usize];
            match session.phase {
                Phase::Waiting { .. } => self.close(key, CloseCode::GoingAway),
                Phase::Closing { .. } => {}
                Phase::Open => {
                    let (from, to) = (window * index / count, window * (index + 1) / count);
                    let after = fastrand::u64(from..=to);
                    session.moves_at = self.now + after;
                    let reconnect_after_ms = u32::try_from(after).unwrap_or(u32::MAX);
                    let away = v1::GoingAway { reconnect_after_ms };
                    self.notice(key, notice::Body::GoingAway(away));
                    self.arm(key);
                }
            }
        }
    }

    // ---- the end ---------------------------------------------------------------------------

    /// Queues a close frame and stops everything else of this session.
    pub(super) fn close(&mut self, key: u32, code: CloseCode) {
        if !self.sessions[key as usize].is_closing() {
            tracing::debug!(
                session.id = %self.sessions[key as usize].id,
                close.code = code.number(),
                "session closed"
            );
            self.close_with(key, frame::close(code), false);
            if code == CloseCode::SlowReader {
                self.linger(key, SLOW_CLOSE_LINGER);
            }
        }
    }

    fn close_with(&mut self, key: u32, frame: Bytes, peer_closed: bool) {
        self.detach(key);
        let until = self.now + millis(CLOSE_LINGER);
        self.sessions[key as usize].phase = Phase::Closing { until, peer_closed };
        self.push(key, frame);
        self.arm(key);
    }

    /// Keeps a closing session's socket open for so long instead.
    fn linger(&mut self, key: u32, linger: Duration) {
        if let Phase::Closing { until, .. } = &mut self.sessions[key as usize].phase {
            *until = self.now + millis(linger);
            self.arm(key);
        }
    }

    pub(super) fn on_peer_closed(&mut self, session: SessionId, code: Option<u16>) {
        let Some(key) = self.find(session) else {
            return;
        };
        match &mut self.sessions[key as usize].phase {
            Phase::Closing { peer_closed, .. } => {
                *peer_closed = true;
                self.touch(key);
            }
            Phase::Waiting { .. } | Phase::Open => {
                self.close_with(key, frame::close_answer(code), true);
            }
        }
    }

    /// The client broke the protocol: what it may still send, a close frame too, is not read.
    pub(super) fn on_violated(&mut self, session: SessionId, code: CloseCode) {
        if let Some(key) = self.find_not_closing(session) {
            tracing::debug!(session.id = %session, close.code = code.number(), "protocol broken");
            self.close_with(key, frame::close(code), true);
        }
    }

    pub(super) fn on_gone(&mut self, session: SessionId) {
        if let Some(key) = self.find(session) {
            self.remove(key);
        }
    }

    /// Forgets the session; its reader ends by itself.
    pub(super) fn remove(&mut self, key: u32) {
        if !self.sessions[key as usize].is_closing() {
            self.detach(key);
        }
        let session = self.sessions.remove(key as usize);
        self.by_id.remove(&session.id);
        session.wire.shutdown(Shutdown::Both);
        self.counts.closed += 1;
    }

    /// Takes the session out of its rooms and tells their owners, and presence.
    fn detach(&mut self, key: u32) {
        let session = &mut self.sessions[key as usize];
        let id = session.id;
        let who = session.who.take();
        while let Some(seat) = self.sessions[key as usize].rooms.last().copied() {
            let room = &self.rooms[seat.room as usize];
            let detach = RoomDetach {
                room: (*room.name).to_owned(),
                session: id.0,
            };
            let target = (Role::Rooms, room.shard);
            self.unseat(key, seat);
            self.tell_owner(target, packet::Body::RoomDetach(detach));
        }
        let Some(who) = who else { return };
        let owner = |name: &str| self.routes.owner((Role::Presence, Shard::of(name)));
        let mut owners: Vec<_> = who
            .watched
            .iter()
            .filter_map(|user| owner(user.as_str()))
            .collect();
        owners.extend(owner(who.user.as_str()));
        owners.sort_unstable();
        owners.dedup();
        for owner in owners {
            let closed = SessionClosed {
                session: id.0,
                user: who.user.as_str().to_owned(),
                watched: who
                    .watched
                    .iter()
                    .map(|user| user.as_str().to_owned())
                    .collect(),
            };
            self.uplink.send(owner, packet::Body::SessionClosed(closed));
        }
    }
}

fn is_device(name: &str) -> bool {
    name.len() <= DEVICE_BYTES_MAX && !name.chars().any(char::is_control)
}

impl super::session::Settings {
    fn limits(&self) -> v1::Limits {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        v1::Limits {
            frame_bytes_max: self.frame_bytes_max,
            text_bytes_max: number(TEXT_BYTES_MAX),
            history_events_max: HISTORY_EVENTS_MAX,
            rooms_per_session_max: number(self.rooms_max),
            commands_per_second: self.rate.per_second,
            commands_burst: self.rate.burst,
            watched_users_max: number(self.watched_max),
        }
    }
}
