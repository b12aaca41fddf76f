//! Who is there, who lives, and who owns which shard.
//!
//! Reading order: `beat` is what a node says of itself, `observer` judges who lives by two
//! silences, `view` is what is decided by, `keeper` takes and hands over shards, `member`
//! makes one synchronous machine of them, `shell` gives it clock, bus and table.
//!
//! Nothing here is trusted: two nodes may believe they own a shard. The database's fence decides
//! which of them may acknowledge.

mod beat;
mod hand_over;
mod keeper;
mod member;
mod observer;
mod ports;
#[cfg(feature = "contract")]
mod scripted;
mod shards;
mod shell;
mod standing;
mod view;

pub use beat::{Beat, Claims, NODE_NAME_BYTES_MAX, NodeState};
pub use hand_over::{HandOver, Step};
pub use keeper::{Duty, Successor};
pub use member::Told;
pub use observer::Life;
pub use ports::{Liveness, LivenessError, LivenessRow, MembershipConfig, MembershipPorts};
#[cfg(feature = "contract")]
pub use scripted::{Answer, Script};
pub use shards::{SHARD_SET_BYTES, ShardSet};
pub use shell::{Duties, Membership, NodeSeen, start};
pub use standing::{Standing, Suspended};

#[cfg(test)]
mod tests;
