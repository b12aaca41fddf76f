//! People whose presence is watched: what they do, the gateways they use, and what must hold.
//!
//! Reading order: [`people`] (devices that come, go and choose), [`gateway`] (tells presence of
//! them, as the real one does), [`verdict`] (pure: what was told, held against what was so).

mod gateway;
mod people;
mod verdict;

use rookery_cluster::EndpointId;
use rookery_proto::{shard::Shard, v1::presence::Status};

pub(crate) use self::{
    people::{DOORS, People},
    verdict::judge,
};

/// Whose presence is watched; each has two devices.
pub(crate) const USERS: [&str; 4] = ["ann", "bob", "cem", "dee"];

/// Something that happened, as nobody inside knows it. Processes go by their incarnations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    Stands(u64),
    GoesOn(u64),
    Died(u64),
    /// The bus loses messages from now on, or no longer.
    Losing(bool),
    /// These two do not hear each other, until all is healed.
    Cut(u64, u64),
    /// The bus is in two halves, until all is healed; whether that is all that is wrong.
    Split {
        alone: bool,
    },
    Healed,
    /// A session of a device opened at a gateway.
    Opened {
        session: u64,
        gateway: u64,
        user: &'static str,
        device: usize,
    },
    /// It closed, and its gateway knows.
    Closed {
        session: u64,
    },
    /// It asked for a status of its device.
    Chose {
        session: u64,
        status: Status,
    },
    Watches {
        session: u64,
        user: &'static str,
    },
    Unwatches {
        session: u64,
        user: &'static str,
    },
    /// A session that watches was told how somebody is.
    Told {
        session: u64,
        user: &'static str,
        status: Status,
        by: EndpointId,
        /// Unasked, not as an answer.
        unasked: bool,
    },
    /// A node has taken a shard of people.
    Took(Shard),
    /// A gateway goes by another owner, or another epoch of it, from now on.
    Owner {
        gateway: u64,
        shard: Shard,
        owner: EndpointId,
    },
    /// All has been well for so long that everybody must have been told what is so.
    Rest,
}
