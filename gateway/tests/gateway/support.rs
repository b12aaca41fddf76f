//! A gateway on a free port with scripted rooms and presence behind it, on the in-process bus.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use rookery_cluster::{
    Bus, BusError, ClusterPlacement, EndpointId, InProcessBus, Inbound, Inbox, Links, Owners, Role,
    Subscription, SystemClock, Turns,
    task::{TaskKind, spawn},
};
use rookery_gateway::{Gateway, GatewayConfig, GatewayPorts};
use rookery_proto::{
    ids::Epoch,
    link::{self, packet::Body, reply, room_request, user_request},
    shard::Shard,
    v1::{self, ServerFrame, ack, server_frame::Frame},
};
use tokio::{net::TcpStream, sync::watch, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A room of the script.
#[derive(Default)]
struct Room {
    head: u64,
    /// Its events, encoded.
    log: Vec<Bytes>,
    /// Offsets of the messages that had an id of their client.
    sent: BTreeMap<String, u64>,
    /// (lane, session) of every listener.
    listeners: Vec<(u32, u64)>,
}

/// Scripted rooms and presence: one log, which one of two nodes owns. Rooms called `silent…` never
/// answer.
pub(crate) struct Nodes {
    rooms: Mutex<BTreeMap<String, Room>>,
    turns: Mutex<Turns>,
    links: [Links; 2],
    /// Which of the two, and under which epoch.
    owner: Mutex<(usize, u64)>,
    gateway: EndpointId,
}

/// Loses a message when told to.
#[derive(Default)]
pub(crate) struct LossyBus {
    inner: InProcessBus,
    lose: AtomicBool,
}

impl LossyBus {
    /// The next batch to a gateway that holds packets is lost.
    pub(crate) fn lose_next(&self) {
        self.lose.store(true, Ordering::SeqCst);
    }

    pub(crate) fn has_lost(&self) -> bool {
        !self.lose.load(Ordering::SeqCst)
    }
}

#[async_trait::async_trait]
impl Bus for LossyBus {
    async fn publish(&self, to: &EndpointId, payload: Bytes) -> Result<(), BusError> {
        let holds_packets = || {
            let batch = link::Batch::decode(payload.clone()).expect("a batch");
            !batch.packets.is_empty()
        };
        if to.role() == Some(Role::Gateway)
            && self.lose.load(Ordering::SeqCst)
            && holds_packets()
            && self.lose.swap(false, Ordering::SeqCst)
        {
            return Ok(());
        }
        self.inner.publish(to, payload).await
    }

    async fn subscribe(&self, inbox: &EndpointId) -> Result<Subscription, BusError> {
        self.inner.subscribe(inbox).await
    }
}

pub(crate) struct Cluster {
    pub(crate) gateway: Gateway,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) addr: SocketAddr,
    pub(crate) bus: Arc<LossyBus>,
    owners: watch::Sender<Arc<Owners>>,
}

impl Cluster {
    /// The gateway learns who owns the rooms now; `None`: nobody.
    pub(crate) fn tell(&self) {
        self.owners.send_replace(Arc::new(self.nodes.owners()));
    }

    /// It learns that nobody owns anything.
    pub(crate) fn tell_nobody(&self) {
        self.owners.send_replace(Arc::default());
    }
}

pub(crate) async fn start(change: impl FnOnce(&mut GatewayConfig)) -> Cluster {
    let lossy = Arc::new(LossyBus::default());
    let bus: Arc<dyn Bus> = lossy.clone();
    let me = EndpointId::new(Role::Gateway, 7);
    let links = |role, number| Links::new(Arc::clone(&bus), EndpointId::new(role, number), number);
    let nodes = Arc::new(Nodes {
        rooms: Mutex::default(),
        turns: Mutex::default(),
        links: [7, 8].map(|number| links(Role::Rooms, number)),
        owner: Mutex::new((0, 1)),
        gateway: me.clone(),
    });
    for links in [
        nodes.links[0].clone(),
        nodes.links[1].clone(),
        links(Role::Presence, 7),
    ] {
        let inbox = Inbox::open(&bus, links.me()).await.unwrap();
        let nodes = Arc::clone(&nodes);
        spawn(TaskKind::Service, "scripted node", nodes.run(inbox, links));
    }
    let (owners, known) = watch::channel(Arc::new(nodes.owners()));
    let mut config = GatewayConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        lanes: 2,
        dev: true,
        ..GatewayConfig::default()
    };
    change(&mut config);
    let ports = GatewayPorts {
        links: Links::new(Arc::clone(&bus), me, 7),
        bus,
        placement: Arc::new(ClusterPlacement::new(known)),
        clock: Arc::new(SystemClock),
    };
    let gateway = rookery_gateway::start(config, ports).await.unwrap();
    let addr = gateway.local_addr();
    Cluster {
        gateway,
        nodes,
        addr,
        bus: lossy,
        owners,
    }
}

impl Nodes {
    async fn run(self: Arc<Self>, mut inbox: Inbox, links: Links) {
        while let Some(inbound) = inbox.next().await {
            let packets = match inbound {
                Inbound::Packets { packets, .. } => packets,
                Inbound::Lost { from } => {
                    self.turns.lock().unwrap().lost(&from);
                    links
                        .to(&from)
                        .send(Body::Reannounce(link::Reannounce::default()));
                    continue;
                }
                Inbound::Opened { .. } | Inbound::Silent { .. } => continue,
            };
            for packet in packets {
                match packet.body.unwrap() {
                    Body::RoomRequest(request) => self.on_room_request(&links, request),
                    Body::RoomResync(asked) => self.on_resync(&links, asked),
                    Body::RoomDetach(detach) => {
                        let mut rooms = self.rooms.lock().unwrap();
                        if let Some(room) = rooms.get_mut(&detach.room) {
                            room.listeners
                                .retain(|&(_, session)| session != detach.session);
                        }
                    }
                    Body::UserRequest(request) => {
                        let reply = answer_user(request);
                        links.to(&self.gateway).send(Body::Reply(reply));
                    }
                    _ => {}
                }
            }
        }
    }

    /// The other node goes on with all rooms; the gateway is not told.
    pub(crate) fn move_rooms(&self) {
        let mut rooms = self.rooms.lock().unwrap();
        let mut owner = self.owner.lock().unwrap();
        *owner = (1 - owner.0, owner.1 + 1);
        for room in rooms.values_mut() {
            room.listeners.clear();
        }
    }

    fn owners(&self) -> Owners {
        let (owner, epoch) = *self.owner.lock().unwrap();
        let claims = Shard::all().map(|shard| (shard, Epoch(epoch))).collect();
        let mut owners = Owners::default();
        owners.claim(Role::Rooms, self.links[owner].me(), &claims);
        owners.claim(Role::Presence, &EndpointId::new(Role::Presence, 7), &claims);
        owners
    }

    fn on_resync(&self, links: &Links, asked: link::RoomResync) {
        let mut rooms = self.rooms.lock().unwrap();
        let (owner, epoch) = *self.owner.lock().unwrap();
        if self.links[owner].me() != links.me() {
            return;
        }
        let room = rooms.entry(asked.room.clone()).or_default();
        room.listeners.retain(|&(lane, _)| lane != asked.lane);
        let sessions = asked.sessions.iter().map(|caller| caller.session);
        room.listeners
            .extend(sessions.map(|session| (asked.lane, session)));
        let after = usize::try_from(asked.after_offset).unwrap();
        let body = Body::RoomEvents(link::RoomEvents {
            room: asked.room,
            lane: asked.lane,
            epoch,
            head: room.head,
            events: room.log[after..].to_vec(),
            number: asked.number,
            ..link::RoomEvents::default()
        });
        links.to(&self.gateway).send(body);
    }

    fn on_room_request(&self, links: &Links, request: link::RoomRequest) {
        if request.room.starts_with("silent") {
            return;
        }
        let caller = request.caller.unwrap();
        let mut rooms = self.rooms.lock().unwrap();
        let room = rooms.entry(request.room.clone()).or_default();
        let link = links.to(&self.gateway);
        let (owner, epoch) = *self.owner.lock().unwrap();
        let owned = self.links[owner].me() == links.me();
        let shard = Shard::of(&request.room);
        let mut turns = self.turns.lock().unwrap();
        // Both nodes' turns in one: they refuse the same ones.
        if !turns.admits(&self.gateway, caller.lane, shard, request.turn, owned) {
            let owner = self.links[owner].me().as_str().to_owned();
            let refusal = reply::Result::NotOwner(link::NotOwner { epoch, owner });
            return link.send(Body::Reply(link::Reply {
                request: request.request,
                lane: caller.lane,
                result: Some(refusal),
            }));
        }
        let result = match request.command.unwrap() {
            room_request::Command::Join(_) => {
                room.listeners
                    .retain(|&(_, session)| session != caller.session);
                room.listeners.push((caller.lane, caller.session));
                ack::Result::Joined(v1::Joined {
                    room: Some(v1::Room {
                        id: request.room,
                        ..v1::Room::default()
                    }),
                    head: room.head,
                    epoch,
                    ..v1::Joined::default()
                })
            }
            room_request::Command::Send(send) => {
                let offset = if let Some(&sent) = room.sent.get(&send.client_id) {
                    sent
                } else {
                    link.send(event(&request.room, room, epoch, &send.text));
                    if !send.client_id.is_empty() {
                        room.sent.insert(send.client_id, room.head);
                    }
                    room.head
                };
                ack::Result::Appended(v1::Appended {
                    room: request.room,
                    offset,
                    epoch,
                    ..v1::Appended::default()
                })
            }
            _ => ack::Result::Done(v1::Done {}),
        };
        link.send(Body::Reply(reply(request.request, caller.lane, result)));
    }

    /// Appends `count` events to a room and sends them to its listeners.
    pub(crate) fn publish(&self, room: &str, count: u64, text: &str) {
        let mut rooms = self.rooms.lock().unwrap();
        let state = rooms.entry(room.to_owned()).or_default();
        let (owner, epoch) = *self.owner.lock().unwrap();
        let link = self.links[owner].to(&self.gateway);
        for _ in 0..count {
            link.offer(event(room, state, epoch, text))
                .expect("the link keeps up");
        }
    }

    /// Sessions that listen to a room.
    pub(crate) fn listeners(&self, room: &str) -> usize {
        let rooms = self.rooms.lock().unwrap();
        rooms.get(room).map_or(0, |room| room.listeners.len())
    }
}

fn event(name: &str, room: &mut Room, epoch: u64, text: &str) -> Body {
    room.head += 1;
    let event = v1::Event {
        room: name.to_owned(),
        epoch,
        offset: room.head,
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
    let encoded = Bytes::from(event.encode_to_vec());
    room.log.push(encoded.clone());
    Body::RoomEvent(link::RoomEvent {
        room: name.to_owned(),
        epoch,
        offset: room.head,
        lanes: room
            .listeners
            .iter()
            .fold(0, |mask, &(lane, _)| mask | 1 << lane),
        event: encoded,
        origin: 0,
    })
}

fn reply(request: u64, lane: u32, result: ack::Result) -> link::Reply {
    link::Reply {
        request,
        lane,
        result: Some(reply::Result::Ack(v1::Ack {
            id: String::new(),
            result: Some(result),
        })),
    }
}

fn answer_user(request: link::UserRequest) -> link::Reply {
    let result = match request.command.unwrap() {
        user_request::Command::Rooms(_) => ack::Result::Rooms(v1::RoomPage::default()),
        user_request::Command::Watch(_) => ack::Result::Presence(v1::PresenceList {
            users: vec![v1::Presence {
                user: request.user,
                status: v1::presence::Status::Online.into(),
                last_seen_ms: 0,
            }],
        }),
        _ => ack::Result::Done(v1::Done {}),
    };
    reply(request.request, request.caller.unwrap().lane, result)
}

// ---- clients -----------------------------------------------------------------------------------

/// A client that speaks JSON, through a WebSocket library that is not ours.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What a client sees.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "lives as long as one assertion")]
pub(crate) enum Seen {
    Frame(Frame),
    /// With its code; 1005: none.
    Close(u16),
    /// The connection ended without a close frame.
    End,
}

impl Client {
    /// Connects with this query.
    pub(crate) async fn connect(addr: SocketAddr, query: &str) -> Self {
        let url = format!("ws://{addr}/v1/ws?{query}");
        let connected = timeout(PATIENCE, tokio_tungstenite::connect_async(url)).await;
        let (socket, _) = connected.expect("in time").expect("upgraded");
        Self { socket }
    }

    /// Connects by name and is welcomed.
    pub(crate) async fn login(addr: SocketAddr, name: &str) -> Self {
        let mut client = Self::connect(addr, &format!("name={name}")).await;
        match client.next().await {
            Seen::Frame(Frame::Welcome(_)) => client,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        let message = tungstenite::Message::text(text);
        timeout(PATIENCE, self.socket.send(message))
            .await
            .expect("in time")
            .expect("sent");
    }

    /// The next thing that is no ping.
    pub(crate) async fn next(&mut self) -> Seen {
        loop {
            let message = timeout(PATIENCE, self.socket.next())
                .await
                .expect("in time");
            let frame = match message {
                Some(Ok(tungstenite::Message::Text(text))) => {
                    serde_json::from_str::<ServerFrame>(&text).expect("is a frame")
                }
                Some(Ok(tungstenite::Message::Binary(bytes))) => {
                    ServerFrame::decode(bytes).expect("is a frame")
                }
                Some(Ok(tungstenite::Message::Close(close))) => {
                    return Seen::Close(close.map_or(1005, |close| close.code.into()));
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return Seen::End,
            };
            return Seen::Frame(frame.frame.expect("of a known kind"));
        }
    }

    pub(crate) async fn error(&mut self) -> v1::Error {
        match self.next().await {
            Seen::Frame(Frame::Error(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn ack(&mut self) -> v1::Ack {
        match self.next().await {
            Seen::Frame(Frame::Ack(ack)) => ack,
            other => panic!("{other:?}"),
        }
    }

    /// Skips to the close.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            match self.next().await {
                Seen::Frame(_) => {}
                Seen::Close(code) => return code,
                Seen::End => panic!("no close frame"),
            }
        }
    }

    /// Proves that the connection lives.
    pub(crate) async fn check_alive(&mut self) {
        self.send(r#"{"id":"alive","ping":{}}"#).await;
        loop {
            match self.next().await {
                Seen::Frame(Frame::Ack(ack)) if ack.id == "alive" => return,
                Seen::Frame(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn join(&mut self, room: &str) {
        self.send(&format!(r#"{{"id":"j","join":{{"room":"{room}"}}}}"#))
            .await;
        assert_eq!(self.ack().await.id, "j");
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut check = tokio::time::interval(Duration::from_millis(5));
    while !holds() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not in time: {what}"
        );
        check.tick().await;
    }
}
