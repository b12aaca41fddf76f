//! A node, its store and a gateway that speaks to it over the bus.

use std::{collections::BTreeMap, sync::Arc};

use prost::Message as _;
use rookery_cluster::{
    Bus, EndpointId, InProcessBus, Inbound, Inbox, Links, Ownership, Role, SingleNode, SystemClock,
};
use rookery_persistence::{Incarnation, SqliteConfig, SqliteStore, Store};
use rookery_proto::{
    errors::Code,
    ids::RoomId,
    link::{self, Packet, packet::Body, reply, room_request::Command},
    v1::{self, ack},
};
use tempfile::TempDir;
use tokio::time::{Duration, timeout};

use super::faults::FaultyStore;
use crate::{RoomLimits, RoomsConfig, RoomsNode, RoomsPorts, start};

/// Longest anything here may take; only reached when something is broken.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);
const GATEWAY: u64 = 9;

pub(super) struct Harness {
    dir: TempDir,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) store: Arc<FaultyStore>,
    pub(super) node: RoomsNode,
    pub(super) rooms: EndpointId,
    limits: RoomLimits,
    incarnation: u64,
    inbox: Inbox,
    links: Links,
    next_request: u64,
    /// Answers nobody asked for yet, and when they came among all answers.
    pub(super) replies: BTreeMap<u64, reply::Result>,
    pub(super) reply_order: Vec<u64>,
    /// Events received, in order.
    pub(super) events: Vec<v1::Event>,
    /// All else.
    pub(super) others: Vec<Body>,
}

impl Harness {
    pub(super) async fn new(limits: RoomLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bus: Arc<dyn Bus> = Arc::new(InProcessBus::default());
        let store = open(&dir);
        let me = EndpointId::new(Role::Gateway, GATEWAY);
        let inbox = Inbox::open(&bus, &me).await.unwrap();
        let links = Links::new(Arc::clone(&bus), me, GATEWAY);
        let (node, rooms) = start_node(&bus, &store, limits, 1).await;
        Self {
            dir,
            bus,
            store,
            node,
            rooms,
            limits,
            incarnation: 1,
            inbox,
            links,
            next_request: 0,
            replies: BTreeMap::new(),
            reply_order: Vec::new(),
            events: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Ends the node at once and starts another over the same file.
    pub(super) async fn restart(mut self) -> Self {
        self.node.abandon();
        self.store.open();
        self.store.close().await;
        drop(self.store);
        self.incarnation += 1;
        self.store = open(&self.dir);
        (self.node, self.rooms) =
            start_node(&self.bus, &self.store, self.limits, self.incarnation).await;
        self
    }

    /// Sends a command; the number of its answer.
    pub(super) fn ask(&mut self, room: &str, user: &str, command: Command) -> u64 {
        self.next_request += 1;
        let request = self.next_request;
        let body = link::RoomRequest {
            turn: 1,
            request,
            room: room.into(),
            caller: Some(caller(user)),
            command: Some(command),
        };
        self.links.to(&self.rooms).send(Body::RoomRequest(body));
        request
    }

    pub(super) fn post(&mut self, body: Body) {
        self.links.to(&self.rooms).send(body);
    }

    pub(super) async fn answer(&mut self, request: u64) -> Result<ack::Result, v1::Error> {
        loop {
            match self.replies.remove(&request) {
                Some(reply::Result::Ack(ack)) => return Ok(ack.result.unwrap()),
                Some(reply::Result::Error(error)) => return Err(error),
                Some(other) => panic!("unexpected {other:?}"),
                None => self.receive().await,
            }
        }
    }

    pub(super) async fn run(
        &mut self,
        room: &str,
        user: &str,
        command: Command,
    ) -> Result<ack::Result, v1::Error> {
        let request = self.ask(room, user, command);
        self.answer(request).await
    }

    /// The same until it is not `UNAVAILABLE` any more.
    pub(super) async fn run_until_available(
        &mut self,
        room: &str,
        user: &str,
        command: Command,
    ) -> Result<ack::Result, v1::Error> {
        timeout(DEADLINE, async {
            loop {
                match self.run(room, user, command.clone()).await {
                    Err(error) if error.code() == Code::Unavailable => {
                        tokio::task::yield_now().await;
                    }
                    other => return other,
                }
            }
        })
        .await
        .expect("available again")
    }

    pub(super) async fn receive(&mut self) {
        let inbound = timeout(DEADLINE, self.inbox.next())
            .await
            .expect("something comes")
            .unwrap();
        let Inbound::Packets { packets, .. } = inbound else {
            return;
        };
        for Packet { body } in packets {
            match body.unwrap() {
                Body::Reply(reply) => {
                    self.reply_order.push(reply.request);
                    self.replies.insert(reply.request, reply.result.unwrap());
                }
                Body::RoomEvent(event) => {
                    self.events.push(v1::Event::decode(event.event).unwrap());
                }
                other => self.others.push(other),
            }
        }
    }

    /// Opens a private group of `a` and `b`, in which `b` listens.
    pub(super) async fn open_room(&mut self, room: &str) {
        self.run(room, "a", create(&["b"])).await.unwrap();
        self.run(room, "b", join()).await.unwrap();
    }

    /// Texts by offset.
    pub(super) async fn history(&mut self, room: &str) -> Vec<(u64, String)> {
        let command = Command::History(v1::History {
            room: room.into(),
            limit: 200,
            from: None,
        });
        let Ok(ack::Result::History(page)) = self.run_until_available(room, "a", command).await
        else {
            panic!("not a page");
        };
        let offsets: Vec<_> = page.events.iter().map(|event| event.offset).collect();
        assert!(
            offsets.windows(2).all(|pair| pair[0] + 1 == pair[1]),
            "dense: {offsets:?}"
        );
        page.events
            .into_iter()
            .filter_map(|event| match event.body {
                Some(v1::event::Body::Message(message)) => Some((event.offset, message.text)),
                _ => None,
            })
            .collect()
    }

    /// Receives until it holds.
    pub(super) async fn eventually(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = timeout(DEADLINE, async {
            while !holds(self) {
                if timeout(Duration::from_millis(5), self.receive())
                    .await
                    .is_err()
                {
                    tokio::task::yield_now().await;
                }
            }
        });
        assert!(waited.await.is_ok(), "{what} did not happen");
    }
}

fn open(dir: &TempDir) -> Arc<FaultyStore> {
    let path = dir.path().join("rookery.db");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(SqliteConfig::new(path)).unwrap());
    FaultyStore::new(store)
}

async fn start_node(
    bus: &Arc<dyn Bus>,
    store: &Arc<FaultyStore>,
    limits: RoomLimits,
    incarnation: u64,
) -> (RoomsNode, EndpointId) {
    let rooms = EndpointId::new(Role::Rooms, incarnation);
    let presence = EndpointId::new(Role::Presence, incarnation);
    let ports = RoomsPorts {
        bus: Arc::clone(bus),
        links: Links::new(Arc::clone(bus), rooms.clone(), incarnation),
        store: Arc::clone(store) as Arc<dyn Store>,
        placement: Arc::new(SingleNode {
            rooms: rooms.clone(),
            presence,
        }),
        ownership: Ownership::Alone,
        clock: Arc::new(SystemClock),
    };
    let config = RoomsConfig {
        node: "test".into(),
        incarnation: Incarnation(incarnation),
        limits,
    };
    (start(config, ports).await.unwrap(), rooms)
}

pub(super) fn caller(user: &str) -> link::Caller {
    link::Caller {
        session: u64::from(user.as_bytes()[0]),
        user: user.into(),
        name: user.to_uppercase(),
        device: String::new(),
        lane: 1,
        grant: link::Grant::None.into(),
    }
}

pub(super) fn create(members: &[&str]) -> Command {
    Command::CreateRoom(v1::CreateRoom {
        kind: v1::room::Kind::Group.into(),
        members: members.iter().map(|&member| member.into()).collect(),
        client_id: "create".into(),
        ..v1::CreateRoom::default()
    })
}

pub(super) fn join() -> Command {
    Command::Join(v1::Join {
        room: String::new(),
        from: None,
        resume: false,
    })
}

pub(super) fn leave() -> Command {
    Command::Leave(v1::Leave {
        room: String::new(),
        session_only: false,
    })
}

pub(super) fn send(text: &str) -> Command {
    Command::Send(v1::Send {
        room: String::new(),
        text: text.into(),
        client_id: text.into(),
    })
}

pub(super) fn typing() -> Command {
    Command::Typing(v1::Typing {
        room: String::new(),
        active: true,
    })
}

pub(super) fn appended(answer: Result<ack::Result, v1::Error>) -> v1::Appended {
    match answer {
        Ok(ack::Result::Appended(appended)) => appended,
        other => panic!("not appended: {other:?}"),
    }
}

pub(super) fn room_id(room: &str) -> RoomId {
    RoomId::parse(room).unwrap()
}
