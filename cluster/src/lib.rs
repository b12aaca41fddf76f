//! How Rookery's processes find and reach each other.
//!
//! Reading order: [`endpoint`] names who talks, [`bus`] is the port that carries bytes (at most
//! once), [`link`] makes ordered, numbered streams of it and sees every loss, [`membership`] knows
//! who lives and moves shards between them, [`placement`] says who owns a shard, [`task`] starts
//! long-lived tasks.
//!
//! Invariants:
//! - Nothing durable rests on this crate: it may lose, and then it says so.
//! - A batch that does not arrive is seen as a hole by the next one, at the latest by the next
//!   heartbeat.

pub mod bus;
pub mod clock;
pub mod endpoint;
pub mod holdings;
pub mod limits;
pub mod link;
pub mod membership;
pub mod metrics;
pub mod placement;
pub mod task;

#[cfg(feature = "nats")]
pub use bus::nats::{NatsBus, NatsConfig, NatsCredentials, NatsError, NatsIdentity, NatsTls};
pub use bus::{Broadcast, Bus, BusError, InProcessBus, Subscription};
pub use clock::{Clock, SystemClock};
pub use endpoint::{EndpointId, Role};
pub use holdings::{Holdings, Ownership};
pub use link::{Inbound, Inbox, LinkSender, Links, Turns};
pub use membership::{
    Duties, Duty, Liveness, LivenessError, LivenessRow, Membership, MembershipConfig,
    MembershipPorts, Standing,
};
pub use placement::{ClusterPlacement, OwnerChanges, Owners, Placement, SingleNode};
