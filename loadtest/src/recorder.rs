//! A client that records all it does and sees, and keeps a replica of each room it is in.
//!
//! One task owns it: it invokes commands without waiting and takes steps as frames come, so the
//! history has the order of the wire. After a disconnect it forgets nothing: joined rooms are
//! resumed from where their replicas stand, and sends of unknown outcome wait in
//! [`RecordingClient::retry`] to be sent again with the same `clientId`.

mod calls;
mod frames;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use rookery_proto::v1::{self, ack::Result as Answer, notice};
use tokio::time::Instant;

pub use calls::{Outcome, Unsettled};

use crate::{
    client::{Client, Closed, Command, ConnectError, ConnectOptions, Incoming, command},
    history::{HistoryWriter, Purpose, What},
    replica::Replica,
};

/// What a recording client does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// What its sessions are for.
    pub purpose: Purpose,
    /// Keep sends of unknown outcome for [`RecordingClient::retry`].
    pub retry_unknown: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            purpose: Purpose::Take,
            retry_unknown: true,
        }
    }
}

/// See the module's words.
#[derive(Debug)]
pub struct RecordingClient {
    number: u32,
    options: ConnectOptions,
    behaviour: Behaviour,
    history: Arc<HistoryWriter>,
    user: String,
    session: u32,
    live: Option<(Client, Incoming)>,
    next_id: u64,
    pending: BTreeMap<u64, Command>,
    retries: VecDeque<Command>,
    rooms: BTreeMap<String, Replica>,
    /// Of these, the ones it does not listen to now.
    absent: BTreeSet<String>,
}

/// One thing that happened to a recording client.
#[derive(Debug)]
pub enum Step {
    /// A command was answered.
    Answered {
        /// What was asked.
        command: Command,
        /// The ack's result or the error.
        answer: Result<Answer, Box<v1::Error>>,
    },
    /// An event of a joined room came.
    Event(Box<v1::Event>),
    /// A notice came.
    Notice(notice::Body),
    /// The status of a watched user.
    Presence(v1::Presence),
    /// A frame that needs nothing done: a signal, an answer nobody waits for.
    Other,
    /// The connection ended; what was pending is unknown.
    Disconnected(Closed),
}

impl RecordingClient {
    /// A client that is not connected yet. Numbers are unique in a history.
    #[must_use]
    pub fn new(
        number: u32,
        options: ConnectOptions,
        behaviour: Behaviour,
        history: &Arc<HistoryWriter>,
    ) -> Self {
        Self {
            number,
            options,
            behaviour,
            history: Arc::clone(history),
            user: String::new(),
            session: 0,
            live: None,
            next_id: 0,
            pending: BTreeMap::new(),
            retries: VecDeque::new(),
            rooms: BTreeMap::new(),
            absent: BTreeSet::new(),
        }
    }

    /// Its number in the history.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The user id the server gave; empty before the first session.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether there is a session.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.live.is_some()
    }

    /// How many sessions there were.
    #[must_use]
    pub fn sessions(&self) -> u32 {
        self.session
    }

    /// Commands without an answer yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Sends of unknown outcome waiting to be sent again.
    #[must_use]
    pub fn retries(&self) -> usize {
        self.retries.len()
    }

    /// A room's state as this client sees it.
    #[must_use]
    pub fn replica(&self, room: &str) -> Option<&Replica> {
        self.rooms.get(room)
    }

    /// Whether it does not listen to a room: its user left, on whatever device, or its join was
    /// refused. Such a room is not resumed; only another join brings it back.
    #[must_use]
    pub fn is_absent(&self, room: &str) -> bool {
        !self.rooms.contains_key(room) || self.absent.contains(room)
    }

    /// Whether a join of the room waits for its answer.
    #[must_use]
    pub fn is_joining(&self, room: &str) -> bool {
        let mut pending = self.pending.values();
        pending.any(|command| matches!(command, Command::Join(join) if join.room == room))
    }

    /// Connects to another address from now on.
    pub fn move_to(&mut self, options: ConnectOptions) {
        self.options = options;
    }

    /// Connects, however often it takes until the deadline, and resumes the joined rooms. The
    /// joins' answers come as steps.
    ///
    /// # Errors
    /// The last attempt's error.
    pub async fn connect(&mut self, deadline: Instant) -> Result<(), ConnectError> {
        let (client, incoming) = Client::connect_until(&self.options, deadline).await?;
        self.session += 1;
        let welcome = client.welcome();
        self.user = welcome.user.clone().unwrap_or_default().id;
        self.record(What::Opened {
            user: self.user.clone(),
            purpose: self.behaviour.purpose,
            session_id: welcome.session_id.clone(),
        });
        self.live = Some((client, incoming));
        let resumes: Vec<Command> = self
            .rooms
            .values()
            .filter(|replica| !self.absent.contains(replica.room()))
            .map(|replica| command::resume(replica.room(), replica.head()))
            .collect();
        for resume in resumes {
            self.invoke(resume).await;
        }
        Ok(())
    }

    /// Sends a command without waiting for its answer, which comes as a step. Without a
    /// connection it is not even recorded; false then.
    pub async fn invoke(&mut self, command: Command) -> bool {
        if self.live.is_none() {
            return false;
        }
        self.next_id += 1;
        let frame = v1::ClientFrame {
            id: frame_id(self.next_id),
            command: Some(command.clone()),
        };
        self.record(What::Sent(Box::new(frame.clone())));
        if let Command::Join(join) = &command
            && !self.rooms.contains_key(&join.room)
        {
            let replica = Replica::new(&join.room);
            self.rooms.insert(join.room.clone(), replica);
            self.absent.insert(join.room.clone());
        }
        self.pending.insert(self.next_id, command);
        if let Some((client, _)) = &self.live {
            // When the connection has ended, the next step says so and this becomes unknown.
            let _ = client.submit(frame).await;
        }
        true
    }

    /// Sends the next of the sends whose outcome is unknown again, with the same client id.
    pub async fn retry(&mut self) -> bool {
        match self.retries.pop_front() {
            Some(command) => {
                let again = command.clone();
                let sent = self.invoke(command).await;
                if !sent {
                    self.retries.push_front(again);
                }
                sent
            }
            None => false,
        }
    }

    /// Waits for the next thing to happen. Without a connection that is `Disconnected` at once.
    ///
    /// # Cancel safety
    /// Nothing is lost while it waits.
    pub async fn step(&mut self) -> Step {
        let Some((client, incoming)) = &mut self.live else {
            return Step::Disconnected(Closed::cut("not connected"));
        };
        let Some(frame) = incoming.next().await else {
            let closed = client.closed().await;
            self.ended(closed.clone());
            return Step::Disconnected(closed);
        };
        self.took(frame).await
    }

    /// Drops the socket without a close frame; what is pending is unknown.
    pub fn cut(&mut self) {
        if self.live.is_some() {
            self.ended(Closed::cut("cut by the client"));
        }
    }

    /// Stops reading the socket: see [`Client::pause_reading`].
    pub fn pause_reading(&self) {
        if let Some((client, _)) = &self.live {
            client.pause_reading();
        }
    }

    /// Records the state of every joined room, to be compared with the final logs, and ends.
    pub fn finish(mut self) {
        for replica in std::mem::take(&mut self.rooms).into_values() {
            self.record(What::Replica(Box::new(replica)));
        }
        self.cut();
    }

    fn record(&self, what: What) {
        self.history.record(self.number, self.session, what);
    }

    fn ended(&mut self, how: Closed) {
        self.live = None;
        for (id, command) in std::mem::take(&mut self.pending) {
            self.give_up(id, command);
        }
        self.record(What::Closed(how));
    }

    fn give_up(&mut self, id: u64, command: Command) {
        self.record(What::GaveUp { id: frame_id(id) });
        self.keep_for_retry(command);
    }

    fn keep_for_retry(&mut self, command: Command) {
        let named = matches!(&command, Command::Send(send) if !send.client_id.is_empty());
        if self.behaviour.retry_unknown && named {
            self.retries.push_back(command);
        }
    }
}

/// Apart from the ids [`Client::call`] makes.
fn frame_id(number: u64) -> String {
    format!("r{number}")
}
