//! Links: ordered, numbered streams of batches from one endpoint to another's inbox.
//!
//! ```text
//! offer/send ─► queue (bytes bounded) ─► batch (64 KiB, at once when idle) ─► bus ─► Inbox ─► Inbound
//!                                         numbered; empty ones as heartbeat          holes, silence
//! ```

mod inbox;
mod sender;
mod turns;

pub use inbox::{Inbound, Inbox};
pub use sender::{LinkSender, Links};
pub use turns::Turns;

#[cfg(test)]
mod tests;
