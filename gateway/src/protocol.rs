//! Frames as messages: the two encodings of the wire.

/// How a connection's messages are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Text messages, canonical proto3 JSON: `rookery.v1.json`, also when none is asked.
    Json,
    /// Binary messages: `rookery.v1.protobuf`.
    Protobuf,
}
