//! Writing: what a batch brought goes to the sockets, once to each that has something.

use std::mem;

use rookery_proto::{close::CloseCode, ids::SessionId};
use slab::Slab;

use super::{
    queue::Flushed,
    room::{Listener, Pieces},
    session::{Phase, Session},
    uplink::Uplink,
    wire::Wire,
    worker::Worker,
};
use crate::{limits::LISTENERS_AHEAD, metrics::Counts};

/// A socket that was full, for its owner to wait on.
pub(crate) type Blocked<W> = (SessionId, W);

/// How much of a room's piece a listener's socket has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Took {
    /// All of it.
    Whole,
    /// These bytes; the rest is for its queue.
    Part(usize),
}

impl<W: Wire, U: Uplink> Worker<W, U> {
    /// Writes what the batch brought: one vectored write per socket that has something.
    pub(crate) fn flush(&mut self) {
        let stirred = mem::take(&mut self.stirred);
        let alone = stirred.len() == 1;
        for room in stirred {
            self.distribute(room, alone);
        }
        // Writing may close sessions, which gives them something to write.
        while !self.touched.is_empty() {
            let mut touched = mem::take(&mut self.touched);
            for key in touched.drain(..) {
                self.write(key);
            }
            if self.touched.is_empty() {
                self.touched = touched;
            }
        }
    }

    /// Sockets that became full since the last call.
    pub(crate) fn take_blocked(&mut self) -> impl Iterator<Item = Blocked<W>> {
        self.blocked.drain(..)
    }

    /// Gives a room's fresh frames to its listeners. The hot loop of the gateway: per listener one
    /// look at its session and one write, or push, of a piece that all of them share. `alone`: no
    /// other room has fresh frames, so a session for which nothing waits is written to at once.
    fn distribute(&mut self, room: u32, alone: bool) {
        let Some(room) = self.rooms.get_mut(room as usize) else {
            return;
        };
        let mut pieces = Pieces::new(mem::take(&mut room.fresh));
        for listeners in room.listeners.chunks_mut(LISTENERS_AHEAD) {
            let mut took = [Took::Part(0); LISTENERS_AHEAD];
            if alone {
                let took = &mut took[..listeners.len()];
                write_at_once(
                    &self.sessions,
                    listeners,
                    &mut pieces,
                    took,
                    &mut self.counts,
                );
            }
            for (listener, took) in listeners.iter_mut().zip(took) {
                let Took::Part(bytes) = took else { continue };
                let skip = mem::take(&mut listener.skip);
                let session = &mut self.sessions[listener.session as usize];
                let piece = pieces.of(session.encoding);
                self.counts.frames_out += piece.len().saturating_sub(skip as usize) as u64;
                session.queue.push(piece.after(skip).slice(bytes..));
                if !session.touched {
                    session.touched = true;
                    self.touched.push(listener.session);
                }
            }
        }
    }

    fn write(&mut self, key: u32) {
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        if !mem::take(&mut session.touched) {
            return;
        }
        if !session.blocked {
            let counts = &mut self.counts;
            match session
                .queue
                .flush(&session.wire, &mut counts.bytes_out, &mut counts.writes)
            {
                Flushed::Empty => {
                    self.on_written(key);
                    return;
                }
                Flushed::Blocked => {
                    session.blocked = true;
                    self.blocked.push((session.id, session.wire.clone()));
                }
                Flushed::Broken => {
                    self.remove(key);
                    return;
                }
            }
        }
        if session.queue.bound_bytes() > self.settings.queue_bytes_max && !session.is_closing() {
            self.close_slow(key);
        }
    }

    /// The session's queue ran empty.
    fn on_written(&mut self, key: u32) {
        let session = &self.sessions[key as usize];
        if let Phase::Closing {
            peer_closed: true, ..
        } = session.phase
        {
            session.wire.shutdown(std::net::Shutdown::Write);
        }
    }

    fn close_slow(&mut self, key: u32) {
        let session = &mut self.sessions[key as usize];
        tracing::info!(
            session.id = %session.id,
            queue.bytes = session.queue.bound_bytes(),
            "slow reader closed"
        );
        self.counts.slow_readers += 1;
        session.queue.keep_first();
        self.close(key, CloseCode::SlowReader);
    }
}

/// Writes the pieces to those of these listeners for whom nothing else waits. First it looks up all
/// of them, then it writes: sessions that were silent for a while are in no cache, and so the
/// processor fetches them side by side, not each behind the system call of the one before it.
fn write_at_once<W: Wire>(
    sessions: &Slab<Session<W>>,
    listeners: &[Listener],
    pieces: &mut Pieces,
    took: &mut [Took],
    counts: &mut Counts,
) {
    let mut ends = [const { None }; LISTENERS_AHEAD];
    for (end, listener) in ends.iter_mut().zip(listeners) {
        let session = &sessions[listener.session as usize];
        // Not touched and not blocked: its queue is empty.
        if listener.skip == 0 && !session.touched && !session.blocked {
            *end = Some((session.wire.end(), session.encoding));
        }
    }
    for (end, took) in ends.into_iter().zip(took) {
        let Some((end, encoding)) = end else { continue };
        let piece = pieces.of(encoding);
        counts.writes += 1;
        // An error is for the flush to find again, which knows what to do about it.
        let written = W::put(end, piece.whole()).unwrap_or(0);
        counts.bytes_out += written as u64;
        *took = if written == piece.whole().len() {
            counts.frames_out += piece.len() as u64;
            Took::Whole
        } else {
            Took::Part(written)
        };
    }
}
