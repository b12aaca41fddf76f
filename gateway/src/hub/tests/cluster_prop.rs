//! A cluster around one lane: nodes take rooms from each other while sessions ask and listen, and
//! links lose. Every command is answered exactly once, nothing that was asked once is in a log
//! twice, a session's commands stay in order, and in the end every listener has the dense log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use rookery_cluster::{EndpointId, Owners, Role, Turns, membership::Claims};
use rookery_proto::{
    errors::Code,
    ids::{Epoch, SessionId},
    link::{self, packet::Body as Packet, reply, room_request::Command as Ask},
    shard::Shard,
    v1::{self, ack, client_frame::Command, notice, server_frame::Frame},
};

use super::fakes::*;
use crate::hub::input::{Input, LinkPacket, Resynced};

const SESSIONS: u64 = 3;
const NODES: usize = 3;
const ROOMS: [&str; 2] = ["a", "b"];

#[derive(Clone, Debug)]
enum Step {
    /// A session sends; unnamed messages cannot be repeated.
    Send {
        session: u64,
        room: usize,
        named: bool,
    },
    Join {
        session: u64,
        room: usize,
    },
    Leave {
        session: u64,
        room: usize,
    },
    /// The next packet reaches the node, or is lost. A node that refuses it names this one.
    Up {
        node: usize,
        lost: bool,
        named: Named,
    },
    /// The node's next packet reaches the gateway, is lost, or comes twice.
    Down {
        node: usize,
        lost: bool,
        twice: bool,
    },
    /// The node commits what it took for a room.
    Commit {
        node: usize,
        room: usize,
    },
    /// The owner finishes what it took, and another goes on.
    Release {
        room: usize,
        to: usize,
    },
    /// Others take all rooms of the room's owner, which does not know but commits nothing any more.
    Fence {
        room: usize,
        to: usize,
    },
    /// The gateway learns who owns what.
    Tell,
    /// The gateway is told something else about a room.
    Mislead {
        room: usize,
        node: Option<usize>,
    },
    Silent {
        node: usize,
    },
    Wait {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let session = 1..=SESSIONS;
    let room = 0..ROOMS.len();
    let node = 0..NODES + 2;
    prop_oneof![
        10 => (session.clone(), room.clone(), prop::bool::weighted(0.8))
            .prop_map(|(session, room, named)| Step::Send { session, room, named }),
        4 => (session.clone(), room.clone()).prop_map(|(session, room)| Step::Join { session, room }),
        1 => (session, room.clone()).prop_map(|(session, room)| Step::Leave { session, room }),
        16 => (node.clone(), prop::bool::weighted(0.03), named())
            .prop_map(|(node, lost, named)| Step::Up { node, lost, named }),
        16 => (node.clone(), prop::bool::weighted(0.03), prop::bool::weighted(0.05))
            .prop_map(|(node, lost, twice)| Step::Down { node, lost, twice }),
        10 => (node.clone(), room.clone()).prop_map(|(node, room)| Step::Commit { node, room }),
        2 => (room.clone(), node.clone()).prop_map(|(room, to)| Step::Release { room, to }),
        1 => (room.clone(), node.clone()).prop_map(|(room, to)| Step::Fence { room, to }),
        3 => Just(Step::Tell),
        1 => (room, prop::option::of(node.clone()))
            .prop_map(|(room, node)| Step::Mislead { room, node }),
        1 => node.prop_map(|node| Step::Silent { node }),
        3 => prop_oneof![Just(50u64), 50..700u64].prop_map(|ms| Step::Wait { ms }),
    ]
}

/// Whom a node that is not the owner names.
#[derive(Clone, Copy, Debug)]
enum Named {
    Nobody,
    Owner,
    Next,
}

fn named() -> impl Strategy<Value = Named> {
    prop_oneof![Just(Named::Nobody), Just(Named::Owner), Just(Named::Next)]
}

/// A committed message: who asked, as which of its commands.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Message {
    session: u64,
    asked: u64,
}

/// What is true of a room.
#[derive(Default)]
struct Truth {
    log: Vec<Message>,
    owner: usize,
    epoch: u64,
}

/// What a node believes of a room it took.
#[derive(Default)]
struct Belief {
    epoch: u64,
    head: u64,
    listeners: BTreeSet<u64>,
    /// Taken, not committed.
    pending: VecDeque<(u64, Message, bool)>,
}

#[derive(Default)]
struct Node {
    up: VecDeque<Packet>,
    up_hole: bool,
    down: VecDeque<LinkPacket>,
    down_hole: bool,
    turns: Turns,
    rooms: BTreeMap<usize, Belief>,
    /// Takes nothing any more; another incarnation is in its place.
    fenced: bool,
}

#[derive(Default)]
struct Client {
    /// Commands without an answer: which message in which room.
    waiting: BTreeMap<String, Option<(usize, u64)>>,
    /// The next offset of each room it listens to.
    next: BTreeMap<String, u64>,
}

struct World {
    bench: Bench,
    wires: Vec<FakeWire>,
    clients: Vec<Client>,
    nodes: Vec<Node>,
    truth: Vec<Truth>,
    asked: u64,
    acked: BTreeSet<u64>,
    told: u64,
}

fn endpoint(node: usize) -> EndpointId {
    EndpointId::new(Role::Rooms, node as u64 + 1)
}

fn room_number(name: &str) -> usize {
    ROOMS.iter().position(|room| *room == name).expect("known")
}

impl World {
    fn new() -> Self {
        let bench = Bench::with(|config| {
            config.heartbeat_interval = std::time::Duration::from_secs(3_000);
            config.commands_burst = 100_000;
        });
        let mut world = Self {
            bench,
            wires: Vec::new(),
            clients: (0..SESSIONS).map(|_| Client::default()).collect(),
            nodes: (0..NODES).map(|_| Node::default()).collect(),
            truth: ROOMS.iter().map(|_| Truth::default()).collect(),
            asked: 0,
            acked: BTreeSet::new(),
            told: 0,
        };
        for session in 1..=SESSIONS {
            world.wires.push(world.bench.login(session, "u"));
        }
        for room in 0..ROOMS.len() {
            world.take_over(room, room % NODES);
        }
        world.tell(None);
        world
    }

    fn fence(&mut self, room: usize, to: usize) {
        let victim = self.truth[room].owner;
        self.nodes[victim].fenced = true;
        self.nodes.push(Node::default());
        for room in 0..ROOMS.len() {
            if self.truth[room].owner == victim {
                self.take_over(room, to);
            }
        }
    }

    /// A node that is not fenced takes the room.
    fn take_over(&mut self, room: usize, to: usize) {
        let mut living = (0..self.nodes.len()).filter(|&node| !self.nodes[node].fenced);
        let to = living.nth(to % NODES).expect("as many as at the start");
        let truth = &mut self.truth[room];
        truth.epoch += 1;
        truth.owner = to;
        let belief = Belief {
            epoch: truth.epoch,
            head: truth.log.len() as u64,
            ..Belief::default()
        };
        self.nodes[to].rooms.insert(room, belief);
    }

    /// Tells the lane who owns what, wrongly for one room.
    fn tell(&mut self, wrong: Option<(usize, Option<usize>)>) {
        let mut owners = Owners::default();
        for (room, truth) in self.truth.iter().enumerate() {
            let mut owner = Some(truth.owner);
            if let Some((misled, node)) = wrong
                && misled == room
            {
                owner = node;
            }
            if let Some(owner) = owner {
                let claims = Claims::from([(Shard::of(ROOMS[room]), Epoch(truth.epoch))]);
                owners.claim(Role::Rooms, &endpoint(owner), &claims);
            }
        }
        self.told += 1;
        self.bench.own(owners);
    }

    fn command(
        &mut self,
        session: u64,
        id: String,
        command: Command,
        message: Option<(usize, u64)>,
    ) {
        let client = &mut self.clients[session as usize - 1];
        client.waiting.insert(id.clone(), message);
        self.bench.worker.handle(Input::Command {
            session: SessionId(session),
            id,
            command,
        });
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        self.asked += 1;
        let asked = self.asked;
        let count = self.nodes.len();
        match step {
            Step::Send {
                session,
                room,
                named,
            } => {
                let text = format!("{session} {asked}");
                let client_id = if named { text.clone() } else { String::new() };
                let command = Command::Send(v1::Send {
                    room: ROOMS[room].into(),
                    text,
                    client_id,
                });
                self.command(session, asked.to_string(), command, Some((room, asked)));
            }
            Step::Join { session, room } => {
                self.command(session, asked.to_string(), join(ROOMS[room]), None);
            }
            Step::Leave { session, room } => {
                let leave = v1::Leave {
                    room: ROOMS[room].into(),
                    session_only: true,
                };
                let id = format!("leave {} {asked}", ROOMS[room]);
                self.command(session, id, Command::Leave(leave), None);
            }
            Step::Up { node, lost, named } => self.up(node % count, lost, named),
            Step::Down { node, lost, twice } => self.down(node % count, lost, twice),
            Step::Commit { node, room } => self.commit(node % count, room),
            Step::Release { room, to } => {
                let owner = self.truth[room].owner;
                let pending = self.nodes[owner]
                    .rooms
                    .get(&room)
                    .map_or(0, |it| it.pending.len());
                for _ in 0..pending {
                    self.commit(owner, room);
                }
                self.nodes[owner].rooms.remove(&room);
                self.take_over(room, to);
            }
            Step::Fence { room, to } => self.fence(room, to),
            Step::Tell => self.tell(None),
            Step::Mislead { room, node } => {
                self.tell(Some((room, node.map(|node| node % count))));
            }
            Step::Silent { node } => self.bench.worker.handle(Input::Link {
                from: endpoint(node % count),
                packets: vec![LinkPacket::Silent],
            }),
            Step::Wait { ms } => self.bench.wait(ms),
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), TestCaseError> {
        self.bench.worker.flush();
        let packets: Vec<_> = self.bench.uplink.packets.borrow_mut().drain(..).collect();
        for (to, packet) in packets {
            let node = (0..self.nodes.len()).find(|&node| endpoint(node) == to);
            if let Some(node) = node {
                self.nodes[node].up.push_back(packet);
            }
        }
        for session in 0..self.clients.len() {
            for got in self.wires[session].got() {
                self.see(session, got)?;
            }
        }
        Ok(())
    }

    // ---- links ---------------------------------------------------------------------------------

    fn up(&mut self, node: usize, lost: bool, named: Named) {
        let Some(packet) = self.nodes[node].up.pop_front() else {
            return;
        };
        if lost {
            self.nodes[node].up_hole = true;
            return;
        }
        self.notice_up_hole(node);
        match packet {
            Packet::RoomRequest(request) => self.request(node, request, named),
            Packet::RoomDetach(detach) => {
                let room = room_number(&detach.room);
                if let Some(belief) = self.nodes[node].rooms.get_mut(&room) {
                    belief.listeners.remove(&detach.session);
                }
            }
            Packet::RoomResync(asked) => self.resync(node, &asked),
            _ => {}
        }
    }

    /// A heartbeat or a packet shows that something is missing.
    fn notice_up_hole(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        if std::mem::take(&mut node.up_hole) {
            node.turns.lost(&EndpointId::new(Role::Gateway, 1));
            for belief in node.rooms.values_mut() {
                belief.listeners.clear();
            }
            node.down.push_back(LinkPacket::Lost);
        }
    }

    fn notice_down_hole(&mut self, node: usize) {
        if std::mem::take(&mut self.nodes[node].down_hole) {
            self.bench.worker.handle(Input::Link {
                from: endpoint(node),
                packets: vec![LinkPacket::Lost],
            });
        }
    }

    fn down(&mut self, node: usize, lost: bool, twice: bool) {
        let Some(packet) = self.nodes[node].down.pop_front() else {
            return;
        };
        if lost {
            self.nodes[node].down_hole = true;
            return;
        }
        self.notice_down_hole(node);
        for _ in 0..=usize::from(twice) {
            self.bench.worker.handle(Input::Link {
                from: endpoint(node),
                packets: vec![packet.clone()],
            });
        }
    }

    // ---- nodes ---------------------------------------------------------------------------------

    fn answer(&mut self, node: usize, request: u64, result: reply::Result) {
        self.nodes[node].down.push_back(reply(request, result));
    }

    fn request(&mut self, node: usize, request: link::RoomRequest, named: Named) {
        let room = room_number(&request.room);
        let owned = self.nodes[node].rooms.contains_key(&room);
        let gateway = EndpointId::new(Role::Gateway, 1);
        let caller = request.caller.expect("has one");
        let shard = Shard::of(&request.room);
        let turns = &mut self.nodes[node].turns;
        if !turns.admits(&gateway, caller.lane, shard, request.turn, owned) {
            let newest = self.truth[room].epoch;
            let (epoch, owner) = match named {
                _ if owned => (0, endpoint(node)),
                Named::Nobody => (0, EndpointId::from_wire("")),
                Named::Owner => (newest, endpoint(self.truth[room].owner)),
                Named::Next => (newest - 1, endpoint((node + 1) % self.nodes.len())),
            };
            let refusal = reply::Result::NotOwner(link::NotOwner {
                epoch,
                owner: owner.as_str().to_owned(),
            });
            return self.answer(node, request.request, refusal);
        }
        let belief = self.nodes[node].rooms.get_mut(&room).expect("owned");
        match request.command.expect("has one") {
            Ask::Send(send) => {
                let (session, asked) = send.text.split_once(' ').expect("two numbers");
                let message = Message {
                    session: session.parse().expect("a number"),
                    asked: asked.parse().expect("a number"),
                };
                let named = !send.client_id.is_empty();
                belief.pending.push_back((request.request, message, named));
            }
            Ask::Join(_) => {
                belief.listeners.insert(caller.session);
                let joined = joined(&request.room, belief.epoch, belief.head);
                self.answer(node, request.request, joined);
            }
            Ask::Leave(_) => {
                belief.listeners.remove(&caller.session);
                self.answer(node, request.request, acked(ack::Result::Done(v1::Done {})));
            }
            other => panic!("{other:?}"),
        }
    }

    fn resync(&mut self, node: usize, asked: &link::RoomResync) {
        let room = room_number(&asked.room);
        let answer = match self.nodes[node].rooms.get_mut(&room) {
            Some(belief) if asked.after_offset <= belief.head => {
                belief.listeners = asked.sessions.iter().map(|it| it.session).collect();
                resynced(asked, belief.epoch, belief.head)
            }
            // One that is ahead of a node that was replaced: the fence tells it so.
            Some(_) | None => LinkPacket::Resynced(
                Resynced {
                    room: asked.room.clone(),
                    epoch: 0,
                    head: 0,
                    reset: true,
                    events: Vec::new(),
                    number: asked.number,
                }
                .into(),
            ),
        };
        self.nodes[node].down.push_back(answer);
    }

    fn commit(&mut self, node: usize, room: usize) {
        let truth = &mut self.truth[room];
        let Some(belief) = self.nodes[node].rooms.get_mut(&room) else {
            return;
        };
        if truth.epoch != belief.epoch {
            // It reads its fence: nothing of it is acknowledged.
            self.nodes[node].rooms.clear();
            return;
        }
        let Some((request, message, named)) = belief.pending.pop_front() else {
            return;
        };
        let before = truth.log.iter().position(|it| named && *it == message);
        let offset = match before {
            Some(at) => at as u64 + 1,
            None => {
                truth.log.push(message);
                truth.log.len() as u64
            }
        };
        belief.head = truth.log.len() as u64;
        if before.is_none() && !belief.listeners.is_empty() {
            let event = event(ROOMS[room], belief.epoch, offset);
            self.nodes[node].down.push_back(event);
        }
        let appended = ack::Result::Appended(v1::Appended {
            room: ROOMS[room].into(),
            offset,
            ..v1::Appended::default()
        });
        self.answer(node, request, acked(appended));
    }

    // ---- clients -------------------------------------------------------------------------------

    fn see(&mut self, session: usize, got: Got) -> Result<(), TestCaseError> {
        let client = &mut self.clients[session];
        match got {
            Got::Frame(Frame::Event(event)) => {
                let next = client.next.get_mut(&event.room);
                prop_assert!(next.is_some(), "event {} unasked", event.offset);
                let next = next.expect("is some");
                prop_assert_eq!(event.offset, *next, "room {}", event.room);
                *next += 1;
            }
            Got::Frame(Frame::Ack(ack)) => {
                let message = client.waiting.remove(&ack.id);
                prop_assert!(message.is_some(), "answer to {} unasked", ack.id);
                match ack.result {
                    Some(ack::Result::Joined(joined)) => {
                        let room = joined.room.expect("has one").id;
                        client.next.insert(room, joined.head + 1);
                    }
                    Some(ack::Result::Appended(appended)) => {
                        let (room, asked) = message.flatten().expect("was a send");
                        let at = usize::try_from(appended.offset).expect("small") - 1;
                        prop_assert_eq!(self.truth[room].log[at].asked, asked);
                        self.acked.insert(asked);
                    }
                    Some(ack::Result::Done(_)) => {
                        let room = ack.id.split(' ').nth(1).expect("names it");
                        client.next.remove(room);
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            Got::Frame(Frame::Error(error)) => {
                prop_assert!(
                    client.waiting.remove(&error.id).is_some(),
                    "answer to {} unasked",
                    error.id
                );
                prop_assert_eq!(error.code(), Code::Unavailable);
                prop_assert!(error.retry_after_ms > 0);
            }
            Got::Frame(Frame::Notice(notice)) => {
                if let Some(notice::Body::ResumeRoom(resume)) = notice.body {
                    client.next.remove(&resume.room);
                }
            }
            other => prop_assert!(false, "{other:?}"),
        }
        Ok(())
    }

    /// All that is under way arrives, for so long.
    fn heal(&mut self, ms: u64) -> Result<(), TestCaseError> {
        for _ in 0..ms / 100 {
            for node in 0..self.nodes.len() {
                self.notice_up_hole(node);
                self.notice_down_hole(node);
            }
            self.flush()?;
            for _ in 0..50 {
                for node in 0..self.nodes.len() {
                    while !self.nodes[node].up.is_empty() {
                        self.up(node, false, Named::Owner);
                    }
                    for room in 0..ROOMS.len() {
                        self.commit(node, room);
                    }
                    while !self.nodes[node].down.is_empty() {
                        self.down(node, false, false);
                    }
                }
                self.flush()?;
            }
            self.bench.wait(100);
        }
        self.flush()
    }

    /// Lets everything heal, longer than any deadline, and looks at the end of it.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        self.tell(None);
        self.heal(12_000)?;
        // Then all is as if nothing had been: no command fails or waits long.
        let mut last_words = Vec::new();
        for session in 1..=SESSIONS {
            for room in 0..ROOMS.len() {
                let named = true;
                self.step(Step::Send {
                    session,
                    room,
                    named,
                })?;
                last_words.push(self.asked);
            }
        }
        self.heal(1_000)?;
        for asked in last_words {
            prop_assert!(self.acked.contains(&asked), "{asked} is not acknowledged");
        }
        prop_assert_eq!(self.bench.worker.request_count(), 0);
        prop_assert_eq!(self.bench.worker.hold_count(), 0);
        for client in &self.clients {
            prop_assert!(
                client.waiting.is_empty(),
                "unanswered: {:?}",
                client.waiting
            );
            for (room, next) in &client.next {
                let head = self.truth[room_number(room)].log.len() as u64;
                prop_assert_eq!(*next, head + 1, "room {} not whole", room);
            }
        }
        for truth in &self.truth {
            let asked: BTreeSet<u64> = truth.log.iter().map(|message| message.asked).collect();
            prop_assert_eq!(asked.len(), truth.log.len(), "twice: {:?}", truth.log);
            for (at, earlier) in truth.log.iter().enumerate() {
                let passed = truth.log[at..].iter().find(|later| {
                    later.session == earlier.session
                        && later.asked < earlier.asked
                        && self.acked.contains(&later.asked)
                });
                prop_assert!(passed.is_none(), "{earlier:?} passed {passed:?}");
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn whatever_moves_and_whatever_is_lost_all_is_answered_once_and_in_order(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step)?;
        }
        world.settle()?;
    }
}
