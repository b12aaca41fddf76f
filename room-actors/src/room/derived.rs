//! Rows that follow from committed events and are written behind them: how far senders have read,
//! and the ids of what they sent.
//!
//! Nobody waits for them, so they are written many at once. Whoever takes the room over reads the
//! newest [`WAKE_TAIL_OFFSETS`](crate::limits::WAKE_TAIL_OFFSETS) offsets of its log and derives from
//! them again what may be missing; so no room goes further beyond a row that is not durable than
//! that (ADR 0011).

use std::collections::VecDeque;

use rookery_persistence::{RoomWrite, SentRow};
use rookery_proto::ids::Offset;
use tokio::time::Instant;

use super::{cursors, state::RoomState};
use crate::limits::{DERIVED_BEHIND_MAX, DERIVED_FLUSH_BEHIND, DERIVED_FLUSH_INTERVAL};

/// What waits to be written behind the log.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// By ascending offset. Of events in flight, too; those are not written before they commit.
    sent: VecDeque<SentRow>,
    /// When rows were last handed over.
    taken_at: Option<Instant>,
    /// The oldest event whose rows are on their way to the store.
    flying: Option<Offset>,
}

impl Behind {
    /// The id of an event that was just applied.
    pub(super) fn sent(&mut self, row: SentRow) {
        self.sent.push_back(row);
    }
}

/// Rows to write behind the log.
#[derive(Debug)]
pub(crate) struct Derived {
    pub(crate) write: RoomWrite,
    /// The room is on its way out, or far ahead of them: not to be gathered with other rooms'.
    pub(crate) urgent: bool,
}

impl RoomState {
    /// What is to be written behind the log now: at once in a room that spoke after a while, what
    /// follows together; nothing while the last of it is on its way. `flush`: also what may wait.
    pub(crate) fn take_derived(&mut self, now: Instant, flush: bool) -> Option<Derived> {
        let since = self.derived_since()?;
        let head = self.log.head();
        let urgent = flush || head.0 >= since.0 + DERIVED_FLUSH_BEHIND;
        let due = self.derived_due(now)?;
        if !urgent && due > now {
            return None;
        }
        self.behind.taken_at = Some(now);
        self.behind.flying = Some(since);
        let mut write = RoomWrite::new(self.room.clone());
        let committed = self.behind.sent.partition_point(|row| row.offset <= head);
        write.sent = self.behind.sent.drain(..committed).collect();
        write.cursors = cursors::rows(self.cursors.take_unsaved());
        Some(Derived { write, urgent })
    }

    /// What was taken is durable.
    pub(crate) fn derived_written(&mut self) {
        self.behind.flying = None;
        self.note_saved();
    }

    /// Whether the log is as far ahead of a row that is not durable as it may be.
    pub(super) fn is_far_ahead(&self) -> bool {
        let next = self.log.next_offset();
        self.derived_since()
            .is_some_and(|since| next.0 - since.0 >= DERIVED_BEHIND_MAX)
    }

    /// Whether every row is written.
    pub(super) fn is_derived(&self) -> bool {
        self.derived_since().is_none()
    }

    /// When rows of committed events that wait are to be handed over; none while the last of them
    /// are on their way.
    pub(super) fn derived_due(&self, now: Instant) -> Option<Instant> {
        let head = self.log.head();
        let oldest = self.behind.sent.front();
        let waits =
            self.cursors.unsaved_since().is_some() || oldest.is_some_and(|row| row.offset <= head);
        if !waits || self.behind.flying.is_some() {
            return None;
        }
        let next = self.behind.taken_at.map(|at| at + DERIVED_FLUSH_INTERVAL);
        Some(next.map_or(now, |next| next.max(now)))
    }

    /// The oldest event whose rows may not be durable.
    fn derived_since(&self) -> Option<Offset> {
        let sent = self.behind.sent.front().map(|row| row.offset);
        let waiting = [self.behind.flying, self.cursors.unsaved_since(), sent];
        waiting.into_iter().flatten().min()
    }

    /// Tells memory for which ids the store answers. To call when the head has moved, when rows are
    /// durable, and when the room woke.
    pub(super) fn note_saved(&mut self) {
        let head = self.log.head();
        let saved = self
            .derived_since()
            .map_or(head, |since| Offset(since.0 - 1).min(head));
        self.sent.saved_up_to(saved);
    }

    /// Gives back the memory of queues that are empty.
    pub(super) fn release_behind(&mut self) {
        self.behind.sent.shrink_to_fit();
    }
}
