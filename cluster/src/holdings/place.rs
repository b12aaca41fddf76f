//! Where a shard is, and what its host must do about it.

use rookery_proto::{ids::Epoch, shard::Shard};

use crate::{endpoint::EndpointId, membership::Standing};

/// How a shard is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Under this epoch.
    pub epoch: Epoch,
    /// Who had it under the epoch before gave it, or released it, with nothing in flight.
    pub after_release: bool,
}

/// Where a shard's packets belong now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Here.
    Here(Held),
    /// Here in a moment: park them. [`Change::Taken`] or [`Change::NotTaken`] follows.
    Soon,
    /// Not here.
    Elsewhere {
        /// The newest epoch known here; 0: none.
        epoch: Epoch,
        /// Who is about to own it, where that is known here.
        to: Option<EndpointId>,
    },
}

/// What the host must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The shard is held (under a larger epoch than before): what was parked goes on.
    Taken(Shard),
    /// It is not held after all: what was parked is answered as by [`super::Holdings::place`].
    NotTaken(Shard),
    /// Finish what is in flight, let go of its contents, then call [`super::Holdings::closed`].
    Close(Shard),
    /// The move is off: its contents need not end.
    Admit(Shard),
    /// Another has it: let go of its contents at once.
    Lost(Shard),
    /// How the node stands.
    Standing(Standing),
}
