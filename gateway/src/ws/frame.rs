//! Frames the server sends: final, unmasked, header and payload in one allocation.

use bytes::Bytes;
use rookery_proto::close::CloseCode;

use super::Opcode;

/// Bytes of the longest header of a server's frame.
pub const HEADER_BYTES_MAX: usize = 10;

/// Most bytes a control frame carries.
pub const CONTROL_BYTES_MAX: usize = 125;

/// The header of a frame with `len` payload bytes; only the first `.1` bytes are meant.
#[must_use]
pub const fn header(len: usize, opcode: Opcode) -> ([u8; HEADER_BYTES_MAX], usize) {
    let first = 0x80 | opcode.bits();
    let mut header = [0; HEADER_BYTES_MAX];
    header[0] = first;
    if len <= CONTROL_BYTES_MAX {
        header[1] = len as u8;
        (header, 2)
    } else if len <= u16::MAX as usize {
        let [a, b] = (len as u16).to_be_bytes();
        header[1] = 126;
        header[2] = a;
        header[3] = b;
        (header, 4)
    } else {
        let bytes = (len as u64).to_be_bytes();
        header[1] = 127;
        let mut at = 0;
        while at < bytes.len() {
            header[2 + at] = bytes[at];
            at += 1;
        }
        (header, HEADER_BYTES_MAX)
    }
}

/// A text message. The caller vouches that it is UTF-8.
#[must_use]
pub fn text(payload: &[u8]) -> Bytes {
    frame(Opcode::Text, payload)
}

/// A binary message.
#[must_use]
pub fn binary(payload: &[u8]) -> Bytes {
    frame(Opcode::Binary, payload)
}

/// A ping without payload.
#[must_use]
pub const fn ping() -> Bytes {
    const PING: &[u8] = &[0x80 | Opcode::Ping.bits(), 0];
    Bytes::from_static(PING)
}

/// The answer to a ping. A payload of more than 125 bytes, which no ping has, is cut.
#[must_use]
pub fn pong(payload: &[u8]) -> Bytes {
    frame(
        Opcode::Pong,
        &payload[..payload.len().min(CONTROL_BYTES_MAX)],
    )
}

/// The server's own close.
#[must_use]
pub fn close(code: CloseCode) -> Bytes {
    close_with(code.number(), code.reason())
}

/// The answer to a client's close: the same code, or an empty close for an empty one.
#[must_use]
pub fn close_answer(code: Option<u16>) -> Bytes {
    match code {
        Some(code) => close_with(code, ""),
        None => frame(Opcode::Close, &[]),
    }
}

fn close_with(code: u16, reason: &str) -> Bytes {
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    frame(Opcode::Close, &payload)
}

fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let (header, header_len) = header(payload.len(), opcode);
    let mut frame = Vec::with_capacity(header_len + payload.len());
    frame.extend_from_slice(&header[..header_len]);
    frame.extend_from_slice(payload);
    Bytes::from(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_of_each_size_class_is_minimal() {
        let check = |len, expected: &[u8]| {
            let (bytes, used) = header(len, Opcode::Binary);
            assert_eq!(&bytes[..used], expected, "{len}");
        };
        check(0, &[0x82, 0]);
        check(125, &[0x82, 125]);
        check(126, &[0x82, 126, 0, 126]);
        check(127, &[0x82, 126, 0, 127]);
        check(65_535, &[0x82, 126, 0xff, 0xff]);
        check(65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn frames_carry_their_payload_and_opcode() {
        assert_eq!(&text(b"hi")[..], b"\x81\x02hi");
        assert_eq!(&binary(b"\x00\xff")[..], b"\x82\x02\x00\xff");
        assert_eq!(&ping()[..], b"\x89\x00");
        assert_eq!(&pong(b"abc")[..], b"\x8a\x03abc");
        assert_eq!(pong(&[7; 200]).len(), 2 + CONTROL_BYTES_MAX);
        let expired = close(CloseCode::TokenExpired);
        let reason = CloseCode::TokenExpired.reason();
        assert_eq!(expired[..2], [0x88, 2 + reason.len() as u8]);
        assert_eq!(expired[2..4], 4100_u16.to_be_bytes());
        assert_eq!(&expired[4..], reason.as_bytes());
        assert_eq!(&close(CloseCode::Normal)[..], b"\x88\x02\x03\xe8");
        assert_eq!(&close_answer(None)[..], b"\x88\x00");
        assert_eq!(&close_answer(Some(4999))[..], b"\x88\x02\x13\x87");
    }

    #[test]
    fn every_close_of_ours_fits_a_control_frame() {
        for code in CloseCode::ALL {
            assert!(close(code).len() <= 2 + CONTROL_BYTES_MAX, "{code}");
        }
    }
}
