//! Where it is written who has which shard.

use async_trait::async_trait;
use rookery_proto::{ids::Epoch, shard::Shard};

use crate::membership::Successor;

/// From whom a shard is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenFrom {
    /// Only if nobody has it.
    Nobody,
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

/// How giving a shard back or away ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Releasing {
    /// It is the next owner's.
    Given,
    /// It is nobody's.
    Released,
    /// It was not ours under that epoch; nothing was changed.
    NotOurs,
    /// Not known, or the database was not reached.
    Failed,
}

/// Where it is written who has which shard. Answers in bounded time; every call may be repeated.
#[async_trait]
pub trait ShardRegistry: Send + Sync + 'static {
    /// Takes the shard for this incarnation.
    async fn take(&self, shard: Shard, from: TakenFrom) -> Taking;

    /// Gives what is ours under that epoch to another, under the next epoch, or to nobody.
    async fn release(&self, shard: Shard, epoch: Epoch, to: Option<Successor>) -> Releasing;

    /// Whether this incarnation is known to be fenced.
    async fn is_fenced(&self) -> bool;
}
