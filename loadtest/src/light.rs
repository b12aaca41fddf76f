//! The light client: very many connections of one process, each at most 1 KiB, driven by one
//! epoll loop.
//!
//! A run has one or several such processes (`rookery-loadtest light`, started by `run`), each with
//! a part of the connections. What they are told and what they say are lines of JSON: [`orders`].
//! [`wire`] is what they speak to the server.

mod clock;
mod connection;
mod engine;
pub mod frames;
mod layout;
pub mod orders;
mod ring;
mod schedule;
mod sockets;
mod tally;
pub mod wire;

pub use engine::{Engine, LightError, Orders};
pub use sockets::raise_open_files;

#[cfg(test)]
pub(crate) mod harness;
#[cfg(test)]
mod tests;
