//! One room: the synchronous machine, how it wakes, and its actor.
//!
//! Reading order: [`command`] is what goes in, [`effects`] what comes out, [`state`] the machine
//! with its nouns beside it, [`wake`] how a new owner finds the truth, [`actor`] the thin shell.
//!
//! ```text
//!           needs/learn (reads, the room waits)
//!                │
//! request ─► apply ─► draft ─► take_write ─► [commit pipeline] ─► committed ─► settle, in order
//!                │  applied state: permissions, duplicates                  │ committed state:
//!                └► immediate replies                                       └► replies, events, signals
//! ```

pub(crate) mod actor;
pub(crate) mod command;
mod create;
mod cursors;
pub(crate) mod derived;
pub(crate) mod effects;
mod fold;
mod listeners;
mod log;
mod members;
mod membership;
mod messages;
mod needs;
mod pages;
mod posting;
mod rates;
mod reading;
pub(crate) mod sent;
mod settle;
pub(crate) mod state;
pub(crate) mod wake;
pub(crate) mod woken;

#[cfg(test)]
mod tests;
