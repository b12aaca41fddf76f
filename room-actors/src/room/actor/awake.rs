//! A room that serves, beside its machine: what waits, whether it is at rest, when its timer goes off.

use std::collections::VecDeque;

use ractor::ActorRef;
use rookery_cluster::{EndpointId, LinkSender};
use rustc_hash::FxHashMap;
use slab::Slab;
use tokio::{
    sync::watch,
    time::{Duration, Instant},
};

use super::{RoomMsg, Work};
use crate::{
    health::Health,
    limits::TIMERS_INTERVAL,
    request::ReplyTo,
    room::{effects::Effects, state::RoomState},
};

/// A room that serves.
pub(super) struct Awake {
    pub(super) state: RoomState,
    /// The list that names this epoch is durable. A room that never was is claimed by its first write.
    pub(super) claimed: bool,
    /// Requests that wait for their answer.
    pub(super) replies: Slab<ReplyTo>,
    /// Work that waits because too many events are in flight.
    pub(super) waiting: VecDeque<Work>,
    pub(super) effects: Effects,
    pub(super) links: FxHashMap<EndpointId, LinkSender>,
    pub(super) health: watch::Receiver<Health>,
    pub(super) timer: Option<Instant>,
    /// Messages taken from the host.
    pub(super) handled: u64,
    /// The host wants to know when nothing is left to do (`Some(stopping)`).
    pub(super) sleep_wanted: Option<bool>,
}

impl Awake {
    pub(super) fn count_host_message(&mut self) {
        self.handled += 1;
        if self.sleep_wanted != Some(true) {
            self.sleep_wanted = None;
        }
    }

    /// Takes note of whether the node takes writes now.
    pub(super) fn heed_health(&mut self) {
        if self.health.has_changed().unwrap_or(false) {
            let refusal = self.health.borrow_and_update().refusal();
            self.state.refuse_writes(refusal);
        }
    }

    pub(super) fn may_sleep(&self) -> bool {
        let Some(stopping) = self.sleep_wanted else {
            return false;
        };
        self.state.is_settled()
            && self.waiting.is_empty()
            && (stopping || self.state.listener_count() == 0)
    }

    /// Nothing is under way, and nothing will be until somebody asks.
    pub(super) fn is_at_rest(&self) -> bool {
        self.timer.is_none()
            && self.waiting.is_empty()
            && self.replies.is_empty()
            && self.state.is_settled()
    }

    /// Gives back what was kept for the next message: most rooms are at rest most of the time, and
    /// three empty queues were a quarter of what such a room held. A busy room has a timer, and
    /// keeps them.
    pub(super) fn release_buffers(&mut self) {
        self.waiting = VecDeque::new();
        self.replies = Slab::new();
        self.effects.outputs = Vec::new();
        self.state.release_buffers();
    }

    /// Timers of all rooms go off at the same few moments of a second, so that many of them wake the
    /// processor once.
    pub(super) fn arm_timer(&mut self, myself: &ActorRef<RoomMsg>, now: Instant, now_ms: u64) {
        let Some(due) = self.state.timer_due(now) else {
            return;
        };
        let due = due + until_common(now_ms, due.saturating_duration_since(now));
        if self.timer.is_none_or(|armed| due < armed) {
            self.timer = Some(due);
            myself.send_after(due.saturating_duration_since(now), || RoomMsg::Timer);
        }
    }
}

/// How much later than this the rooms' next common moment is.
fn until_common(now_ms: u64, wait: Duration) -> Duration {
    let step = u64::try_from(TIMERS_INTERVAL.as_millis()).expect("milliseconds");
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let due_ms = now_ms.saturating_add(wait_ms);
    Duration::from_millis((step - due_ms % step) % step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_that_are_due_within_one_step_go_off_together() {
        let step = TIMERS_INTERVAL.as_millis() as u64;
        let goes_off = |now_ms: u64, wait_ms: u64| {
            let more = until_common(now_ms, Duration::from_millis(wait_ms));
            assert!(more < TIMERS_INTERVAL);
            now_ms + wait_ms + more.as_millis() as u64
        };
        let first = goes_off(1_000 * step + 1, 1_000);
        assert_eq!(first % step, 0);
        assert_eq!(goes_off(1_000 * step + step - 1, 1_001), first);
        assert_eq!(goes_off(first, 0), first, "none is later than it must");
        assert_eq!(goes_off(first, 1), first + step);
    }
}
