//! The task of one connection: socket to callers and back.

use std::{
    collections::HashMap,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use rookery_proto::v1::{self, server_frame::Frame};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message},
};

use super::{Closed, Encoding};
use crate::limits::WRITE_BATCH_MAX;

pub(super) type Socket = WebSocketStream<TcpStream>;
pub(super) type Answer = Result<v1::Ack, Box<v1::Error>>;

/// What callers hand to the socket.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A frame of the wire.
    Frame(v1::ClientFrame),
    /// Any message, for tests of malformed input.
    Raw(Message),
    /// Start the close handshake.
    Close,
}

/// Calls that wait for their answer, by frame id. Emptied when the connection ends, which wakes
/// them all.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<HashMap<String, oneshot::Sender<Answer>>>);

impl Waiting {
    pub(super) fn insert(&self, id: String, answer: oneshot::Sender<Answer>) {
        self.lock().insert(id, answer);
    }

    pub(super) fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    fn take(&self, id: &str) -> Option<oneshot::Sender<Answer>> {
        self.lock().remove(id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All the task needs.
pub(super) struct Parts {
    pub(super) socket: Socket,
    pub(super) encoding: Encoding,
    pub(super) outgoing: mpsc::Receiver<Outgoing>,
    pub(super) incoming: mpsc::Sender<Frame>,
    pub(super) waiting: Arc<Waiting>,
    pub(super) paused: watch::Receiver<bool>,
    pub(super) closed: watch::Sender<Option<Closed>>,
}

pub(super) async fn run(parts: Parts) {
    let Parts {
        socket,
        encoding,
        outgoing,
        incoming,
        waiting,
        paused,
        closed,
    } = parts;
    let (sink, stream) = socket.split();
    let reading = pin!(read(stream, encoding, &incoming, &waiting, paused));
    let writing = pin!(write(sink, encoding, outgoing));
    let how = first(reading, writing).await;
    // The socket is dropped with the halves; callers learn how it ended before they wake.
    closed.send_replace(Some(how));
    waiting.lock().clear();
}

/// The reader says how a connection ends; the writer ends it only when all handles are gone. A
/// failed write is not the end: what the server said before is still to be read.
async fn first(
    mut reading: std::pin::Pin<&mut impl Future<Output = Closed>>,
    writing: std::pin::Pin<&mut impl Future<Output = Written>>,
) -> Closed {
    tokio::select! {
        biased;
        how = &mut reading => return how,
        written = writing => match written {
            Written::HandlesGone => return Closed::cut("dropped by the client"),
            Written::Failed | Written::CloseSent => {}
        },
    }
    reading.await
}

enum Written {
    HandlesGone,
    Failed,
    CloseSent,
}

async fn write(
    mut sink: SplitSink<Socket, Message>,
    encoding: Encoding,
    mut outgoing: mpsc::Receiver<Outgoing>,
) -> Written {
    let mut batch = Vec::with_capacity(WRITE_BATCH_MAX);
    loop {
        if outgoing.recv_many(&mut batch, WRITE_BATCH_MAX).await == 0 {
            return Written::HandlesGone;
        }
        for out in batch.drain(..) {
            let fed = match out {
                Outgoing::Frame(frame) => sink.feed(encoding.encode(&frame)).await,
                Outgoing::Raw(message) => sink.feed(message).await,
                Outgoing::Close => {
                    // An error here means the other side closed first; the reader tells how.
                    let _ = sink.close().await;
                    return Written::CloseSent;
                }
            };
            if fed.is_err() {
                return Written::Failed;
            }
        }
        if sink.flush().await.is_err() {
            return Written::Failed;
        }
    }
}

async fn read(
    mut stream: SplitStream<Socket>,
    encoding: Encoding,
    incoming: &mpsc::Sender<Frame>,
    waiting: &Waiting,
    mut paused: watch::Receiver<bool>,
) -> Closed {
    let mut how = None;
    loop {
        if *paused.borrow_and_update() {
            if paused.changed().await.is_err() {
                return Closed::cut("dropped by the client");
            }
            continue;
        }
        let message = tokio::select! {
            biased;
            _ = paused.changed() => continue,
            message = stream.next() => message,
        };
        let message = match message {
            None => return how.unwrap_or_else(|| Closed::cut("end of stream")),
            Some(Ok(message)) => message,
            Some(Err(error)) => return how.unwrap_or_else(|| Closed::cut(describe(&error))),
        };
        match message {
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            // The stream ends by itself once the handshake is done.
            Message::Close(frame) => how = Some(Closed::from_frame(frame.as_ref())),
            data @ (Message::Text(_) | Message::Binary(_)) => match encoding.decode(&data) {
                Ok(frame) => deliver(frame, incoming, waiting).await,
                Err(error) => {
                    return Closed::cut(format!("the server sent nonsense: {error}"));
                }
            },
        }
    }
}

async fn deliver(frame: v1::ServerFrame, incoming: &mpsc::Sender<Frame>, waiting: &Waiting) {
    let Some(frame) = frame.frame else { return };
    let frame = match frame {
        Frame::Ack(ack) => match waiting.take(&ack.id) {
            Some(call) => {
                // The caller gave up meanwhile: nobody to tell.
                let _ = call.send(Ok(ack));
                return;
            }
            None => Frame::Ack(ack),
        },
        Frame::Error(error) => match waiting.take(&error.id) {
            Some(call) => {
                let _ = call.send(Err(Box::new(error)));
                return;
            }
            None => Frame::Error(error),
        },
        other => other,
    };
    // The test dropped its `Incoming`: it does not want these.
    let _ = incoming.send(frame).await;
}

fn describe(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Io(io) => format!("read failed: {io}"),
        other => other.to_string(),
    }
}
