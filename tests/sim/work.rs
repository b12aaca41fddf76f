//! What a client does, and when it is done.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use rookery_loadtest::{
    client::{Command, command},
    replica::Replica,
    workload::Weights,
};
use tokio::time::{Duration, Instant};

use crate::{
    client::{Client, resume},
    profile::READER,
};

/// Rooms of a run. The last is created in the middle of it.
pub(crate) const ROOMS: [&str; 3] = ["red", "blue", "late"];
/// Clients, each a user with one device. The first creates the rooms and never leaves.
pub(crate) const CLIENTS: u32 = 4;
/// Commands of one client under way at once.
const IN_FLIGHT_MAX: usize = 8;
/// Messages that a client may send again.
const SENDS_KEPT: usize = 4;

/// How far a run is, told by the driver; and how far its clients are.
#[derive(Default)]
pub(crate) struct Stage {
    state: Mutex<StageState>,
}

#[derive(Default)]
struct StageState {
    phase: Phase,
    /// Where every replica must come to.
    heads: BTreeMap<String, u64>,
    /// Which clients have done what the phase asks, as of now: a late word may undo it.
    ready: [bool; CLIENTS as usize],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Random commands.
    #[default]
    Work,
    /// Nothing new; what is open is finished.
    Drain,
    /// Every replica comes to its room's head.
    Settle,
    Done,
}

impl Stage {
    pub(crate) fn begin(&self, phase: Phase) {
        let mut state = self.state.lock().expect("no panic while held");
        state.phase = phase;
        state.ready = Default::default();
    }

    pub(crate) fn come_to(&self, heads: BTreeMap<String, u64>) {
        self.state.lock().expect("no panic while held").heads = heads;
        self.begin(Phase::Settle);
    }

    pub(crate) fn all_ready(&self) -> bool {
        let state = self.state.lock().expect("no panic while held");
        state.ready.iter().all(|ready| *ready)
    }

    fn phase(&self) -> Phase {
        self.state.lock().expect("no panic while held").phase
    }

    fn is_there(&self, client: &Client) -> bool {
        let state = self.state.lock().expect("no panic while held");
        let mut heads = state.heads.iter();
        heads.all(|(room, head)| client.has(room, *head))
    }

    /// Says how a client stands; void when the phase has changed meanwhile.
    fn tell(&self, phase: Phase, client: u32, ready: bool) {
        let mut state = self.state.lock().expect("no panic while held");
        if state.phase == phase {
            state.ready[client as usize] = ready;
        }
    }
}

/// What a client remembers between two things it does.
struct Mind {
    next: Instant,
    serial: u64,
    /// The last messages sent, oldest first.
    sends: VecDeque<Command>,
    created: [bool; ROOMS.len()],
    weights: Weights,
    /// Rooms joined again when all is at rest.
    rejoined: usize,
}

impl Client {
    /// Works, and does what each phase asks, until the run is done.
    pub(crate) async fn run(mut self, stage: Arc<Stage>) {
        let plan = self.cluster.plan;
        let reads_only = self.number >= CLIENTS - plan.readers;
        let mut mind = Mind {
            next: Instant::now(),
            serial: 0,
            sends: VecDeque::new(),
            created: [false; ROOMS.len()],
            weights: if reads_only { READER } else { plan.weights },
            rejoined: 0,
        };
        loop {
            self.step().await;
            let now = Instant::now();
            let phase = stage.phase();
            if phase == Phase::Done {
                let number = self.number;
                self.finish();
                return stage.tell(phase, number, true);
            }
            if now >= mind.next {
                let pause = match phase {
                    Phase::Work => self.dice.u64(5..=plan.pace_ms_max),
                    _ => 200,
                };
                mind.next = now + Duration::from_millis(pause);
                match phase {
                    Phase::Work => self.act(&mut mind).await,
                    _ => self.tidy_up(&mut mind, phase),
                }
            }
            let done = self.retries.is_empty()
                && self.in_flight() == 0
                && self.streams.len() == plan.rooms.len();
            let there = match phase {
                Phase::Drain => true,
                Phase::Settle => mind.rejoined == plan.rooms.len() && stage.is_there(&self),
                _ => false,
            };
            stage.tell(phase, self.number, done && there);
        }
    }

    /// Repeats what is open, and joins every room that has no stream; at the end every room, so that
    /// all learn how they stand in it.
    fn tidy_up(&mut self, mind: &mut Mind, phase: Phase) {
        if let Some(again) = self.retries.pop_front() {
            self.invoke(again);
        }
        let rooms = self.cluster.plan.rooms;
        if phase == Phase::Settle
            && let Some(room) = rooms.get(mind.rejoined)
            && let Some(join) = self.replicas.get(*room).map(resume)
        {
            mind.rejoined += 1;
            self.invoke(join);
        }
        for (index, room) in rooms.iter().copied().enumerate() {
            if self.number == 0 && !mind.created[index] {
                mind.created[index] = true;
                self.create(room);
            }
            if !self.streams.contains_key(room) && !self.is_joining(room) {
                let head = self.replicas.get(room).map_or(0, Replica::head);
                self.invoke(command::join_after(room, head));
            }
        }
    }

    async fn act(&mut self, mind: &mut Mind) {
        if self.dice.u8(0..150) == 0 {
            return self.reconnect().await;
        }
        if self.in_flight() >= IN_FLIGHT_MAX {
            return;
        }
        if self.dice.u8(0..3) == 0
            && let Some(again) = self.retries.pop_front()
        {
            self.invoke(again);
            return;
        }
        let rooms = self.cluster.plan.rooms;
        let index = self.dice.usize(0..rooms.len());
        let room = rooms[index];
        if self.number == 0 && !mind.created[index] {
            // The last room begins in the middle of whatever goes on.
            if index < 2 || self.dice.u8(0..30) == 0 {
                mind.created[index] = true;
                self.create(room);
            }
            return;
        }
        if !self.streams.contains_key(room) {
            if !self.is_joining(room) {
                self.enter(room);
            }
            return;
        }
        let burst = if self.dice.u8(0..6) == 0 {
            self.dice.u8(2..=5)
        } else {
            1
        };
        for _ in 0..burst {
            self.change(room, mind);
        }
    }

    fn create(&mut self, room: &str) {
        let others: Vec<String> = (1..CLIENTS).map(user_name).collect();
        let some = self.dice.usize(0..=others.len());
        let members: Vec<&str> = others[..some].iter().map(String::as_str).collect();
        self.invoke(command::create_group(room, true, &members, room));
    }

    fn enter(&mut self, room: &str) {
        let join = match self.replicas.get(room).filter(|it| it.head() > 0) {
            Some(replica) => command::join_after(room, replica.head()),
            None if self.dice.bool() => command::join_after(room, 0),
            None => command::join_last(room, 5),
        };
        self.invoke(join);
    }

    fn change(&mut self, room: &str, mind: &mut Mind) {
        let Some(replica) = self.replicas.get(room) else {
            return;
        };
        if self.number != 0 && self.dice.u8(0..40) == 0 {
            self.invoke(command::leave(room, false));
            return;
        }
        // A user presses send twice: the same command again, also after its ack.
        if self.dice.u8(0..self.cluster.plan.again_one_in) == 0 && !mind.sends.is_empty() {
            let again = mind.sends[self.dice.usize(0..mind.sends.len())].clone();
            self.invoke(again);
            return;
        }
        mind.serial += 1;
        let command = mind
            .weights
            .choose(replica, &self.user, mind.serial, &mut self.dice);
        if matches!(command, Command::Send(_)) {
            mind.sends.push_back(command.clone());
            if mind.sends.len() > SENDS_KEPT {
                mind.sends.pop_front();
            }
        }
        self.invoke(command);
    }
}

/// The user of a client.
pub(crate) fn user_name(number: u32) -> String {
    format!("u{number}")
}
