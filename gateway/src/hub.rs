//! The hub: lanes that own the sessions.
//!
//! A lane is an OS thread with one bounded queue of [`Input`]s and a synchronous [`Worker`] that
//! owns all state of its sessions. Readers and the inbox task only send inputs; the worker only
//! writes to sockets and offers packets to links. Neither ever waits for the other's state.
//!
//! Reading order: `input` is what reaches a lane, `worker` how it is decided, in `lifecycle`
//! (welcome, tokens, heartbeat, close), `commands` and `replies` (asking owners), `stream` and `holes`
//! (room events), `retries` (owners that change, links that lose), and `flush` how it is written;
//! `session`, `room`, `requests`, `routes` hold the state, `queue`, `wire`, `uplink` are the ends,
//! `lane` and `inbox` the thread and the task around it.

mod bucket;
mod commands;
mod flush;
mod holes;
mod inbox;
mod input;
mod lane;
mod lifecycle;
mod owners;
mod queue;
mod refusals;
mod replies;
mod requests;
mod retries;
mod room;
mod room_id;
mod routes;
mod session;
mod stream;
#[cfg(test)]
mod tests;
mod uplink;
mod wheel;
mod wire;
mod worker;

pub(crate) use inbox::run as run_inbox;
pub(crate) use input::{Input, Opened};
pub(crate) use lane::{Lane, Lanes, Offered, Stopped, run_ticks};
pub(crate) use owners::run as run_owners;
pub(crate) use session::Settings;
pub(crate) use uplink::ClusterUplink;
pub(crate) use wire::Socket;
pub(crate) use worker::Worker;
