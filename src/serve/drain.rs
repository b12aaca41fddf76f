//! One grace period, divided openly.
//!
//! ```text
//! 0%            40%        60%     70%          85%   90%       100%
//! ├─ tell clients to move ─┼─ wait ─┼─ gateway ─┼─ rooms ─┼─ presence ─┼─ store ─┤
//! ```
//! Each phase may use what is left up to its mark, so time not used goes to the next one. A phase
//! that does not finish is left behind, said in the log, and the next one still runs: the store is
//! closed whatever came before.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, timeout};

/// Up to when clients are told, one by one, to move.
pub(super) const TELL_PERCENT: u32 = 40;
/// Up to when those who were told may take to go.
pub(super) const MOVE_PERCENT: u32 = 60;
/// Up to when the gateway closes those that stayed.
pub(super) const GATEWAY_PERCENT: u32 = 70;
/// Up to when rooms commit what is in flight.
pub(super) const ROOMS_PERCENT: u32 = 85;
/// Up to when users' last seen is kept.
pub(super) const PRESENCE_PERCENT: u32 = 90;
/// Up to when the store is closed.
pub(super) const STORE_PERCENT: u32 = 100;
/// Parts keep their mark themselves; one that has not ended so long after it never will.
const SLACK: Duration = Duration::from_millis(250);
const _: () = assert!(TELL_PERCENT < MOVE_PERCENT && MOVE_PERCENT < GATEWAY_PERCENT);
const _: () = assert!(GATEWAY_PERCENT < ROOMS_PERCENT && ROOMS_PERCENT < PRESENCE_PERCENT);
const _: () = assert!(PRESENCE_PERCENT < STORE_PERCENT && STORE_PERCENT == 100);

/// A stop under way.
#[derive(Debug)]
pub(super) struct Drain {
    began: Instant,
    grace: Duration,
    late: bool,
}

impl Drain {
    /// Begins now.
    pub(super) fn begin(grace: Duration) -> Self {
        Self {
            began: Instant::now(),
            grace,
            late: false,
        }
    }

    /// What is left up to a mark.
    pub(super) fn left(&self, percent: u32) -> Duration {
        let mark = self.began + self.grace * percent / 100;
        mark.saturating_duration_since(Instant::now())
    }

    /// Runs one phase up to its mark and logs how long it took. `None`: it did not finish.
    pub(super) async fn phase<T>(
        &mut self,
        name: &'static str,
        percent: u32,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let done = self.try_phase(name, percent, work).await;
        self.late |= done.is_none();
        done
    }

    /// As [`phase`](Self::phase), for work that the next phase ends anyway: not to finish is no
    /// failure.
    pub(super) async fn try_phase<T>(
        &self,
        name: &'static str,
        percent: u32,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let began = Instant::now();
        let done = timeout(self.left(percent) + SLACK, work).await.ok();
        let took_ms = millis(began.elapsed());
        match done {
            Some(_) => tracing::info!(stop.phase = name, took_ms, "stop phase done"),
            None => tracing::warn!(stop.phase = name, took_ms, "stop phase left behind"),
        }
        done
    }

    /// Notes that a part could not finish in the time it was given.
    pub(super) fn note_late(&mut self) {
        self.late = true;
    }

    /// Whether all was done in time, and how long it took in all.
    pub(super) fn finish(self) -> (bool, Duration) {
        (!self.late, self.began.elapsed())
    }
}

/// Whole milliseconds, for log fields.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_not_used_goes_to_the_next_phase() {
        let mut drain = Drain::begin(Duration::from_secs(10));
        assert_eq!(drain.phase("first", 50, ready(7)).await, Some(7));
        assert_eq!(drain.left(100), Duration::from_secs(10));
        assert_eq!(drain.finish(), (true, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_phase_that_hangs_is_left_at_its_mark_and_the_next_one_still_runs() {
        let mut drain = Drain::begin(Duration::from_secs(10));
        assert_eq!(drain.phase("first", 60, pending::<()>()).await, None);
        assert_eq!(drain.phase("second", 100, ready(())).await, Some(()));
        assert_eq!(drain.finish(), (false, Duration::from_secs(6) + SLACK));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_the_next_phase_ends_does_not_make_the_stop_late() {
        let drain = Drain::begin(Duration::from_secs(10));
        assert_eq!(drain.try_phase("first", 60, pending::<()>()).await, None);
        assert!(drain.finish().0);
    }
}
