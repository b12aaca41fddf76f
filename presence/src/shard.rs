//! The users of one shard: an actor that receives, lets the machines decide, and performs.

mod actor;
mod admission;
mod outbox;
mod rooms;
mod schedule;
mod store_calls;
mod told;

pub(crate) use actor::{ShardActor, ShardPorts};
pub(crate) use admission::{Admitted, Gauge};
pub(crate) use outbox::Outbox;
pub(crate) use store_calls::StoreCalls;
pub(crate) use told::{GatewayChange, ShardMessage, Unsaved, Work};
