//! Rookery's rooms: where messages are ordered.
//!
//! Reading order: `room` (the synchronous machine `RoomState`, then its thin actor), [`limits`],
//! `commit` (the node's pipeline into the store), `host` (which rooms live here), [`start`] and
//! [`RoomsNode`] (what the binary sees).
//!
//! Invariants:
//! - Nobody is shown an event, a cursor or an answer that a crash could take back: everything
//!   visible was durable and the own fence was read after that.
//! - Offsets of a room are dense; answers and events leave in their order.
//! - Applied state is never undone: a write that fails is repeated as it is, or this owner ends.
//! - A room's machine does no I/O, reads no clock and knows no channel.
//! - A request is answered exactly once, also when its room crashes ([`UNAVAILABLE`]: outcome not
//!   known).
//!
//! [`UNAVAILABLE`]: rookery_proto::errors::Code::Unavailable

mod room;

pub mod limits;

mod commit;
mod health;
mod host;
pub mod metrics;
mod node;
mod registry;
mod request;
mod upkeep;

pub use health::Health;
pub use limits::RoomLimits;
pub use node::{RoomsConfig, RoomsNode, RoomsPorts, StartError, StopReport, start};

#[cfg(feature = "bench")]
pub mod bench;

#[cfg(test)]
mod tests;
