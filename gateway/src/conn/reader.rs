//! The reader of one connection.
//!
//! What its future holds across an await is what an idle connection costs, so it holds the decoder
//! and three handles; everything rare is boxed while it lasts. Bytes are read into a buffer of the
//! thread and leave it, as inputs of the lane, before the next await.

use std::{
    cell::RefCell,
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use rookery_proto::{close::CloseCode, ids::SessionId};

use crate::{
    hub::{Input, Lane, Offered, Socket},
    limits::READ_BYTES,
    protocol::{self, Encoding},
    ws::{self, Decoder, Incoming},
};

thread_local! {
    /// Where all connections of a thread are read into, one after the other.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// One connection's receiving half.
#[derive(Debug)]
pub(super) struct Reader {
    socket: Socket,
    lane: Arc<Lane>,
    session: SessionId,
    decoder: Decoder,
    encoding: Encoding,
}

/// How a read ended.
enum Step {
    /// All that was read is handed over.
    Done,
    /// The lane is full.
    Full(Box<Backlog>),
    /// The connection or the lane has ended.
    End,
}

/// What a full lane did not take: an input, and bytes not decoded yet.
struct Backlog {
    input: Input,
    rest: Vec<u8>,
}

impl Reader {
    pub(super) fn new(
        socket: Socket,
        lane: Arc<Lane>,
        session: SessionId,
        encoding: Encoding,
        frame_bytes_max: u32,
    ) -> Self {
        Self {
            socket,
            lane,
            session,
            decoder: Decoder::new(frame_bytes_max),
            encoding,
        }
    }

    /// Reads once and hands over what came.
    fn read(&mut self) -> Step {
        BUFFER.with_borrow_mut(|buffer| match self.socket.stream().try_read(buffer) {
            Ok(0) => Step::End,
            Ok(bytes) => {
                self.socket.hear(self.lane.now());
                self.decode(&mut buffer[..bytes])
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Done,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::Done,
            Err(_) => Step::End,
        })
    }

    fn send(&self, input: Input, rest: Vec<u8>, last: bool) -> Phase {
        let lane = Arc::clone(&self.lane);
        let send = Box::pin(async move { lane.send(input).await });
        Phase::Sending(Box::new(Sending { send, rest, last }))
    }

    fn decode(&mut self, bytes: &mut [u8]) -> Step {
        let mut bytes = ws::Input::new(bytes);
        loop {
            let input = match self.decoder.next(&mut bytes) {
                Ok(None) => return Step::Done,
                Ok(Some(incoming)) => input(self.session, self.encoding, incoming),
                Err(violation) => Some(Input::Violated {
                    session: self.session,
                    code: violation.close_code(),
                }),
            };
            let Some(input) = input else { continue };
            match self.lane.offer(input) {
                Offered::Taken => {}
                Offered::Full(input) => {
                    let rest = bytes.rest().to_vec();
                    return Step::Full(Box::new(Backlog { input, rest }));
                }
                Offered::Ended => return Step::End,
            }
        }
    }
}

/// What a message is to the worker; `None`: nothing.
fn input(session: SessionId, encoding: Encoding, incoming: Incoming<'_>) -> Option<Input> {
    let payload = match (incoming, encoding) {
        (Incoming::Text(text), Encoding::Json) => text.as_bytes(),
        (Incoming::Binary(bytes), Encoding::Protobuf) => bytes,
        (Incoming::Text(_), Encoding::Protobuf) | (Incoming::Binary(_), Encoding::Json) => {
            let code = CloseCode::UnsupportedData;
            return Some(Input::Violated { session, code });
        }
        (Incoming::Ping(payload), _) => {
            let payload = Bytes::copy_from_slice(payload);
            return Some(Input::Ping { session, payload });
        }
        // That bytes came is noted already.
        (Incoming::Pong(_), _) => return None,
        (Incoming::Close(close), _) => {
            let code = close.map(|(code, _)| code);
            return Some(Input::PeerClosed { session, code });
        }
    };
    Some(match protocol::decode(encoding, payload) {
        Ok((id, command)) => Input::Command {
            session,
            id,
            command,
        },
        Err(bad) => Input::Invalid {
            session,
            bad: Box::new(bad),
        },
    })
}

/// The task of a connection: opens its session, reads until the connection ends, and says so.
///
/// Written as a state machine by hand: the compiler's holds the reader twice.
/// ```text
///   Sending(opened) ──► Reading ──lane full──► Sending ──► Reading
///                          └──ended──► Sending(gone) ──► done
/// ```
pub(super) struct ReaderTask {
    reader: Reader,
    phase: Phase,
}

/// What the task waits for.
enum Phase {
    /// The socket.
    Reading,
    /// The lane.
    Sending(Box<Sending>),
}

/// An input on its way to a lane that is full.
struct Sending {
    send: Pin<Box<dyn Future<Output = bool> + Send>>,
    /// Bytes read and not decoded yet.
    rest: Vec<u8>,
    /// Nothing comes after this input.
    last: bool,
}

impl ReaderTask {
    /// `opened` goes to the lane first, then what was read behind the request.
    pub(super) fn new(reader: Reader, opened: Input, leftover: &[u8]) -> Self {
        reader.lane.reader_started();
        let phase = reader.send(opened, leftover.to_vec(), false);
        Self { reader, phase }
    }
}

impl Future for ReaderTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            let step = match &mut this.phase {
                Phase::Reading => {
                    match ready!(this.reader.socket.stream().poll_read_ready(context)) {
                        Ok(()) => this.reader.read(),
                        Err(_) => Step::End,
                    }
                }
                Phase::Sending(sending) => {
                    let sent = ready!(sending.send.as_mut().poll(context));
                    if sending.last || !sent {
                        return Poll::Ready(());
                    }
                    let mut rest = mem::take(&mut sending.rest);
                    this.phase = Phase::Reading;
                    this.reader.decode(&mut rest)
                }
            };
            match step {
                Step::Done => {}
                Step::Full(backlog) => {
                    this.phase = this.reader.send(backlog.input, backlog.rest, false);
                }
                Step::End => {
                    let session = this.reader.session;
                    this.phase = this.reader.send(Input::Gone { session }, Vec::new(), true);
                }
            }
        }
    }
}

impl Drop for ReaderTask {
    fn drop(&mut self) {
        self.reader.lane.reader_ended();
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::hub::Lanes;

    /// What an idle connection's task holds. Each byte here is paid ten thousand times.
    #[tokio::test]
    async fn future_of_an_idle_connection_is_small() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let lane = Lanes::detached().pick();
        let session = SessionId(1);
        let socket = Socket::new(stream, 0);
        let reader = Reader::new(socket, lane, session, Encoding::Json, 1_000);
        let task = ReaderTask::new(reader, Input::Gone { session }, b"");
        let bytes = size_of_val(&task);
        assert!(bytes <= 104, "{bytes} bytes");
        assert!(size_of::<Decoder>() <= 48);
    }
}
