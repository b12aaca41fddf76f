//! The token bucket that limits a session's commands.

use std::time::Duration;

use super::wheel::Millis;

/// Thousandths of a command: refilled by the millisecond without rounding.
const COMMAND: u64 = 1_000;

/// Rate and burst of one session's commands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) per_second: u32,
    pub(super) burst: u32,
}

/// What a session has left.
#[derive(Debug)]
pub(super) struct Bucket {
    thousandths: u64,
    filled: Millis,
}

impl Bucket {
    pub(super) fn full(rate: Rate, now: Millis) -> Self {
        Self {
            thousandths: u64::from(rate.burst) * COMMAND,
            filled: now,
        }
    }

    /// Takes one command, or says after how long there is one.
    pub(super) fn take(&mut self, rate: Rate, now: Millis) -> Result<(), Duration> {
        let per_second = u64::from(rate.per_second).max(1);
        let refill = now.saturating_sub(self.filled).saturating_mul(per_second);
        let full = u64::from(rate.burst) * COMMAND;
        self.thousandths = self.thousandths.saturating_add(refill).min(full);
        self.filled = now;
        if self.thousandths >= COMMAND {
            self.thousandths -= COMMAND;
            Ok(())
        } else {
            let missing = COMMAND - self.thousandths;
            Err(Duration::from_millis(missing.div_ceil(per_second)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_gives_its_burst_then_its_rate() {
        let rate = Rate {
            per_second: 50,
            burst: 3,
        };
        let mut bucket = Bucket::full(rate, 0);
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, 0), Ok(()));
        }
        assert_eq!(bucket.take(rate, 0), Err(Duration::from_millis(20)));
        assert_eq!(bucket.take(rate, 19), Err(Duration::from_millis(1)));
        assert_eq!(bucket.take(rate, 20), Ok(()));
        assert_eq!(bucket.take(rate, 1_000_000), Ok(()));
        assert_eq!(bucket.take(rate, 1_000_000), Ok(()));
        assert_eq!(bucket.take(rate, 1_000_000), Ok(()));
        assert!(bucket.take(rate, 1_000_000).is_err());
    }
}
