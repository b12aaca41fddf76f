//! Whole shards: taken, closed, lost.

use rookery_cluster::holdings::Change;
use rookery_proto::{link::Load, shard::Shard};
use tokio::time::{Instant, Interval, timeout_at};

use super::Host;
use crate::limits::{ANNOUNCE_AFTER, LEAVE_SHARE};

impl Host {
    /// Does what the holdings want done.
    pub(super) async fn heed(&mut self, change: Change, now: Instant) {
        match change {
            Change::Taken(shard) => {
                self.took(shard, now);
                self.unpark(shard).await;
            }
            Change::NotTaken(shard) => self.unpark(shard).await,
            // Nobody waits for what is in flight: the next owner hears of everybody anew.
            Change::Close(shard) => {
                self.let_go(shard);
                self.territory.holdings.closed(shard);
            }
            // Those who were let go must be heard of again.
            Change::Admit(shard) => self.took(shard, now),
            Change::Lost(shard) => self.let_go(shard),
            // What a node that is cut off holds goes when another has it.
            Change::Standing(_) => {}
        }
    }

    /// Its users are unknown until gateways had time to announce them.
    fn took(&mut self, shard: Shard, now: Instant) {
        if self.territory.is_alone {
            return;
        }
        self.slot_mut(shard).known_from = now + self.timing.reannounce_grace;
        self.announce_at.get_or_insert(now + ANNOUNCE_AFTER);
    }

    async fn unpark(&mut self, shard: Shard) {
        for (from, body) in self.parking.leave(shard) {
            self.route(&from, Some(body)).await;
        }
    }

    fn let_go(&mut self, shard: Shard) {
        if let Some(actor) = self.slot_mut(shard).let_go() {
            actor.stop(None);
        }
    }

    /// Asks once for many shards taken together.
    pub(super) fn announce_if_due(&mut self, now: Instant) {
        if self.announce_at.is_some_and(|at| at <= now) {
            self.announce_at = None;
            self.ask_all_to_announce("taken");
        }
    }

    pub(super) fn tell_load(&self, users: usize) {
        self.territory.holdings.load(Load {
            items: users as u64,
            commands: 0,
        });
    }

    /// Hands over all shards, serving all the while; at the latest in time before `deadline`.
    pub(super) async fn hand_over(&mut self, deadline: Instant, ticks: &mut Interval) {
        if !self.territory.holdings.leave() {
            return;
        }
        let now = Instant::now();
        let until = now + deadline.saturating_duration_since(now).mul_f32(LEAVE_SHARE);
        while !self.territory.holdings.has_left() {
            match timeout_at(until, self.event(ticks)).await {
                Ok(event) => self.handle(event).await,
                Err(_) => {
                    tracing::warn!("not all shards were handed over in time");
                    return;
                }
            }
        }
    }
}
