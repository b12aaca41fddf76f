//! Who is here: each user's devices, the status they show, and what is addressed to a person.
//!
//! Reading order: `user` is the synchronous machine of one user, `shard` the actor that holds
//! the users of one shard and performs what their machines decide, `host` reads the inbox, routes
//! by shard, supervises and drives time, `node` is what the binary starts and stops.
//!
//! Invariants:
//! - Sessions live in memory only; gateways announce them again when asked.
//! - Unknown is not offline: nobody is declared offline before gateways had time to announce.
//! - A watcher gets at most one update a throttle interval about one user, and always the latest.
//! - Durable is only `last_seen`, and it never moves backwards.
//! - Nothing waits without bound: a full shard answers `OVERLOADED`, and a session packet it had to
//!   drop is treated as one the link lost.

mod host;
pub mod limits;
pub mod metrics;
mod node;
mod push;
mod refusal;
mod registry;
mod shard;
mod user;

pub use node::{
    PresenceConfig, PresenceNode, PresencePorts, StartError, StopReport, start, start_with_push,
};
pub use push::{CountingSink, PushEvent, PushRefused, PushSink};
