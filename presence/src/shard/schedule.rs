//! Which user is due when: one heap a shard instead of a timer a user.

use std::{cmp::Reverse, collections::BinaryHeap};

use rookery_proto::ids::UserId;
use tokio::time::Instant;

/// Wake-ups by time. One that is no longer wanted is dropped when its time comes: the user is
/// looked at once too often, never once too seldom.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    heap: BinaryHeap<Reverse<(Instant, UserId)>>,
}

impl Schedule {
    pub(super) fn add(&mut self, at: Instant, user: &UserId) {
        self.heap.push(Reverse((at, user.clone())));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, UserId)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(due)| due)
    }
}
