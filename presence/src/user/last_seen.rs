//! When a user was last seen: what is known of it here, and what the store still has to learn.

use tokio::time::Instant;

/// One operation that may run once at a time and is tried again after a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Operation {
    #[default]
    Idle,
    Running,
    RetryAt(Instant),
}

impl Operation {
    fn start(&mut self, now: Instant) -> bool {
        let ready = match self {
            Self::Idle => true,
            Self::Running => false,
            Self::RetryAt(at) => *at <= now,
        };
        if ready {
            *self = Self::Running;
        }
        ready
    }

    const fn retry_at(self) -> Option<Instant> {
        match self {
            Self::RetryAt(at) => Some(at),
            Self::Idle | Self::Running => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct LastSeen {
    /// `None`: neither read nor set yet.
    known_ms: Option<u64>,
    /// The value the store has not confirmed.
    unwritten_ms: Option<u64>,
    read: Operation,
    write: Operation,
}

impl LastSeen {
    pub(super) const fn known_ms(&self) -> Option<u64> {
        self.known_ms
    }

    pub(super) const fn unwritten_ms(&self) -> Option<u64> {
        self.unwritten_ms
    }

    /// The user was seen until then. Never moves backwards.
    pub(super) fn set(&mut self, seen_ms: u64) {
        let seen_ms = seen_ms.max(self.known_ms.unwrap_or(0));
        self.known_ms = Some(seen_ms);
        self.unwritten_ms = Some(seen_ms);
    }

    /// Whether a read should start now; then it is running.
    pub(super) fn start_read(&mut self, now: Instant) -> bool {
        self.known_ms.is_none() && self.read.start(now)
    }

    /// The value to write now, if any; then the write is running.
    pub(super) fn start_write(&mut self, now: Instant) -> Option<u64> {
        let value = self.unwritten_ms?;
        self.write.start(now).then_some(value)
    }

    /// A read ended. What was set meanwhile is newer or equal.
    pub(super) fn read_ended(&mut self, stored_ms: Option<u64>, retry_at: Instant) {
        self.read = Operation::Idle;
        match stored_ms {
            Some(stored_ms) => {
                self.known_ms = Some(stored_ms.max(self.known_ms.unwrap_or(0)));
            }
            None => self.read = Operation::RetryAt(retry_at),
        }
    }

    /// A write of that value ended; `failed_until`: it failed, try again then.
    pub(super) fn write_ended(&mut self, written_ms: u64, failed_until: Option<Instant>) {
        self.write = failed_until.map_or(Operation::Idle, Operation::RetryAt);
        if failed_until.is_none() && self.unwritten_ms == Some(written_ms) {
            self.unwritten_ms = None;
        }
    }

    pub(super) const fn read_retry_at(&self) -> Option<Instant> {
        self.read.retry_at()
    }

    pub(super) const fn write_retry_at(&self) -> Option<Instant> {
        self.write.retry_at()
    }

    /// Whether nothing is lost when this is forgotten.
    pub(super) fn is_settled(&self) -> bool {
        self.unwritten_ms.is_none() && self.read != Operation::Running
    }
}
