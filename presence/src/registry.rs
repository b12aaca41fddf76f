//! Who has which shard of users, as the store keeps it.

use std::sync::Arc;

use async_trait::async_trait;
use rookery_cluster::{
    holdings::{Releasing, ShardRegistry, TakenFrom, Taking},
    membership::Successor,
};
use rookery_persistence::{Claim, Incarnation, ShardKind, Store, TakeFrom, ownership::Owner};
use rookery_proto::{errors::chain, ids::Epoch, shard::Shard};

/// The shards of users, for one incarnation. Nothing acknowledged rests on them, so nobody is
/// fenced, and where nobody else can live no database is asked.
pub(crate) struct UserShards {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) node: String,
    pub(crate) incarnation: Incarnation,
}

#[async_trait]
impl ShardRegistry for UserShards {
    async fn take(&self, shard: Shard, from: TakenFrom) -> Taking {
        let from = match from {
            TakenFrom::Nobody => TakeFrom::Nobody,
            TakenFrom::Dead(incarnation) => TakeFrom::Owner(Incarnation(incarnation)),
            TakenFrom::Ourselves => TakeFrom::Owner(self.incarnation),
            TakenFrom::Anyone => return Taking::Taken(Epoch(1)),
        };
        let (kind, own) = (ShardKind::Presence, self.incarnation);
        let claim = self.store.take_shard(kind, shard, &self.node, own, from);
        match claim.await {
            Ok(Claim::Taken(epoch)) => Taking::Taken(epoch),
            Ok(Claim::Refused { owner, epoch }) => Taking::Refused {
                owner: owner.0,
                epoch,
            },
            Err(error) => {
                tracing::warn!(shard.id = %shard, error = %chain(&error), "shard not taken");
                Taking::Failed
            }
        }
    }

    async fn release(&self, shard: Shard, epoch: Epoch, to: Option<Successor>) -> Releasing {
        let (kind, incarnation) = (ShardKind::Presence, self.incarnation);
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
            tracing::warn!(shard.id = %shard, error = %chain(&error), "shard not released");
            Releasing::Failed
        })
    }

    async fn is_fenced(&self) -> bool {
        false
    }
}
