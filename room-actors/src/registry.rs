//! Who has which shard, as the store keeps it.

use std::sync::Arc;

use async_trait::async_trait;
use rookery_cluster::{
    holdings::{Releasing, ShardRegistry, TakenFrom, Taking},
    membership::Successor,
};
use rookery_persistence::{Claim, Incarnation, ShardKind, Store, TakeFrom, ownership::Owner};
use rookery_proto::{errors::chain, ids::Epoch, shard::Shard};

/// The shards of rooms, for one incarnation.
pub(crate) struct RoomShards {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) node: String,
    pub(crate) incarnation: Incarnation,
}

#[async_trait]
impl ShardRegistry for RoomShards {
    async fn take(&self, shard: Shard, from: TakenFrom) -> Taking {
        let from = match from {
            TakenFrom::Nobody => TakeFrom::Nobody,
            TakenFrom::Dead(incarnation) => TakeFrom::Owner(Incarnation(incarnation)),
            TakenFrom::Ourselves => TakeFrom::Owner(self.incarnation),
            TakenFrom::Anyone => TakeFrom::Anyone,
        };
        let claim = self
            .store
            .take_shard(ShardKind::Rooms, shard, &self.node, self.incarnation, from)
            .await;
        match claim {
            Ok(Claim::Taken(epoch)) => Taking::Taken(epoch),
            Ok(Claim::Refused { owner, epoch }) => Taking::Refused {
                owner: owner.0,
                epoch,
            },
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(shard.number = shard.number(), error, "shard not taken");
                Taking::Failed
            }
        }
    }

    async fn release(&self, shard: Shard, epoch: Epoch, to: Option<Successor>) -> Releasing {
        let (kind, incarnation) = (ShardKind::Rooms, self.incarnation);
        let released = match to {
            Some(next) => {
                let (owner, to) = (Owner { incarnation, epoch }, Incarnation(next.incarnation));
                let given = self.store.give_shard(kind, shard, owner, &next.node, to);
                given.await.map(|given| match given {
                    true => Releasing::Given,
                    false => Releasing::NotOurs,
                })
            }
            None => {
                let released = self.store.release_shard(kind, shard, incarnation, epoch);
                released.await.map(|()| Releasing::Released)
            }
        };
        released.unwrap_or_else(|error| {
            tracing::warn!(shard.number = shard.number(), error = %chain(&error), "shard not released");
            Releasing::Failed
        })
    }

    async fn is_fenced(&self) -> bool {
        // Not known is not fenced: whoever acknowledges reads it again.
        self.store
            .is_fenced(self.incarnation)
            .await
            .unwrap_or(false)
    }
}
