//! A presence node on an in-process bus, with gateways and a store that tests hold in hand.

use std::{
    collections::VecDeque,
    future::pending,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use prost::Message as _;
use rookery_cluster::{
    Bus, Clock, EndpointId, InProcessBus, Inbound, Inbox, Links, Ownership, Role, SingleNode,
};
use rookery_persistence::{
    Claim, CursorRow, EpochList, Incarnation, LogRow, MarkRow, MemberRow, RoomRow, RoomWrite,
    SentRow, ShardKind, SqliteConfig, SqliteStore, Store, StoreError, TakeFrom, UserRoomRow,
    UserRow, ownership::Owner,
};
use rookery_presence::{
    PresenceConfig, PresenceNode, PresencePorts, PushEvent, PushRefused, PushSink, start_with_push,
};
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    link::{
        Caller, Reply, SessionClosed, SessionOpened, ToUser, UserDelivery, UserRequest, WatchUser,
        packet::Body, reply, user_delivery, user_request,
    },
    shard::Shard,
    v1::{self, presence::Status},
};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, timeout},
};

pub(crate) const START_MS: u64 = 1_700_000_000_000;
/// Longer than anything a test waits for, in the test's paused time.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a push for this user does to the sink.
pub(crate) const PUSH_THAT_PANICS: &str = "panic";

pub(crate) struct World {
    pub(crate) node: PresenceNode,
    pub(crate) store: Arc<TestStore>,
    pub(crate) pushes: Arc<Pushes>,
    pub(crate) started: Instant,
    bus: Arc<dyn Bus>,
    runs: AtomicU64,
    _folder: tempfile::TempDir,
}

impl World {
    /// A node that knows nothing yet.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(TestStore::open(folder.path()));
        let bus: Arc<dyn Bus> = Arc::new(InProcessBus::default());
        let incarnation = 9;
        let links = Links::new(
            Arc::clone(&bus),
            EndpointId::new(Role::Presence, incarnation),
            incarnation,
        );
        let pushes = Arc::new(Pushes::default());
        let started = Instant::now();
        let ports = PresencePorts {
            bus: Arc::clone(&bus),
            links,
            placement: Arc::new(SingleNode {
                rooms: EndpointId::new(Role::Rooms, 9),
                presence: EndpointId::new(Role::Presence, 9),
            }),
            ownership: Ownership::Alone,
            store: Arc::clone(&store) as Arc<dyn Store>,
            clock: Arc::new(PausedClock { started }),
        };
        let incarnation = Incarnation(incarnation);
        let config = PresenceConfig {
            incarnation,
            ..PresenceConfig::default()
        };
        let node = start_with_push(config, ports, Arc::clone(&pushes) as Arc<dyn PushSink>);
        let node = node.await.unwrap();
        Self {
            node,
            store,
            pushes,
            started,
            bus,
            runs: AtomicU64::new(1),
            _folder: folder,
        }
    }

    /// A node whose gateways had time to announce their sessions.
    pub(crate) async fn known() -> Self {
        let world = Self::new().await;
        pass(11_000).await;
        world
    }

    pub(crate) async fn gateway(&self, incarnation: u64) -> Gateway {
        Gateway::on(&self.bus, incarnation, self.node.endpoint().clone()).await
    }

    /// Sends a notice as a rooms node does.
    pub(crate) fn notify(&self, user: &str, notice: v1::Notice, except_session: u64) {
        let me = EndpointId::new(Role::Rooms, 77);
        // Each notice is the first batch of a run of its own.
        let links = Links::new(
            Arc::clone(&self.bus),
            me,
            self.runs.fetch_add(1, Ordering::Relaxed),
        );
        links.to(self.node.endpoint()).send(Body::ToUser(ToUser {
            user: user.into(),
            notice: Some(notice),
            except_session,
        }));
    }

    pub(crate) fn wall_ms(&self) -> u64 {
        START_MS + u64::try_from(self.started.elapsed().as_millis()).unwrap()
    }

    pub(crate) async fn stored_last_seen(&self, user: &str) -> u64 {
        self.store
            .user(&UserId::parse(user).unwrap())
            .await
            .unwrap()
            .last_seen_ms
    }
}

/// Lets the test's paused time pass.
pub(crate) async fn pass(ms: u64) {
    // Nothing ends the wait but the time.
    let _ = timeout(Duration::from_millis(ms), pending::<()>()).await;
}

/// Waits until the condition holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        pass(50).await;
    }
}

pub(crate) struct Gateway {
    pub(crate) links: Links,
    inbox: Inbox,
    node: EndpointId,
    packets: VecDeque<Body>,
}

impl Gateway {
    /// A gateway that talks to that node.
    pub(crate) async fn on(bus: &Arc<dyn Bus>, incarnation: u64, node: EndpointId) -> Self {
        let me = EndpointId::new(Role::Gateway, incarnation);
        Self {
            inbox: Inbox::open(bus, &me).await.unwrap(),
            links: Links::new(Arc::clone(bus), me, incarnation),
            node,
            packets: VecDeque::new(),
        }
    }

    /// Talks to another node from now on.
    pub(crate) fn turn_to(&mut self, node: &EndpointId) {
        self.node = node.clone();
    }

    pub(crate) fn send(&self, body: Body) {
        self.links.to(&self.node).send(body);
    }

    /// Loses something on the way to the node.
    pub(crate) fn lose_a_packet(&self) {
        let huge = "x".repeat(rookery_cluster::limits::LINK_QUEUE_BYTES_MAX);
        self.send(Body::SessionClosed(SessionClosed {
            user: huge,
            ..SessionClosed::default()
        }));
    }

    pub(crate) fn open(&self, session: u64, user: &str, device: &str) {
        let caller = Some(caller(session, user, device));
        self.send(Body::SessionOpened(SessionOpened {
            caller,
            status: Status::Online.into(),
        }));
    }

    pub(crate) fn close(&self, session: u64, user: &str, watched: &[&str]) {
        let watched = watched.iter().map(|user| (*user).to_owned()).collect();
        self.send(Body::SessionClosed(SessionClosed {
            session,
            user: user.into(),
            watched,
        }));
    }

    pub(crate) fn request(
        &self,
        request: u64,
        caller: Caller,
        user: &str,
        command: Option<user_request::Command>,
    ) {
        let caller = Some(caller);
        self.send(Body::UserRequest(UserRequest {
            request,
            caller,
            user: user.into(),
            command,
        }));
    }

    pub(crate) async fn next(&mut self) -> Body {
        let next = timeout(PATIENCE, self.next_packet()).await;
        next.expect("something is sent")
    }

    async fn next_packet(&mut self) -> Body {
        loop {
            if let Some(body) = self.packets.pop_front() {
                return body;
            }
            if let Inbound::Packets { packets, .. } = self.inbox.next().await.unwrap() {
                self.packets
                    .extend(packets.into_iter().filter_map(|packet| packet.body));
            }
        }
    }

    /// Nothing is sent here for that long.
    pub(crate) async fn quiet(&mut self, ms: u64) {
        if let Ok(body) = timeout(Duration::from_millis(ms), self.next_packet()).await {
            panic!("unexpected {body:?}");
        }
    }

    pub(crate) async fn reply(&mut self) -> Reply {
        match self.next().await {
            Body::Reply(reply) => reply,
            other => panic!("no reply but {other:?}"),
        }
    }

    pub(crate) async fn error(&mut self) -> v1::Error {
        match self.reply().await.result {
            Some(reply::Result::Error(error)) => error,
            other => panic!("no error but {other:?}"),
        }
    }

    pub(crate) async fn ack(&mut self) -> v1::ack::Result {
        match self.reply().await.result {
            Some(reply::Result::Ack(ack)) => ack.result.unwrap(),
            other => panic!("no ack but {other:?}"),
        }
    }

    /// Watches a user and returns what the answer shows.
    pub(crate) async fn watch(&mut self, session: u64, user: &str) -> (Status, u64) {
        let command = user_request::Command::Watch(WatchUser {});
        self.request(session, caller(session, "watcher", ""), user, Some(command));
        let reply = self.reply().await;
        assert_eq!((reply.request, reply.lane), (session, lane(session)));
        match reply.result {
            Some(reply::Result::Ack(v1::Ack {
                result: Some(v1::ack::Result::Presence(list)),
                ..
            })) => {
                assert_eq!(list.users.len(), 1);
                assert_eq!(list.users[0].user, user);
                (list.users[0].status(), list.users[0].last_seen_ms)
            }
            other => panic!("no presence but {other:?}"),
        }
    }

    pub(crate) async fn delivery(&mut self) -> UserDelivery {
        match self.next().await {
            Body::UserDelivery(delivery) => delivery,
            other => panic!("no delivery but {other:?}"),
        }
    }

    /// The next update: to which sessions, and what it shows.
    pub(crate) async fn update(&mut self) -> (Vec<u64>, Status, u64) {
        let delivery = self.delivery().await;
        let Some(user_delivery::Body::Signal(signal)) = delivery.body else {
            panic!("no signal but {delivery:?}");
        };
        match v1::Signal::decode(signal).unwrap().body {
            Some(v1::signal::Body::Presence(presence)) => {
                (delivery.sessions, presence.status(), presence.last_seen_ms)
            }
            other => panic!("no presence but {other:?}"),
        }
    }

    pub(crate) async fn asked_to_announce(&mut self) {
        assert!(matches!(self.next().await, Body::Reannounce(_)));
    }
}

/// What an update shows.
pub(crate) fn status_of(delivery: &UserDelivery) -> Status {
    let Some(user_delivery::Body::Signal(signal)) = &delivery.body else {
        panic!("no signal but {delivery:?}");
    };
    match v1::Signal::decode(signal.clone()).unwrap().body {
        Some(v1::signal::Body::Presence(presence)) => presence.status(),
        other => panic!("no presence but {other:?}"),
    }
}

pub(crate) fn lane(session: u64) -> u32 {
    u32::try_from(session % 2).unwrap()
}

pub(crate) fn caller(session: u64, user: &str, device: &str) -> Caller {
    Caller {
        session,
        user: user.into(),
        name: user.to_uppercase(),
        device: device.into(),
        lane: lane(session),
        grant: 0,
    }
}

struct PausedClock {
    started: Instant,
}

impl Clock for PausedClock {
    fn now_ms(&self) -> u64 {
        START_MS + u64::try_from(self.started.elapsed().as_millis()).unwrap()
    }
}

#[derive(Default)]
pub(crate) struct Pushes {
    taken: Mutex<Vec<PushEvent>>,
}

impl Pushes {
    pub(crate) fn taken(&self) -> Vec<PushEvent> {
        self.taken.lock().unwrap().clone()
    }
}

impl PushSink for Pushes {
    fn push(&self, event: PushEvent) -> Result<(), PushRefused> {
        assert_ne!(event.user.as_str(), PUSH_THAT_PANICS, "a broken sink");
        self.taken.lock().unwrap().push(event);
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    /// Calls wait until the trouble is over.
    Hangs,
    Fails,
}

/// SQLite as presence uses it. Calls run on the runtime's blocking threads: paused time stands
/// still until they return.
pub(crate) struct TestStore {
    pub(crate) sqlite: Arc<SqliteStore>,
    pub(crate) trouble: watch::Sender<Trouble>,
}

impl TestStore {
    /// A new one without trouble in that folder.
    pub(crate) fn open(folder: &Path) -> Self {
        let config = SqliteConfig::new(folder.join("presence.db"));
        Self {
            sqlite: Arc::new(SqliteStore::open(config).unwrap()),
            trouble: watch::Sender::new(Trouble::None),
        }
    }

    async fn call<T, F>(
        &self,
        call: impl FnOnce(Arc<SqliteStore>) -> F + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut trouble = self.trouble.subscribe();
        let now = *trouble
            .wait_for(|trouble| *trouble != Trouble::Hangs)
            .await
            .unwrap();
        if now == Trouble::Fails {
            return Err(StoreError::Failed {
                what: "test",
                source: "told to fail".into(),
            });
        }
        let store = Arc::clone(&self.sqlite);
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || runtime.block_on(call(store)))
            .await
            .unwrap()
    }
}

const NOT_FOR_PRESENCE: &str = "presence does not ask this";

#[async_trait]
impl Store for TestStore {
    async fn user_rooms(
        &self,
        user: &UserId,
        after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<UserRoomRow>, StoreError> {
        let (user, after) = (user.clone(), after.cloned());
        self.call(move |store| async move { store.user_rooms(&user, after.as_ref(), limit).await })
            .await
    }

    async fn user(&self, user: &UserId) -> Result<UserRow, StoreError> {
        let user = user.clone();
        self.call(move |store| async move { store.user(&user).await })
            .await
    }

    async fn put_last_seen(&self, user: &UserId, last_seen_ms: u64) -> Result<(), StoreError> {
        let user = user.clone();
        self.call(move |store| async move { store.put_last_seen(&user, last_seen_ms).await })
            .await
    }

    async fn register_node(&self, node: &str, incarnation: Incarnation) -> Result<(), StoreError> {
        let node = node.to_owned();
        self.call(move |store| async move { store.register_node(&node, incarnation).await })
            .await
    }

    async fn take_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        node: &str,
        incarnation: Incarnation,
        from: TakeFrom,
    ) -> Result<Claim, StoreError> {
        let node = node.to_owned();
        self.call(move |store| async move {
            store
                .take_shard(kind, shard, &node, incarnation, from)
                .await
        })
        .await
    }

    async fn release_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        incarnation: Incarnation,
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        self.call(
            move |store| async move { store.release_shard(kind, shard, incarnation, epoch).await },
        )
        .await
    }

    async fn give_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        owner: Owner,
        node: &str,
        next: Incarnation,
    ) -> Result<bool, StoreError> {
        let node = node.to_owned();
        self.call(
            move |store| async move { store.give_shard(kind, shard, owner, &node, next).await },
        )
        .await
    }

    async fn is_fenced(&self, incarnation: Incarnation) -> Result<bool, StoreError> {
        self.call(move |store| async move { store.is_fenced(incarnation).await })
            .await
    }

    fn durability(&self) -> String {
        self.sqlite.durability()
    }
    fn commits_in_flight_max(&self) -> usize {
        self.sqlite.commits_in_flight_max()
    }
    async fn close(&self) {
        self.sqlite.close().await;
    }
    async fn commit(&self, _: &[RoomWrite]) -> Result<(), StoreError> {
        unreachable!("{NOT_FOR_PRESENCE}")
    }
    async fn room_epochs(&self, _: &RoomId) -> Result<EpochList, StoreError> {
        unreachable!("{NOT_FOR_PRESENCE}")
    }
    async fn put_room_epochs(&self, _: &RoomId, _: &EpochList) -> Result<(), StoreError> {
        unreachable!("{NOT_FOR_PRESENCE}")
    }
    async fn log_tail(&self, _: &RoomId, _: u32) -> Result<Vec<LogRow>, StoreError> {
        unreachable!("{NOT_FOR_PRESENCE}")
    }
    async fn log_range(&self, _: &RoomId, _: Offset, _: Offset) -> Result<Vec<LogRow>, StoreError> {
        unreachable!("{NOT_FOR_PRESENCE}")
    }
    async fn marks(&self, _: &RoomId, _: Offset, _: Offset) -> Result<Vec<MarkRow>, StoreError> {
        unreachable!("{NOT_FOR_PRESENCE}")
    }
    async fn deletions(&self, _: &RoomId) -> Result<Vec<(Offset, Offset, Epoch)>, StoreError> {
        unreachable!("{NOT_FOR_PRESENCE}")
    }
    async fn settings(&self, _: &RoomId) -> Result<Vec<RoomRow>, StoreError> {
        unreachable!("{NOT_FOR_PRESENCE}")
    }
    async fn members(&self, _: &RoomId) -> Result<Vec<MemberRow>, StoreError> {
        unreachable!("{NOT_FOR_PRESENCE}")
    }
    async fn cursors(&self, _: &RoomId) -> Result<Vec<CursorRow>, StoreError> {
        unreachable!("{NOT_FOR_PRESENCE}")
    }
    async fn sent_ids(
        &self,
        _: &RoomId,
        _: &UserId,
        _: u64,
        _: u32,
    ) -> Result<Vec<SentRow>, StoreError> {
        unreachable!("{NOT_FOR_PRESENCE}")
    }
    async fn sent_id(&self, _: &RoomId, _: &UserId, _: &str) -> Result<Vec<SentRow>, StoreError> {
        unreachable!("{NOT_FOR_PRESENCE}")
    }
    async fn expire_sent_ids(&self, _: u64, _: u32) -> Result<u64, StoreError> {
        unreachable!("{NOT_FOR_PRESENCE}")
    }
}
