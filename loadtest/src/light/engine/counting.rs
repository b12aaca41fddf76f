//! How far opening and joining are: with many rooms that takes a while, and people watch.

use super::Report;

/// Microseconds between two reports.
const INTERVAL_US: u64 = 1_000_000;

/// Counts up and says so.
#[derive(Debug, Default)]
pub(super) struct Counting {
    done: u64,
    said: u64,
    said_us: u64,
}

impl Counting {
    pub(super) fn add(&mut self, count: u64) {
        self.done += count;
    }

    /// Counts anew: something else begins.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    /// What there is to say now. Nothing wakes the loop for it: where nothing happens there is
    /// nothing to say.
    pub(super) fn said(&mut self, now_us: u64) -> Option<Report> {
        let due = self.done > self.said && now_us >= self.said_us + INTERVAL_US;
        due.then(|| {
            self.said = self.done;
            self.said_us = now_us;
            Report::Progress(self.done)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_said_once_a_second_and_only_where_there_is_some() {
        let mut counting = Counting::default();
        let mut said = |add: u64, second: u64| {
            counting.add(add);
            match counting.said(second * INTERVAL_US) {
                Some(Report::Progress(done)) => Some(done),
                Some(other) => panic!("{other:?}"),
                None => None,
            }
        };
        assert_eq!(said(0, 9), None);
        assert_eq!(said(2, 9), Some(2));
        assert_eq!(said(3, 9), None, "in the same second");
        assert_eq!(said(0, 10), Some(5));
        assert_eq!(said(0, 11), None, "nothing new");
    }
}
