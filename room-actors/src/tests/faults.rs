//! A store that fails, waits or lies about the outcome when told to.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use rookery_persistence::{
    Claim, CursorRow, EpochList, Incarnation, LogRow, MarkRow, MemberRow, RoomRow, RoomWrite,
    SentRow, ShardKind, Store, StoreError, TakeFrom, UserRoomRow, UserRow, ownership::Owner,
};
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    shard::Shard,
};
use tokio::{
    sync::Semaphore,
    time::{Duration, sleep},
};

/// What happens to one commit.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// Refused, and nothing happened.
    Failed,
    /// Happened, but nobody learns of it.
    HappenedUnknown,
    /// Did not happen, and nobody learns of that.
    LostUnknown,
    /// The disk is slow.
    Slow(Duration),
}

pub(super) struct FaultyStore {
    pub(super) inner: Arc<dyn Store>,
    faults: Mutex<VecDeque<Fault>>,
    /// Commits may begin: one permit each, unless `open`.
    pub(super) commits: Semaphore,
    /// Fence reads may begin: one permit each, unless `open`.
    pub(super) fences: Semaphore,
    pub(super) hold: AtomicBool,
    pub(super) fenced: AtomicBool,
    pub(super) commits_begun: AtomicUsize,
    pub(super) fences_begun: AtomicUsize,
}

impl FaultyStore {
    pub(super) fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            faults: Mutex::default(),
            commits: Semaphore::new(0),
            fences: Semaphore::new(0),
            hold: AtomicBool::new(false),
            fenced: AtomicBool::new(false),
            commits_begun: AtomicUsize::new(0),
            fences_begun: AtomicUsize::new(0),
        })
    }

    /// What happens to the next commits, in order.
    pub(super) fn inject(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    /// From now on nothing waits any more.
    pub(super) fn open(&self) {
        self.hold.store(false, Ordering::SeqCst);
        self.commits.add_permits(1_000);
        self.fences.add_permits(1_000);
    }

    async fn pass(&self, gate: &Semaphore, begun: &AtomicUsize) {
        begun.fetch_add(1, Ordering::SeqCst);
        if self.hold.load(Ordering::SeqCst) {
            gate.acquire().await.unwrap().forget();
        }
    }
}

#[async_trait]
impl Store for FaultyStore {
    fn durability(&self) -> String {
        self.inner.durability()
    }

    fn commits_in_flight_max(&self) -> usize {
        4
    }

    async fn commit(&self, group: &[RoomWrite]) -> Result<(), StoreError> {
        self.pass(&self.commits, &self.commits_begun).await;
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            None => self.inner.commit(group).await,
            Some(Fault::Slow(time)) => {
                sleep(time).await;
                self.inner.commit(group).await
            }
            Some(Fault::Failed) => Err(StoreError::Failed {
                what: "commit",
                source: "injected".into(),
            }),
            Some(Fault::HappenedUnknown) => {
                self.inner.commit(group).await?;
                Err(StoreError::Unknown {
                    what: "commit",
                    source: "injected".into(),
                })
            }
            Some(Fault::LostUnknown) => Err(StoreError::Unknown {
                what: "commit",
                source: "injected".into(),
            }),
        }
    }

    async fn is_fenced(&self, incarnation: Incarnation) -> Result<bool, StoreError> {
        self.pass(&self.fences, &self.fences_begun).await;
        Ok(self.fenced.load(Ordering::SeqCst) || self.inner.is_fenced(incarnation).await?)
    }

    async fn register_node(&self, node: &str, incarnation: Incarnation) -> Result<(), StoreError> {
        self.inner.register_node(node, incarnation).await
    }

    async fn take_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        node: &str,
        incarnation: Incarnation,
        from: TakeFrom,
    ) -> Result<Claim, StoreError> {
        self.inner
            .take_shard(kind, shard, node, incarnation, from)
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
        self.inner.give_shard(kind, shard, owner, node, next).await
    }

    async fn release_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        incarnation: Incarnation,
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        self.inner
            .release_shard(kind, shard, incarnation, epoch)
            .await
    }

    async fn room_epochs(&self, room: &RoomId) -> Result<EpochList, StoreError> {
        self.inner.room_epochs(room).await
    }

    async fn put_room_epochs(&self, room: &RoomId, list: &EpochList) -> Result<(), StoreError> {
        self.inner.put_room_epochs(room, list).await
    }

    async fn log_tail(&self, room: &RoomId, offsets: u32) -> Result<Vec<LogRow>, StoreError> {
        self.inner.log_tail(room, offsets).await
    }

    async fn log_range(
        &self,
        room: &RoomId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<LogRow>, StoreError> {
        self.inner.log_range(room, from, to).await
    }

    async fn marks(
        &self,
        room: &RoomId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<MarkRow>, StoreError> {
        self.inner.marks(room, from, to).await
    }

    async fn deletions(&self, room: &RoomId) -> Result<Vec<(Offset, Offset, Epoch)>, StoreError> {
        self.inner.deletions(room).await
    }

    async fn settings(&self, room: &RoomId) -> Result<Vec<RoomRow>, StoreError> {
        self.inner.settings(room).await
    }

    async fn members(&self, room: &RoomId) -> Result<Vec<MemberRow>, StoreError> {
        self.inner.members(room).await
    }

    async fn cursors(&self, room: &RoomId) -> Result<Vec<CursorRow>, StoreError> {
        self.inner.cursors(room).await
    }

    async fn sent_ids(
        &self,
        room: &RoomId,
        user: &UserId,
        since_ms: u64,
        limit: u32,
    ) -> Result<Vec<SentRow>, StoreError> {
        self.inner.sent_ids(room, user, since_ms, limit).await
    }

    async fn sent_id(
        &self,
        room: &RoomId,
        user: &UserId,
        client_id: &str,
    ) -> Result<Vec<SentRow>, StoreError> {
        self.inner.sent_id(room, user, client_id).await
    }

    async fn user_rooms(
        &self,
        user: &UserId,
        after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<UserRoomRow>, StoreError> {
        self.inner.user_rooms(user, after, limit).await
    }

    async fn user(&self, user: &UserId) -> Result<UserRow, StoreError> {
        self.inner.user(user).await
    }

    async fn put_last_seen(&self, user: &UserId, last_seen_ms: u64) -> Result<(), StoreError> {
        self.inner.put_last_seen(user, last_seen_ms).await
    }

    async fn expire_sent_ids(&self, before_ms: u64, limit: u32) -> Result<u64, StoreError> {
        self.inner.expire_sent_ids(before_ms, limit).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
