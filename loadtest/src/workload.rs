//! A random workload of many recording clients that survives whatever happens to the server.
//!
//! Every client sends, edits, deletes, reacts, reads, lists, leaves and comes back at random, with a
//! bounded number of commands in flight; when its connection ends it reconnects, resumes and sends
//! again what is unknown. At the end everything is drained and everybody is a member again, one
//! client reads each room's whole log, and the others come to that head, so that the history can be
//! judged by [`crate::checker`].
//!
//! The choices follow from the seed; the interleaving is the network's.

mod away;
mod choose;
mod client;
mod progress;
mod watcher;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use crate::{
    client::{ConnectError, ConnectOptions, Credentials, Encoding, ServerAddress, command},
    history::{HistoryWriter, Purpose},
    limits::{CALL_DEADLINE_DEFAULT, GATEWAY_DEADLINE, PAGE_EVENTS, SETTLE_DEADLINE},
    recorder::{Behaviour, Outcome as CallOutcome, RecordingClient},
};
pub use away::{Away, AwayReport};
pub use choose::Weights;
pub use progress::{Progress, RoomProgress};
use rookery_proto::v1;
use watcher::Watcher;

/// What to do.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Decides every choice.
    pub seed: u64,
    /// Connections.
    pub clients: u32,
    /// Users; fewer than clients: some have several devices. 0: as many as clients.
    pub users: u32,
    /// Public group rooms, each joined by all clients.
    pub rooms: u32,
    /// Commands of all clients together.
    pub operations: u64,
    /// Commands one client has in flight at most.
    pub in_flight_max: usize,
    /// Which commands.
    pub weights: Weights,
    /// Starts the names of users and rooms, so that runs on one server do not meet.
    pub prefix: String,
    /// How users log in.
    pub login: Login,
    /// Further gateways: clients start on all of them and go on to the next when theirs is gone.
    pub others: Vec<ServerAddress>,
    /// Shortest time between two commands of one client.
    pub pace: Duration,
    /// After one in so many commands every other client goes away and comes back, to its own
    /// gateway if that one is there; 0: never. The rest stay, so that nothing they miss is hidden
    /// by coming back.
    pub wander_one_in: u32,
    /// Another client watches the presence of all users, and the run waits until it shows them
    /// right: everybody at the end of the work, nobody at the end.
    pub watched: bool,
    /// How long all of it may take.
    pub deadline: Duration,
    /// How long one command may stay unanswered before the client cuts its connection.
    pub answer_deadline: Duration,
}

/// How users log in.
#[derive(Clone, Debug)]
pub enum Login {
    /// By name: a development server.
    DevName,
    /// By token, per user name.
    Tokens(BTreeMap<String, String>),
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            seed: 1,
            clients: 20,
            users: 0,
            rooms: 3,
            operations: 2_000,
            in_flight_max: 8,
            weights: Weights::default(),
            prefix: "load".to_owned(),
            login: Login::DevName,
            others: Vec::new(),
            pace: Duration::ZERO,
            wander_one_in: 0,
            watched: false,
            deadline: Duration::from_secs(120),
            answer_deadline: CALL_DEADLINE_DEFAULT,
        }
    }
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The rooms and their final heads.
    pub heads: BTreeMap<String, u64>,
    /// How long it took.
    pub elapsed: Duration,
    /// Clients that did not come to a room's head; also in the history, as unequal replicas.
    pub unsettled: Vec<String>,
}

/// The workload could not be carried through; the history so far is still whole.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No session in time.
    #[error("client {client} found no server in time")]
    Connect {
        /// Which client.
        client: u32,
        /// Why not.
        #[source]
        source: Box<ConnectError>,
    },
    /// A step every run needs was not answered well.
    #[error("client {client} could not {what}: {outcome}")]
    Step {
        /// Which client.
        client: u32,
        /// What it tried.
        what: String,
        /// What came.
        outcome: String,
    },
    /// Time was up with commands still open.
    #[error("client {client} still has {open} commands open after {after:?}")]
    Deadline {
        /// Which client.
        client: u32,
        /// How many.
        open: usize,
        /// The workload's deadline.
        after: Duration,
    },
    /// A client's task panicked.
    #[error("a client's task failed")]
    Task(#[from] tokio::task::JoinError),
}

impl Workload {
    /// Runs all of it: see the module's words. `progress` can be watched meanwhile.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn run(
        &self,
        server: &ServerAddress,
        history: &Arc<HistoryWriter>,
        progress: &Arc<Progress>,
    ) -> Result<Outcome, RunError> {
        let began = Instant::now();
        let deadline = began + self.deadline;
        self.open_rooms(server, history, deadline).await?;
        let mut watcher = self.watcher(server, history);
        let working = self.operate(server, history, progress, deadline);
        let mut clients = watched(watcher.as_mut(), working).await?;
        if let Some(watcher) = &mut watcher {
            watcher.until(true).await;
        }
        let judging = self.judge(server, history, deadline);
        let heads = watched(watcher.as_mut(), judging).await?;
        let mut settling = JoinSet::new();
        let settled_by = deadline.min(Instant::now() + SETTLE_DEADLINE);
        while let Some(client) = clients.pop() {
            settling.spawn(client::settle(client, heads.clone(), settled_by));
        }
        let mut unsettled = Vec::new();
        while let Some(settled) = watched(watcher.as_mut(), settling.join_next()).await {
            unsettled.extend(settled?);
        }
        if let Some(watcher) = &mut watcher {
            watcher.until(false).await;
            watcher.end();
        }
        unsettled.sort();
        Ok(Outcome {
            heads,
            elapsed: began.elapsed(),
            unsettled,
        })
    }

    /// The rooms' ids.
    #[must_use]
    pub fn room_ids(&self) -> Vec<String> {
        (0..self.rooms)
            .map(|room| format!("{}-r{room}", self.prefix))
            .collect()
    }

    /// The users' names, for minting tokens.
    #[must_use]
    pub fn user_names(&self) -> Vec<String> {
        (0..self.user_count())
            .map(|user| format!("{}-u{user}", self.prefix))
            .collect()
    }

    fn user_count(&self) -> u32 {
        if self.users == 0 {
            self.clients
        } else {
            self.users.min(self.clients)
        }
    }

    fn options(&self, server: &ServerAddress, number: u32, device: &str) -> ConnectOptions {
        let user = format!("{}-u{}", self.prefix, number % self.user_count().max(1));
        let credentials = match &self.login {
            Login::DevName => Credentials::Name(user),
            Login::Tokens(tokens) => {
                Credentials::Token(tokens.get(&user).cloned().unwrap_or_default())
            }
        };
        // Both encodings take part in every run, also on every gateway.
        let encoding = Encoding::ALL[number as usize % 2];
        let mut gateways = vec![server.clone()];
        gateways.extend_from_slice(&self.others);
        let first = number as usize / 2 % gateways.len();
        gateways.rotate_left(first);
        let mut options = ConnectOptions::new(&gateways[0], credentials)
            .others(&gateways[1..])
            .encoding(encoding)
            .device(device);
        if gateways.len() > 1 {
            options.connect_deadline = GATEWAY_DEADLINE;
        }
        options
    }

    /// With tokens there is none: nobody minted one for it.
    fn watcher(&self, server: &ServerAddress, history: &Arc<HistoryWriter>) -> Option<Watcher> {
        if !self.watched || !matches!(self.login, Login::DevName) {
            return None;
        }
        let mut options = self.options(server, 0, "watcher");
        options.credentials = Credentials::Name(format!("{}-watcher", self.prefix));
        let behaviour = Behaviour::default();
        let client = RecordingClient::new(self.clients + 2, options, behaviour, history);
        Some(Watcher::new(client, self.user_names()))
    }

    /// Clients 0 to n-1 take part; n opens the rooms, n+1 reads the final logs, n+2 watches.
    async fn open_rooms(
        &self,
        server: &ServerAddress,
        history: &Arc<HistoryWriter>,
        deadline: Instant,
    ) -> Result<(), RunError> {
        let options = self.options(server, 0, "opener");
        let mut opener = RecordingClient::new(self.clients, options, Behaviour::default(), history);
        for room in self.room_ids() {
            let create = command::create_group(&room, true, &[], &format!("open-{room}"));
            insist(&mut opener, create, deadline).await?;
        }
        opener.cut();
        Ok(())
    }

    async fn operate(
        &self,
        server: &ServerAddress,
        history: &Arc<HistoryWriter>,
        progress: &Arc<Progress>,
        deadline: Instant,
    ) -> Result<Vec<RecordingClient>, RunError> {
        progress.begin(self.operations);
        let mut working = JoinSet::new();
        for number in 0..self.clients {
            let options = self.options(server, number, &format!("device-{number}"));
            let client = RecordingClient::new(number, options, Behaviour::default(), history);
            let progress = Arc::clone(progress);
            working.spawn(client::work(self.clone(), client, progress, deadline));
        }
        let mut clients = Vec::new();
        while let Some(client) = working.join_next().await {
            clients.push(client??);
        }
        // Only now: as long as somebody works, a user may leave on another device.
        let rooms = self.room_ids();
        for client in &mut clients {
            client::come_back(client, &rooms, deadline).await?;
        }
        Ok(clients)
    }

    async fn judge(
        &self,
        server: &ServerAddress,
        history: &Arc<HistoryWriter>,
        deadline: Instant,
    ) -> Result<BTreeMap<String, u64>, RunError> {
        let options = self.options(server, 0, "judge");
        let behaviour = Behaviour {
            purpose: Purpose::Judge,
            retry_unknown: false,
        };
        let mut judge = RecordingClient::new(self.clients + 1, options, behaviour, history);
        let mut heads = BTreeMap::new();
        for room in self.room_ids() {
            let head = read_log(&mut judge, &room, deadline).await?;
            heads.insert(room, head);
        }
        judge.cut();
        Ok(heads)
    }
}

/// Does something while the watcher, if there is one, goes on.
async fn watched<T>(watcher: Option<&mut Watcher>, doing: impl Future<Output = T>) -> T {
    match watcher {
        None => doing.await,
        Some(watcher) => tokio::select! {
            done = doing => done,
            never = watcher.watch() => match never {},
        },
    }
}

/// Reads a room's whole log through a recording client of [`Purpose::Judge`], so that its pages
/// are in the history; gives the head.
///
/// # Errors
/// It cannot be read in time.
pub async fn read_log(
    judge: &mut RecordingClient,
    room: &str,
    deadline: Instant,
) -> Result<u64, RunError> {
    let mut after = 0;
    loop {
        let ask = command::history_after(room, after, PAGE_EVENTS);
        let page = match insist(judge, ask, deadline).await? {
            v1::ack::Result::History(page) => page,
            other => {
                return Err(RunError::Step {
                    client: judge.number(),
                    what: format!("read {room}"),
                    outcome: format!("{other:?}"),
                });
            }
        };
        after = page.events.last().map_or(after, |event| event.offset);
        if page.events.is_empty() || after >= page.head {
            return Ok(page.head);
        }
    }
}

/// Calls until it is acknowledged, over reconnects and refusals that pass.
async fn insist(
    client: &mut RecordingClient,
    command: crate::client::Command,
    deadline: Instant,
) -> Result<v1::ack::Result, RunError> {
    loop {
        if !client.is_connected() {
            let number = client.number();
            client
                .connect(deadline)
                .await
                .map_err(|source| RunError::Connect {
                    client: number,
                    source: Box::new(source),
                })?;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let within = left.min(CALL_DEADLINE_DEFAULT);
        let outcome = client.call(command.clone(), within).await;
        let pause = match &outcome {
            CallOutcome::Acked(_) => Duration::ZERO,
            CallOutcome::Refused(error) if error.retry_after_ms > 0 => {
                Duration::from_millis(u64::from(error.retry_after_ms))
            }
            CallOutcome::Unknown if Instant::now() < deadline => continue,
            CallOutcome::Refused(_) | CallOutcome::Unknown => Duration::MAX,
        };
        match outcome {
            CallOutcome::Acked(answer) => return Ok(answer),
            _ if Instant::now()
                .checked_add(pause)
                .is_some_and(|then| then < deadline) =>
            {
                tokio::time::sleep(pause).await;
            }
            other => {
                return Err(RunError::Step {
                    client: client.number(),
                    what: format!("{command:?}"),
                    outcome: format!("{other:?}"),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
