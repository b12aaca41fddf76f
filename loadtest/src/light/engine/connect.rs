//! From no socket to greeted, and back.

use std::{cmp::Reverse, time::Duration};

use mio::{Interest, Token};

use super::{Engine, Report, Timer, What};
use crate::{
    light::{
        clock::us,
        connection::{Phase, SeatState, Watching},
        frames::FrameReader,
        sockets,
        wire::{Kind, Say, Tag},
    },
    limits::{
        LIGHT_ATTEMPTS_MAX, LIGHT_BACKOFF_MAX, LIGHT_BACKOFF_MIN, LIGHT_HANDSHAKE_DEADLINE,
        LIGHT_HANDSHAKES_MAX, LIGHT_RETRY_PAUSE,
    },
};

/// Connections opened by the clock.
#[derive(Debug)]
pub(super) struct Pace {
    start_us: u64,
    next: usize,
}

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// Told to be cut.
    Cut,
    /// Closed in order, as told.
    Closed,
    /// By the server, the network or a fault.
    Broken(String),
}

impl Phase {
    const fn shakes_hands(self) -> bool {
        matches!(self, Self::Connecting | Self::Upgrading | Self::Greeting)
    }
}

impl Engine {
    // ---- orders -------------------------------------------------------------------------------

    pub(super) fn connect_all(&mut self, now_us: u64) {
        self.joining = true;
        self.pace = Some(Pace {
            start_us: now_us,
            next: 0,
        });
        for index in 0..self.connections.len() {
            if self.connections[index].phase == Phase::Greeted {
                self.begin_to_join(index, now_us);
                self.flush(index, now_us);
            }
        }
        if self.connections.is_empty() {
            self.joined = true;
            self.reports.push(Report::Joined);
        }
    }

    // ---- opening ------------------------------------------------------------------------------

    /// When the pace allows the next connection; `None`: nothing to open, or too many handshakes.
    pub(super) fn paces_us(&self) -> Option<u64> {
        if self.handshakes_open >= LIGHT_HANDSHAKES_MAX {
            return None;
        }
        if !self.to_open.is_empty() {
            return Some(0);
        }
        let pace = self.pace.as_ref()?;
        (pace.next < self.connections.len()).then(|| self.paced_us(pace))
    }

    fn paced_us(&self, pace: &Pace) -> u64 {
        let numbered = pace.next as u64 * u64::from(self.parts);
        pace.start_us + numbered * 1_000_000 / u64::from(self.scenario.people.connects_per_second)
    }

    pub(super) fn open_some(&mut self, now_us: u64) {
        while self.handshakes_open < LIGHT_HANDSHAKES_MAX {
            let paced = self
                .pace
                .as_ref()
                .filter(|pace| pace.next < self.connections.len() && self.paced_us(pace) <= now_us);
            if let Some(index) = self.to_open.pop_front() {
                self.open(index, now_us);
            } else if paced.is_some() {
                let pace = self.pace.as_mut().expect("there is a pace");
                let index = pace.next;
                pace.next += 1;
                // Who opened rooms is there already, or has its timer.
                if self.connections[index].generation == 0 {
                    self.open(index, now_us);
                }
            } else {
                break;
            }
        }
    }

    pub(super) fn run_timers(&mut self, now_us: u64) {
        while let Some(&(at_us, index, generation)) = self.handshakes.front() {
            let connection = &self.connections[index as usize];
            let open = connection.generation == generation && connection.phase.shakes_hands();
            if open && at_us > now_us {
                break;
            }
            self.handshakes.pop_front();
            if open {
                let why = format!("no session within {LIGHT_HANDSHAKE_DEADLINE:?}");
                self.ended(index as usize, Ending::Broken(why), now_us);
            }
        }
        while let Some(&Reverse(timer)) = self.timers.peek() {
            if timer.at_us > now_us {
                break;
            }
            self.timers.pop();
            let Timer {
                index, generation, ..
            } = timer;
            let index = index as usize;
            if self.connections[index].generation != generation {
                continue;
            }
            match timer.what {
                What::Open => self.to_open.push_back(index),
                What::Join => {
                    self.open_next_rooms(index);
                    self.watch(index);
                    self.join_more(index);
                }
                What::Send => self.send_in_turn(index, now_us),
            }
            self.flush(index, now_us);
        }
    }

    fn open(&mut self, index: usize, now_us: u64) {
        if self.connections[index].phase != Phase::Away {
            return;
        }
        let number = self.number(index);
        let server = self.gateways[number as usize % self.gateways.len()];
        let connection = &mut self.connections[index];
        connection.generation += 1;
        connection.opened_us = now_us;
        connection.phase = Phase::Connecting;
        self.handshakes_open += 1;
        let deadline_us = now_us + us(LIGHT_HANDSHAKE_DEADLINE);
        let entry = (
            deadline_us,
            u32::try_from(index).expect("fewer than u32"),
            connection.generation,
        );
        self.handshakes.push_back(entry);
        let opened = sockets::open(server, number).and_then(|mut stream| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, Token(index), interest)?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => connection.stream = Some(stream),
            Err(error) => {
                let why = format!("cannot connect to {server}: {error}");
                self.ended(index, Ending::Broken(why), now_us);
            }
        }
    }

    /// TCP is there, or not.
    pub(super) fn connected(&mut self, index: usize, now_us: u64) {
        let number = self.number(index);
        let server = self.gateways[number as usize % self.gateways.len()];
        let connection = &mut self.connections[index];
        let Some(stream) = &connection.stream else {
            return;
        };
        let error = match (stream.take_error(), stream.peer_addr()) {
            (Ok(None), Ok(_)) => None,
            // Not yet.
            (Ok(None), Err(error)) if error.kind() == std::io::ErrorKind::NotConnected => return,
            (Ok(Some(error)) | Err(error), _) | (_, Err(error)) => Some(error),
        };
        if let Some(error) = error {
            let why = format!("cannot connect to {server}: {error}");
            self.ended(index, Ending::Broken(why), now_us);
            return;
        }
        connection.phase = Phase::Upgrading;
        let dialect = connection.dialect;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cm9va2VyeSBsb2FkdGVzdA==\r\n",
            dialect.path()
        );
        self.out.extend_from_slice(request.as_bytes());
        if let Some(subprotocol) = dialect.subprotocol() {
            let header = format!("Sec-WebSocket-Protocol: {subprotocol}\r\n");
            self.out.extend_from_slice(header.as_bytes());
        }
        self.out.extend_from_slice(b"\r\n");
        self.flush(index, now_us);
    }

    /// The server's answer to the upgrade.
    pub(super) fn upgraded(&mut self, index: usize, head: &[u8]) -> Result<(), String> {
        if !head.starts_with(b"HTTP/1.1 101") {
            let head = String::from_utf8_lossy(head);
            let status = head.lines().next().unwrap_or_default().to_owned();
            if !status.contains(" 5") {
                self.fail(format!("the upgrade was answered with {status:?}"));
            }
            return Err(format!("the upgrade was answered with {status:?}"));
        }
        let connection = &mut self.connections[index];
        connection.phase = Phase::Greeting;
        if !connection.dialect.server_speaks_first() {
            self.log_in(index);
        }
        Ok(())
    }

    pub(super) fn log_in(&mut self, index: usize) {
        let user = self.names.user(self.number(index));
        self.put(index, Kind::Login, 0, &Say::Login { user: &user });
    }

    pub(super) fn welcomed(&mut self, index: usize, now_us: u64) {
        let connection = &mut self.connections[index];
        if connection.phase != Phase::Greeting {
            return;
        }
        connection.phase = Phase::Greeted;
        self.handshakes_open -= 1;
        if self.tally.measuring() {
            self.tally.counts.connected += 1;
            let took_us = now_us.saturating_sub(connection.opened_us);
            self.tally.latency.connect.record(took_us);
        }
        self.open_next_rooms(index);
        if self.joining {
            self.begin_to_join(index, now_us);
        }
    }

    // ---- ends ---------------------------------------------------------------------------------

    pub(super) fn ended(&mut self, index: usize, ending: Ending, now_us: u64) {
        let number = self.number(index);
        let connection = &mut self.connections[index];
        let phase = connection.phase;
        if phase == Phase::Away {
            return;
        }
        let stream = connection.stream.take();
        connection.reader = FrameReader::new();
        connection.unsent = Vec::new();
        connection.phase = Phase::Away;
        connection.watching = Watching::No;
        (connection.joins_from, connection.joins_open) = (0, 0);
        let unanswered = std::mem::take(&mut connection.unanswered);
        if self.tally.measuring() {
            self.tally.counts.failed += u64::from(unanswered);
        }
        if phase.shakes_hands() {
            self.handshakes_open -= 1;
        }
        if phase == Phase::Whole {
            self.whole -= 1;
            if index < self.active {
                self.whole_active -= 1;
            }
        }
        let mut pause = Some(LIGHT_BACKOFF_MIN);
        match ending {
            Ending::Cut => {
                if let Some(stream) = stream {
                    sockets::cut(stream);
                }
                if connection.cut_us == 0 {
                    connection.cut_us = now_us;
                    self.cut_open += 1;
                }
            }
            Ending::Closed => pause = None,
            Ending::Broken(why) => {
                let doubled = LIGHT_BACKOFF_MIN * (1 << connection.attempts.min(8));
                pause = Some(doubled.min(LIGHT_BACKOFF_MAX));
                connection.attempts += 1;
                if matches!(phase, Phase::Whole | Phase::Closing) {
                    self.tally.counts.dropped += 1;
                }
                if !self.joined && (connection.attempts > LIGHT_ATTEMPTS_MAX || unanswered > 0) {
                    self.fail(format!("connection {number}: {why}"));
                }
            }
        }
        for seat in self.seats_of(index) {
            seat.state = SeatState::Away;
        }
        self.unheard.retain(|_, sender| *sender != index);
        match pause {
            None => self.to_open.push_back(index),
            Some(ceiling) => {
                let pause = ceiling.mul_f64(self.random.f64());
                self.after(now_us + us(pause), index, What::Open);
            }
        }
    }

    /// When something refused is tried again.
    pub(super) fn later_us(now_us: u64, after_ms: u32) -> u64 {
        let asked = Duration::from_millis(after_ms.into());
        now_us + us(asked.max(LIGHT_RETRY_PAUSE))
    }

    pub(super) fn put(&mut self, index: usize, kind: Kind, value: u64, say: &Say<'_>) -> bool {
        self.put_tagged(index, Tag { kind, value }, say)
    }
}
