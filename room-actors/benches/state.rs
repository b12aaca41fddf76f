//! What a send costs: in the machine alone, through the whole node with and without a disk, and
//! beside the bare store writing the same rows in the same transactions.
//!
//! `cargo bench -p rookery-room-actors --features bench [-- SENDS]`

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use rookery_cluster::{
    Bus, EndpointId, InProcessBus, Inbound, Inbox, Links, Ownership, Role, SingleNode, SystemClock,
};
use rookery_persistence::{
    Claim, CursorRow, EpochList, Incarnation, LogRow, MarkRow, MemberRow, RoomRow, RoomWrite,
    SentRow, ShardKind, SqliteConfig, SqliteStore, Store, StoreError, TakeFrom, UserRoomRow,
    UserRow, ownership::Owner,
};
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    link::{self, packet::Body, reply, room_request::Command},
    shard::Shard,
    v1,
};
use rookery_room_actors::{RoomLimits, RoomsConfig, RoomsPorts, bench::Machine, start};

const TEXT: &str = "a message of about the length that people write when they chat, says the bench";
const GATEWAY: u64 = 9;

/// As the server does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let sends: u64 = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(40_000);
    machine_alone(sends * 10);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        for (rooms, senders) in [(1, 20), (1, 200), (64, 200), (64, 2_000)] {
            without_disk(rooms, senders, sends * 2).await;
            with_disk(rooms, senders, sends).await;
        }
    });
}

fn machine_alone(sends: u64) {
    for group in [1, 16, 128] {
        let mut machine = Machine::new(200);
        machine.send(10_000, group, TEXT);
        let (began, cpu) = (Instant::now(), cpu_time());
        machine.send(sends, group, TEXT);
        report(
            &format!("machine alone, groups of {group}"),
            sends,
            began.elapsed(),
            cpu_time() - cpu,
        );
    }
}

async fn without_disk(rooms: usize, senders: usize, sends: u64) {
    let store = Recorder::new(None);
    let (took, cpu) =
        through_node(Arc::clone(&store) as Arc<dyn Store>, rooms, senders, sends).await;
    report(
        &format!("node without disk, {rooms} rooms, {senders} senders"),
        sends,
        took,
        cpu,
    );
}

async fn with_disk(rooms: usize, senders: usize, sends: u64) {
    let name = format!("{rooms} rooms, {senders} senders");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Recorder::new(Some(open(&dir, "node.db")));
    let (took, cpu) =
        through_node(Arc::clone(&store) as Arc<dyn Store>, rooms, senders, sends).await;
    report(&format!("node with SQLite, {name}"), sends, took, cpu);
    let transactions = store.transactions();
    let raw = open(&dir, "raw.db");
    let already = raw.transactions();
    let (began, cpu) = (Instant::now(), cpu_time());
    let count = transactions.len() as u64;
    // One after the other: two that wait would become one transaction.
    for writes in transactions {
        raw.commit(&writes).await.expect("written");
    }
    assert_eq!(raw.transactions() - already, count, "each of its own");
    let raw_took = began.elapsed();
    report(
        &format!("same rows raw, {name}"),
        sends,
        raw_took,
        cpu_time() - cpu,
    );
    println!(
        "    {:.1} sends a transaction; node reaches {:.2} of the raw rate",
        ratio(sends, count),
        raw_took.as_secs_f64() / took.as_secs_f64()
    );
}

fn open(dir: &tempfile::TempDir, name: &str) -> Arc<SqliteStore> {
    let config = SqliteConfig::new(dir.path().join(name));
    Arc::new(SqliteStore::open(config).expect("a fresh file opens"))
}

/// Sends through bus, link, host, rooms and pipeline; wall and CPU time of the sends.
async fn through_node(
    store: Arc<dyn Store>,
    rooms: usize,
    senders: usize,
    sends: u64,
) -> (Duration, Duration) {
    let bus: Arc<dyn Bus> = Arc::new(InProcessBus::default());
    let me = EndpointId::new(Role::Gateway, GATEWAY);
    let node = EndpointId::new(Role::Rooms, 1);
    let mut inbox = Inbox::open(&bus, &me).await.expect("in process");
    let links = Links::new(Arc::clone(&bus), me, GATEWAY);
    let placement = SingleNode {
        rooms: node.clone(),
        presence: EndpointId::new(Role::Presence, 1),
    };
    let limits = RoomLimits {
        sends_per_second: 1_000_000_000,
        sends_burst: 1_000,
        ..RoomLimits::default()
    };
    let ports = RoomsPorts {
        bus: Arc::clone(&bus),
        links: Links::new(Arc::clone(&bus), node.clone(), 1),
        store,
        placement: Arc::new(placement),
        ownership: Ownership::Alone,
        clock: Arc::new(SystemClock),
    };
    let config = RoomsConfig {
        node: "bench".into(),
        incarnation: Incarnation(1),
        limits,
    };
    let running = start(config, ports).await.expect("starts");
    let link = links.to(&node);
    let ask = |request: u64, room: usize, user: usize, command| {
        link.send(Body::RoomRequest(link::RoomRequest {
            turn: 1,
            request,
            room: format!("room-{room}"),
            caller: Some(caller(user)),
            command: Some(command),
        }));
    };
    for room in 0..rooms {
        let create = v1::CreateRoom {
            kind: v1::room::Kind::Group.into(),
            public: true,
            ..v1::CreateRoom::default()
        };
        ask(0, room, 0, Command::CreateRoom(create));
    }
    answers(&mut inbox, rooms).await;
    for user in 0..senders {
        ask(0, user % rooms, user, Command::Join(v1::Join::default()));
    }
    answers(&mut inbox, senders).await;

    let mut sent = 0;
    let mut send = |user: u64| {
        sent += 1;
        if sent <= sends {
            let user = usize::try_from(user).expect("small");
            let client_id = format!("{sent:016x}");
            let send = v1::Send {
                room: String::new(),
                text: TEXT.into(),
                client_id,
            };
            ask(user as u64, user % rooms, user, Command::Send(send));
        }
    };
    let (began, cpu) = (Instant::now(), cpu_time());
    for user in 0..senders {
        send(user as u64);
    }
    let mut acked = 0;
    while acked < sends {
        for reply in replies(&mut inbox).await {
            assert!(
                matches!(reply.result, Some(reply::Result::Ack(_))),
                "{reply:?}"
            );
            acked += 1;
            send(reply.request);
        }
    }
    let measured = (began.elapsed(), cpu_time() - cpu);
    running.stop(Duration::from_secs(10)).await;
    measured
}

fn caller(user: usize) -> link::Caller {
    link::Caller {
        session: user as u64 + 1,
        user: format!("user-{user}"),
        name: "Name".into(),
        device: String::new(),
        lane: 0,
        grant: link::Grant::None.into(),
    }
}

async fn answers(inbox: &mut Inbox, count: usize) {
    let mut got = 0;
    while got < count {
        got += replies(inbox).await.len();
    }
}

async fn replies(inbox: &mut Inbox) -> Vec<link::Reply> {
    match inbox.next().await.expect("the bus lives") {
        Inbound::Packets { packets, .. } => packets
            .into_iter()
            .filter_map(|packet| match packet.body {
                Some(Body::Reply(reply)) => Some(reply),
                _ => None,
            })
            .collect(),
        Inbound::Opened { .. } | Inbound::Lost { .. } | Inbound::Silent { .. } => Vec::new(),
    }
}

fn ratio(a: u64, b: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench")]
    let ratio = a as f64 / b.max(1) as f64;
    ratio
}

fn report(what: &str, sends: u64, took: Duration, cpu: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench")]
    let sends = sends as f64;
    println!(
        "{what:48} {:>9.0} sends/s  {:>6.2} CPU-us a send",
        sends / took.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / sends
    );
}

/// CPU time of this process, all threads.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live timespec, which the call fills in.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "every Linux has this clock");
    let secs = u64::try_from(time.tv_sec).expect("not negative");
    Duration::new(secs, u32::try_from(time.tv_nsec).expect("below 10^9"))
}

/// Keeps every group, and passes it on when there is a store.
struct Recorder {
    inner: Option<Arc<SqliteStore>>,
    /// By how many transactions the store had made when the group was done.
    groups: Mutex<BTreeMap<u64, Vec<RoomWrite>>>,
}

impl Recorder {
    fn new(inner: Option<Arc<SqliteStore>>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            groups: Mutex::default(),
        })
    }

    /// What was written, as the store's thread made transactions of it: groups that waited together
    /// became one. A group whose task woke late counts with the transaction after its own.
    fn transactions(&self) -> Vec<Vec<RoomWrite>> {
        let groups = std::mem::take(&mut *self.groups.lock().expect("no panic"));
        groups.into_values().collect()
    }
}

/// Without a store: an empty one that forgets.
macro_rules! pass {
    ($self:ident.$call:ident($($arg:expr),*) or $empty:expr) => {
        match &$self.inner {
            Some(inner) => inner.$call($($arg),*).await,
            None => Ok($empty),
        }
    };
}

#[async_trait]
impl Store for Recorder {
    fn durability(&self) -> String {
        "bench".into()
    }
    fn commits_in_flight_max(&self) -> usize {
        self.inner
            .as_ref()
            .map_or(1, |inner| inner.commits_in_flight_max())
    }
    async fn commit(&self, group: &[RoomWrite]) -> Result<(), StoreError> {
        self.commit_as(Incarnation(1), &group.into())
            .await
            .map(drop)
    }
    async fn commit_as(
        &self,
        run: Incarnation,
        group: &Arc<[RoomWrite]>,
    ) -> Result<Option<bool>, StoreError> {
        let Some(inner) = &self.inner else {
            return Ok(Some(false));
        };
        let fenced = inner.commit_as(run, group).await?;
        let mut groups = self.groups.lock().expect("no panic");
        let transaction = groups.entry(inner.transactions()).or_default();
        transaction.extend_from_slice(group);
        Ok(fenced)
    }
    async fn register_node(&self, node: &str, run: Incarnation) -> Result<(), StoreError> {
        pass!(self.register_node(node, run) or ())
    }
    async fn take_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        node: &str,
        run: Incarnation,
        from: TakeFrom,
    ) -> Result<Claim, StoreError> {
        pass!(self.take_shard(kind, shard, node, run, from) or Claim::Taken(Epoch(1)))
    }
    async fn release_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        run: Incarnation,
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        pass!(self.release_shard(kind, shard, run, epoch) or ())
    }
    async fn give_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        owner: Owner,
        node: &str,
        next: Incarnation,
    ) -> Result<bool, StoreError> {
        pass!(self.give_shard(kind, shard, owner, node, next) or true)
    }
    async fn is_fenced(&self, run: Incarnation) -> Result<bool, StoreError> {
        pass!(self.is_fenced(run) or false)
    }
    async fn room_epochs(&self, room: &RoomId) -> Result<EpochList, StoreError> {
        pass!(self.room_epochs(room) or EpochList::default())
    }
    async fn put_room_epochs(&self, room: &RoomId, list: &EpochList) -> Result<(), StoreError> {
        pass!(self.put_room_epochs(room, list) or ())
    }
    async fn log_tail(&self, room: &RoomId, offsets: u32) -> Result<Vec<LogRow>, StoreError> {
        pass!(self.log_tail(room, offsets) or Vec::new())
    }
    async fn log_range(&self, r: &RoomId, f: Offset, t: Offset) -> Result<Vec<LogRow>, StoreError> {
        pass!(self.log_range(r, f, t) or Vec::new())
    }
    async fn marks(&self, r: &RoomId, f: Offset, t: Offset) -> Result<Vec<MarkRow>, StoreError> {
        pass!(self.marks(r, f, t) or Vec::new())
    }
    async fn deletions(&self, r: &RoomId) -> Result<Vec<(Offset, Offset, Epoch)>, StoreError> {
        pass!(self.deletions(r) or Vec::new())
    }
    async fn settings(&self, room: &RoomId) -> Result<Vec<RoomRow>, StoreError> {
        pass!(self.settings(room) or Vec::new())
    }
    async fn members(&self, room: &RoomId) -> Result<Vec<MemberRow>, StoreError> {
        pass!(self.members(room) or Vec::new())
    }
    async fn cursors(&self, room: &RoomId) -> Result<Vec<CursorRow>, StoreError> {
        pass!(self.cursors(room) or Vec::new())
    }
    async fn sent_ids(
        &self,
        room: &RoomId,
        user: &UserId,
        since_ms: u64,
        limit: u32,
    ) -> Result<Vec<SentRow>, StoreError> {
        pass!(self.sent_ids(room, user, since_ms, limit) or Vec::new())
    }
    async fn sent_id(&self, r: &RoomId, u: &UserId, id: &str) -> Result<Vec<SentRow>, StoreError> {
        pass!(self.sent_id(r, u, id) or Vec::new())
    }
    async fn user_rooms(
        &self,
        user: &UserId,
        after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<UserRoomRow>, StoreError> {
        pass!(self.user_rooms(user, after, limit) or Vec::new())
    }
    async fn user(&self, user: &UserId) -> Result<UserRow, StoreError> {
        pass!(self.user(user) or UserRow::default())
    }
    async fn put_last_seen(&self, user: &UserId, at_ms: u64) -> Result<(), StoreError> {
        pass!(self.put_last_seen(user, at_ms) or ())
    }
    async fn expire_sent_ids(&self, before_ms: u64, limit: u32) -> Result<u64, StoreError> {
        pass!(self.expire_sent_ids(before_ms, limit) or 0)
    }
    async fn close(&self) {
        if let Some(inner) = &self.inner {
            inner.close().await;
        }
    }
}
