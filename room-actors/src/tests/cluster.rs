//! Nodes that share the shards of one store: rooms move, and are taken from the dead. In real time,
//! because the store has threads of its own; every wait is for a condition.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, atomic::Ordering},
};

use async_trait::async_trait;
use prost::Message as _;
use rookery_cluster::{
    Bus, ClusterPlacement, EndpointId, InProcessBus, Inbound, Inbox, Links, Liveness,
    LivenessError, LivenessRow, Membership, MembershipConfig, MembershipPorts, Ownership,
    Placement as _, Role, SystemClock, membership,
    placement::rendezvous,
    task::{TaskKind, spawn},
};
use rookery_persistence::{EventKind, Incarnation, SqliteConfig, SqliteStore, Store};
use rookery_proto::{
    errors::Code,
    ids::RoomId,
    link::{self, packet::Body, reply, room_request::Command},
    shard::Shard,
    v1::{self, ack},
};
use tempfile::TempDir;
use tokio::{
    sync::oneshot,
    time::{Duration, timeout},
};

use super::{
    faults::FaultyStore,
    harness::{DEADLINE, caller, create, join, leave, send},
};
use crate::{Health, RoomLimits, RoomsConfig, RoomsNode, RoomsPorts, start};

#[derive(Default)]
struct Table(Mutex<BTreeMap<EndpointId, LivenessRow>>);

#[async_trait]
impl Liveness for Table {
    async fn write(&self, row: LivenessRow) -> Result<(), LivenessError> {
        self.0.lock().unwrap().insert(row.endpoint.clone(), row);
        Ok(())
    }

    async fn read(&self) -> Result<Vec<LivenessRow>, LivenessError> {
        Ok(self.0.lock().unwrap().values().cloned().collect())
    }
}

struct Node {
    rooms: RoomsNode,
    placement: ClusterPlacement,
    endpoint: EndpointId,
    store: Arc<FaultyStore>,
}

/// The nodes' common ground, and one gateway.
struct Cluster {
    bus: Arc<InProcessBus>,
    table: Arc<Table>,
    store: Arc<dyn Store>,
    _dir: TempDir,
    inbox: Inbox,
    links: Links,
    gateway: Membership,
    requests: u64,
    /// Events of the room as its listener has them, by offset.
    heard: BTreeMap<u64, v1::Event>,
    resyncs: u64,
    /// The room that `b` listens to.
    listened: String,
    /// Owner that the listener's last resync went to.
    resynced: Option<EndpointId>,
    refused: Vec<v1::Error>,
    /// Sessions that owners named as no member's.
    named: Vec<u64>,
}

impl Cluster {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rookery.db");
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(SqliteConfig::new(path)).unwrap());
        let bus = Arc::new(InProcessBus::default());
        let carries: Arc<dyn Bus> = bus.clone();
        let me = EndpointId::new(Role::Gateway, 9);
        let inbox = Inbox::open(&carries, &me).await.unwrap();
        let config = MembershipConfig {
            node: "gateway".into(),
            role: Role::Gateway,
            incarnation: 9,
        };
        let ports = MembershipPorts {
            bus: bus.clone(),
            table: None,
        };
        let (gateway, _) = membership::start(config, ports).await.unwrap();
        Self {
            bus,
            table: Arc::default(),
            store,
            _dir: dir,
            inbox,
            links: Links::new(carries, me, 9),
            gateway,
            requests: 0,
            heard: BTreeMap::new(),
            resyncs: 0,
            listened: String::new(),
            resynced: None,
            refused: Vec::new(),
            named: Vec::new(),
        }
    }

    async fn node(&self, incarnation: u64) -> Node {
        let node = format!("node-{incarnation}");
        let config = MembershipConfig {
            node: node.clone(),
            role: Role::Rooms,
            incarnation,
        };
        let ports = MembershipPorts {
            bus: self.bus.clone(),
            table: Some(self.table.clone()),
        };
        let (membership, duties) = membership::start(config, ports).await.unwrap();
        let placement = membership.placement();
        let endpoint = EndpointId::new(Role::Rooms, incarnation);
        let store = FaultyStore::new(Arc::clone(&self.store));
        let bus: Arc<dyn Bus> = self.bus.clone();
        let ports = RoomsPorts {
            links: Links::new(Arc::clone(&bus), endpoint.clone(), incarnation),
            bus,
            store: store.clone(),
            placement: Arc::new(placement.clone()),
            ownership: Ownership::Cluster { membership, duties },
            clock: Arc::new(SystemClock),
        };
        let config = RoomsConfig {
            node,
            incarnation: Incarnation(incarnation),
            limits: RoomLimits {
                sends_per_second: 1_000_000,
                sends_burst: 1_000_000,
                ..RoomLimits::default()
            },
        };
        Node {
            rooms: start(config, ports).await.unwrap(),
            placement,
            endpoint,
            store,
        }
    }

    fn owner(&self, room: &str) -> Option<EndpointId> {
        let placement = self.gateway.placement();
        placement.owner(Role::Rooms, Shard::of(room))
    }

    /// Turns the cluster until it holds.
    async fn eventually(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let waited = timeout(DEADLINE, async {
            while !holds(self) {
                self.turn().await;
            }
        });
        assert!(waited.await.is_ok(), "{what} did not happen");
    }

    /// Receives for a moment; answers are given back. The listener follows the room.
    async fn turn(&mut self) -> Vec<link::Reply> {
        let room = self.listened.clone();
        let owner = self.owner(&room);
        if !room.is_empty() && owner.is_some() && owner != self.resynced {
            self.resync(&room);
        }
        let mut replies = Vec::new();
        let Ok(inbound) = timeout(Duration::from_millis(5), self.inbox.next()).await else {
            return replies;
        };
        let Some(Inbound::Packets { packets, .. }) = inbound else {
            return replies;
        };
        for packet in packets {
            match packet.body.unwrap() {
                Body::Reply(reply) => replies.push(reply),
                Body::RoomEvent(event) => self.hear(&event.event),
                Body::RoomRefused(refused) => self.named.extend(refused.sessions),
                Body::RoomEvents(events) if events.not_owner.is_some() => self.resynced = None,
                Body::RoomEvents(events) => {
                    assert!(!events.reset, "never too far back");
                    events.events.iter().for_each(|event| self.hear(event));
                }
                _ => {}
            }
        }
        replies
    }

    fn hear(&mut self, event: &[u8]) {
        let event = v1::Event::decode(event).unwrap();
        let known = self.heard.get(&event.offset);
        assert!(known.is_none_or(|it| *it == event), "one event an offset");
        self.heard.insert(event.offset, event);
    }

    /// `b` listens at the owner from what it has.
    fn resync(&mut self, room: &str) {
        let Some(owner) = self.owner(room) else {
            return;
        };
        self.resyncs += 1;
        let body = link::RoomResync {
            room: room.into(),
            lane: 1,
            after_offset: self.heard.keys().next_back().copied().unwrap_or(0),
            sessions: vec![caller("b")],
            number: self.resyncs,
            adds: false,
        };
        self.links.to(&owner).send(Body::RoomResync(body));
        self.resynced = Some(owner);
    }

    fn ask(&mut self, room: &str, user: &str, command: Command, owner: &EndpointId) -> u64 {
        self.requests += 1;
        let body = link::RoomRequest {
            request: self.requests,
            turn: self.requests,
            room: room.into(),
            caller: Some(caller(user)),
            command: Some(command),
        };
        self.links.to(owner).send(Body::RoomRequest(body));
        self.requests
    }

    /// Asks whoever owns the room until it is done. Refusals other than "not mine" are kept.
    async fn run(&mut self, room: &str, user: &str, command: Command) -> ack::Result {
        let done = timeout(DEADLINE, async {
            let mut named = None;
            loop {
                let Some(owner) = named.take().or_else(|| self.owner(room)) else {
                    self.turn().await;
                    continue;
                };
                let request = self.ask(room, user, command.clone(), &owner);
                let result = timeout(Duration::from_secs(1), async {
                    loop {
                        let replies = self.turn().await;
                        let mut ours = replies.into_iter().filter(|it| it.request == request);
                        if let Some(reply) = ours.next() {
                            return reply.result.unwrap();
                        }
                    }
                });
                match result.await {
                    Ok(reply::Result::Ack(ack)) => return ack.result.unwrap(),
                    Ok(reply::Result::NotOwner(elsewhere)) if !elsewhere.owner.is_empty() => {
                        named = Some(EndpointId::from_wire(&elsewhere.owner));
                    }
                    Ok(reply::Result::NotOwner(_)) => drop(self.turn().await),
                    Ok(reply::Result::Error(error)) => {
                        assert_eq!(error.code(), Code::Unavailable, "{error:?}");
                        self.refused.push(error);
                        self.turn().await;
                    }
                    // Nobody is there any more.
                    Err(_) => {}
                }
            }
        });
        done.await.expect("done in time")
    }

    async fn open_room(&mut self, room: &str) {
        self.run(room, "a", create(&["b"])).await;
        self.run(room, "b", join()).await;
        self.listened = room.to_owned();
        self.resync(room);
    }

    async fn send(&mut self, room: &str, number: usize) {
        let done = self
            .run(room, "a", send(&format!("message {number}")))
            .await;
        assert!(matches!(done, ack::Result::Appended(_)), "{done:?}");
    }

    /// Every message is in the log once, in the order acknowledged, and the listener has it all.
    async fn check(&mut self, room: &str, sent: usize) {
        let id = RoomId::parse(room).unwrap();
        let tail = self.store.log_tail(&id, 10_000).await;
        let head = tail.unwrap().iter().map(|row| row.offset.0).max();
        let head = head.unwrap();
        self.eventually("the listener has all", |it| {
            it.heard.keys().next_back() == Some(&head)
        })
        .await;
        let offsets: Vec<_> = self.heard.keys().copied().collect();
        let first = offsets[0];
        assert_eq!(offsets, (first..=head).collect::<Vec<_>>(), "no hole");
        let texts: Vec<_> = self
            .heard
            .values()
            .filter_map(|event| match &event.body {
                Some(v1::event::Body::Message(message)) => Some(message.text.clone()),
                _ => None,
            })
            .collect();
        let expected: Vec<_> = (0..sent).map(|it| format!("message {it}")).collect();
        assert_eq!(texts, expected, "each once, in order");
        let epochs: Vec<_> = self.heard.values().map(|event| event.epoch).collect();
        assert!(epochs.is_sorted(), "epochs only grow");
    }
}

/// A room whose shard is `node`'s when these two share all. Its shard is among the first, as shards
/// move one after the other: the last of 256 would wait for most of a minute on a busy machine.
fn room_of(node: &str, other: &str) -> String {
    (0..)
        .map(|number| format!("room-{number}"))
        .find(|room| {
            let shard = Shard::of(room);
            shard.number() < 16
                && rendezvous::weight(node, shard) > rendezvous::weight(other, shard)
        })
        .unwrap()
}

fn owned(placement: &ClusterPlacement, by: &EndpointId) -> usize {
    let owner = |shard| placement.owner(Role::Rooms, shard);
    Shard::all()
        .filter(|it| owner(*it).as_ref() == Some(by))
        .count()
}

#[tokio::test]
async fn room_that_moves_under_its_talk_loses_nothing_and_refuses_nobody() {
    let mut cluster = Cluster::new().await;
    let one = cluster.node(1).await;
    let room = room_of("node-2", "node-1");
    cluster.open_room(&room).await;
    let two = cluster.node(2).await;
    let mut sent = 0;
    let mut after_the_move = 0;
    while after_the_move < 20 {
        cluster.send(&room, sent).await;
        sent += 1;
        after_the_move += usize::from(cluster.owner(&room).as_ref() == Some(&two.endpoint));
    }
    assert!(sent > 20, "it was with the first node before");
    cluster.check(&room, sent).await;
    assert_eq!(cluster.refused, [], "a planned move refuses nobody");
    assert!(!cluster.store.is_fenced(Incarnation(1)).await.unwrap());
    assert_eq!(*one.rooms.health().borrow(), Health::Ready);
}

#[tokio::test]
async fn shard_that_moves_waits_for_what_is_in_flight() {
    let mut cluster = Cluster::new().await;
    let one = cluster.node(1).await;
    let room = room_of("node-2", "node-1");
    cluster.open_room(&room).await;
    cluster.send(&room, 0).await;
    one.store.hold.store(true, Ordering::SeqCst);
    let request = cluster.ask(&room, "a", send("message 1"), &one.endpoint);
    let two = cluster.node(2).await;
    let shard = Shard::of(&room);
    // Others have moved; this one waits.
    cluster
        .eventually("others move", |_| owned(&two.placement, &two.endpoint) > 8)
        .await;
    assert_eq!(
        two.placement.owner(Role::Rooms, shard).as_ref(),
        Some(&one.endpoint)
    );
    one.store.open();
    let acked = timeout(DEADLINE, async {
        loop {
            let replies = cluster.turn().await;
            if let Some(reply) = replies.into_iter().find(|it| it.request == request) {
                return reply.result.unwrap();
            }
        }
    });
    let acked = acked.await.expect("answered");
    assert!(matches!(acked, reply::Result::Ack(_)), "{acked:?}");
    cluster
        .eventually("it moves", |it| {
            it.owner(&room).as_ref() == Some(&two.endpoint)
        })
        .await;
    cluster.send(&room, 2).await;
    cluster.check(&room, 3).await;
}

#[tokio::test]
async fn rooms_of_a_killed_node_go_on_at_another_which_fences_it() {
    let mut cluster = Cluster::new().await;
    let one = cluster.node(1).await;
    let two = cluster.node(2).await;
    let room = room_of("node-1", "node-2");
    cluster.open_room(&room).await;
    cluster
        .eventually("shared", |it| {
            it.owner(&room).as_ref() == Some(&one.endpoint)
        })
        .await;
    for number in 0..10 {
        cluster.send(&room, number).await;
    }
    one.rooms.abandon();
    drop(one.placement);
    for number in 10..20 {
        cluster.send(&room, number).await;
    }
    assert_eq!(cluster.owner(&room), Some(two.endpoint));
    assert!(cluster.store.is_fenced(Incarnation(1)).await.unwrap());
    cluster.check(&room, 20).await;
}

#[tokio::test]
async fn gateway_that_did_not_hear_of_a_leave_is_told_by_the_next_owner() {
    let mut cluster = Cluster::new().await;
    let one = cluster.node(1).await;
    let two = cluster.node(2).await;
    let room = room_of("node-1", "node-2");
    let Command::CreateRoom(create) = create(&["b"]) else {
        unreachable!()
    };
    let create = v1::CreateRoom {
        public: true,
        ..create
    };
    cluster.run(&room, "a", Command::CreateRoom(create)).await;
    cluster.run(&room, "b", leave()).await;
    cluster.send(&room, 0).await;
    // The lane has the session of who left, and nothing past the room's first event.
    let opened = v1::Event {
        offset: 1,
        ..v1::Event::default()
    };
    cluster.heard.insert(1, opened);
    cluster.resynced = Some(one.endpoint.clone());
    cluster.listened.clone_from(&room);
    one.rooms.abandon();
    drop(one.placement);
    cluster
        .eventually("the next owner names it", |it| !it.named.is_empty())
        .await;
    assert_eq!(cluster.owner(&room), Some(two.endpoint));
    assert_eq!(cluster.named, [caller("b").session]);
    cluster
        .eventually("other sessions of the lane go on", |it| {
            it.heard.keys().eq(&[1, 2, 3])
        })
        .await;
    cluster.send(&room, 1).await;
    let id = RoomId::parse(&room).unwrap();
    let log = cluster.store.log_tail(&id, 10).await.unwrap();
    let kinds: Vec<_> = log.iter().map(|row| row.kind).collect();
    assert_eq!(
        kinds,
        [
            EventKind::RoomOpened,
            EventKind::MemberLeft,
            EventKind::Message,
            EventKind::Message
        ],
        "nobody joined"
    );
}

#[tokio::test]
async fn node_that_stops_hands_over_everything_first() {
    let mut cluster = Cluster::new().await;
    let one = cluster.node(1).await;
    let two = cluster.node(2).await;
    let room = room_of("node-1", "node-2");
    cluster.open_room(&room).await;
    cluster
        .eventually("shared", |it| {
            it.owner(&room).as_ref() == Some(&one.endpoint)
        })
        .await;
    cluster.send(&room, 0).await;
    let (stopped, mut report) = oneshot::channel();
    let Node { rooms, .. } = one;
    spawn(TaskKind::Passing, "stop", async move {
        stopped.send(rooms.stop(DEADLINE).await).unwrap();
    });
    let mut sent = 1;
    let report = loop {
        cluster.send(&room, sent).await;
        sent += 1;
        if let Ok(report) = report.try_recv() {
            break report;
        }
    };
    assert_eq!(report.unfinished, 0);
    assert_eq!(cluster.owner(&room).as_ref(), Some(&two.endpoint));
    assert_eq!(owned(&two.placement, &two.endpoint), 512);
    assert_eq!(cluster.refused, [], "a stop refuses nobody");
    assert!(!cluster.store.is_fenced(Incarnation(1)).await.unwrap());
    cluster.check(&room, sent).await;
}

#[tokio::test]
async fn node_whose_shard_was_taken_acknowledges_nothing_and_is_fenced() {
    let mut cluster = Cluster::new().await;
    let one = cluster.node(1).await;
    cluster.open_room("r").await;
    cluster.send("r", 0).await;
    let (kind, shard) = (rookery_persistence::ShardKind::Rooms, Shard::of("r"));
    let from = rookery_persistence::TakeFrom::Owner(Incarnation(1));
    let taken = cluster
        .store
        .take_shard(kind, shard, "other", Incarnation(7), from)
        .await
        .unwrap();
    assert!(matches!(taken, rookery_persistence::Claim::Taken(_)));
    let request = cluster.ask("r", "a", send("void"), &one.endpoint);
    let mut answer = None;
    let mut health = one.rooms.health();
    cluster
        .eventually("fenced", |_| *health.borrow_and_update() == Health::Fenced)
        .await;
    for _ in 0..100 {
        let replies = cluster.turn().await;
        answer = answer.or(replies.into_iter().find(|it| it.request == request));
    }
    if let Some(answer) = answer {
        let result = answer.result.unwrap();
        assert!(!matches!(result, reply::Result::Ack(_)), "{result:?}");
    }
    cluster
        .eventually("it claims nothing", |_| {
            owned(&one.placement, &one.endpoint) == 0
        })
        .await;
}
