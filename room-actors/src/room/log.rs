//! The log as the room holds it: committed head, recent events, events in flight.

use std::collections::VecDeque;

use bytes::Bytes;
use rookery_cluster::EndpointId;
use rookery_persistence::{EventKind, LogRow};
use rookery_proto::{
    ids::{Offset, UserId},
    v1,
};

use super::{
    command::{Ticket, Who},
    fold,
};
use crate::limits::RING_BYTES_MAX;

/// One event as memory keeps it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) offset: Offset,
    pub(super) kind: EventKind,
    pub(super) target: Offset,
    pub(super) message_count: u64,
    /// The encoded `rookery.v1.Event`.
    pub(super) event: Bytes,
}

impl From<LogRow> for Entry {
    fn from(row: LogRow) -> Self {
        Self {
            offset: row.offset,
            kind: row.kind,
            target: row.target,
            message_count: row.message_count,
            event: row.event,
        }
    }
}

/// What becomes true when an event commits.
#[derive(Debug)]
pub(super) enum Change {
    Opened { members: Vec<UserId>, by: v1::User },
    Message,
    Edited,
    Deleted,
    Reacted,
    Joined { by: v1::User },
    Left,
}

/// How a request that waits for a commit is answered.
#[derive(Debug)]
pub(super) enum Answer {
    Appended {
        duplicate: bool,
    },
    /// What it asked for is so by this event, or by one before it.
    Unchanged,
    Created,
    Joined {
        who: Box<Who>,
        from: Option<v1::join::From>,
    },
    Left,
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) ticket: Ticket,
    pub(super) answer: Answer,
}

/// An event that is applied and not yet known to be durable.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) entry: Entry,
    pub(super) actor: UserId,
    /// Where it came from: this session learns of it by its reply, too.
    pub(super) origin: (EndpointId, u64),
    pub(super) time_ms: u64,
    pub(super) change: Change,
    pub(super) waiters: Vec<Waiter>,
}

/// Committed prefix (its newest part in memory) and what is in flight behind it.
#[derive(Debug)]
pub(super) struct Log {
    head: Offset,
    head_count: u64,
    applied_count: u64,
    ring: VecDeque<Entry>,
    ring_bytes: usize,
    ring_events_max: usize,
    pending: VecDeque<Pending>,
}

impl Log {
    /// The log of a room that just woke: `tail` is dense and ends at the head.
    pub(super) fn new(tail: Vec<LogRow>, ring_events_max: usize) -> Self {
        let head = tail.last().map_or(Offset::ZERO, |row| row.offset);
        let count = tail.last().map_or(0, |row| row.message_count);
        let mut log = Self {
            head,
            head_count: count,
            applied_count: count,
            ring: VecDeque::new(),
            ring_bytes: 0,
            ring_events_max,
            pending: VecDeque::new(),
        };
        for row in tail {
            log.push(row.into());
        }
        log
    }

    /// The last committed offset.
    pub(super) const fn head(&self) -> Offset {
        self.head
    }

    /// Messages up to the head.
    pub(super) const fn head_count(&self) -> u64 {
        self.head_count
    }

    /// The offset the next event gets.
    pub(super) fn next_offset(&self) -> Offset {
        Offset(self.head.0 + self.pending.len() as u64 + 1)
    }

    /// Messages up to the last applied event.
    pub(super) const fn applied_count(&self) -> u64 {
        self.applied_count
    }

    pub(super) fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Adds an event behind all others.
    pub(super) fn append(&mut self, pending: Pending) {
        debug_assert_eq!(
            pending.entry.offset,
            self.next_offset(),
            "offsets are dense"
        );
        self.applied_count = pending.entry.message_count;
        self.pending.push_back(pending);
    }

    /// Gives back the memory of what was in flight.
    pub(super) fn release_pending(&mut self) {
        self.pending.shrink_to_fit();
    }

    /// The event in flight at that offset.
    pub(super) fn pending_mut(&mut self, offset: Offset) -> Option<&mut Pending> {
        let index = offset.0.checked_sub(self.head.0 + 1)?;
        self.pending.get_mut(usize::try_from(index).ok()?)
    }

    /// Events in flight, oldest first.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Pending> {
        self.pending.iter()
    }

    /// Mutable access to all events in flight.
    pub(super) fn pending_all_mut(&mut self) -> impl Iterator<Item = &mut Pending> {
        self.pending.iter_mut()
    }

    /// Moves the head over the oldest event in flight and returns it.
    pub(super) fn commit_next(&mut self) -> Option<Pending> {
        let pending = self.pending.pop_front()?;
        self.head = pending.entry.offset;
        self.head_count = pending.entry.message_count;
        self.push(pending.entry.clone());
        Some(pending)
    }

    fn push(&mut self, entry: Entry) {
        self.ring_bytes += entry.event.len();
        self.ring.push_back(entry);
        while self.ring.len() > self.ring_events_max
            || (self.ring_bytes > RING_BYTES_MAX && self.ring.len() > 1)
        {
            let oldest = self.ring.pop_front().expect("longer than one");
            self.ring_bytes -= oldest.event.len();
        }
    }

    /// The oldest committed offset in memory; the one after the head when there is none.
    pub(super) fn ring_first(&self) -> Offset {
        self.ring
            .front()
            .map_or(self.head.next(), |entry| entry.offset)
    }

    /// The committed event at that offset, when it is in memory.
    pub(super) fn get(&self, offset: Offset) -> Option<&Entry> {
        let index = offset.0.checked_sub(self.ring_first().0)?;
        self.ring.get(usize::try_from(index).ok()?)
    }

    /// Committed events from that offset on (those in memory), oldest first.
    pub(super) fn from(&self, offset: Offset) -> impl Iterator<Item = &Entry> {
        let skip = offset.0.saturating_sub(self.ring_first().0);
        let skip = usize::try_from(skip)
            .unwrap_or(usize::MAX)
            .min(self.ring.len());
        self.ring.range(skip..)
    }

    /// Takes the text of a deleted message, and of its edits, out of memory.
    pub(super) fn redact(&mut self, message: Offset) {
        let start = message.0.saturating_sub(self.ring_first().0);
        let start = usize::try_from(start)
            .unwrap_or(usize::MAX)
            .min(self.ring.len());
        self.redact_from(start, |offset| offset == message);
    }

    /// The same for every message that `deleted` names.
    pub(super) fn redact_where(&mut self, deleted: impl Fn(Offset) -> bool) {
        self.redact_from(0, deleted);
    }

    fn redact_from(&mut self, start: usize, deleted: impl Fn(Offset) -> bool) {
        for entry in self.ring.range_mut(start..) {
            let message = match entry.kind {
                EventKind::Message => entry.offset,
                EventKind::Edited => entry.target,
                _ => continue,
            };
            if deleted(message) {
                let redacted = fold::redacted(&entry.event);
                self.ring_bytes = self.ring_bytes - entry.event.len() + redacted.len();
                entry.event = redacted;
            }
        }
    }
}
