//! The server's half of RFC 6455, as little as the load tool's own clients need: whole messages.

use std::ops::Range;

use prost::Message as _;
use rookery_proto::{limits::FRAME_BYTES_MAX, v1};

use crate::client::Encoding;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// A client's frame; its payload is unmasked where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientMessage {
    pub(super) opcode: u8,
    pub(super) payload: Range<usize>,
    /// Bytes of header and payload.
    pub(super) length: usize,
}

/// Bytes that are no frame of a client, or a frame larger than the wire allows, or a part of a
/// message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadFrame;

/// The first frame of `bytes`; `None` while it is not whole.
pub(super) fn first(bytes: &mut [u8]) -> Result<Option<ClientMessage>, BadFrame> {
    let [start, second, ..] = *bytes else {
        return Ok(None);
    };
    if start & FIN == 0 || second & MASKED == 0 {
        return Err(BadFrame);
    }
    let (size, header) = match second & !MASKED {
        126 => match bytes.get(2..4) {
            Some(&[high, low]) => (usize::from(u16::from_be_bytes([high, low])), 4),
            _ => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|long| long.try_into().ok()) {
            Some(long) => {
                let size = usize::try_from(u64::from_be_bytes(long)).map_err(|_| BadFrame)?;
                (size, 10)
            }
            None => return Ok(None),
        },
        short => (usize::from(short), 2),
    };
    if size > FRAME_BYTES_MAX {
        return Err(BadFrame);
    }
    let payload = header + 4..header + 4 + size;
    if bytes.len() < payload.end {
        return Ok(None);
    }
    let (head, body) = bytes.split_at_mut(payload.start);
    let mask = &head[header..];
    for (byte, key) in body[..size].iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    Ok(Some(ClientMessage {
        opcode: start & 0x0F,
        length: payload.end,
        payload,
    }))
}

/// Appends a server's frame.
pub(super) fn put(opcode: u8, payload: &[u8], into: &mut Vec<u8>) {
    into.push(FIN | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..126), _) => into.push(short),
        (_, Ok(medium)) => {
            into.push(126);
            into.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            into.push(127);
            into.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    into.extend_from_slice(payload);
}

/// Appends a frame of the wire, encoded.
pub(super) fn put_frame(encoding: Encoding, frame: v1::server_frame::Frame, into: &mut Vec<u8>) {
    let frame = v1::ServerFrame { frame: Some(frame) };
    match encoding {
        Encoding::Protobuf => put(BINARY, &frame.encode_to_vec(), into),
        Encoding::Json => {
            let text = serde_json::to_vec(&frame);
            put(TEXT, &text.expect("a frame has only string keys"), into);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_frame_cut_anywhere_is_waited_for_and_then_unmasked() {
        let text = vec![b'a'; 300];
        let mut whole = vec![FIN | TEXT, MASKED | 126, 1, 44, 1, 2, 3, 4];
        let mask = [1, 2, 3, 4].iter().cycle();
        whole.extend(text.iter().zip(mask).map(|(byte, key)| byte ^ key));
        for cut in 0..whole.len() {
            assert_eq!(first(&mut whole[..cut].to_vec()), Ok(None), "cut at {cut}");
        }
        let found = first(&mut whole).unwrap().unwrap();
        assert_eq!((found.opcode, found.length), (TEXT, whole.len()));
        assert_eq!(whole[found.payload], text);
    }

    #[test]
    fn frames_no_client_may_send_are_refused() {
        for bytes in [
            &mut [FIN | TEXT, 1, b'a'][..],
            &mut [TEXT, MASKED, 0, 0, 0, 0],
            &mut [FIN | TEXT, MASKED | 127, 0, 0, 0, 0, 1, 0, 0, 0],
        ] {
            assert_eq!(first(bytes), Err(BadFrame));
        }
    }

    #[test]
    fn server_frames_of_every_size_are_what_listeners_read() {
        for size in [0, 125, 126, 65_535, 65_536] {
            let mut frame = Vec::new();
            put(BINARY, &vec![7; size], &mut frame);
            let mut read = Vec::new();
            let mut reader = crate::light::frames::FrameReader::default();
            let fed = reader.feed(&frame, |frame| {
                read.push((frame.opcode, frame.payload.len()))
            });
            assert_eq!((fed, read), (Ok(()), vec![(BINARY, size)]));
        }
    }
}
