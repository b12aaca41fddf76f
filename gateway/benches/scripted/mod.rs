//! A gateway with scripted nodes behind it, for the benches: joins are answered, nothing else.

pub(crate) mod clients;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use prost::Message as _;
use rookery_cluster::{
    Bus, EndpointId, InProcessBus, Inbound, Inbox, LinkSender, Links, Role, SingleNode,
    SystemClock,
    task::{TaskKind, spawn},
};
use rookery_gateway::{Gateway, GatewayConfig, GatewayPorts};
use rookery_proto::{
    link::{self, packet::Body, reply},
    v1::{self, ack},
};

/// Sessions that listen, per room: (lane mask, count).
type Joined = Arc<Mutex<BTreeMap<String, (u64, usize)>>>;

pub(crate) struct Scripted {
    gateway: Gateway,
    bus: Arc<dyn Bus>,
    joined: Joined,
    batches: AtomicU64,
}

pub(crate) async fn start(lanes: usize) -> Scripted {
    let bus: Arc<dyn Bus> = Arc::new(InProcessBus::default());
    let [me, rooms, presence] =
        [Role::Gateway, Role::Rooms, Role::Presence].map(|role| EndpointId::new(role, 7));
    let to_gateway = Links::new(Arc::clone(&bus), rooms.clone(), 7).to(&me);
    let joined = Joined::default();
    let inbox = Inbox::open(&bus, &rooms)
        .await
        .expect("the bus is in process");
    let answering = answer_joins(inbox, to_gateway, Arc::clone(&joined));
    spawn(TaskKind::Service, "scripted rooms", answering);
    let config = GatewayConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        lanes,
        dev: true,
        // Far enough apart that no ping falls into a measurement.
        heartbeat_interval: Duration::from_secs(600),
        ..GatewayConfig::default()
    };
    let ports = GatewayPorts {
        links: Links::new(Arc::clone(&bus), me, 7),
        bus: Arc::clone(&bus),
        placement: Arc::new(SingleNode { rooms, presence }),
        clock: Arc::new(SystemClock),
    };
    let gateway = rookery_gateway::start(config, ports)
        .await
        .expect("the gateway starts");
    Scripted {
        gateway,
        bus,
        joined,
        batches: AtomicU64::new(0),
    }
}

impl Scripted {
    /// Sends events as one batch of a link, so that the gateway gets them at once.
    pub(crate) async fn publish(&self, events: Vec<Body>) {
        let packets = events
            .into_iter()
            .map(|body| link::Packet { body: Some(body) });
        let batch = link::Batch {
            from: EndpointId::new(Role::Rooms, 8).as_str().to_owned(),
            incarnation: 8,
            sequence: 1 + self.batches.fetch_add(1, Ordering::Relaxed),
            packets: packets.collect(),
        };
        let gateway = EndpointId::new(Role::Gateway, 7);
        let sent = self.bus.publish(&gateway, batch.encode_to_vec().into());
        sent.await.expect("the batch is small");
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.gateway.local_addr()
    }

    /// Lanes with listeners of a room.
    pub(crate) fn lanes(&self, room: &str) -> u64 {
        self.joined
            .lock()
            .expect("no panic while held")
            .get(room)
            .map_or(0, |room| room.0)
    }

    /// Waits until so many sessions listen to a room.
    pub(crate) async fn wait_for_listeners(&self, room: &str, count: usize) {
        let listening = || {
            let joined = self.joined.lock().expect("no panic while held");
            joined.get(room).map_or(0, |room| room.1)
        };
        let deadline = Instant::now() + Duration::from_secs(120);
        let mut check = tokio::time::interval(Duration::from_millis(20));
        while listening() < count {
            assert!(
                Instant::now() < deadline,
                "only {} of {count} joined",
                listening()
            );
            check.tick().await;
        }
    }
}

async fn answer_joins(mut inbox: Inbox, link: LinkSender, joined: Joined) {
    while let Some(inbound) = inbox.next().await {
        let Inbound::Packets { packets, .. } = inbound else {
            continue;
        };
        for packet in packets {
            let Some(Body::RoomRequest(request)) = packet.body else {
                continue;
            };
            let lane = request.caller.map_or(0, |caller| caller.lane);
            let mut joined = joined.lock().expect("no panic while held");
            let room = joined.entry(request.room.clone()).or_default();
            *room = (room.0 | 1 << lane, room.1 + 1);
            let result = ack::Result::Joined(v1::Joined {
                epoch: 1,
                room: Some(v1::Room {
                    id: request.room,
                    ..v1::Room::default()
                }),
                ..v1::Joined::default()
            });
            link.send(Body::Reply(link::Reply {
                request: request.request,
                lane,
                result: Some(reply::Result::Ack(v1::Ack {
                    id: String::new(),
                    result: Some(result),
                })),
            }));
        }
    }
}

/// One event of a chat message, as a node sends it.
pub(crate) fn event(room: &str, offset: u64, lanes: u64, text: &str) -> Body {
    let event = v1::Event {
        room: room.to_owned(),
        epoch: 1,
        offset,
        time_ms: 1_700_000_000_000,
        actor: Some(v1::User {
            id: "ada".to_owned(),
            name: "Ada".to_owned(),
        }),
        body: Some(v1::event::Body::Message(v1::Message {
            text: text.to_owned(),
            ..v1::Message::default()
        })),
    };
    Body::RoomEvent(link::RoomEvent {
        room: room.to_owned(),
        epoch: 1,
        offset,
        lanes,
        event: event.encode_to_vec().into(),
        origin: 0,
    })
}

/// As the binary's, with a worker for each core of a small machine.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime starts")
}
