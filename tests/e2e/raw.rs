//! A WebSocket spoken byte by byte, for what no well-behaved client sends.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

/// How long the server may take to answer anything here.
const DEADLINE: Duration = Duration::from_secs(20);
/// Any mask will do; this one changes every byte.
const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x81];

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A whole text message.
    Text(String),
    /// A close frame's code.
    Close(u16),
    /// The connection ended without a close frame.
    End,
}

/// A connection below the level of any WebSocket library.
pub(crate) struct RawSocket {
    stream: TcpStream,
    read: Vec<u8>,
}

impl RawSocket {
    /// Sends an upgrade request with these extra header lines; returns the status and the socket.
    pub(crate) fn upgrade(address: SocketAddr, query: &str, headers: &str) -> Result<(u16, Self)> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        let mut socket = Self {
            stream,
            read: Vec::new(),
        };
        let request = format!(
            "GET /v1/ws{query} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        socket.write(request.as_bytes())?;
        let end = loop {
            if let Some(at) = socket.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            ensure!(socket.fill()?, "connection ended inside the response");
        };
        let head = String::from_utf8(socket.read.drain(..end).collect())?;
        let status = head.split(' ').nth(1).context("a status line")?.parse()?;
        Ok((status, socket))
    }

    /// A logged-in JSON connection of a development server, past `welcome`.
    pub(crate) fn log_in(address: SocketAddr, name: &str) -> Result<Self> {
        let (status, mut socket) = Self::upgrade(address, &format!("?name={name}"), "")?;
        ensure!(status == 101, "upgraded with {status}");
        match socket.next()? {
            Frame::Text(text) if text.contains("\"welcome\"") => Ok(socket),
            other => bail!("expected welcome, got {other:?}"),
        }
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("write")
    }

    /// Sends one masked, final frame.
    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) -> Result<()> {
        self.write(&frame(opcode, payload))
    }

    /// Sends a text message.
    pub(crate) fn text(&mut self, text: &str) -> Result<()> {
        self.send(1, text.as_bytes())
    }

    /// Ends the sending half.
    pub(crate) fn finish(&self) -> Result<()> {
        self.stream.shutdown(Shutdown::Write).context("shutdown")
    }

    /// The next text or close frame; pings are passed over.
    pub(crate) fn next(&mut self) -> Result<Frame> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            ensure!(Instant::now() < deadline, "no frame in time");
            if let Some(frame) = self.take_frame()? {
                match frame {
                    (1, payload) => return Ok(Frame::Text(String::from_utf8(payload)?)),
                    (8, payload) => {
                        let code = payload.get(..2).context("a close code")?;
                        return Ok(Frame::Close(u16::from_be_bytes([code[0], code[1]])));
                    }
                    (9 | 10, _) => continue,
                    (opcode, _) => bail!("unexpected opcode {opcode}"),
                }
            }
            if !self.fill()? {
                return Ok(Frame::End);
            }
        }
    }

    /// The close code the server ends with; answers before it are passed over.
    pub(crate) fn close_code(&mut self) -> Result<u16> {
        loop {
            match self.next()? {
                Frame::Text(_) => {}
                Frame::Close(code) => return Ok(code),
                Frame::End => bail!("ended without a close frame"),
            }
        }
    }

    /// Reads what is there; false at the end.
    fn fill(&mut self) -> Result<bool> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.read.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error).context("read"),
        }
    }

    fn take_frame(&mut self) -> Result<Option<(u8, Vec<u8>)>> {
        let Some(&[first, second]) = self.read.first_chunk() else {
            return Ok(None);
        };
        ensure!(second & 0x80 == 0, "a server frame is masked");
        let (head, length) = match second {
            126 => match self.read.get(2..4) {
                Some(bytes) => (4, usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))),
                None => return Ok(None),
            },
            127 => match self.read.get(2..10) {
                Some(bytes) => (10, usize::try_from(u64::from_be_bytes(bytes.try_into()?))?),
                None => return Ok(None),
            },
            short => (2, usize::from(short)),
        };
        if self.read.len() < head + length {
            return Ok(None);
        }
        let frame: Vec<u8> = self.read.drain(..head + length).skip(head).collect();
        Ok(Some((first & 0x0f, frame)))
    }
}

/// One masked, final frame.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | u8::try_from(short).expect("at most 125")),
        medium @ 126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(medium).expect("at most 65535").to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}
