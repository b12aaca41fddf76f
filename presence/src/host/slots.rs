//! One place per shard: cold, running, or waiting to start again.

use std::{sync::Arc, time::Duration};

use ractor::{ActorId, ActorRef};
use tokio::time::Instant;

use crate::{
    limits::{PASSIVATE_AFTER, RESTART_BACKOFF_MAX, RESTART_BACKOFF_MIN, RESTART_FORGIVEN_AFTER},
    shard::{Gauge, ShardMessage},
};

/// A live actor.
pub(super) struct Running {
    pub(super) actor: ActorRef<ShardMessage>,
    pub(super) gauge: Arc<Gauge>,
    started: Instant,
    empty_since: Option<Instant>,
}

pub(super) enum Stage {
    Cold,
    Running(Running),
    Backoff { until: Instant },
}

/// One shard's place.
pub(super) struct Slot {
    pub(super) stage: Stage,
    /// Until then its users without a session are unknown.
    pub(super) known_from: Instant,
    /// In a row.
    pub(super) failures: u32,
}

impl Slot {
    pub(super) const fn cold(known_from: Instant) -> Self {
        Self {
            stage: Stage::Cold,
            known_from,
            failures: 0,
        }
    }

    pub(super) const fn running(&self) -> Option<&Running> {
        match &self.stage {
            Stage::Running(running) => Some(running),
            Stage::Cold | Stage::Backoff { .. } => None,
        }
    }

    pub(super) fn runs_as(&self, actor: ActorId) -> bool {
        self.running()
            .is_some_and(|running| running.actor.get_id() == actor)
    }

    pub(super) fn run(&mut self, actor: ActorRef<ShardMessage>, gauge: Arc<Gauge>, now: Instant) {
        let running = Running {
            actor,
            gauge,
            started: now,
            empty_since: None,
        };
        self.stage = Stage::Running(running);
    }

    /// Takes the actor out: the shard is not ours any more.
    pub(super) fn let_go(&mut self) -> Option<ActorRef<ShardMessage>> {
        let actor = self.running().map(|running| running.actor.clone());
        self.stage = Stage::Cold;
        actor
    }

    /// The actor ended unasked; returns the pause before the next start.
    pub(super) fn failed(&mut self, now: Instant) -> Duration {
        let sound = self
            .running()
            .is_some_and(|running| now - running.started >= RESTART_FORGIVEN_AFTER);
        self.failures = if sound { 1 } else { self.failures + 1 };
        let doublings = (self.failures - 1).min(16);
        let pause = (RESTART_BACKOFF_MIN * 2_u32.pow(doublings)).min(RESTART_BACKOFF_MAX);
        self.stage = Stage::Backoff { until: now + pause };
        pause
    }

    /// Takes the actor out when it has been empty for long. Its users are still known after: what
    /// happens to them is told here, and starts it again.
    pub(super) fn take_if_passive(&mut self, now: Instant) -> Option<ActorRef<ShardMessage>> {
        let Stage::Running(running) = &mut self.stage else {
            return None;
        };
        if !running.gauge.is_empty() {
            running.empty_since = None;
            return None;
        }
        let since = *running.empty_since.get_or_insert(now);
        if now - since < PASSIVATE_AFTER {
            return None;
        }
        let actor = running.actor.clone();
        self.stage = Stage::Cold;
        Some(actor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let now = Instant::now();
        let mut slot = Slot::cold(now);
        let pauses: Vec<_> = (0..12).map(|_| slot.failed(now)).collect();
        assert_eq!(pauses[0], RESTART_BACKOFF_MIN);
        assert_eq!(pauses[1], RESTART_BACKOFF_MIN * 2);
        assert_eq!(pauses[11], RESTART_BACKOFF_MAX);
        assert!(
            matches!(slot.stage, Stage::Backoff { until } if until == now + RESTART_BACKOFF_MAX)
        );
    }
}
