//! How Rookery's processes find and reach each other.
//!
//! Reading order: [`endpoint`] names who talks, [`bus`] is the port that carries bytes (at most
//! once), [`link`] makes ordered, numbered streams of it and sees every loss, [`placement`] says
//! who owns a shard, [`task`] starts long-lived tasks.
//!
//! Invariants:
//! - Nothing durable rests on this crate: it may lose, and then it says so.
//! - A batch that does not arrive is seen as a hole by the next one, at the latest by the next
//!   heartbeat.

pub mod bus;
pub mod clock;
pub mod endpoint;
pub mod limits;
pub mod link;
pub mod metrics;
pub mod placement;
pub mod task;

pub use bus::{Bus, BusError, InProcessBus, Subscription};
pub use clock::{Clock, SystemClock};
pub use endpoint::{EndpointId, Role};
pub use link::{Inbound, Inbox, LinkSender, Links};
pub use placement::{Placement, SingleNode};
