//! How the node stands, and what it may do for that.

use tokio::time::Instant;

use super::{Effect, Member};
use crate::{
    limits::{DEAF_AFTER, SETTLE_AFTER, STORE_FAILING_AFTER},
    membership::{
        beat::NodeState,
        keeper::Mode,
        standing::{Standing, Suspended},
    },
};

impl Member {
    fn suspended(&self, now: Instant) -> Option<Suspended> {
        let is_over = |since: Option<Instant>, limit| {
            since.is_some_and(|since| now.duration_since(since) >= limit)
        };
        if is_over(self.heard_myself.map(|(_, at)| at), DEAF_AFTER) {
            Some(Suspended::Deaf)
        } else if is_over(self.table.failing_since, STORE_FAILING_AFTER) {
            Some(Suspended::Table)
        } else if is_over(self.commits_failing, STORE_FAILING_AFTER) {
            Some(Suspended::Commits)
        } else {
            None
        }
    }

    pub(super) fn stand(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let ready = self.heard_myself.is_some() && (self.table.answered || !self.myself.has_table);
        let standing = match (self.standing, self.suspended(now)) {
            (Standing::Fenced, _) => Standing::Fenced,
            (Standing::Joining, _) if !ready => Standing::Joining,
            (Standing::Joining, Some(_)) => Standing::Joining,
            (_, Some(why)) => Standing::Suspended(why),
            (_, None) if !self.leaving => Standing::Serving,
            (_, None) if self.keeper.is_empty() => Standing::Left,
            (_, None) => Standing::Leaving,
        };
        self.change_standing(standing, now, effects);
    }

    pub(super) fn change_standing(
        &mut self,
        standing: Standing,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        if standing == self.standing {
            return;
        }
        self.standing = standing;
        self.observer.set_serving(standing.serves(), now);
        // A move or a stop is told at once.
        self.beat_at = now;
        self.news = true;
        effects.push(Effect::Standing(standing));
    }

    pub(super) fn state(&self) -> NodeState {
        match self.standing {
            Standing::Joining => NodeState::Joining,
            Standing::Serving => NodeState::Serving,
            Standing::Leaving | Standing::Left => NodeState::Leaving,
            Standing::Suspended(_) | Standing::Fenced => NodeState::Suspended,
        }
    }

    pub(super) fn mode(&self, now: Instant) -> Mode {
        match self.standing {
            Standing::Joining | Standing::Suspended(_) | Standing::Fenced => Mode::Still,
            Standing::Leaving | Standing::Left => Mode::Leaving,
            Standing::Serving => {
                let since = self.observer.serving_since().unwrap_or(now);
                let has_read = self.table.read_done.is_some_and(|at| at >= since);
                let settled = now.duration_since(since) >= SETTLE_AFTER;
                if settled && (has_read || !self.myself.has_table) {
                    Mode::Serving
                } else {
                    Mode::Settling
                }
            }
        }
    }
}
