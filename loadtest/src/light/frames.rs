//! Just enough of RFC 6455 for the light client: server frames in, masked frames out.

/// Splits a server's bytes into frames, keeping bytes only while a frame is incomplete.
#[derive(Debug, Default)]
pub struct FrameReader {
    partial: Vec<u8>,
}

/// Bytes of an answer to an upgrade.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// One frame of the server, without its mask: servers use none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is: one of the constants here.
    pub opcode: u8,
    /// What it carries.
    pub payload: &'a [u8],
}

/// UTF-8.
pub const OPCODE_TEXT: u8 = 1;
/// Bytes.
pub const OPCODE_BINARY: u8 = 2;
/// The last frame: code and reason.
pub const OPCODE_CLOSE: u8 = 8;
/// Wants a pong with its payload.
pub const OPCODE_PING: u8 = 9;
/// Answers a ping.
pub const OPCODE_PONG: u8 = 10;

/// The server's bytes are no frames a listener understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A server's frames are never masked.
    #[error("masked frame from the server")]
    Masked,
    /// Servers send whole messages only.
    #[error("a message in several frames")]
    Fragmented,
    /// More than any frame of the wire.
    #[error("frame of {0} bytes")]
    TooLarge(u64),
}

impl FrameReader {
    /// Before the first byte.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            partial: Vec::new(),
        }
    }

    /// Takes the answer to the upgrade, which stands before the first frame, once it is whole;
    /// what comes behind it is kept for [`FrameReader::feed`].
    ///
    /// # Errors
    /// It does not end.
    pub fn head(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, FrameError> {
        self.partial.extend_from_slice(bytes);
        let end = self.partial.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else {
            return match self.partial.len() {
                ..=HEAD_BYTES_MAX => Ok(None),
                more => Err(FrameError::TooLarge(more as u64)),
            };
        };
        let rest = self.partial.split_off(end + 4);
        Ok(Some(std::mem::replace(&mut self.partial, rest)))
    }

    /// Gives each whole frame of what was kept and `bytes` to `each`; keeps the rest.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn feed(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Frame<'_>),
    ) -> Result<(), FrameError> {
        if self.partial.is_empty() {
            let used = split(bytes, &mut each)?;
            self.partial.extend_from_slice(&bytes[used..]);
        } else {
            self.partial.extend_from_slice(bytes);
            let used = split(&self.partial, &mut each)?;
            self.partial.drain(..used);
        }
        if self.partial.is_empty() {
            // An idle connection holds no buffer.
            self.partial = Vec::new();
        }
        Ok(())
    }
}

/// How many bytes the whole frames at the beginning take.
fn split(bytes: &[u8], each: &mut impl FnMut(Frame<'_>)) -> Result<usize, FrameError> {
    let mut used = 0;
    while let Some((frame, length)) = first(&bytes[used..])? {
        each(frame);
        used += length;
    }
    Ok(used)
}

fn first(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let [start, length, ..] = *bytes else {
        return Ok(None);
    };
    if length & 0x80 != 0 {
        return Err(FrameError::Masked);
    }
    if start & 0x80 == 0 {
        return Err(FrameError::Fragmented);
    }
    let (header, length) = match length {
        126 => match bytes.get(2..4) {
            Some(&[a, b]) => (4, u64::from(u16::from_be_bytes([a, b]))),
            _ => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|long| long.try_into().ok()) {
            Some(long) => (10, u64::from_be_bytes(long)),
            None => return Ok(None),
        },
        short => (2, u64::from(short)),
    };
    let size = usize::try_from(length)
        .ok()
        .filter(|size| *size <= crate::limits::SERVER_MESSAGE_BYTES_MAX)
        .ok_or(FrameError::TooLarge(length))?;
    Ok(bytes.get(header..header + size).map(|payload| {
        let frame = Frame {
            opcode: start & 0x0F,
            payload,
        };
        (frame, header + size)
    }))
}

/// Appends a masked client frame. The mask is zero, which the RFC's masking leaves the bytes as
/// they are under; nothing between a load and its server needs protecting.
pub fn push_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match u16::try_from(payload.len()) {
        Ok(short @ 0..126) => out.push(0x80 | short.to_le_bytes()[0]),
        Ok(length) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_cut_anywhere_come_out_whole() {
        let mut bytes = vec![0x81, 2, b'h', b'i', 0x89, 0];
        bytes.extend_from_slice(&[0x82, 126, 1, 0]);
        bytes.extend_from_slice(&[7; 256]);
        bytes.extend_from_slice(&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        bytes.extend_from_slice(&[9; 65_536]);
        for cut in (0..300).chain([1_000, bytes.len() - 1, bytes.len()]) {
            let mut reader = FrameReader::default();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                reader
                    .feed(part, |frame| seen.push((frame.opcode, frame.payload.len())))
                    .unwrap();
            }
            assert_eq!(
                seen,
                [(1, 2), (9, 0), (2, 256), (2, 65_536)],
                "cut at {cut}"
            );
            assert_eq!(reader.partial.capacity(), 0);
        }
    }

    #[test]
    fn an_answer_to_an_upgrade_is_taken_whole_and_what_follows_is_kept() {
        let bytes = b"HTTP/1.1 101 x\r\na: b\r\n\r\n\x81\x02hi";
        for cut in 0..bytes.len() - 4 {
            let mut reader = FrameReader::default();
            let early = reader.head(&bytes[..cut]).unwrap();
            let head = early.or_else(|| reader.head(&bytes[cut..]).unwrap());
            assert_eq!(head.unwrap(), bytes[..bytes.len() - 4], "cut at {cut}");
            let mut seen = Vec::new();
            reader
                .feed(&[], |frame| seen.push(frame.payload.to_vec()))
                .unwrap();
            assert_eq!(seen, [b"hi"]);
        }
        assert!(FrameReader::default().head(&[b'x'; 20_000]).is_err());
    }

    #[test]
    fn bytes_no_server_may_send_are_refused() {
        for (bytes, error) in [
            (&[0x81, 0x80, 0, 0, 0, 0][..], FrameError::Masked),
            (&[0x01, 1, 0], FrameError::Fragmented),
            (
                &[0x82, 127, 1, 0, 0, 0, 0, 0, 0, 0],
                FrameError::TooLarge(1 << 56),
            ),
        ] {
            assert_eq!(FrameReader::default().feed(bytes, |_| {}), Err(error));
        }
    }
}
