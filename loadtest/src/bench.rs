//! Building blocks of the benches: cheap listeners in great number.
//!
//! The recording client is exact and heavy; these are light and only count. A listener is one
//! small task without a buffer of its own: it reads into a buffer its thread shares, and keeps
//! bytes only while a frame is incomplete.

mod listeners;
mod made;

pub use listeners::{ListenError, Listeners, ListenersOptions, Observe, Tally};
pub use made::MadeHistory;
