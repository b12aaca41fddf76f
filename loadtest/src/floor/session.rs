//! One connection: its upgrade, its frames, what waits for its socket.

use std::io::{self, Read as _, Write as _};

use mio::net::TcpStream;
use prost::Message as _;
use rookery_proto::v1::{self, server_frame::Frame};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::frames::{self, BINARY, CLOSE, PING, PONG, TEXT};
use crate::{
    client::Encoding,
    limits::{FLOOR_PENDING_BYTES_MAX, FLOOR_UPGRADE_BYTES_MAX},
};

#[derive(Debug)]
pub(super) struct Session {
    pub(super) stream: TcpStream,
    pub(super) encoding: Encoding,
    pub(super) stage: Stage,
    /// Rooms it listens to, by number.
    pub(super) rooms: Vec<usize>,
    /// Asked to end; it does at the round's end.
    pub(super) ended: bool,
    /// Bytes of a frame that is not whole yet.
    partial: Vec<u8>,
    /// Answers of this round.
    answers: Vec<u8>,
    /// What the socket did not take.
    pending: Vec<u8>,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Before the WebSocket.
    Upgrade,
    /// Before the login.
    Login,
    /// Logged in.
    Open {
        /// As it named itself.
        user: String,
    },
}

/// What came of bytes.
#[derive(Debug)]
pub(super) enum Input {
    Command(v1::ClientFrame),
    /// It closed, or sent what cannot be read.
    End,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    All,
    /// The rest is pending: the socket's buffer is full.
    Part,
    /// The socket is broken, or too much is pending.
    Nothing,
}

impl Session {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            encoding: Encoding::Json,
            stage: Stage::Upgrade,
            rooms: Vec::new(),
            ended: false,
            partial: Vec::new(),
            answers: Vec::new(),
            pending: Vec::new(),
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    /// Takes bytes in; keeps what is no whole frame.
    pub(super) fn feed(&mut self, bytes: &mut [u8], inputs: &mut Vec<Input>) {
        if self.partial.is_empty() {
            let used = self.split(bytes, inputs);
            self.partial.extend_from_slice(&bytes[used..]);
            return;
        }
        let mut kept = std::mem::take(&mut self.partial);
        kept.extend_from_slice(bytes);
        let used = self.split(&mut kept, inputs);
        kept.drain(..used);
        if !kept.is_empty() {
            self.partial = kept;
        }
    }

    fn split(&mut self, bytes: &mut [u8], inputs: &mut Vec<Input>) -> usize {
        let mut used = 0;
        if matches!(self.stage, Stage::Upgrade) {
            match self.upgrade(bytes) {
                Ok(Some(head)) => used = head,
                Ok(None) => return 0,
                Err(()) => {
                    inputs.push(Input::End);
                    return bytes.len();
                }
            }
        }
        loop {
            let rest = &mut bytes[used..];
            let message = match frames::first(rest) {
                Ok(Some(message)) => message,
                Ok(None) => return used,
                Err(frames::BadFrame) => {
                    inputs.push(Input::End);
                    return bytes.len();
                }
            };
            let payload = &rest[message.payload];
            match message.opcode {
                PING => frames::put(PONG, payload, &mut self.answers),
                PONG => {}
                CLOSE => {
                    frames::put(CLOSE, payload, &mut self.answers);
                    inputs.push(Input::End);
                }
                TEXT | BINARY => inputs.push(self.decode(payload)),
                _ => inputs.push(Input::End),
            }
            used += message.length;
        }
    }

    fn decode(&self, payload: &[u8]) -> Input {
        let frame = match self.encoding {
            Encoding::Json => serde_json::from_slice(payload).ok(),
            Encoding::Protobuf => v1::ClientFrame::decode(payload).ok(),
        };
        frame.map_or(Input::End, Input::Command)
    }

    /// Answers the upgrade once it is whole; gives its length.
    fn upgrade(&mut self, bytes: &[u8]) -> Result<Option<usize>, ()> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if bytes.len() > FLOOR_UPGRADE_BYTES_MAX {
                Err(())
            } else {
                Ok(None)
            };
        };
        let head = String::from_utf8_lossy(&bytes[..end]);
        let header = |wanted: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find_map(|(name, value)| {
                name.eq_ignore_ascii_case(wanted)
                    .then(|| value.trim().to_owned())
            })
        };
        let key = header("sec-websocket-key").ok_or(())?;
        let asked = header("sec-websocket-protocol").unwrap_or_default();
        let mut asked = asked.split(',').map(str::trim);
        let chosen = asked.find_map(|name| {
            let mut known = Encoding::ALL.into_iter();
            known.find(|encoding| encoding.subprotocol() == name)
        });
        self.encoding = chosen.unwrap_or_default();
        let named = chosen.map(|encoding| {
            let name = encoding.subprotocol();
            format!("Sec-WebSocket-Protocol: {name}\r\n")
        });
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\n{}\r\n",
            derive_accept_key(key.as_bytes()),
            named.unwrap_or_default(),
        );
        self.answers.extend_from_slice(answer.as_bytes());
        self.stage = Stage::Login;
        Ok(Some(end + 4))
    }

    pub(super) fn answer(&mut self, frame: Frame) {
        frames::put_frame(self.encoding, frame, &mut self.answers);
    }

    /// Writes this round's answers.
    pub(super) fn write_answers(&mut self) -> Wrote {
        // Emptied by taking it: an idle connection holds no buffer.
        let answers = std::mem::take(&mut self.answers);
        self.write(&answers)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Wrote {
        let mut written = 0;
        if self.pending.is_empty() {
            while written < bytes.len() {
                match self.stream.write(&bytes[written..]) {
                    Ok(0) => return Wrote::Nothing,
                    Ok(some) => written += some,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return Wrote::Nothing,
                }
            }
        }
        if written == bytes.len() {
            return Wrote::All;
        }
        if self.pending.len() + bytes.len() - written > FLOOR_PENDING_BYTES_MAX {
            return Wrote::Nothing;
        }
        self.pending.extend_from_slice(&bytes[written..]);
        Wrote::Part
    }

    /// Writes what is pending, now that the socket takes more.
    pub(super) fn drain(&mut self) -> Wrote {
        let pending = std::mem::take(&mut self.pending);
        self.write(&pending)
    }

    pub(super) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }
}
