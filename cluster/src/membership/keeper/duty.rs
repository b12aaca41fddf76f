//! What keeping shards asks of the node.

use rookery_proto::{ids::Epoch, shard::Shard};

use crate::endpoint::EndpointId;

/// What the node must do about a shard. `Take`, `StopAdmitting` and `Release` are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Another is about to release it to us: hold what comes for it, for a moment.
    Expect {
        /// The shard.
        shard: Shard,
    },
    /// Take it in the database, from this incarnation, which is dead (fencing it), or, if `None`,
    /// only if nobody has it. Answered by `taken`, `take_refused` or `take_failed`.
    Take {
        /// The shard.
        shard: Shard,
        /// The dead incarnation that has it.
        from: Option<u64>,
        /// The epoch under which its owner says it has released it: saves a read, when right.
        released: Option<Epoch>,
    },
    /// Admit nothing more for it (answer `NotOwner` with `to`), finish what is in flight, let go
    /// of its rooms. Answered by `finished`.
    StopAdmitting {
        /// The shard.
        shard: Shard,
        /// Who is about to own it; `None`: nobody yet.
        to: Option<EndpointId>,
    },
    /// Release it in the database: nobody has it then. Answered by `released` or `release_failed`.
    Release {
        /// The shard.
        shard: Shard,
        /// The epoch under which it was owned.
        epoch: Epoch,
    },
    /// The move is off: admit again.
    Admit {
        /// The shard.
        shard: Shard,
    },
    /// Somebody else owns it under a higher epoch: let go of its rooms at once.
    Lost {
        /// The shard.
        shard: Shard,
    },
}
