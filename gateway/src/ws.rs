//! WebSocket (RFC 6455), the server's side, as pure functions over bytes: no sockets, no tasks.
//!
//! `handshake` judges the upgrade request, [`Decoder`] turns received bytes into messages,
//! [`frame`] builds what is sent, [`mask`] undoes the clients' masking. Extensions are not
//! negotiated, so the reserved bits are always zero.

mod close;
mod decoder;
pub mod frame;
pub(crate) mod handshake;
pub mod mask;
mod opcode;
#[cfg(test)]
mod tests;
mod violation;

pub use decoder::{Decoder, Incoming, Input};
pub use opcode::Opcode;
pub use violation::Violation;
