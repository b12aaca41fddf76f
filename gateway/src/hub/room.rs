//! One room, as a lane knows it: its listeners and how far its stream has come.

use std::{collections::BTreeMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use rookery_proto::shard::Shard;

use super::{input::RoomEvent, input::RoomSignal, wheel::Millis};
use crate::{limits::RESYNC_HELD_EVENTS_MAX, protocol::Encoding};

/// A room with at least one listener on this lane.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: Arc<str>,
    /// Tells this room from an earlier one of the same key.
    pub(super) number: u32,
    pub(super) shard: Shard,
    /// Number of its newest resync, or of the newest of any room when it was opened: a join sent
    /// before was not listed in it.
    pub(super) resync: u64,
    pub(super) epoch: u64,
    /// Offset of the last event delivered.
    pub(super) last: u64,
    /// Dense: a session's [`Seat`](super::session::Seat) says where it sits.
    pub(super) listeners: Vec<Listener>,
    /// Sessions whose answer to `join` went further than the stream has come.
    pub(super) ahead: Vec<Ahead>,
    /// What this batch brought, not yet in the sessions' queues.
    pub(super) fresh: Vec<Fresh>,
    /// There while the stream has a hole.
    pub(super) hole: Option<Box<Hole>>,
}

/// A session that listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listener {
    /// The session's key.
    pub(super) session: u32,
    /// How many of the room's fresh frames this session has or must not have.
    pub(super) skip: u32,
}

/// A session that has the events up to `offset` already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    pub(super) session: u32,
    pub(super) offset: u64,
}

/// A frame for the room's listeners.
#[derive(Debug)]
pub(super) enum Fresh {
    Event(Arc<RoomEvent>),
    Signal(Arc<RoomSignal>),
}

impl Fresh {
    fn frame(&self, encoding: Encoding) -> &Bytes {
        match self {
            Self::Event(event) => event.frame.frame(encoding),
            Self::Signal(signal) => signal.frame.frame(encoding),
        }
    }
}

/// A hole in the stream: asked for, not yet filled.
#[derive(Debug, Default)]
pub(super) struct Hole {
    /// When to ask again.
    pub(super) retry_at: Millis,
    /// Times asked since it must be.
    pub(super) tries: u32,
    /// The listeners changed in a way that the resync on its way does not say: ask once more.
    pub(super) again: bool,
    /// Events behind the hole, by offset.
    pub(super) held: BTreeMap<u64, Arc<RoomEvent>>,
}

/// What to do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The next one.
    Deliver,
    /// Of an old owner, or delivered before.
    Drop,
    /// Something is missing before it.
    Hold,
}

impl Room {
    pub(super) fn judge(&self, epoch: u64, offset: u64) -> Verdict {
        if epoch < self.epoch || offset <= self.last {
            Verdict::Drop
        } else if offset == self.last + 1 {
            Verdict::Deliver
        } else {
            Verdict::Hold
        }
    }

    /// Keeps an event from behind the hole. The newest is dropped when there are too many: the
    /// next resync fetches it.
    pub(super) fn hold(&mut self, event: Arc<RoomEvent>) {
        let held = &mut self.hole.get_or_insert_default().held;
        let newer = |old: &Arc<RoomEvent>| old.epoch >= event.epoch;
        if !held.get(&event.offset).is_some_and(newer) {
            held.insert(event.offset, event);
        }
        if held.len() > RESYNC_HELD_EVENTS_MAX {
            held.pop_last();
        }
    }

    /// The held event that comes next, if it is there.
    pub(super) fn next_held(&mut self) -> Option<Arc<RoomEvent>> {
        let hole = self.hole.as_mut()?;
        hole.held = hole.held.split_off(&(self.last + 1));
        hole.held.remove(&(self.last + 1))
    }

    /// The frames not yet in this listener's queue, which then has them.
    pub(super) fn catch_up(
        &mut self,
        index: usize,
        encoding: Encoding,
    ) -> impl Iterator<Item = Bytes> {
        let listener = &mut self.listeners[index];
        let from = (listener.skip as usize).min(self.fresh.len());
        listener.skip = count(self.fresh.len());
        self.fresh[from..]
            .iter()
            .map(move |fresh| fresh.frame(encoding).clone())
    }
}

/// A length that fits 32 bits because a batch is bounded.
pub(super) fn count(len: usize) -> u32 {
    u32::try_from(len).expect("a batch is far smaller")
}

/// All fresh frames of a room, as a piece in each encoding that somebody reads.
#[derive(Debug)]
pub(super) struct Pieces {
    fresh: Vec<Fresh>,
    json: Option<Piece>,
    protobuf: Option<Piece>,
}

impl Pieces {
    pub(super) fn new(fresh: Vec<Fresh>) -> Self {
        Self {
            fresh,
            json: None,
            protobuf: None,
        }
    }

    pub(super) fn of(&mut self, encoding: Encoding) -> &Piece {
        let piece = match encoding {
            Encoding::Json => &mut self.json,
            Encoding::Protobuf => &mut self.protobuf,
        };
        piece.get_or_insert_with(|| Piece::new(&self.fresh, encoding))
    }
}

/// All fresh frames of a room in one encoding, as one piece that every listener shares: a flush
/// costs each of them one push and one slice, however many events it brings.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    /// Where each frame starts.
    starts: Vec<usize>,
}

impl Piece {
    fn new(fresh: &[Fresh], encoding: Encoding) -> Self {
        if let [one] = fresh {
            return Self {
                bytes: one.frame(encoding).clone(),
                starts: vec![0],
            };
        }
        let total = fresh.iter().map(|fresh| fresh.frame(encoding).len()).sum();
        let mut bytes = BytesMut::with_capacity(total);
        let mut starts = Vec::with_capacity(fresh.len());
        for fresh in fresh {
            starts.push(bytes.len());
            bytes.extend_from_slice(fresh.frame(encoding));
        }
        Self {
            bytes: bytes.freeze(),
            starts,
        }
    }

    /// Frames in it.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// All of it.
    pub(super) fn whole(&self) -> &Bytes {
        &self.bytes
    }

    /// The piece without its first `skip` frames; empty when there are no more.
    pub(super) fn after(&self, skip: u32) -> Bytes {
        match skip {
            0 => self.bytes.clone(),
            skip => self
                .starts
                .get(skip as usize)
                .map_or_else(Bytes::new, |&start| self.bytes.slice(start..)),
        }
    }
}
