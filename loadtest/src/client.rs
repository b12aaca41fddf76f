//! A client of the wire over a foreign WebSocket library.
//!
//! [`Client::connect`] gives a handle for commands and an [`Incoming`] for everything the server
//! sends by itself. Answers go to the `call` that waits for them; an answer nobody waits for (of
//! [`Client::submit`]) comes out of [`Incoming`] in its place in the stream, so that a recorder
//! sees the exact order. One task a connection drives the socket; dropping the [`Client`] cuts it.

mod address;
mod closed;
mod codec;
pub mod command;
mod connect;
mod drive;
mod incoming;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rookery_proto::{errors::Code, v1};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

use crate::{limits::PAGE_EVENTS, replica::Replica};
pub use address::{AddressError, ServerAddress};
pub use closed::Closed;
pub use codec::{DecodeError, Encoding};
pub use command::Command;
pub use connect::{Backoff, ConnectError, ConnectOptions, Credentials};
use drive::{Outgoing, Waiting};
pub use incoming::{Incoming, WaitError};

/// One live connection.
#[derive(Debug)]
pub struct Client {
    outgoing: mpsc::Sender<Outgoing>,
    waiting: Arc<Waiting>,
    paused: watch::Sender<bool>,
    closed: watch::Receiver<Option<Closed>>,
    welcome: v1::Welcome,
    next_id: AtomicU64,
    call_deadline: Duration,
    /// The task that drives the socket; aborted when the client is dropped.
    _driver: JoinSet<()>,
}

/// Why a command has no ack.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server answered with an error frame.
    #[error("refused with {:?}: {} (field {:?}, correlation {})", .0.code(), .0.message, .0.field, .0.correlation_id)]
    Refused(Box<v1::Error>),
    /// The connection ended before the answer.
    #[error("connection ended before the answer: {0}")]
    Disconnected(Closed),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// The ack carries another result than this command has.
    #[error("answered with another kind of result: {0:?}")]
    WrongResult(Box<v1::Ack>),
}

impl CallError {
    /// Whether the command may have happened all the same.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Refused(error) => maybe(error.code()),
            Self::Disconnected(_) | Self::Deadline(_) => true,
            Self::WrongResult(_) => false,
        }
    }

    /// The wire's code, when the server answered.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(error) => Some(error.code()),
            _ => None,
        }
    }
}

/// Whether an error frame of this code leaves open if the command happened.
#[must_use]
pub fn maybe(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::Internal | Code::Unspecified)
}

impl Client {
    /// Connects, authenticates and waits for `welcome`.
    ///
    /// # Errors
    /// When any of that fails or takes longer than `options.connect_deadline`.
    pub async fn connect(options: &ConnectOptions) -> Result<(Self, Incoming), ConnectError> {
        match timeout(options.connect_deadline, connect::open(options)).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Deadline(options.connect_deadline)),
        }
    }

    /// Connects again and again, to the next gateway each time, until it works, the server says
    /// not to come back, or the deadline passes.
    ///
    /// # Errors
    /// The last attempt's error.
    pub async fn connect_until(
        options: &ConnectOptions,
        deadline: tokio::time::Instant,
    ) -> Result<(Self, Incoming), ConnectError> {
        let mut backoff = Backoff::default();
        let mut options = options.clone();
        loop {
            let error = match Self::connect(&options).await {
                Ok(connected) => return Ok(connected),
                Err(error) => error,
            };
            let pause = backoff.pause();
            if !error.retry_helps() || tokio::time::Instant::now() + pause >= deadline {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            options = options.next_gateway();
        }
    }

    /// What the server said at the start.
    #[must_use]
    pub fn welcome(&self) -> &v1::Welcome {
        &self.welcome
    }

    /// Sends a command and waits for its answer, at most the options' `call_deadline`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, command: Command) -> Result<v1::Ack, CallError> {
        let id = format!("c{}", self.next_id.fetch_add(1, Ordering::Relaxed));
        let (answer, answered) = oneshot::channel();
        self.waiting.insert(id.clone(), answer);
        let frame = v1::ClientFrame {
            id: id.clone(),
            command: Some(command),
        };
        let result = timeout(self.call_deadline, async {
            if self.outgoing.send(Outgoing::Frame(frame)).await.is_err() {
                return Err(CallError::Disconnected(self.closed().await));
            }
            // A call that enters just as the connection ends has nobody to wake it: watch both.
            tokio::select! {
                biased;
                answer = answered => match answer {
                    Ok(Ok(ack)) => Ok(ack),
                    Ok(Err(error)) => Err(CallError::Refused(error)),
                    Err(_) => Err(CallError::Disconnected(self.closed().await)),
                },
                how = self.closed() => Err(CallError::Disconnected(how)),
            }
        })
        .await;
        self.waiting.forget(&id);
        result.unwrap_or(Err(CallError::Deadline(self.call_deadline)))
    }

    /// Sends a frame as it is; its answer comes out of [`Incoming`]. Do not use ids of the form
    /// `c1`: those are `call`'s.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn submit(&self, frame: v1::ClientFrame) -> Result<(), Closed> {
        match self.outgoing.send(Outgoing::Frame(frame)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.closed().await),
        }
    }

    /// Sends any WebSocket message: what the tests of malformed input need.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn submit_raw(&self, message: Message) -> Result<(), Closed> {
        match self.outgoing.send(Outgoing::Raw(message)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.closed().await),
        }
    }

    /// Stops reading the socket, so that the server's writes back up.
    pub fn pause_reading(&self) {
        self.paused.send_replace(true);
    }

    /// Reads again.
    pub fn resume_reading(&self) {
        self.paused.send_replace(false);
    }

    /// Whether the connection has ended, and how.
    #[must_use]
    pub fn closed_now(&self) -> Option<Closed> {
        self.closed.borrow().clone()
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self) -> Closed {
        let mut closed = self.closed.clone();
        let ended = closed.wait_for(Option::is_some).await;
        match ended {
            Ok(how) => how.clone().expect("waited for some"),
            Err(_) => Closed::cut("the connection's task ended"),
        }
    }

    /// Ends the connection by a close handshake and says how the server answered.
    pub async fn close(self) -> Closed {
        if self.outgoing.send(Outgoing::Close).await.is_err() {
            return self.closed().await;
        }
        timeout(self.call_deadline, self.closed())
            .await
            .unwrap_or_else(|_| Closed::cut("no close frame in answer"))
    }

    /// Drops the socket without a close frame.
    pub fn cut(self) {
        drop(self);
    }

    // ---- commands with typed answers ---------------------------------------------------------

    /// Calls a command that is answered by `appended`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn append(&self, command: Command) -> Result<v1::Appended, CallError> {
        let ack = self.call(command).await?;
        match ack.result {
            Some(v1::ack::Result::Appended(appended)) => Ok(appended),
            _ => Err(CallError::WrongResult(Box::new(ack))),
        }
    }

    /// Sends a message. `client_id` may be empty.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn send(
        &self,
        room: &str,
        text: &str,
        client_id: &str,
    ) -> Result<v1::Appended, CallError> {
        self.append(command::send(room, text, client_id)).await
    }

    /// Creates a room: see [`command::create_group`] and its like.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn create(&self, command: Command) -> Result<v1::Room, CallError> {
        let ack = self.call(command).await?;
        match ack.result {
            Some(v1::ack::Result::RoomCreated(v1::RoomCreated { room: Some(room) })) => Ok(room),
            _ => Err(CallError::WrongResult(Box::new(ack))),
        }
    }

    /// Joins: see [`command::join_after`] and its like.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn join(&self, command: Command) -> Result<v1::Joined, CallError> {
        let ack = self.call(command).await?;
        match ack.result {
            Some(v1::ack::Result::Joined(joined)) => Ok(joined),
            _ => Err(CallError::WrongResult(Box::new(ack))),
        }
    }

    /// Resumes a room from where the replica stands and folds the answer into it.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn resume(&self, replica: &mut Replica) -> Result<v1::Joined, CallError> {
        let after = replica.head();
        let joined = self.join(command::resume(replica.room(), after)).await?;
        replica.join(&joined, Some(after));
        Ok(joined)
    }

    /// Moves the own cursor.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn mark_read(&self, room: &str, offset: u64) -> Result<v1::Cursor, CallError> {
        let ack = self.call(command::mark_read(room, offset)).await?;
        match ack.result {
            Some(v1::ack::Result::Cursor(cursor)) => Ok(cursor),
            _ => Err(CallError::WrongResult(Box::new(ack))),
        }
    }

    /// Reads a page: see [`command::history_after`] and its like.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn history(&self, command: Command) -> Result<v1::HistoryPage, CallError> {
        let ack = self.call(command).await?;
        match ack.result {
            Some(v1::ack::Result::History(page)) => Ok(page),
            _ => Err(CallError::WrongResult(Box::new(ack))),
        }
    }

    /// Reads a room's log from the beginning to its head.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn whole_log(&self, room: &str) -> Result<Vec<v1::Event>, CallError> {
        let mut events: Vec<v1::Event> = Vec::new();
        loop {
            let after = events.last().map_or(0, |event| event.offset);
            let page = self
                .history(command::history_after(room, after, PAGE_EVENTS))
                .await?;
            let ended = page.events.is_empty();
            events.extend(page.events);
            if ended || events.last().is_some_and(|event| event.offset >= page.head) {
                return Ok(events);
            }
        }
    }

    /// All the user's rooms.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn rooms(&self) -> Result<Vec<v1::RoomSummary>, CallError> {
        let mut rooms = Vec::new();
        let mut after = String::new();
        loop {
            let ack = self.call(command::rooms(&after, 0)).await?;
            let page = match ack.result {
                Some(v1::ack::Result::Rooms(page)) => page,
                _ => return Err(CallError::WrongResult(Box::new(ack))),
            };
            rooms.extend(page.rooms);
            if page.next.is_empty() {
                return Ok(rooms);
            }
            after = page.next;
        }
    }
}

#[cfg(test)]
mod tests;
