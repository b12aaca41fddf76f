//! When things are due: by the clock alone, whatever became of the ones before.

use crate::scenario::Rates;

/// What an active connection does when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    Send,
    Typing,
    Read,
    History,
    Presence,
    Reconnect,
}

/// This process's share of a stage's activities.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    lines: Vec<Line>,
}

/// One activity: the n-th of all processes is due n / rate after the beginning; this one's are
/// those with n modulo `parts` = `part`.
#[derive(Debug)]
struct Line {
    activity: Activity,
    start_us: u64,
    interval_us: f64,
    next: u64,
    parts: u64,
}

impl Line {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "microseconds of a run, far below 2^52"
    )]
    fn due_us(&self) -> u64 {
        self.start_us + (self.next as f64 * self.interval_us) as u64
    }
}

impl Schedule {
    /// Of this part of so many.
    pub(super) fn new(rates: &Rates, part: u32, parts: u32, start_us: u64) -> Self {
        let all = [
            (Activity::Send, rates.sends),
            (Activity::Typing, rates.typing),
            (Activity::Read, rates.reads),
            (Activity::History, rates.history),
            (Activity::Presence, rates.presence),
            (Activity::Reconnect, rates.reconnects),
        ];
        let some = all.into_iter().filter(|(_, rate)| *rate > 0.0);
        let lines = some.map(|(activity, rate)| Line {
            activity,
            start_us,
            interval_us: 1_000_000.0 / rate,
            next: part.into(),
            parts: parts.into(),
        });
        Self {
            lines: lines.collect(),
        }
    }

    /// When the next is due.
    pub(super) fn next_us(&self) -> Option<u64> {
        self.lines.iter().map(Line::due_us).min()
    }

    /// The next, if it is due by now and before `end_us`.
    pub(super) fn take(&mut self, now_us: u64, end_us: u64) -> Option<(Activity, u64)> {
        let line = self.lines.iter_mut().min_by_key(|line| line.due_us())?;
        let due_us = line.due_us();
        if due_us > now_us || due_us >= end_us {
            return None;
        }
        line.next += line.parts;
        Some((line.activity, due_us))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rates(sends: f64, typing: f64) -> Rates {
        Rates {
            sends,
            typing,
            ..Rates::default()
        }
    }

    fn dues(part: u32, parts: u32, sends: f64) -> Vec<u64> {
        let mut schedule = Schedule::new(&rates(sends, 0.0), part, parts, 1_000);
        let end_us = 1_001_000;
        std::iter::from_fn(|| schedule.take(u64::MAX, end_us))
            .map(|(_, due_us)| due_us)
            .collect()
    }

    proptest! {
        #[test]
        fn all_parts_together_do_what_one_would(parts in 1_u32..9, sends in 0.5_f64..2_000.0) {
            let mut all: Vec<u64> = (0..parts).flat_map(|part| dues(part, parts, sends)).collect();
            all.sort_unstable();
            prop_assert_eq!(all, dues(0, 1, sends));
        }
    }

    #[test]
    fn what_is_late_keeps_the_time_it_was_due() {
        let mut schedule = Schedule::new(&rates(10.0, 4.0), 0, 1, 0);
        assert_eq!(schedule.next_us(), Some(0));
        assert_eq!(schedule.take(0, 1_000_000), Some((Activity::Send, 0)));
        assert_eq!(schedule.take(0, 1_000_000), Some((Activity::Typing, 0)));
        assert_eq!(schedule.take(99_999, 1_000_000), None);
        assert_eq!(schedule.next_us(), Some(100_000));
        assert_eq!(
            schedule.take(900_000, 1_000_000),
            Some((Activity::Send, 100_000))
        );
        assert_eq!(
            schedule.take(900_000, 1_000_000),
            Some((Activity::Send, 200_000))
        );
        assert_eq!(
            schedule.take(900_000, 1_000_000),
            Some((Activity::Typing, 250_000))
        );
        assert_eq!(schedule.take(900_000, 300_000), None, "the stage ends");
    }
}
