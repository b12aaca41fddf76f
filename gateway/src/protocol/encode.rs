//! Messages become finished WebSocket frames, each in one allocation.

use bytes::Bytes;
use prost::Message as _;
use rookery_proto::v1::ServerFrame;

use super::Encoding;
use crate::ws::{Opcode, frame};

/// Room in front of a payload for the longest header.
const HEADER_ROOM: usize = frame::HEADER_BYTES_MAX;

/// The finished frame of a message.
pub(crate) fn encode(encoding: Encoding, message: &ServerFrame) -> Bytes {
    match encoding {
        Encoding::Json => json(message, 256),
        Encoding::Protobuf => {
            let mut bytes = Vec::with_capacity(HEADER_ROOM + message.encoded_len());
            bytes.resize(HEADER_ROOM, 0);
            message.encode_raw(&mut bytes);
            finish(bytes, Opcode::Binary)
        }
    }
}

/// The JSON frame of a message of about that many bytes. A message that has no JSON form (an enum
/// value of a newer version) becomes an empty object, which clients ignore.
pub(super) fn json(message: &ServerFrame, bytes_guess: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(HEADER_ROOM + bytes_guess);
    bytes.resize(HEADER_ROOM, 0);
    if let Err(error) = serde_json::to_writer(&mut bytes, message) {
        tracing::warn!(error = %error, "message has no json form");
        bytes.truncate(HEADER_ROOM);
        bytes.extend_from_slice(b"{}");
    }
    finish(bytes, Opcode::Text)
}

/// The protobuf frame of a message of one field: tag, length and bytes, without decoding `body`.
pub(super) fn protobuf_wrapped(tag: u32, body: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(HEADER_ROOM + 12 + body.len());
    bytes.resize(HEADER_ROOM, 0);
    let wire_type = prost::encoding::WireType::LengthDelimited;
    prost::encoding::encode_key(tag, wire_type, &mut bytes);
    prost::encoding::encode_varint(body.len() as u64, &mut bytes);
    bytes.extend_from_slice(body);
    finish(bytes, Opcode::Binary)
}

/// Writes the header right in front of the payload that starts at [`HEADER_ROOM`].
fn finish(mut bytes: Vec<u8>, opcode: Opcode) -> Bytes {
    let (header, header_len) = frame::header(bytes.len() - HEADER_ROOM, opcode);
    let start = HEADER_ROOM - header_len;
    bytes[start..HEADER_ROOM].copy_from_slice(&header[..header_len]);
    Bytes::from(bytes).slice(start..)
}
