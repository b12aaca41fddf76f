//! Whole shards: taken, closed, lost; and how the node stands.

use ractor::ActorId;
use rookery_cluster::{
    EndpointId, Role,
    holdings::{Change, Place},
    membership::Standing,
};
use rookery_proto::{
    ids::RoomId,
    link::{Load, Packet},
    shard::Shard,
};
use tokio::time::{Instant, timeout_at};

use super::Host;
use crate::{commit::RoomKey, health::Health};

impl Host {
    /// Does what the holdings want done.
    pub(super) fn heed(&mut self, change: Change) {
        match change {
            Change::Taken(shard) | Change::NotTaken(shard) => {
                for (from, body) in self.parking.leave(shard) {
                    self.receive_packets(&from, vec![Packet { body: Some(body) }]);
                }
            }
            Change::Close(shard) => {
                self.closing.insert(shard);
                self.rooms.finish_shard(shard);
                self.heed_closing(shard);
            }
            Change::Admit(shard) => {
                self.closing.remove(&shard);
                self.rooms.keep_shard(shard);
            }
            Change::Lost(shard) => {
                self.closing.remove(&shard);
                self.rooms.drop_shard(shard);
            }
            Change::Standing(standing) => self.heed_standing(standing),
        }
    }

    fn heed_standing(&mut self, standing: Standing) {
        let health = &self.shared.health;
        match standing {
            Standing::Joining => health.suspended(Some("joins the cluster")),
            Standing::Serving | Standing::Leaving | Standing::Left => health.suspended(None),
            Standing::Suspended(why) => health.suspended(Some(why.reason())),
            Standing::Fenced => health.fenced(),
        }
    }

    pub(super) fn heed_health(&mut self) {
        let health = self.health.borrow_and_update().clone();
        let failing = matches!(health, Health::Failing { .. });
        if failing != self.commits_failing {
            self.commits_failing = failing;
            self.holdings.commits_failing(failing);
        }
        if health == Health::Fenced {
            self.holdings.fenced();
            self.closing.clear();
            self.rooms.drop_all();
        }
    }

    pub(super) fn room_quiet(&mut self, room: &RoomId, key: RoomKey, handled: u64) {
        let shard = Shard::of(room.as_str());
        let ends = self.closing.contains(&shard);
        self.rooms.quiet(room, key, handled, ends);
        self.heed_closing(shard);
    }

    pub(super) fn room_ended(&mut self, actor: ActorId, error: Option<String>) {
        if let Some(shard) = self.rooms.ended(actor, error) {
            self.holdings.renew(shard);
            self.heed_closing(shard);
        }
    }

    fn heed_closing(&mut self, shard: Shard) {
        if self.closing.contains(&shard) && self.rooms.is_shard_empty(shard) {
            self.closing.remove(&shard);
            self.holdings.closed(shard);
        }
    }

    /// Where the shard's rooms are; the endpoint that owns it otherwise, as far as known.
    pub(super) fn place(&mut self, shard: Shard) -> Place {
        match self.holdings.place(shard, Instant::now()) {
            Place::Elsewhere { epoch, to: None } => Place::Elsewhere {
                epoch,
                to: self.other_owner(shard),
            },
            place => place,
        }
    }

    fn other_owner(&self, shard: Shard) -> Option<EndpointId> {
        let owner = self.shared.placement.owner(Role::Rooms, shard);
        owner.filter(|owner| owner != self.shared.links.me())
    }

    pub(super) fn tell_load(&mut self) {
        self.holdings.load(Load {
            items: self.rooms.len() as u64,
            commands: std::mem::take(&mut self.commands),
        });
    }

    /// Hands over all shards, serving all the while; at the latest until then.
    pub(super) async fn leave(&mut self, until: Instant) {
        if !self.holdings.leave() || *self.health.borrow() == Health::Fenced {
            return;
        }
        while !self.holdings.has_left() {
            if timeout_at(until, self.turn()).await.is_err() {
                tracing::warn!("not all shards were handed over in time");
                return;
            }
        }
    }
}
