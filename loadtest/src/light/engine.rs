//! The loop: one thread, one poll, a slab of connections.
//!
//! ```text
//!   orders ─► stage.rs ── what is due ──► act.rs ──┐ say
//!   timers ─► connect.rs, join.rs ────────────────┤───► sockets
//!   sockets ─► io.rs ─► hear.rs ─► tally, rings ◄──┘
//! ```
//! Nothing waits: a connection whose socket takes no bytes keeps them, what is due with nobody
//! there to do it stays due, and orders come from another thread that wakes the poll.

mod act;
mod connect;
mod counting;
mod hear;
mod io;
mod join;
mod settle;
mod stage;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, mpsc},
    time::Duration,
};

use mio::{Events, Poll, Token, Waker};

use super::{
    clock::{Alarm, now_us},
    connection::{Connection, Seat, SeatState},
    layout::{Audience, Names, speaks_json},
    orders::{Order, Report, Task},
    ring::Ring,
    sockets,
    tally::Tally,
    wire::Dialect,
};
use crate::{
    limits::{LIGHT_EVENTS_MAX, LIGHT_READ_BYTES, LIGHT_RING_OFFSETS_MAX, LIGHT_RINGS_OFFSETS},
    scenario::Scenario,
};
use connect::Pace;
use counting::Counting;
use join::Opening;
use settle::Settling;
use stage::Running;

const ORDERS: Token = Token(usize::MAX - 1);
const ALARM: Token = Token(usize::MAX - 2);

/// The connections of one process.
pub struct Engine {
    poll: Poll,
    alarm: Alarm,
    orders: mpsc::Receiver<Order>,
    /// Kept here too: a wake-up whose waker is gone is lost.
    _waker: Arc<Waker>,
    scenario: Scenario,
    gateways: Vec<SocketAddr>,
    part: u32,
    parts: u32,
    names: Names,
    random: fastrand::Rng,

    connections: Vec<Connection>,
    /// What servers call them, where their joins must say it; elsewhere it costs nothing.
    sessions: HashMap<usize, Box<str>>,
    /// `seats_each` of each connection, by room.
    seats: Vec<Seat>,
    seats_each: usize,
    rooms: Vec<Room>,
    ring_offsets_max: usize,
    /// The first connections, which do what the rates say.
    active: usize,
    whole: usize,
    whole_active: usize,

    timers: BinaryHeap<Reverse<Timer>>,
    /// Handshakes by when they must be done.
    handshakes: VecDeque<(u64, u32, u32)>,
    handshakes_open: usize,
    /// Connections to open as soon as there are fewer handshakes.
    to_open: VecDeque<usize>,
    opening: Option<Opening>,
    pace: Option<Pace>,
    /// Whether connections join their rooms.
    joining: bool,
    /// Whether all were joined once: from then on failures to connect are the server's business.
    joined: bool,
    /// Rooms opened, or joined, and what of it was said when.
    counting: Counting,
    running: Option<Running>,
    /// Connections that were cut and are not whole again.
    cut_open: usize,
    settling: Option<Settling>,

    tally: Tally,
    /// When an event without an offset was heard last.
    unnumbered_us: u64,
    /// Read into by all connections.
    buffer: Vec<u8>,
    /// Written into by all connections.
    out: Vec<u8>,
    /// The newest due time of a send: each has one of its own.
    last_due_us: u64,
    padding: String,
    /// Sends that follow from answers in what is being read.
    again: u32,
    /// Sends under way that no server acknowledges: when each was due, and whose it is.
    unheard: HashMap<u64, usize>,
    /// Why the connection that is being read ends.
    ends: Option<String>,
    reports: Vec<Report>,
    failed: Option<String>,
}

/// A room with listeners here.
#[derive(Debug, Default)]
struct Room {
    /// Seats in it.
    listeners: u32,
    /// One of the connections that have one.
    someone: u32,
    /// The newest offset any of them saw, or the server named.
    seen: u64,
    ring: Ring,
}

/// What is to be done at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    at_us: u64,
    index: u32,
    generation: u32,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// Connect.
    Open,
    /// Ask again for rooms that were refused.
    Join,
    /// Send once more, in place of a send that was refused.
    Send,
}

/// Gives orders to an engine; dropped, it ends it.
#[derive(Debug)]
pub struct Orders {
    orders: Option<mpsc::SyncSender<Order>>,
    waker: Arc<Waker>,
}

impl Orders {
    /// Gives it.
    ///
    /// # Errors
    /// The engine has ended.
    pub fn give(&self, order: Order) -> Result<(), LightError> {
        let orders = self.orders.as_ref().ok_or(LightError::Ended)?;
        orders.send(order).map_err(|_| LightError::Ended)?;
        self.waker.wake().map_err(LightError::Poll)
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.orders = None;
        // It is woken to see that nobody is there any more.
        let _ = self.waker.wake();
    }
}

/// A light process cannot do its task.
#[derive(Debug, thiserror::Error)]
pub enum LightError {
    /// The task.
    #[error("the task cannot be done: {0}")]
    Task(&'static str),
    /// Not enough files.
    #[error(
        "{connections} connections need more open files than the {open_files} this process may have; raise the limit (ulimit -n) or use more processes"
    )]
    OpenFiles {
        /// Of this process.
        connections: usize,
        /// The limit.
        open_files: u64,
    },
    /// The operating system's poll.
    #[error("the poll failed")]
    Poll(#[source] std::io::Error),
    /// The engine is not there any more.
    #[error("the engine has ended")]
    Ended,
    /// As reported.
    #[error("{0}")]
    Failed(String),
}

/// Orders that wait; who gives more waits.
const ORDERS_MAX: usize = 8;
/// Files a process has open beside its connections.
const FILES_BESIDE: u64 = 64;

impl Engine {
    /// With nothing connected yet.
    ///
    /// # Errors
    /// The task cannot be done: see [`LightError`].
    pub fn new(task: &Task) -> Result<(Self, Orders), LightError> {
        let Task {
            scenario,
            wire,
            gateways,
            part,
            parts,
            prefix,
        } = task;
        let people = &scenario.people;
        let must = |holds: bool, problem| {
            if holds {
                Ok(())
            } else {
                Err(LightError::Task(problem))
            }
        };
        must(!gateways.is_empty(), "gateways: at least one is needed")?;
        must(part < parts, "part must be below parts")?;
        must(
            u16::try_from(people.rooms_each).is_ok(),
            "scenario.people.rooms_each must be below 65536",
        )?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        must(
            (1..=32).contains(&prefix.len()) && prefix.bytes().all(plain),
            "prefix must be 1 to 32 letters, digits, - or _",
        )?;

        let numbers = (*part..people.connections).step_by(*parts as usize);
        let connections = numbers
            .clone()
            .map(|number| {
                let json = speaks_json(people.json, number);
                Connection::new(Dialect::of(*wire, json))
            })
            .collect::<Vec<_>>();
        let open_files = sockets::raise_open_files();
        if connections.len() as u64 + FILES_BESIDE > open_files {
            return Err(LightError::OpenFiles {
                connections: connections.len(),
                open_files,
            });
        }
        let active = people.active.unwrap_or(people.connections);
        let active = (*part..active).step_by(*parts as usize).count();

        let poll = Poll::new().map_err(LightError::Poll)?;
        let waker = Waker::new(poll.registry(), ORDERS).map_err(LightError::Poll)?;
        let waker = Arc::new(waker);
        let alarm = Alarm::new(poll.registry(), ALARM).map_err(LightError::Poll)?;
        let (sender, orders) = mpsc::sync_channel(ORDERS_MAX);
        let mut engine = Self {
            poll,
            alarm,
            orders,
            _waker: Arc::clone(&waker),
            gateways: gateways.clone(),
            part: *part,
            parts: *parts,
            names: Names::new(prefix),
            random: fastrand::Rng::with_seed(u64::from(*part) + 1),
            seats: Vec::new(),
            seats_each: people.rooms_each as usize,
            rooms: Vec::new(),
            ring_offsets_max: (LIGHT_RINGS_OFFSETS / people.rooms as usize)
                .clamp(16, LIGHT_RING_OFFSETS_MAX)
                .next_power_of_two(),
            connections,
            sessions: HashMap::new(),
            active,
            whole: 0,
            whole_active: 0,
            timers: BinaryHeap::new(),
            handshakes: VecDeque::new(),
            handshakes_open: 0,
            to_open: VecDeque::new(),
            opening: None,
            pace: None,
            joining: false,
            joined: false,
            counting: Counting::default(),
            running: None,
            cut_open: 0,
            settling: None,
            tally: Tally::default(),
            unnumbered_us: 0,
            buffer: vec![0; LIGHT_READ_BYTES],
            out: Vec::new(),
            last_due_us: 0,
            padding: "x".repeat((people.text_bytes as usize).saturating_sub(16)),
            again: 0,
            unheard: HashMap::new(),
            ends: None,
            reports: Vec::new(),
            failed: None,
            scenario: scenario.clone(),
        };
        engine.seat(numbers);
        let orders = Orders {
            orders: Some(sender),
            waker,
        };
        Ok((engine, orders))
    }

    fn seat(&mut self, numbers: impl Iterator<Item = u32>) {
        let people = &self.scenario.people;
        let audience = Audience::new(people);
        self.rooms.resize_with(people.rooms as usize, Room::default);
        for (index, number) in (0..).zip(numbers) {
            for number in audience.of(number) {
                let room = &mut self.rooms[number as usize];
                room.listeners += 1;
                // Any of them, each as likely: questions about rooms are spread.
                if self.random.u32(..room.listeners) == 0 {
                    room.someone = index;
                }
                self.seats.push(Seat {
                    last: 0,
                    room: number,
                    state: SeatState::Away,
                    known: false,
                });
            }
        }
    }

    /// Does what it is ordered until it is told to end, or nobody orders any more.
    ///
    /// # Errors
    /// It cannot go on; [`Report::Failed`] was said.
    pub fn run(mut self, mut say: impl FnMut(Report)) -> Result<(), LightError> {
        let mut events = Events::with_capacity(LIGHT_EVENTS_MAX);
        loop {
            let now = now_us();
            let go_on = self.take_orders(now);
            self.on_time(now);
            for report in self.reports.drain(..) {
                say(report);
            }
            if let Some(why) = self.failed.take() {
                say(Report::Failed(why.clone()));
                return Err(LightError::Failed(why));
            }
            if !go_on {
                return Ok(());
            }
            let timeout = match self.wakes_us() {
                Some(at_us) if at_us <= now => Some(Duration::ZERO),
                Some(at_us) => {
                    self.alarm.set(at_us).map_err(LightError::Poll)?;
                    None
                }
                None => None,
            };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                polled => polled.map_err(LightError::Poll)?,
            }
            for event in &events {
                match event.token() {
                    ORDERS | ALARM => {}
                    Token(index) => self.on_socket(index, event),
                }
            }
        }
    }

    /// Whether to go on.
    fn take_orders(&mut self, now_us: u64) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Order::End) | Err(mpsc::TryRecvError::Disconnected) => return false,
                Err(mpsc::TryRecvError::Empty) => return true,
                Ok(Order::Open) => self.open_rooms(),
                Ok(Order::Connect) => self.connect_all(now_us),
                Ok(Order::Stage(stage)) => self.begin_stage(stage, now_us),
                Ok(Order::Settle) => self.begin_settling(now_us),
            }
        }
    }

    fn on_time(&mut self, now_us: u64) {
        self.run_timers(now_us);
        self.open_some(now_us);
        self.run_stage(now_us);
        self.run_settling(now_us);
        self.reports.extend(self.counting.said(now_us));
    }

    /// When something is to be done, whatever the sockets say.
    fn wakes_us(&self) -> Option<u64> {
        let timer = self.timers.peek().map(|Reverse(timer)| timer.at_us);
        let handshake = self.handshakes.front().map(|(at_us, ..)| *at_us);
        let all = [
            timer,
            handshake,
            self.paces_us(),
            self.stage_wakes_us(),
            self.settling_wakes_us(),
        ];
        all.into_iter().flatten().min()
    }

    /// A connection's number among those of all processes.
    fn number(&self, index: usize) -> u32 {
        u32::try_from(index).expect("fewer than u32") * self.parts + self.part
    }

    fn seats_of(&mut self, index: usize) -> &mut [Seat] {
        &mut self.seats[index * self.seats_each..][..self.seats_each]
    }

    fn after(&mut self, at_us: u64, index: usize, what: What) {
        self.timers.push(Reverse(Timer {
            at_us,
            index: u32::try_from(index).expect("fewer than u32"),
            generation: self.connections[index].generation,
            what,
        }));
    }

    fn fail(&mut self, why: String) {
        // The first says why; the others follow from it.
        self.failed.get_or_insert(why);
    }
}
