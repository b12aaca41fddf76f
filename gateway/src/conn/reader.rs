//! The reader of one connection.
//!
//! What its future holds across an await is what an idle connection costs, so it holds the decoder
//! and three handles; everything rare is boxed while it lasts. Bytes are read into a buffer of the
//! thread and leave it, as inputs of the lane, before the next await.

use std::{cell::RefCell, future::poll_fn, io, sync::Arc};

use bytes::Bytes;
use rookery_proto::{close::CloseCode, ids::SessionId};
use tokio::sync::mpsc::error::TrySendError;

use crate::{
    hub::{Input, Lane, Socket},
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
                Ok(()) => {}
                Err(TrySendError::Full(input)) => {
                    let rest = bytes.rest().to_vec();
                    return Step::Full(Box::new(Backlog { input, rest }));
                }
                Err(TrySendError::Closed(_)) => return Step::End,
            }
        }
    }

    /// Waits until the lane has taken a backlog. False: the lane has ended.
    async fn hand_over(&mut self, backlog: Box<Backlog>) -> bool {
        let mut backlog = *backlog;
        loop {
            if !self.lane.send(backlog.input).await {
                return false;
            }
            match self.decode(&mut backlog.rest) {
                Step::Done => return true,
                Step::Full(next) => backlog = *next,
                Step::End => return false,
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

/// A [`Reader`] that is counted, and whose end the lane hears of, however it ends.
#[derive(Debug)]
pub(super) struct OpenReader(Reader);

impl OpenReader {
    pub(super) fn new(reader: Reader) -> Self {
        reader.lane.reader_started();
        Self(reader)
    }

    /// Hands over the session's opening and what was read behind the request, then reads until
    /// the connection ends.
    pub(super) async fn run(mut self, opening: Box<(Input, Bytes)>) {
        if Box::pin(self.open(opening)).await {
            self.read_all().await;
        }
        let session = self.0.session;
        Box::pin(self.0.lane.send(Input::Gone { session })).await;
    }

    async fn open(&mut self, opening: Box<(Input, Bytes)>) -> bool {
        let (input, leftover) = *opening;
        let rest = leftover.to_vec();
        self.0.hand_over(Box::new(Backlog { input, rest })).await
    }

    async fn read_all(&mut self) {
        let reader = &mut self.0;
        loop {
            if poll_fn(|context| reader.socket.stream().poll_read_ready(context))
                .await
                .is_err()
            {
                return;
            }
            match reader.read() {
                Step::Done => {}
                Step::Full(backlog) => {
                    if !Box::pin(reader.hand_over(backlog)).await {
                        return;
                    }
                }
                Step::End => return,
            }
        }
    }
}

impl Drop for OpenReader {
    fn drop(&mut self) {
        self.0.lane.reader_ended();
    }
}
