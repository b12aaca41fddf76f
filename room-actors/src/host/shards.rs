//! The shards this incarnation has taken, each at its first use.

use rookery_persistence::{Claim, ShardKind, StoreError, TakeFrom};
use rookery_proto::{
    ids::Epoch,
    shard::{SHARD_COUNT, Shard},
};
use tokio::sync::Mutex;

use super::Shared;

/// Epochs by shard. One lock a shard: many rooms that wake at once take their shard once.
pub(crate) struct Shards {
    epochs: Vec<Mutex<Option<Epoch>>>,
}

impl Shards {
    pub(crate) fn new() -> Self {
        Self {
            epochs: (0..SHARD_COUNT).map(|_| Mutex::new(None)).collect(),
        }
    }

    /// The epoch under which this node owns the shard; takes it when it does not yet, or only
    /// under an epoch that is not larger than `dead`.
    pub(crate) async fn epoch(
        &self,
        shared: &Shared,
        shard: Shard,
        dead: Option<Epoch>,
    ) -> Result<Epoch, StoreError> {
        let mut epoch = self.epochs[usize::from(shard.number())].lock().await;
        if let Some(epoch) = *epoch
            && Some(epoch) > dead
        {
            return Ok(epoch);
        }
        let claim = shared
            .store
            .take_shard(
                ShardKind::Rooms,
                shard,
                &shared.node,
                shared.incarnation,
                TakeFrom::Anyone,
            )
            .await?;
        let taken = match claim {
            Claim::Taken(epoch) => epoch,
            // Not from anyone: kept as a failure that passes.
            Claim::Refused { owner, epoch } => {
                let problem = format!("incarnation {} has it under epoch {epoch}", owner.0);
                let (what, source) = ("take shard", problem.into());
                return Err(StoreError::Failed { what, source });
            }
        };
        tracing::debug!(
            shard.number = shard.number(),
            shard.epoch = taken.0,
            "shard taken"
        );
        *epoch = Some(taken);
        Ok(taken)
    }

    /// Rooms that wake from here on need a larger epoch than this one.
    pub(crate) async fn forget(&self, shard: Shard, used: Epoch) {
        let mut epoch = self.epochs[usize::from(shard.number())].lock().await;
        epoch.take_if(|epoch| *epoch <= used);
    }
}
