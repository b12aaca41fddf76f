//! The timing wheel of a lane: every timer of every session, room and request.
//!
//! Timers are not cancelled. One that fires finds its owner's state changed, or its owner gone,
//! and does nothing.

use crate::limits::{TIMER_SLOTS, TIMER_TICK};

/// Milliseconds since the lanes started, the only time a worker decides by.
pub(super) type Millis = u64;

const TICK_MS: Millis = TIMER_TICK.as_millis() as Millis;

/// Fires values at their time, never before it and at most one tick after.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    slots: Vec<Vec<(Millis, T)>>,
    /// Ticks that have fired.
    ticks: u64,
}

impl<T> Wheel<T> {
    pub(super) fn new(now: Millis) -> Self {
        Self {
            slots: (0..TIMER_SLOTS).map(|_| Vec::new()).collect(),
            ticks: now / TICK_MS,
        }
    }

    /// Sets a timer. One whose time has passed fires with the next tick.
    pub(super) fn set(&mut self, at: Millis, timer: T) {
        let tick = at.div_ceil(TICK_MS).max(self.ticks + 1);
        self.slots[slot(tick)].push((tick, timer));
    }

    /// Timers set and not fired.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.slots.iter().map(Vec::len).sum()
    }

    /// Moves what is due at `now` into `due`, in the order of its time.
    pub(super) fn advance(&mut self, now: Millis, due: &mut Vec<T>) {
        let until = now / TICK_MS;
        // A turn visits every slot; after a longer stall one turn finds all that is due.
        let first = (self.ticks + 1).max(until.saturating_sub(TIMER_SLOTS as u64 - 1));
        self.ticks = self.ticks.max(until);
        for tick in first..=until {
            let timers = &mut self.slots[slot(tick)];
            let mut at = 0;
            while at < timers.len() {
                if timers[at].0 <= until {
                    due.push(timers.swap_remove(at).1);
                } else {
                    at += 1;
                }
            }
            if timers.is_empty() {
                timers.shrink_to(4);
            }
        }
    }
}

fn slot(tick: u64) -> usize {
    usize::try_from(tick % TIMER_SLOTS as u64).expect("below the number of slots")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn timers_fire_once_never_early_and_within_a_tick(
            timers in proptest::collection::vec(0u64..200_000, 1..50),
            steps in proptest::collection::vec(1u64..90_000, 1..20),
        ) {
            let mut wheel = Wheel::new(0);
            for &at in &timers {
                wheel.set(at, at);
            }
            let (mut now, mut fired) = (0, Vec::new());
            for step in steps {
                now += step;
                let mut due = Vec::new();
                wheel.advance(now, &mut due);
                for at in due {
                    prop_assert!(at <= now);
                    fired.push(at);
                }
                for &at in &timers {
                    let late = now >= at.max(1) + 2 * TICK_MS;
                    prop_assert!(!late || fired.contains(&at), "{at} at {now}");
                }
            }
            prop_assert_eq!(wheel.len() + fired.len(), timers.len());
        }
    }
}
