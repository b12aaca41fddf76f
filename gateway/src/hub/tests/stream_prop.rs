//! Whatever a link loses and repeats, and however sockets block: each session sees each room
//! densely from where it joined, or is told to resume.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use rookery_cluster::Role;
use rookery_proto::{
    ids::SessionId,
    link::packet::Body as Packet,
    v1::{self, ack, server_frame::Frame},
};

use super::fakes::*;
use crate::hub::input::{Input, LinkPacket, Resynced};

const SESSIONS: u64 = 4;
const ROOMS: [&str; 2] = ["a", "b"];

#[derive(Clone, Debug)]
enum Step {
    /// The room appends an event; the link may lose it.
    Append {
        room: usize,
        lost: bool,
        twice: bool,
    },
    /// A command is answered in the room's stream.
    Answer {
        session: u64,
        room: usize,
    },
    Join {
        session: u64,
        room: usize,
    },
    Leave {
        session: u64,
        room: usize,
    },
    /// The owner answers the oldest resync, maybe naming its first session as of who left, or says
    /// it cannot.
    Resync {
        reset: bool,
        refuses: bool,
    },
    /// The link says that it lost something.
    Lost,
    /// The socket takes so many bytes.
    Room {
        session: u64,
        bytes: u64,
    },
    Wait,
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let session = 1..=SESSIONS;
    let room = 0..ROOMS.len();
    prop_oneof![
        8 => (room.clone(), prop::bool::weighted(0.1), prop::bool::weighted(0.1))
            .prop_map(|(room, lost, twice)| Step::Append { room, lost, twice }),
        2 => (session.clone(), room.clone()).prop_map(|(session, room)| Step::Answer { session, room }),
        3 => (session.clone(), room.clone()).prop_map(|(session, room)| Step::Join { session, room }),
        1 => (session.clone(), room).prop_map(|(session, room)| Step::Leave { session, room }),
        3 => (prop::bool::weighted(0.1), prop::bool::weighted(0.1))
            .prop_map(|(reset, refuses)| Step::Resync { reset, refuses }),
        1 => Just(Step::Lost),
        2 => (session, prop_oneof![Just(0u64), 1..200u64, Just(u64::MAX)])
            .prop_map(|(session, bytes)| Step::Room { session, bytes }),
        1 => Just(Step::Wait),
        4 => Just(Step::Flush),
    ]
}

/// What one client knows of one room: the next offset it must see, while it listens.
#[derive(Default)]
struct Reader {
    next: BTreeMap<String, u64>,
}

impl Reader {
    fn see(&mut self, got: Got) -> Result<(), TestCaseError> {
        match got {
            Got::Frame(Frame::Event(event)) => {
                let next = self.next.get_mut(&event.room);
                prop_assert!(
                    next.is_some(),
                    "event {} of {} unasked",
                    event.offset,
                    event.room
                );
                let next = next.expect("is some");
                prop_assert_eq!(event.offset, *next, "room {}", event.room);
                *next += 1;
            }
            Got::Frame(Frame::Ack(ack)) => match ack.result {
                Some(ack::Result::Joined(joined)) => {
                    let room = joined.room.expect("has one").id;
                    self.next.insert(room, joined.head + 1);
                }
                Some(ack::Result::Done(_)) if ack.id.starts_with("leave ") => {
                    self.next.remove(&ack.id["leave ".len()..]);
                }
                // An answer carries the head at its place: all events up to it were seen.
                Some(ack::Result::History(page)) => {
                    if let Some(next) = self.next.get(&page.room) {
                        prop_assert!(*next <= page.head + 1);
                    }
                }
                _ => {}
            },
            Got::Frame(Frame::Notice(notice)) => match notice.body {
                Some(v1::notice::Body::ResumeRoom(resume)) => drop(self.next.remove(&resume.room)),
                Some(v1::notice::Body::LeftRoom(left)) => drop(self.next.remove(&left.room)),
                _ => {}
            },
            Got::Close(code) => prop_assert!(false, "closed {code}"),
            _ => {}
        }
        Ok(())
    }
}

struct World {
    bench: Bench,
    wires: Vec<FakeWire>,
    readers: Vec<Reader>,
    heads: [u64; ROOMS.len()],
}

impl World {
    fn new() -> Self {
        let mut bench = Bench::with(|config| {
            config.heartbeat_interval = std::time::Duration::from_secs(3_000);
            config.commands_burst = 100_000;
        });
        let wires = (1..=SESSIONS)
            .map(|session| bench.login(session, "u"))
            .collect();
        Self {
            bench,
            wires,
            readers: (0..SESSIONS).map(|_| Reader::default()).collect(),
            heads: [0; ROOMS.len()],
        }
    }

    fn link(&mut self, packet: LinkPacket) {
        // Not flushed: steps of one batch pile up until `Flush`.
        self.bench.worker.handle(Input::Link {
            from: node(Role::Rooms),
            packets: vec![packet],
        });
    }

    fn ask(&mut self, session: u64, id: &str, command: v1::client_frame::Command) -> Option<u64> {
        let before: Vec<_> = self.bench.uplink.packets.borrow_mut().drain(..).collect();
        self.bench.worker.handle(Input::Command {
            session: SessionId(session),
            id: id.to_owned(),
            command,
        });
        let mut packets = self.bench.uplink.packets.borrow_mut();
        let asked = packets.drain(..).find_map(|(_, packet)| match packet {
            Packet::RoomRequest(request) => Some(request.request),
            _ => None,
        });
        packets.extend(before);
        asked
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Append { room, lost, twice } => {
                self.heads[room] += 1;
                for _ in 0..usize::from(!lost) + usize::from(twice) {
                    self.link(event(ROOMS[room], 1, self.heads[room]));
                }
            }
            Step::Answer { session, room } => {
                if let Some(number) = self.ask(session, "1", send(ROOMS[room], "x")) {
                    let page = v1::HistoryPage {
                        room: ROOMS[room].to_owned(),
                        head: self.heads[room],
                        ..v1::HistoryPage::default()
                    };
                    self.link(reply(number, acked(ack::Result::History(page))));
                }
            }
            Step::Join { session, room } => {
                if let Some(number) = self.ask(session, "1", join(ROOMS[room])) {
                    self.link(reply(number, joined(ROOMS[room], 1, self.heads[room])));
                }
            }
            Step::Leave { session, room } => {
                let leave = v1::Leave {
                    room: ROOMS[room].to_owned(),
                    session_only: true,
                };
                let id = format!("leave {}", ROOMS[room]);
                let command = v1::client_frame::Command::Leave(leave);
                if let Some(number) = self.ask(session, &id, command) {
                    self.link(reply(number, acked(ack::Result::Done(v1::Done {}))));
                }
            }
            Step::Resync { reset, refuses } => self.answer_resync(reset, refuses),
            Step::Lost => self.link(LinkPacket::Lost),
            Step::Room { session, bytes } => {
                self.wires[session as usize - 1].set_room(bytes);
                self.bench.worker.handle(Input::Writable {
                    session: SessionId(session),
                });
            }
            Step::Wait => self.bench.wait(2_100),
            Step::Flush => self.flush()?,
        }
        Ok(())
    }

    fn answer_resync(&mut self, reset: bool, refuses: bool) {
        let next = self.bench.uplink.packets.borrow_mut().pop_front();
        if let Some((_, Packet::RoomResync(resync))) = next {
            let room = ROOMS
                .iter()
                .position(|room| *room == resync.room)
                .expect("known");
            let head = self.heads[room];
            if let Some(first) = resync.sessions.first().filter(|_| refuses) {
                self.link(room_refused(&resync, 1, &[first.session]));
            }
            if reset {
                self.link(LinkPacket::Resynced(Arc::new(Resynced {
                    number: resync.number,
                    room: resync.room,
                    epoch: 1,
                    head,
                    reset: true,
                    events: Vec::new(),
                })));
            } else {
                self.link(resynced(&resync, 1, head));
            }
        }
    }

    fn flush(&mut self) -> Result<(), TestCaseError> {
        self.bench.worker.flush();
        for (wire, reader) in self.wires.iter().zip(&mut self.readers) {
            for got in wire.got() {
                reader.see(got)?;
            }
        }
        Ok(())
    }

    /// Lets everything heal: in the end each listener is at the head.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for session in 1..=SESSIONS {
            self.step(Step::Room {
                session,
                bytes: u64::MAX,
            })?;
        }
        self.link(LinkPacket::Lost);
        for _ in 0..10 {
            while !self.bench.uplink.packets.borrow().is_empty() {
                self.answer_resync(false, false);
            }
            self.bench.wait(2_100);
        }
        self.flush()?;
        for reader in &self.readers {
            for (room, next) in &reader.next {
                let at = ROOMS.iter().position(|known| known == room).expect("known");
                prop_assert_eq!(*next, self.heads[at] + 1, "room {} not whole", room);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn every_session_sees_its_rooms_densely(steps in prop::collection::vec(step(), 1..150)) {
        let mut world = World::new();
        for step in steps {
            world.step(step)?;
        }
        world.settle()?;
    }
}
