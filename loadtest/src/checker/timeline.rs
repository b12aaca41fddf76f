//! A number that only grows, and what it was when somebody asked.

/// What a number was from when on. What nobody can ask for any more is forgotten.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// (when, value), both ascending.
    steps: Vec<(u64, u64)>,
}

impl Timeline {
    /// The number is at least this from `now` on. Nobody will ask for before `oldest`.
    pub(super) fn raise(&mut self, now: u64, value: u64, oldest: u64) {
        if self.steps.last().is_some_and(|(_, last)| value <= *last) {
            return;
        }
        if self.steps.len() == self.steps.capacity() {
            let asked = self.steps.partition_point(|(at, _)| *at <= oldest);
            self.steps.drain(..asked.saturating_sub(1));
        }
        self.steps.push((now, value));
    }

    /// What it was then; 0: nothing yet.
    pub(super) fn at(&self, then: u64) -> u64 {
        let known = self.steps.partition_point(|(at, _)| *at <= then);
        self.steps[..known].last().map_or(0, |(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_what_it_was_and_the_past_costs_nothing() {
        let mut line = Timeline::default();
        assert_eq!(line.at(9), 0);
        for now in 1..10_000 {
            line.raise(now, now * 2, now.saturating_sub(5));
            line.raise(now, 1, 0);
            assert_eq!(line.at(now), now * 2);
            let before = now.saturating_sub(5);
            assert_eq!(line.at(before), before * 2);
        }
        assert!(line.steps.capacity() < 64, "{}", line.steps.capacity());
    }
}
