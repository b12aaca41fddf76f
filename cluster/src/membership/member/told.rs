//! What a node's machine is told, and what it wants done.

use std::sync::Arc;

use rookery_proto::{ids::Epoch, link::Load, shard::Shard};
use tokio::time::Instant;

use crate::{
    endpoint::Role,
    membership::{beat::Beat, hand_over::HandOver, keeper::Duty, standing::Standing},
    placement::Owners,
};

/// What is said on the broadcast.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A heartbeat.
    Beat(Beat),
    /// A step of a move.
    HandOver(HandOver),
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// Time passed.
    Tick,
    /// The bus carried this.
    Heard(Told),
    /// A read of the table ended; `None`: it failed.
    TableRead {
        started: Instant,
        rows: Option<Vec<Beat>>,
    },
    /// A write of the own row ended.
    RowWritten {
        done: bool,
    },
    /// Commits fail since, or no longer.
    CommitsFailing(Option<Instant>),
    /// Answers to [`Duty::Take`].
    Taken {
        shard: Shard,
        epoch: Epoch,
    },
    TakeRefused {
        shard: Shard,
        owner: u64,
        epoch: Epoch,
    },
    TakeFailed {
        shard: Shard,
    },
    /// Answer to [`Duty::StopAdmitting`].
    Finished {
        shard: Shard,
    },
    /// Answers to [`Duty::Release`].
    Released {
        shard: Shard,
        given: bool,
    },
    ReleaseFailed {
        shard: Shard,
    },
    /// For people.
    Load(Load),
    /// Hand over everything.
    Leave,
    /// The fence was seen.
    Fenced,
}

/// What the shell must do.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Say(Told),
    /// Answered by `RowWritten`.
    WriteRow(Beat),
    /// Answered by `TableRead`.
    ReadTable,
    Duty(Duty),
    Standing(Standing),
    Owners(Arc<Owners>),
}

/// Who this is.
#[derive(Clone, Debug)]
pub(crate) struct Myself {
    pub(crate) node: String,
    pub(crate) role: Role,
    pub(crate) incarnation: u64,
    pub(crate) has_table: bool,
}
