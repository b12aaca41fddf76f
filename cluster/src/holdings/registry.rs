//! Where it is written who has which shard.

use async_trait::async_trait;
use rookery_proto::{ids::Epoch, shard::Shard};

/// From whom a shard is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenFrom {
    /// Only if nobody has it.
    Nobody,
    /// The same; it is said to have been released under this epoch, which may be wrong.
    Released(Epoch),
    /// From an incarnation that is dead.
    Dead(u64),
    /// From ourselves, under a larger epoch.
    Ourselves,
    /// From whoever has it: nobody else can live.
    Anyone,
}

/// How taking a shard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// It is ours, under this epoch.
    Taken(Epoch),
    /// The database knows another owner.
    Refused {
        /// Who has it.
        owner: u64,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// Not known, or the database was not reached.
    Failed,
}

/// Where it is written who has which shard. Answers in bounded time; every call may be repeated.
#[async_trait]
pub trait ShardRegistry: Send + Sync + 'static {
    /// Takes the shard for this incarnation.
    async fn take(&self, shard: Shard, from: TakenFrom) -> Taking;

    /// Gives it to nobody, unless it is not ours under that epoch. False: not known whether.
    async fn release(&self, shard: Shard, epoch: Epoch) -> bool;

    /// Whether this incarnation is known to be fenced.
    async fn is_fenced(&self) -> bool;
}
