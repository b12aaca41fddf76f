//! Who has which shard of users, as the store keeps it.

use std::sync::Arc;

use async_trait::async_trait;
use rookery_cluster::holdings::{ShardRegistry, TakenFrom, Taking};
use rookery_persistence::{Claim, Incarnation, ShardKind, Store, TakeFrom};
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
            TakenFrom::Released(epoch) => TakeFrom::Released(epoch),
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

    async fn release(&self, shard: Shard, epoch: Epoch) -> bool {
        let (kind, own) = (ShardKind::Presence, self.incarnation);
        let released = self.store.release_shard(kind, shard, own, epoch).await;
        if let Err(error) = &released {
            tracing::warn!(shard.id = %shard, error = %chain(error), "shard not released");
        }
        released.is_ok()
    }

    async fn is_fenced(&self) -> bool {
        false
    }
}
