//! Bytes from and to the sockets.

use std::io::{ErrorKind, Read as _, Write as _};

use mio::event::Event;

use super::{Engine, connect::Ending};
use crate::{
    light::{
        clock::now_us,
        connection::Phase,
        frames::{OPCODE_BINARY, OPCODE_CLOSE, OPCODE_PING, OPCODE_PONG, OPCODE_TEXT, push_masked},
        wire::{Kind, Say, Tag},
    },
    limits::LIGHT_UNSENT_BYTES_MAX,
};

impl Engine {
    pub(super) fn on_socket(&mut self, index: usize, event: &Event) {
        if event.is_writable() {
            if self.connections[index].phase == Phase::Connecting {
                self.connected(index, now_us());
            } else if !self.connections[index].unsent.is_empty() {
                self.write_unsent(index);
            }
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            let to_its_end = event.is_read_closed() || event.is_error();
            self.read(index, to_its_end);
        }
    }

    /// Reads what is there. A read that leaves room in the buffer took all there was, except
    /// where the end of the stream is behind it.
    fn read(&mut self, index: usize, to_its_end: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut now = 0;
        loop {
            let connection = &mut self.connections[index];
            let Some(stream) = &mut connection.stream else {
                break;
            };
            if connection.phase == Phase::Connecting {
                break;
            }
            let read = stream.read(&mut buffer);
            now = now_us();
            match read {
                Ok(0) => {
                    self.stream_ended(index, "the server ended the stream".to_owned(), now);
                    break;
                }
                Ok(read) => {
                    self.received(index, &buffer[..read], now);
                    if read < buffer.len() && !to_its_end {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.stream_ended(index, format!("the connection broke: {error}"), now);
                    break;
                }
            }
        }
        self.buffer = buffer;
        self.flush(index, now);
    }

    fn stream_ended(&mut self, index: usize, why: String, now_us: u64) {
        let ending = match self.connections[index].phase {
            Phase::Closing => Ending::Closed,
            _ => Ending::Broken(why),
        };
        self.out.clear();
        self.ended(index, ending, now_us);
    }

    fn received(&mut self, index: usize, mut bytes: &[u8], now_us: u64) {
        if self.tally.measuring() {
            self.tally.counts.bytes_in += bytes.len() as u64;
        }
        let mut ends = None;
        let connection = &mut self.connections[index];
        let dialect = connection.dialect;
        let mut reader = std::mem::take(&mut connection.reader);
        if connection.phase == Phase::Upgrading {
            match reader.head(bytes) {
                Ok(None) => {
                    self.connections[index].reader = reader;
                    return;
                }
                Ok(Some(head)) => ends = self.upgraded(index, &head).err(),
                Err(error) => ends = Some(error.to_string()),
            }
            // What came behind it is in the reader.
            bytes = &[];
        }
        let fed = reader.feed(bytes, |frame| match frame.opcode {
            OPCODE_TEXT | OPCODE_BINARY => {
                let heard = dialect.hear(frame.payload, &mut |heard| {
                    self.on_heard(index, heard, now_us);
                });
                if let Err(error) = heard {
                    ends.get_or_insert(error.to_string());
                }
            }
            OPCODE_PING => push_masked(&mut self.out, OPCODE_PONG, frame.payload),
            OPCODE_CLOSE => {
                let (code, reason) = frame.payload.split_at_checked(2).unwrap_or_default();
                let code = code
                    .iter()
                    .fold(0, |code, byte| code * 256 + u32::from(*byte));
                let reason = String::from_utf8_lossy(reason);
                ends.get_or_insert(format!("the server closed with {code} {reason}"));
            }
            _ => {}
        });
        if let Err(error) = fed {
            ends.get_or_insert(error.to_string());
        }
        self.connections[index].reader = reader;
        if let Some(why) = self.ends.take().or(ends) {
            self.stream_ended(index, why, now_us);
            return;
        }
        for _ in 0..std::mem::take(&mut self.again) {
            self.send_in_turn(index, now_us);
        }
    }

    // ---- what is said -------------------------------------------------------------------------

    /// Appends what is said to what is flushed next, which must be to the same connection; false:
    /// it is not said.
    pub(super) fn put_tagged(&mut self, index: usize, tag: Tag, say: &Say<'_>) -> bool {
        let connection = &mut self.connections[index];
        if connection.unsent.len() > LIGHT_UNSENT_BYTES_MAX {
            // Its socket takes nothing: no answer will come.
            if self.tally.measuring() {
                self.tally.counts.failed += 1;
            }
            return false;
        }
        if !connection.dialect.say(tag, say, &mut self.out) {
            return false;
        }
        match tag.kind {
            // These are known by the connection's state.
            Kind::Login | Kind::Join | Kind::Watch => {}
            kind if connection.dialect.answers(kind) => connection.unanswered += 1,
            _ => {}
        }
        true
    }

    pub(super) fn flush(&mut self, index: usize, now_us: u64) {
        if self.out.is_empty() {
            return;
        }
        let connection = &mut self.connections[index];
        let written = match &mut connection.stream {
            None => Ok(self.out.len()),
            Some(stream) if connection.unsent.is_empty() => stream.write(&self.out),
            Some(_) => Ok(0),
        };
        match written {
            Ok(written) if written == self.out.len() => {}
            Ok(written) => connection.unsent.extend_from_slice(&self.out[written..]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                connection.unsent.extend_from_slice(&self.out);
            }
            Err(error) => {
                self.stream_ended(index, format!("the connection broke: {error}"), now_us);
            }
        }
        self.out.clear();
    }

    fn write_unsent(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let Some(stream) = &mut connection.stream else {
            return;
        };
        while !connection.unsent.is_empty() {
            match stream.write(&connection.unsent) {
                Ok(written) => {
                    connection.unsent.drain(..written);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let why = format!("the connection broke: {error}");
                    self.stream_ended(index, why, now_us());
                    return;
                }
            }
        }
        connection.unsent = Vec::new();
    }
}
