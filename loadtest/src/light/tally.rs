//! What happened, of the whole stage and of the last second.
//!
//! What has a due time belongs to the stage when it was due after its warm-up, however late it
//! comes; a tick has what came within its second.

use super::orders::TickPart;
use crate::outcome::{Counts, Latencies};

/// Counts and latencies.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    pub(super) latency: Latencies,
    tick: TickPart,
    /// What was due from here on belongs to the stage; `None`: nothing is measured.
    from_us: Option<u64>,
}

impl Tally {
    /// The warm-up is over. What was lost, doubled or dropped in it stays: it should not be.
    pub(super) fn measure(&mut self, from_us: u64) {
        let kept = self.kept();
        *self = Self {
            counts: kept,
            from_us: Some(from_us),
            ..Self::default()
        };
    }

    /// What must not happen, whenever it does.
    fn kept(&self) -> Counts {
        Counts {
            lost: self.counts.lost,
            doubled: self.counts.doubled,
            dropped: self.counts.dropped,
            ..Counts::default()
        }
    }

    /// The stage is over: its counts and latencies.
    pub(super) fn take_stage(&mut self) -> (Counts, Latencies) {
        let whole = std::mem::take(self);
        (whole.counts, whole.latency)
    }

    /// What happened since that must not.
    pub(super) fn take_settled(&mut self) -> Counts {
        let kept = self.kept();
        *self = Self::default();
        kept
    }

    /// The last second's.
    pub(super) fn take_tick(&mut self, connections: u64) -> TickPart {
        TickPart {
            connections,
            ..std::mem::take(&mut self.tick)
        }
    }

    fn belongs(&self, due_us: u64) -> bool {
        self.from_us.is_some_and(|from_us| due_us >= from_us)
    }

    /// Whether what happens now is of the stage's measured time.
    pub(super) fn measuring(&self) -> bool {
        self.from_us.is_some()
    }

    pub(super) fn due(&mut self, due_us: u64) {
        self.tick.counts.due += 1;
        if self.belongs(due_us) {
            self.counts.due += 1;
        }
    }

    pub(super) fn acked(&mut self, due_us: u64, now_us: u64) {
        let took_us = now_us.saturating_sub(due_us);
        self.tick.counts.acked += 1;
        self.tick.latency.ack.record(took_us);
        if self.belongs(due_us) {
            self.counts.acked += 1;
            self.latency.ack.record(took_us);
        }
    }

    pub(super) fn answered(&mut self, due_us: u64, now_us: u64) {
        if self.belongs(due_us) {
            self.counts.answered += 1;
            self.latency.command.record(now_us.saturating_sub(due_us));
        }
    }

    /// A message that says when it was due.
    #[inline]
    pub(super) fn delivered(&mut self, due_us: u64, now_us: u64) {
        let took_us = now_us.saturating_sub(due_us);
        self.tick.counts.delivered += 1;
        self.tick.latency.delivery.record(took_us);
        if self.belongs(due_us) {
            self.counts.delivered += 1;
            self.latency.delivery.record(took_us);
        }
    }

    /// Every listener has it.
    pub(super) fn all(&mut self, due_us: u64, now_us: u64) {
        if self.belongs(due_us) {
            self.latency.all.record(now_us.saturating_sub(due_us));
        }
    }

    /// Another event.
    pub(super) fn told(&mut self) {
        self.tick.counts.delivered += 1;
        if self.measuring() {
            self.counts.delivered += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_has_what_was_due_in_it_and_a_tick_what_came() {
        let mut tally = Tally::default();
        tally.due(50);
        tally.counts.lost = 2;
        tally.measure(100);
        tally.acked(50, 150);
        tally.delivered(50, 160);
        tally.due(100);
        tally.acked(100, 250);
        tally.delivered(100, 300);
        tally.all(100, 300);
        let tick = tally.take_tick(3);
        assert_eq!((tick.counts.acked, tick.counts.delivered), (2, 2));
        assert_eq!(tick.latency.ack.max(), 150);
        assert_eq!(tick.connections, 3);
        let (counts, latency) = tally.take_stage();
        assert_eq!((counts.due, counts.acked, counts.delivered), (1, 1, 1));
        assert_eq!(counts.lost, 2, "a loss counts even in a warm-up");
        assert_eq!((latency.ack.max(), latency.delivery.max()), (150, 200));
        assert_eq!(latency.all.count(), 1);
        tally.counts.doubled = 1;
        tally.delivered(100, 900);
        let settled = tally.take_settled();
        assert_eq!(
            (settled.doubled, settled.lost, settled.delivered),
            (1, 0, 0)
        );
    }
}
