//! What the host knows of a shard without asking: how much waits there and what is due.
//!
//! ractor's mailboxes are not bounded; this counter is the bound.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

const NOTHING_DUE: u64 = u64::MAX;

/// Shared by a shard's actor and the host.
#[derive(Debug)]
pub(crate) struct Gauge {
    started: Instant,
    waiting: AtomicUsize,
    users: AtomicUsize,
    /// Milliseconds after `started`, rounded up; `NOTHING_DUE`: none.
    due_ms: AtomicU64,
    ticking: AtomicBool,
}

impl Gauge {
    pub(crate) fn new(started: Instant) -> Arc<Self> {
        Arc::new(Self {
            started,
            waiting: AtomicUsize::new(0),
            users: AtomicUsize::new(0),
            due_ms: AtomicU64::new(NOTHING_DUE),
            ticking: AtomicBool::new(false),
        })
    }

    /// Counts one more message in, unless `max` are waiting.
    pub(crate) fn admit(self: &Arc<Self>, max: usize) -> Option<Admitted> {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        let admitted = Admitted {
            gauge: Arc::clone(self),
        };
        (waiting < max).then_some(admitted)
    }

    /// The actor's report after each message.
    pub(super) fn report(&self, users: usize, due: Option<Instant>) {
        self.users.store(users, Ordering::Relaxed);
        let due_ms = due.map_or(NOTHING_DUE, |due| {
            let after = due.saturating_duration_since(self.started) + Duration::from_micros(999);
            u64::try_from(after.as_millis()).unwrap_or(NOTHING_DUE)
        });
        self.due_ms.store(due_ms, Ordering::Relaxed);
    }

    /// Whether the actor should be sent a tick; at most one is under way.
    pub(crate) fn should_tick(&self, now: Instant) -> bool {
        let now_ms = now.saturating_duration_since(self.started).as_millis();
        u128::from(self.due_ms.load(Ordering::Relaxed)) <= now_ms
            && !self.ticking.swap(true, Ordering::Relaxed)
    }

    pub(super) fn ticked(&self) {
        self.ticking.store(false, Ordering::Relaxed);
    }

    pub(crate) fn users(&self) -> usize {
        self.users.load(Ordering::Relaxed)
    }

    /// Whether nothing waits and nobody is in memory.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0 && self.users() == 0
    }
}

/// One place in a shard's queue; given back when dropped, after the message was handled.
#[derive(Debug)]
pub(crate) struct Admitted {
    gauge: Arc<Gauge>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.gauge.waiting.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_gauge_refuses_until_a_place_is_given_back() {
        let gauge = Gauge::new(Instant::now());
        let first = gauge.admit(2);
        let second = gauge.admit(2);
        assert!(first.is_some() && second.is_some());
        assert!(gauge.admit(2).is_none());
        assert!(gauge.admit(2).is_none(), "a refusal keeps no place");
        drop(first);
        assert!(gauge.admit(2).is_some());
        drop(second);
        assert!(gauge.is_empty());
    }

    #[test]
    fn tick_is_due_once_and_not_early() {
        let start = Instant::now();
        let gauge = Gauge::new(start);
        assert!(!gauge.should_tick(start));
        gauge.report(1, Some(start + Duration::from_micros(1_500)));
        assert!(!gauge.should_tick(start + Duration::from_millis(1)));
        assert!(gauge.should_tick(start + Duration::from_millis(2)));
        assert!(
            !gauge.should_tick(start + Duration::from_millis(3)),
            "one is under way"
        );
        gauge.ticked();
        assert!(gauge.should_tick(start + Duration::from_millis(3)));
    }
}
