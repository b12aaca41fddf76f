//! A small honest chat server in memory, for this crate's own tests: the real one is judged by
//! this crate, so it cannot also vouch for it.

mod model;
mod server;

pub(crate) use model::{Model, who_left};
pub(crate) use server::{FakeServer, Fault};
