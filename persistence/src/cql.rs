//! The adapter of a cluster: ScyllaDB, or Apache Cassandra, over CQL.
//!
//! ```text
//! commit(group) ──by partition──► unlogged batches ──many in flight──► replicas, LOCAL_QUORUM
//! take_shard, register_node ─────► lightweight transactions ─────────► LOCAL_SERIAL
//! reads ─────────────────────────► page by page, LOCAL_QUORUM
//! ```
//! Reading order: `config`, `connect` (what can be wrong with a database), `schema` (the
//! migrations), `profiles` and `statements`, `writes` (rows into batches), `commit`, `queries`,
//! `ownership` (shards and fences), `error` (what failures mean).
//!
//! Invariants:
//! - A commit returns only when every row of it is at quorum; a read begins at quorum, so it sees
//!   every commit that returned before.
//! - A request is one mutation of one partition. When it may have changed something and its answer
//!   was lost, the outcome is unknown, whatever later attempts said.
//! - No null is bound and nothing is deleted: there are no tombstones but expired sent ids.
//! - The order of timestamps decides nothing, except for cursors and times last seen, whose
//!   timestamp is their value, and heartbeats, whose timestamp counts them. No clock is involved.

mod commit;
mod config;
mod connect;
mod copying;
mod error;
mod ownership;
mod profiles;
mod queries;
mod schema;
mod statements;
mod writes;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    shard::Shard,
};
use scylla::{
    client::{execution_profile::ExecutionProfileHandle, session::Session},
    errors::ExecutionError,
    statement::batch::{Batch, BatchStatement, BatchType},
};
use tokio::{
    sync::{Mutex, RwLock, RwLockReadGuard, Semaphore, SemaphorePermit},
    time::timeout,
};

pub(crate) use self::copying::RecordError;
pub use self::{
    config::{CqlConfig, CqlCredentials},
    connect::ConnectError,
    schema::CqlMigration,
};
use self::{
    error::Attempts, profiles::Profiles, schema::Schema, statements::Statements, writes::Write,
};
use crate::{
    Claim, CursorRow, EpochList, Incarnation, LogRow, MarkRow, MemberRow, RoomRow, RoomWrite,
    SentRow, ShardKind, Store, StoreError, TakeFrom, UserRoomRow, UserRow, copy, limits, metrics,
    ownership::Owner,
};

/// The store in a keyspace of a CQL database.
#[derive(Debug)]
pub struct CqlStore {
    /// `None` once closed. Calls hold it for reading, so closing waits for them.
    open: RwLock<Option<Open>>,
    durability: String,
    /// Numbers heartbeats, so that a late one does not replace a newer.
    heartbeats: AtomicU64,
}

/// What calls work with.
#[derive(Debug)]
struct Open {
    session: Session,
    config: CqlConfig,
    statements: Statements,
    profiles: Profiles,
    /// For requests that wait for the database.
    places: Semaphore,
    /// Incarnations this store knows to be fenced, the newest last. A fence is for ever, so a node
    /// that takes many shards of a dead one fences it once; those who take at once wait for that.
    fenced: Mutex<VecDeque<Incarnation>>,
}

impl CqlStore {
    /// Connects to a database whose schema is up to date, and checks that it can be used.
    ///
    /// # Errors
    /// [`ConnectError`] names what is wrong and the setting to look at.
    pub async fn connect(config: CqlConfig) -> Result<Self, ConnectError> {
        Self::connect_unless(config, true).await
    }

    async fn connect_unless(config: CqlConfig, unless_copying: bool) -> Result<Self, ConnectError> {
        timeout(config.connect_timeout, Self::open(&config, unless_copying))
            .await
            .map_err(|_| connect::timed_out(&config))?
    }

    async fn open(config: &CqlConfig, unless_copying: bool) -> Result<Self, ConnectError> {
        let session = connect::session(config).await?;
        let durability = connect::durability(&session, config)?;
        let profiles = Profiles::new(config);
        let schema = Schema::new(&session, config, &profiles);
        schema.check().await?;
        if unless_copying && copy::is_unfinished(schema.copy_record().await?.as_deref()) {
            return Err(ConnectError::UnfinishedCopy {
                keyspace: config.keyspace.clone(),
            });
        }
        let statements = Statements::prepare(&session, config, &profiles)
            .await
            .map_err(|error| ConnectError::Query {
                what: "prepare statements".to_owned(),
                source: Box::new(error),
            })?;
        let open = Open {
            session,
            config: config.clone(),
            statements,
            profiles,
            places: Semaphore::new(limits::CQL_REQUESTS_IN_FLIGHT_MAX),
            fenced: Mutex::default(),
        };
        open.probe(config).await?;
        tracing::info!(database.keyspace = config.keyspace, "database connected");
        Ok(Self {
            open: RwLock::new(Some(open)),
            durability,
            heartbeats: AtomicU64::new(1),
        })
    }

    /// Makes the keyspace and the tables, or brings them up to date. May be repeated; several
    /// processes may try, one works.
    ///
    /// # Errors
    /// [`ConnectError`]. What was done before stays and is not repeated.
    pub async fn migrate(config: CqlConfig) -> Result<CqlMigration, ConnectError> {
        let session = connect::session(&config).await?;
        let profiles = Profiles::new(&config);
        Schema::new(&session, &config, &profiles).migrate().await
    }

    /// What [`migrate`](Self::migrate) would do. Changes nothing.
    ///
    /// # Errors
    /// Those of `migrate` that can be known before.
    pub async fn plan_migration(config: CqlConfig) -> Result<CqlMigration, ConnectError> {
        let session = connect::session(&config).await?;
        let profiles = Profiles::new(&config);
        Schema::new(&session, &config, &profiles).plan().await
    }

    /// Keeps the heartbeat of an endpoint instead of its former one. A plain write: it may be lost
    /// or come late, but then changes nothing any more. A row that is not written for two hours is
    /// gone. Only one process writes an endpoint, through one store.
    ///
    /// # Errors
    /// As any write.
    pub async fn put_heartbeat(&self, endpoint: &str, heartbeat: &[u8]) -> Result<(), StoreError> {
        let number = self.heartbeats.fetch_add(1, Ordering::Relaxed);
        let write = Write::Heartbeat(endpoint, heartbeat, number);
        self.calls().await?.write("put heartbeat", &[write]).await
    }

    /// The heartbeats of all endpoints, by endpoint. Sees every write that returned before.
    ///
    /// # Errors
    /// As any read.
    pub async fn heartbeats(&self) -> Result<Vec<(String, Bytes)>, StoreError> {
        self.calls().await?.heartbeats().await
    }

    async fn calls(&self) -> Result<RwLockReadGuard<'_, Open>, StoreError> {
        RwLockReadGuard::try_map(self.open.read().await, Option::as_ref)
            .map_err(|_| StoreError::Closed)
    }
}

impl Open {
    const fn schema(&self) -> Schema<'_> {
        Schema::new(&self.session, &self.config, &self.profiles)
    }

    /// Writes a row of no room and runs a transaction about no node, to learn now rather than at
    /// the first message that they are refused.
    async fn probe(&self, config: &CqlConfig) -> Result<(), ConnectError> {
        let refused = |what: &str, keyspace: &str, error| {
            connect::denied(config, &error).unwrap_or_else(|| ConnectError::Query {
                what: format!("{what} the keyspace {keyspace:?}"),
                source: Box::new(error),
            })
        };
        // Not a room id: no room can have this name.
        let (put, row) = (&self.statements.put_head, ("/probe", 0_i64, 1_i64));
        let written = self.session.execute_unpaged(put, row).await;
        let own = config.ownership_keyspace();
        written.map_err(|error| refused("write to (cql.keyspace)", &config.keyspace, error))?;
        let mut tries = limits::CQL_PROBE_TRIES;
        loop {
            // No incarnation is negative; drawn by lot, as many who start at one row would be in
            // each other's way.
            let (fence, nobody) = (&self.statements.fence_node, fastrand::i64(i64::MIN..0));
            let Err(error) = self.session.execute_unpaged(fence, (nobody,)).await else {
                return Ok(());
            };
            tries -= 1;
            if tries == 0 || ownership::is_final(&error) {
                return Err(refused("run a lightweight transaction in", own, error));
            }
        }
    }

    /// Waits for a place among the requests in flight.
    async fn place(&self) -> SemaphorePermit<'_> {
        if let Ok(place) = self.places.try_acquire() {
            return place;
        }
        let _waiting = metrics::request_waiting();
        self.places.acquire().await.expect("it is never closed")
    }

    /// Writes rows of one partition as one request.
    async fn write(&self, what: &'static str, writes: &[Write<'_>]) -> Result<(), StoreError> {
        let attempts = Arc::new(Attempts::default());
        let _place = self.place().await;
        let profile = &self.profiles.write;
        let sent = self.send_batch(writes, profile, Arc::clone(&attempts));
        sent.await.map_err(|error| attempts.failed(what, error))
    }

    async fn send_batch(
        &self,
        writes: &[Write<'_>],
        profile: &ExecutionProfileHandle,
        attempts: Arc<Attempts>,
    ) -> Result<(), ExecutionError> {
        let statements = writes
            .iter()
            .map(|write| BatchStatement::from(write.statement(&self.statements).clone()));
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements.collect());
        batch.set_is_idempotent(true);
        batch.set_execution_profile_handle(Some(profile.clone()));
        batch.set_history_listener(attempts);
        self.session.batch(&batch, writes).await.map(drop)
    }
}

#[async_trait]
impl Store for CqlStore {
    fn durability(&self) -> String {
        self.durability.clone()
    }

    fn commits_in_flight_max(&self) -> usize {
        limits::CQL_COMMITS_IN_FLIGHT
    }

    async fn register_node(&self, node: &str, incarnation: Incarnation) -> Result<(), StoreError> {
        self.calls().await?.register_node(node, incarnation).await
    }

    async fn take_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        node: &str,
        incarnation: Incarnation,
        from: TakeFrom,
    ) -> Result<Claim, StoreError> {
        let open = self.calls().await?;
        open.take_shard((kind, shard), node, incarnation, from)
            .await
    }

    async fn release_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        incarnation: Incarnation,
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        let open = self.calls().await?;
        let owner = Owner { incarnation, epoch };
        open.hand_over((kind, shard), owner, ("", owner.released()))
            .await
            .map(drop)
    }

    async fn give_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        owner: Owner,
        node: &str,
        next: Incarnation,
    ) -> Result<bool, StoreError> {
        let open = self.calls().await?;
        open.hand_over((kind, shard), owner, (node, owner.given(next)))
            .await
    }

    async fn is_fenced(&self, incarnation: Incarnation) -> Result<bool, StoreError> {
        self.calls().await?.is_fenced(incarnation).await
    }

    async fn commit(&self, group: &[RoomWrite]) -> Result<(), StoreError> {
        self.calls().await?.commit(group).await
    }

    async fn room_epochs(&self, room: &RoomId) -> Result<EpochList, StoreError> {
        self.calls().await?.room_epochs(room).await
    }

    async fn put_room_epochs(&self, room: &RoomId, list: &EpochList) -> Result<(), StoreError> {
        let (open, what) = (self.calls().await?, "put room epochs");
        if list.last_epoch().is_none() {
            let source = "an empty epoch list claims nothing".into();
            return Err(StoreError::Failed { what, source });
        }
        open.write(what, &[Write::List(room, list)]).await
    }

    async fn log_tail(&self, room: &RoomId, offsets: u32) -> Result<Vec<LogRow>, StoreError> {
        self.calls().await?.log_tail(room, offsets).await
    }

    async fn log_range(
        &self,
        room: &RoomId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<LogRow>, StoreError> {
        limits::assert_range(from, to);
        self.calls().await?.log_range(room, from, to).await
    }

    async fn marks(
        &self,
        room: &RoomId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<MarkRow>, StoreError> {
        limits::assert_range(from, to);
        self.calls().await?.marks(room, from, to).await
    }

    async fn deletions(&self, room: &RoomId) -> Result<Vec<(Offset, Offset, Epoch)>, StoreError> {
        self.calls().await?.deletions(room).await
    }

    async fn settings(&self, room: &RoomId) -> Result<Vec<RoomRow>, StoreError> {
        self.calls().await?.settings(room).await
    }

    async fn members(&self, room: &RoomId) -> Result<Vec<MemberRow>, StoreError> {
        self.calls().await?.members(room).await
    }

    async fn cursors(&self, room: &RoomId) -> Result<Vec<CursorRow>, StoreError> {
        self.calls().await?.cursors(room).await
    }

    async fn sent_ids(
        &self,
        room: &RoomId,
        user: &UserId,
        since_ms: u64,
        limit: u32,
    ) -> Result<Vec<SentRow>, StoreError> {
        let open = self.calls().await?;
        open.sent_ids(room, user, since_ms, limit).await
    }

    async fn sent_id(
        &self,
        room: &RoomId,
        user: &UserId,
        client_id: &str,
    ) -> Result<Vec<SentRow>, StoreError> {
        self.calls().await?.sent_id(room, user, client_id).await
    }

    async fn user_rooms(
        &self,
        user: &UserId,
        after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<UserRoomRow>, StoreError> {
        self.calls().await?.user_rooms(user, after, limit).await
    }

    async fn user(&self, user: &UserId) -> Result<UserRow, StoreError> {
        self.calls().await?.user(user).await
    }

    async fn put_last_seen(&self, user: &UserId, last_seen_ms: u64) -> Result<(), StoreError> {
        let open = self.calls().await?;
        open.write("put last seen", &[Write::LastSeen(user, last_seen_ms)])
            .await
    }

    /// The database does it: rows have a TTL.
    async fn expire_sent_ids(&self, _: u64, _: u32) -> Result<u64, StoreError> {
        self.calls().await.map(|_| 0)
    }

    async fn close(&self) {
        // Waits for the calls under way; later ones find nothing.
        drop(self.open.write().await.take());
    }
}
