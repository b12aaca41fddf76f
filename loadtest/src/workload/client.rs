//! One client of a workload: works until nothing is left, then comes to the final heads.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use rookery_proto::v1::{self, ack::Result as Answer};
use tokio::time::{Instant, timeout_at};

use super::{Progress, RunError, Workload, insist};
use crate::{
    client::command::{self, Command},
    recorder::{RecordingClient, Step},
    replica::Replica,
};

/// Messages a client that joins in the middle starts with.
const JOIN_MESSAGES: u32 = 50;
/// Of the commands chosen for a room that its user left, one in so many joins again.
const COME_BACK_ONE_IN: u8 = 3;

/// Joins all rooms and works until the workload's commands are used up and all answers are in.
pub(super) async fn work(
    workload: Workload,
    mut client: RecordingClient,
    progress: Arc<Progress>,
    deadline: Instant,
) -> Result<RecordingClient, RunError> {
    let seed = workload.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(client.number());
    let mut random = Rng::with_seed(seed);
    let rooms = workload.room_ids();
    for room in &rooms {
        // Some see the log from its beginning, some from a page.
        let join = if random.bool() {
            command::join_after(room, 0)
        } else {
            command::join_last(room, JOIN_MESSAGES)
        };
        insist(&mut client, join, deadline).await?;
    }
    let commands_to_wander = if client.number().is_multiple_of(2) {
        next_wander(&workload, &mut random)
    } else {
        None
    };
    let mut worker = Worker {
        commands_to_wander,
        serial: u64::from(client.number()) << 32,
        workload,
        client,
        progress,
        deadline,
        rooms,
        random,
        pause_until: Instant::now(),
        answer_due: None,
        served_at: Instant::now(),
    };
    worker.run().await?;
    Ok(worker.client)
}

struct Worker {
    workload: Workload,
    client: RecordingClient,
    progress: Arc<Progress>,
    deadline: Instant,
    rooms: Vec<String>,
    random: Rng,
    /// Makes texts and client ids unique, also among clients of one user.
    serial: u64,
    /// The server asked for a pause until then.
    pause_until: Instant,
    /// When the connection is given up if nothing is answered; `None`: nothing is in flight.
    answer_due: Option<Instant>,
    /// When it was acknowledged last.
    served_at: Instant,
    /// How many commands until it goes away for a moment.
    commands_to_wander: Option<u32>,
}

/// In how many commands a client goes away: up to twice the mean, so that they do not go together.
fn next_wander(workload: &Workload, random: &mut Rng) -> Option<u32> {
    let mean = workload.wander_one_in;
    (mean > 0).then(|| random.u32(1..=mean.saturating_mul(2)))
}

impl Worker {
    async fn run(&mut self) -> Result<(), RunError> {
        loop {
            let open = self.client.in_flight() + self.client.retries();
            if self.progress.none_left() && open == 0 {
                return Ok(());
            }
            if Instant::now() >= self.deadline {
                return Err(RunError::Deadline {
                    client: self.client.number(),
                    open,
                    after: self.workload.deadline,
                });
            }
            if !self.client.is_connected() {
                self.reconnect().await?;
                continue;
            }
            let paused = Instant::now() < self.pause_until;
            let room_for_more = self.client.in_flight() < self.workload.in_flight_max;
            if self.wanders() {
                continue;
            }
            // Before it goes away it waits for what is in flight.
            let leaves = self.commands_to_wander == Some(0);
            if room_for_more && !paused && !leaves && self.invoke().await {
                continue;
            }
            self.step(paused && room_for_more && !leaves).await;
        }
    }

    /// Goes away when its time has come and nothing is in flight.
    fn wanders(&mut self) -> bool {
        let wanders = self.commands_to_wander == Some(0) && self.client.in_flight() == 0;
        if wanders {
            self.commands_to_wander = next_wander(&self.workload, &mut self.random);
            self.client.cut();
        }
        wanders
    }

    async fn reconnect(&mut self) -> Result<(), RunError> {
        let client = self.client.number();
        let connected = self.client.connect(self.deadline).await;
        connected.map_err(|source| RunError::Connect {
            client,
            source: Box::new(source),
        })?;
        self.progress.reconnected();
        self.progress.resumes_some(self.client.in_flight());
        self.answer_due = Some(Instant::now() + self.workload.answer_deadline);
        Ok(())
    }

    /// A retry first, else a new command; false when there is neither.
    async fn invoke(&mut self) -> bool {
        if self.client.retries() > 0 {
            self.client.retry().await;
            self.progress.retried_one();
        } else if self.progress.take() {
            let room = &self.rooms[self.random.usize(0..self.rooms.len())];
            let Some(replica) = self.client.replica(room) else {
                return false;
            };
            let away = self.client.is_absent(room) && !self.client.is_joining(room);
            let command = if away && self.random.u8(0..COME_BACK_ONE_IN) == 0 {
                enter(replica, &mut self.random)
            } else {
                // Also by one who left: it is to be refused.
                self.serial += 1;
                let user = self.client.user();
                let weights = &self.workload.weights;
                weights.choose(replica, user, self.serial, &mut self.random)
            };
            self.client.invoke(command).await;
            self.progress.invoked_one();
            if let Some(commands) = &mut self.commands_to_wander {
                *commands = commands.saturating_sub(1);
            }
            let now = Instant::now();
            self.pause_until = self.pause_until.max(now + self.workload.pace);
        } else {
            return false;
        }
        self.answer_due
            .get_or_insert(Instant::now() + self.workload.answer_deadline);
        true
    }

    async fn step(&mut self, wake_after_pause: bool) {
        let due = self.answer_due.unwrap_or(self.deadline).min(self.deadline);
        let until = if wake_after_pause {
            due.min(self.pause_until)
        } else {
            due
        };
        let before = self.client.in_flight();
        let Ok(step) = timeout_at(until, self.client.step()).await else {
            if self.answer_due.is_some_and(|due| Instant::now() >= due) {
                // Nobody answers: what is in flight is unknown from here on.
                self.client.cut();
                self.progress.cut_off_one();
                self.progress.unknown_some(before);
                self.answer_due = None;
            }
            return;
        };
        match step {
            Step::Answered { command, answer } => {
                self.answer_due = (self.client.in_flight() > 0)
                    .then(|| Instant::now() + self.workload.answer_deadline);
                match answer {
                    Ok(answer) => {
                        if matches!(&command, Command::Join(join) if join.resume) {
                            self.progress.resumed_one();
                        } else {
                            self.progress.acked_one();
                        }
                        self.progress.waited(self.served_at.elapsed());
                        self.served_at = Instant::now();
                        if let Answer::Appended(appended) = answer {
                            self.progress.appended_one(&appended);
                        }
                    }
                    Err(error) => {
                        self.progress.refused_one(&error);
                        self.pause(&error);
                    }
                }
            }
            Step::Event(_) => self.progress.event(),
            Step::Disconnected(_) => {
                self.progress.cut_off_one();
                self.progress.unknown_some(before);
                self.answer_due = None;
            }
            // The room may have been asked for again.
            Step::Notice(_) => {
                let now = self.client.in_flight();
                self.progress.resumes_some(now.saturating_sub(before));
            }
            Step::Presence(_) | Step::Other => {}
        }
    }

    fn pause(&mut self, error: &v1::Error) {
        if error.retry_after_ms > 0 {
            let pause = Duration::from_millis(u64::from(error.retry_after_ms));
            self.pause_until = Instant::now() + pause;
        }
    }
}

/// Joins a room again: mostly from where the client stands, sometimes with a page.
fn enter(replica: &Replica, random: &mut Rng) -> Command {
    if random.u8(0..4) == 0 {
        command::join_last(replica.room(), JOIN_MESSAGES)
    } else {
        command::join_after(replica.room(), replica.head())
    }
}

/// Joins every room again that the client's user has left, on whatever device.
///
/// # Errors
/// It could not, until the deadline.
pub(super) async fn come_back(
    client: &mut RecordingClient,
    rooms: &[String],
    deadline: Instant,
) -> Result<(), RunError> {
    for room in rooms {
        loop {
            let absent = client.is_absent(room);
            let head = client.replica(room).map_or(0, Replica::head);
            let ask = if absent {
                command::join_after(room, head)
            } else {
                // Answers keep the room's order: a leave that is still to be seen comes first.
                command::history_newest(room, 1)
            };
            match insist(client, ask, deadline).await {
                Ok(_) if !absent && !client.is_absent(room) => break,
                Ok(_) => {}
                Err(RunError::Step { .. })
                    if client.is_absent(room) && Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Comes to the final heads, asks for unread once more, and records the replicas. Gives a line for
/// each room that did not come to its head.
pub(super) async fn settle(
    mut client: RecordingClient,
    heads: BTreeMap<String, u64>,
    deadline: Instant,
) -> Vec<String> {
    let mut unsettled = Vec::new();
    for (room, head) in &heads {
        while let Err(error) = client.settle(room, *head, deadline).await {
            // Its user came back elsewhere, and this session was told of the leave just now.
            let at = client.replica(room).map_or(0, Replica::head);
            let again = command::resume(room, at);
            let late = Instant::now() >= deadline || !client.is_absent(room);
            if late || insist(&mut client, again, deadline).await.is_err() {
                unsettled.push(error.to_string());
                break;
            }
        }
    }
    for ask in [command::rooms("", 0)].into_iter().chain(
        heads
            .iter()
            .map(|(room, head)| command::mark_read(room, *head)),
    ) {
        if let Err(error) = insist(&mut client, ask, deadline).await {
            unsettled.push(error.to_string());
        }
    }
    client.finish();
    unsettled
}
