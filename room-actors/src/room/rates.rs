//! How fast a user may send.

use std::time::Duration;

use rookery_proto::ids::UserId;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use crate::limits::RATES_MAX;

/// A token bucket kept as the time at which it would be full again.
#[derive(Debug, Default)]
pub(super) struct Rates {
    full_at: FxHashMap<UserId, Instant>,
}

impl Rates {
    /// Takes one of `burst` tokens that come back at `per_second`; the time to wait when there is none.
    pub(super) fn take(
        &mut self,
        user: &UserId,
        now: Instant,
        per_second: u32,
        burst: u32,
    ) -> Result<(), Duration> {
        let cost = Duration::from_secs(1) / per_second.max(1);
        if let Some(full_at) = self.full_at.get_mut(user) {
            let next = (*full_at).max(now) + cost;
            let limit = now + cost * burst;
            if next > limit {
                return Err(next - limit);
            }
            *full_at = next;
            return Ok(());
        }
        if self.full_at.len() >= RATES_MAX {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= RATES_MAX {
                self.full_at.clear();
            }
        }
        self.full_at.insert(user.clone(), now + cost);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_gives_its_burst_then_its_rate() {
        let user = UserId::parse("a").unwrap();
        let now = Instant::now();
        let mut rates = Rates::default();
        for _ in 0..5 {
            rates.take(&user, now, 10, 5).unwrap();
        }
        assert_eq!(
            rates.take(&user, now, 10, 5),
            Err(Duration::from_millis(100))
        );
        let later = now + Duration::from_millis(100);
        rates.take(&user, later, 10, 5).unwrap();
        assert!(rates.take(&user, later, 10, 5).is_err());
    }
}
