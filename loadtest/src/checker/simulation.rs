//! Right histories, made by a simulated server and network: random interleavings, answers and
//! commands lost with their connection, answers that leave it open, retries, several devices.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fastrand::Rng;
use rookery_proto::v1::{self, ack::Result as Answer, error::Code, server_frame::Frame};

use crate::{
    client::{Closed, Command, command},
    fake::{Model, who_left},
    history::{Purpose, Record, What},
    limits::PAGE_EVENTS,
    replica::Replica,
    workload::Weights,
};

const CLIENTS: u32 = 5;
const USERS: u32 = 3;
const ROOMS: [&str; 2] = ["red", "blue"];
const IN_FLIGHT_MAX: usize = 4;

/// A history of a server that keeps its word, of about that many steps.
pub(super) fn right_history(seed: u64, steps: usize) -> Vec<Record> {
    let mut simulation = Simulation::new(seed);
    for _ in 0..steps {
        simulation.step();
    }
    simulation.end();
    simulation.records
}

struct Simulation {
    random: Rng,
    model: Model,
    records: Vec<Record>,
    clients: Vec<Client>,
    serial: u64,
}

#[derive(Default)]
struct Client {
    number: u32,
    user: String,
    session: u32,
    connected: bool,
    /// Sent, not yet seen by the server.
    upward: VecDeque<v1::ClientFrame>,
    /// Made by the server, not yet received.
    downward: VecDeque<Frame>,
    listens: Vec<String>,
    pending: BTreeMap<u64, Command>,
    retries: VecDeque<Command>,
    replicas: BTreeMap<String, Replica>,
    /// Rooms its user left, as far as it knows.
    away: BTreeSet<String>,
    next_id: u64,
    last_send: Option<Command>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let clients = (0..CLIENTS).map(|number| Client {
            number,
            user: format!("u{}", number % USERS),
            ..Client::default()
        });
        let mut simulation = Self {
            random: Rng::with_seed(seed),
            model: Model::default(),
            records: Vec::new(),
            clients: clients.collect(),
            serial: 0,
        };
        for client in 0..simulation.clients.len() {
            simulation.connect(client);
        }
        for room in ROOMS {
            simulation.invoke(0, command::create_group(room, true, &[], room));
        }
        simulation.drain();
        for client in 0..simulation.clients.len() {
            for room in ROOMS {
                let join = if simulation.random.bool() {
                    command::join_after(room, 0)
                } else {
                    command::join_last(room, 10)
                };
                simulation.invoke(client, join);
            }
        }
        simulation
    }

    fn step(&mut self) {
        let client = self.random.usize(0..self.clients.len());
        match self.random.u8(0..100) {
            0..30 => self.act(client),
            30..58 => self.serve(client, true),
            58..96 => self.receive(client),
            96..98 => self.disconnect(client),
            _ => {
                if !self.clients[client].connected {
                    self.connect(client);
                }
            }
        }
    }

    fn record(&mut self, client: usize, what: What) {
        let at = self.records.len() as u64 + 1;
        let Client {
            number, session, ..
        } = self.clients[client];
        self.records.push(Record {
            at,
            client: number,
            session,
            what,
        });
    }

    fn act(&mut self, client: usize) {
        let me = &mut self.clients[client];
        if !me.connected || me.pending.len() >= IN_FLIGHT_MAX {
            return;
        }
        if let Some(retry) = me.retries.pop_front() {
            return self.invoke(client, retry);
        }
        let room = ROOMS[self.random.usize(0..ROOMS.len())];
        let Some(replica) = me.replicas.get(room) else {
            return;
        };
        if me.away.contains(room) && self.random.bool() {
            return self.come_back(client, room);
        }
        // A user presses send twice: the same command again, also after its ack.
        if let Some(again) = me.last_send.clone().filter(|_| self.random.u8(0..12) == 0) {
            return self.invoke(client, again);
        }
        let weights = Weights {
            rooms: 6,
            history: 6,
            leave: 3,
            ..Weights::default()
        };
        self.serial += 1;
        let command = weights.choose(replica, &me.user, self.serial, &mut self.random);
        if matches!(command, Command::Send(_)) {
            me.last_send = Some(command.clone());
        }
        self.invoke(client, command);
    }

    fn invoke(&mut self, client: usize, command: Command) {
        let me = &mut self.clients[client];
        me.next_id += 1;
        let frame = v1::ClientFrame {
            id: me.next_id.to_string(),
            command: Some(command.clone()),
        };
        me.pending.insert(me.next_id, command);
        me.upward.push_back(frame.clone());
        self.record(client, What::Sent(Box::new(frame)));
    }

    /// The server takes one command; `answers`: the client's connection still is.
    fn serve(&mut self, client: usize, answers: bool) {
        let Some(frame) = self.clients[client].upward.pop_front() else {
            return;
        };
        let command = frame.command.unwrap();
        let fails = self.random.u8(0..40) == 0 && !matches!(command, Command::CreateRoom(_));
        // A server that fails may have done it or not.
        if fails && self.random.bool() {
            self.refuse(client, frame.id, Code::Unavailable);
            return;
        }
        let user = self.clients[client].user.clone();
        let outcome = self.model.apply(&user, &command);
        for event in outcome.events {
            for listener in &mut self.clients {
                if listener.connected && listener.listens.contains(&event.room) {
                    listener.downward.push_back(Frame::Event(event.clone()));
                }
                if who_left(&event) == Some(listener.user.as_str()) {
                    listener.listens.retain(|room| *room != event.room);
                }
            }
        }
        if !answers {
            return;
        }
        if fails {
            return self.refuse(client, frame.id, Code::Unavailable);
        }
        match outcome.answer {
            Err(code) => self.refuse(client, frame.id, code),
            Ok(answer) => {
                let me = &mut self.clients[client];
                if let Command::Join(join) = command {
                    me.listens.push(join.room);
                }
                me.downward.push_back(Frame::Ack(v1::Ack {
                    id: frame.id,
                    result: Some(answer),
                }));
            }
        }
    }

    fn refuse(&mut self, client: usize, id: String, code: Code) {
        let error = v1::Error {
            id,
            code: code.into(),
            ..v1::Error::default()
        };
        self.clients[client].downward.push_back(Frame::Error(error));
    }

    fn receive(&mut self, client: usize) {
        let Some(frame) = self.clients[client].downward.pop_front() else {
            return;
        };
        let received = v1::ServerFrame {
            frame: Some(frame.clone()),
        };
        self.record(client, What::Received(Box::new(received)));
        let me = &mut self.clients[client];
        match frame {
            Frame::Ack(ack) => {
                let command = me.pending.remove(&ack.id.parse().unwrap()).unwrap();
                match (command, &ack.result) {
                    (Command::Join(join), Some(Answer::Joined(joined))) => {
                        let after = match join.from {
                            Some(v1::join::From::AfterOffset(after)) => Some(after),
                            _ => None,
                        };
                        me.away.remove(&join.room);
                        me.replicas
                            .entry(join.room.clone())
                            .or_insert_with(|| Replica::new(&join.room))
                            .join(joined, after);
                    }
                    (Command::Leave(leave), _) => {
                        me.away.insert(leave.room);
                    }
                    _ => {}
                }
            }
            Frame::Error(error) => {
                let command = me.pending.remove(&error.id.parse().unwrap()).unwrap();
                if error.code() == Code::NotMember {
                    let room = command::room_of(&command).unwrap();
                    me.away.insert(room.to_owned());
                }
                let again = matches!(command, Command::Send(_) | Command::Join(_));
                if error.code() == Code::Unavailable && again {
                    me.retries.push_back(command);
                }
            }
            Frame::Event(event) => {
                me.replicas.get_mut(&event.room).unwrap().apply(&event);
                if who_left(&event) == Some(me.user.as_str()) {
                    me.away.insert(event.room);
                }
            }
            _ => {}
        }
    }

    fn disconnect(&mut self, client: usize) {
        if !self.clients[client].connected || self.clients[client].replicas.len() < ROOMS.len() {
            return;
        }
        self.clients[client].connected = false;
        // Some of what was under way still arrives; the rest never does.
        let arrives = self.random.usize(0..=self.clients[client].upward.len());
        for _ in 0..arrives {
            self.serve(client, false);
        }
        let me = &mut self.clients[client];
        me.upward.clear();
        me.downward.clear();
        me.listens.clear();
        for (id, command) in std::mem::take(&mut me.pending) {
            if matches!(command, Command::Send(_)) {
                self.clients[client].retries.push_back(command);
            }
            self.record(client, What::GaveUp { id: id.to_string() });
        }
        self.record(client, What::Closed(Closed::cut("simulated")));
    }

    fn connect(&mut self, client: usize) {
        let me = &mut self.clients[client];
        me.connected = true;
        me.session += 1;
        let (user, session) = (me.user.clone(), me.session);
        let heads: Vec<(String, u64)> = me
            .replicas
            .iter()
            .filter(|(room, _)| !me.away.contains(*room))
            .map(|(room, replica)| (room.clone(), replica.head()))
            .collect();
        self.record(
            client,
            What::Opened {
                user,
                purpose: Purpose::Take,
                session_id: format!("{client}-{session}"),
            },
        );
        for (room, head) in heads {
            self.invoke(client, command::resume(&room, head));
        }
    }

    fn come_back(&mut self, client: usize, room: &str) {
        let at = self.clients[client].replicas[room].head();
        let join = if self.random.u8(0..4) == 0 {
            command::join_last(room, 10)
        } else {
            command::join_after(room, at)
        };
        self.invoke(client, join);
    }

    fn drain(&mut self) {
        while self.clients.iter().any(|client| {
            !client.upward.is_empty() || !client.downward.is_empty() || !client.retries.is_empty()
        }) {
            for client in 0..self.clients.len() {
                if let Some(retry) = self.clients[client].retries.pop_front() {
                    self.invoke(client, retry);
                }
                self.serve(client, true);
                self.receive(client);
            }
        }
    }

    fn end(&mut self) {
        for client in 0..self.clients.len() {
            if !self.clients[client].connected {
                self.connect(client);
            }
        }
        self.drain();
        for client in 0..self.clients.len() {
            for room in std::mem::take(&mut self.clients[client].away) {
                self.come_back(client, &room);
            }
        }
        self.drain();
        self.judge();
        for client in 0..CLIENTS as usize {
            for replica in std::mem::take(&mut self.clients[client].replicas).into_values() {
                self.record(client, What::Replica(Box::new(replica)));
            }
            self.record(client, What::Closed(Closed::cut("the end")));
        }
    }

    fn judge(&mut self) {
        let judge = self.clients.len();
        self.clients.push(Client {
            number: CLIENTS,
            user: "u0".to_owned(),
            session: 1,
            connected: true,
            ..Client::default()
        });
        self.record(
            judge,
            What::Opened {
                user: "u0".to_owned(),
                purpose: Purpose::Judge,
                session_id: "judge".to_owned(),
            },
        );
        for room in self.model.room_ids() {
            let mut after = 0;
            while after < self.model.head(&room) {
                self.invoke(judge, command::history_after(&room, after, PAGE_EVENTS));
                while self.clients[judge].downward.is_empty() {
                    // Serving may fail on purpose; then the page is asked for again.
                    self.serve(judge, true);
                }
                if let Some(Frame::Ack(v1::Ack {
                    result: Some(Answer::History(page)),
                    ..
                })) = self.clients[judge].downward.front()
                {
                    after = page.events.last().unwrap().offset;
                }
                self.receive(judge);
            }
        }
    }
}
