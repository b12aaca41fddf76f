//! The worker of a lane: owns its sessions and decides everything about them.
//!
//! Synchronous: inputs come in batches, [`Worker::handle`] decides about each, and one
//! [`Worker::flush`] writes what they brought, once per socket. It never waits, knows no runtime
//! and reads no clock; [`Worker::begin`] tells it the time.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use rookery_cluster::Owners;
use rookery_proto::{
    close::CloseCode,
    errors::{self, WireError},
    ids::{SessionId, UserId},
    shard::SHARD_COUNT,
    v1::{self, ServerFrame, server_frame::Frame},
};
use rustc_hash::FxHashMap;
use slab::Slab;

use super::{
    flush::Blocked,
    input::{Input, LinkPacket},
    refusals::Refusals,
    requests::Requests,
    retries::Holds,
    room::Room,
    routes::{Routes, Target},
    session::{Session, Settings},
    uplink::Uplink,
    wheel::{Millis, Wheel},
    wire::Wire,
};
use crate::{metrics::Counts, protocol::encode, ws::frame};

/// What fires.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// Something is due for a session.
    Session(SessionId),
    /// A request's deadline.
    Deadline(u64),
    /// What waits for a shard is to be tried again.
    Hold(Target),
    /// This try of a request that cannot be repeated was in doubt.
    Doubt(u64, u16),
    /// A hole in a room's stream may have to be asked for again.
    Hole { room: u32, number: u32 },
    /// Watched users that nobody told of are asked for again.
    Rewatch,
}

/// See the module.
pub(crate) struct Worker<W, U> {
    pub(super) lane: u32,
    pub(super) settings: Arc<Settings>,
    pub(super) uplink: U,
    pub(super) routes: Routes,
    pub(super) now: Millis,
    /// Unix milliseconds: for tokens and for people.
    pub(super) wall_ms: u64,
    pub(super) sessions: Slab<Session<W>>,
    pub(super) by_id: FxHashMap<SessionId, u32>,
    pub(super) rooms: Slab<Room>,
    pub(super) by_name: FxHashMap<Arc<str>, u32>,
    pub(super) rooms_opened: u32,
    pub(super) requests: Requests,
    pub(super) holds: Holds,
    /// In which requests to the owner of each shard's rooms are sent; see [`rookery_cluster::Turns`].
    pub(super) turns: Box<[u64]>,
    /// Requests sent.
    pub(super) sent: u64,
    /// Watched users whose owner has to be told again.
    pub(super) rewatch: VecDeque<(SessionId, UserId)>,
    /// Those whose owner refused or did not answer; they are asked for again together.
    pub(super) unwatched: Vec<(SessionId, UserId)>,
    /// How many of them are asked for now.
    pub(super) rewatching: usize,
    /// Resyncs asked for, which numbers them.
    pub(super) resyncs: u64,
    /// Number of the newest resync of a room that was forgotten since.
    pub(super) resyncs_forgotten: u64,
    pub(super) wheel: Wheel<Timer>,
    /// Sessions with something to write.
    pub(super) touched: Vec<u32>,
    /// Rooms with fresh frames.
    pub(super) stirred: Vec<u32>,
    /// Sockets that became full.
    pub(super) blocked: Vec<Blocked<W>>,
    due: Vec<Timer>,
    pub(super) counts: Counts,
    refusals: Refusals,
}

impl<W: Wire, U: Uplink> Worker<W, U> {
    /// A lane without sessions that knows these owners.
    pub(crate) fn new(lane: u32, settings: Arc<Settings>, uplink: U, owners: Arc<Owners>) -> Self {
        Self {
            lane,
            settings,
            uplink,
            routes: Routes::new(owners),
            now: 0,
            wall_ms: 0,
            sessions: Slab::new(),
            by_id: FxHashMap::default(),
            rooms: Slab::new(),
            by_name: FxHashMap::default(),
            rooms_opened: 0,
            requests: Requests::default(),
            holds: Holds::default(),
            sent: 0,
            turns: vec![1; usize::from(SHARD_COUNT)].into(),
            rewatch: VecDeque::new(),
            unwatched: Vec::new(),
            rewatching: 0,
            resyncs: 0,
            resyncs_forgotten: 0,
            wheel: Wheel::new(0),
            touched: Vec::new(),
            stirred: Vec::new(),
            blocked: Vec::new(),
            due: Vec::new(),
            counts: Counts::default(),
            refusals: Refusals::new(0),
        }
    }

    /// Starts a batch at this time and fires what is due.
    pub(crate) fn begin(&mut self, now: Millis, wall_ms: u64) {
        self.now = now.max(self.now);
        self.wall_ms = wall_ms;
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(self.now, &mut due);
        for timer in due.drain(..) {
            match timer {
                Timer::Session(session) => self.on_session_due(session),
                Timer::Deadline(number) => self.on_deadline(number),
                Timer::Hold(target) => self.on_pause_over(target),
                Timer::Doubt(key, tries) => self.on_doubt_over(key, tries),
                Timer::Hole { room, number } => self.on_hole_due(room, number),
                Timer::Rewatch => self.rewatch.extend(self.unwatched.drain(..)),
            }
        }
        self.due = due;
        self.rewatch_some();
    }

    /// Decides about one input.
    pub(crate) fn handle(&mut self, input: Input<W>) {
        match input {
            Input::Opened(opened) => self.on_opened(*opened),
            Input::Command {
                session,
                id,
                command,
            } => self.on_command(session, id, command),
            Input::Invalid { session, bad } => self.on_invalid(session, *bad),
            Input::Ping { session, payload } => {
                if let Some(key) = self.find_not_closing(session) {
                    self.push(key, frame::pong(&payload));
                }
            }
            Input::PeerClosed { session, code } => self.on_peer_closed(session, code),
            Input::Violated { session, code } => self.on_violated(session, code),
            Input::Gone { session } => self.on_gone(session),
            Input::Writable { session } => {
                if let Some(key) = self.find(session) {
                    self.sessions[key as usize].blocked = false;
                    self.touch(key);
                }
            }
            Input::Link { from, packets } => {
                for packet in packets {
                    match packet {
                        LinkPacket::Reply(reply) => self.on_reply(&from, *reply),
                        LinkPacket::Event(event) => self.on_event(event),
                        LinkPacket::Resynced(resynced) => self.on_resynced(&resynced),
                        LinkPacket::Refused(refused) => self.on_refused(&refused),
                        LinkPacket::Signal(signal) => self.on_signal(signal),
                        LinkPacket::Delivery(delivery) => self.on_delivery(&from, &delivery),
                        LinkPacket::Lost => self.on_lost(&from),
                        LinkPacket::Silent => self.doubt_all_at(&from),
                    }
                }
            }
            Input::Owners(new) => self.on_owners(&new),
            Input::Move { over } => self.on_move(over),
            Input::CloseAll => {
                let keys: Vec<u32> = self.by_id.values().copied().collect();
                for key in keys {
                    self.close(key, CloseCode::GoingAway);
                }
            }
            // Matters by its arrival alone.
            Input::Tick => {}
            // Also ends the loop around this.
            Input::Stop => {
                let keys: Vec<u32> = self.by_id.values().copied().collect();
                for key in keys {
                    self.remove(key);
                }
            }
        }
    }

    pub(crate) fn session_count(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn request_count(&self) -> usize {
        self.requests.len()
    }

    /// Shards with requests that wait to be asked again.
    pub(crate) fn hold_count(&self) -> usize {
        self.holds.len()
    }

    // ---- what the other parts use ----------------------------------------------------------

    pub(super) fn find(&self, session: SessionId) -> Option<u32> {
        self.by_id.get(&session).copied()
    }

    pub(super) fn find_not_closing(&self, session: SessionId) -> Option<u32> {
        let key = self.find(session)?;
        (!self.sessions[key as usize].is_closing()).then_some(key)
    }

    pub(super) fn find_open(&self, session: SessionId) -> Option<u32> {
        let key = self.find(session)?;
        self.sessions[key as usize].is_open().then_some(key)
    }

    pub(super) fn touch(&mut self, key: u32) {
        let session = &mut self.sessions[key as usize];
        if !session.touched {
            session.touched = true;
            self.touched.push(key);
        }
    }

    /// Queues a finished frame.
    pub(super) fn push(&mut self, key: u32, frame: Bytes) {
        self.counts.frames_out += 1;
        self.sessions[key as usize].queue.push(frame);
        self.touch(key);
    }

    /// Queues an answer to the session's own command.
    pub(super) fn answer(&mut self, key: u32, frame: Frame) {
        let session = &mut self.sessions[key as usize];
        let message = ServerFrame { frame: Some(frame) };
        session
            .queue
            .push_answer(encode(session.encoding, &message));
        self.counts.frames_out += 1;
        self.touch(key);
    }

    pub(super) fn answer_ack(&mut self, key: u32, id: String, result: v1::ack::Result) {
        let result = Some(result);
        self.answer(key, Frame::Ack(v1::Ack { id, result }));
    }

    pub(super) fn notice(&mut self, key: u32, body: v1::notice::Body) {
        self.answer(key, Frame::Notice(v1::Notice { body: Some(body) }));
    }

    /// Answers with an error of our own. `cause` is for the log alone.
    pub(super) fn answer_error(
        &mut self,
        key: u32,
        id: String,
        error: WireError,
        cause: &'static str,
    ) {
        let correlation_id = errors::correlation_id(fastrand::u64(..));
        let frame = error.into_frame(correlation_id);
        self.answer_error_frame(key, id, frame, cause);
    }

    /// Answers with an error that is a frame already.
    pub(super) fn answer_error_frame(
        &mut self,
        key: u32,
        id: String,
        mut error: v1::Error,
        cause: &'static str,
    ) {
        if error.correlation_id.is_empty() {
            error.correlation_id = errors::correlation_id(fastrand::u64(..));
        }
        error.id = id;
        self.counts.error(error.code());
        let session = self.sessions[key as usize].id;
        self.refusals.note(session, &error, cause, self.now);
        self.answer(key, Frame::Error(error));
    }

    /// Makes sure a timer fires for this session when something is due.
    pub(super) fn arm(&mut self, key: u32) {
        let session = &mut self.sessions[key as usize];
        let due = session.due(&self.settings, self.now, self.wall_ms);
        if due < session.armed {
            session.armed = due;
            self.wheel.set(due, Timer::Session(session.id));
        }
    }
}
