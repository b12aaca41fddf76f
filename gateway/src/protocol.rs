//! Frames as messages: the two encodings of the wire.
//!
//! [`decode`] turns a client's message into a `ClientFrame` or says what is wrong with it,
//! [`encode`] makes finished WebSocket frames, [`SharedFrame`] makes those that many sessions get.

mod decode;
mod encode;
mod shared;
#[cfg(test)]
mod tests;

pub(crate) use decode::{BadFrame, decode};
pub(crate) use encode::encode;
pub(crate) use shared::{Body, SharedFrame};

/// How a connection's messages are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Text messages, canonical proto3 JSON: `rookery.v1.json`, also when none is asked.
    Json,
    /// Binary messages: `rookery.v1.protobuf`.
    Protobuf,
}
