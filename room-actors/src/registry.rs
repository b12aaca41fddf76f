//! Who has which shard, as the store keeps it.

use std::sync::Arc;

use async_trait::async_trait;
use rookery_cluster::holdings::{ShardRegistry, TakenFrom, Taking};
use rookery_persistence::{Claim, Incarnation, ShardKind, Store, TakeFrom};
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
            TakenFrom::Released(epoch) => TakeFrom::Released(epoch),
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

    async fn release(&self, shard: Shard, epoch: Epoch) -> bool {
        let released = self
            .store
            .release_shard(ShardKind::Rooms, shard, self.incarnation, epoch)
            .await;
        if let Err(error) = &released {
            let error = chain(error);
            tracing::warn!(shard.number = shard.number(), error, "shard not released");
        }
        released.is_ok()
    }

    async fn is_fenced(&self) -> bool {
        // Not known is not fenced: whoever acknowledges reads it again.
        self.store
            .is_fenced(self.incarnation)
            .await
            .unwrap_or(false)
    }
}
