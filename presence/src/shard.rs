//! The users of one shard: an actor that receives, lets the machines decide, and performs.

mod actor;
mod admission;
mod outbox;
mod rooms;
mod schedule;
mod store_calls;

pub(crate) use actor::{GatewayChange, ShardActor, ShardMessage, ShardPorts, Unsaved, Work};
pub(crate) use admission::{Admitted, Gauge};
pub(crate) use outbox::Outbox;
pub(crate) use store_calls::StoreCalls;
