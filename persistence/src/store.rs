//! The port: what rooms and presence need of a database.

use std::sync::Arc;

use async_trait::async_trait;
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    shard::Shard,
};

use crate::{
    epochs::EpochList,
    ownership::{Claim, Incarnation, Owner, ShardKind, TakeFrom},
    rows::{
        CursorRow, LogRow, MarkRow, MemberRow, RoomRow, RoomWrite, SentRow, UserRoomRow, UserRow,
    },
};

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It may or may not have happened (timeout, connection lost). Retry the same, or read.
    #[error("outcome unknown: {what}")]
    Unknown {
        /// The operation.
        what: &'static str,
        /// The driver's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It did not happen, and nothing is half done: there is no room for it. Someone must make
    /// some.
    #[error("storage full: {what}")]
    Full {
        /// The operation.
        what: &'static str,
        /// The driver's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It did not happen, and nothing is half done (refused, unreachable).
    #[error("not done: {what}")]
    Failed {
        /// The operation.
        what: &'static str,
        /// The driver's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was read cannot be right. Someone must act.
    #[error("stored data is not sound: {what}")]
    Corrupt {
        /// What is wrong, and where.
        what: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// What rooms and presence need of a database.
///
/// **Order and atomicity.** One [`commit`](Store::commit) is durable when it returns `Ok`, to the
/// promise of [`durability`](Store::durability). It need not be atomic over rooms or rows: owners
/// read back only dense canonical prefixes. A read that starts after a commit returned sees it.
/// **Idempotency.** Every write may be repeated with the same content, in any order, at any later
/// time, and changes nothing then; the epoch is in the key of every row, and cursors keep the
/// largest offset. **Void rows.** Reads return rows of all epochs; readers keep the canonical
/// ones by [`EpochList`]. **Cancel safety.** Dropping a future leaves a write's outcome unknown.
/// **Bounds.** Every read names its limit or is bounded by what one room may hold.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What a returned commit promises, for logs and `/readyz`: one line.
    fn durability(&self) -> String;

    /// How many commits may usefully run at once. At least 1.
    fn commits_in_flight_max(&self) -> usize;

    // ---- ownership (linearizable) --------------------------------------------------------------

    /// Registers one run of a node, not fenced.
    async fn register_node(&self, node: &str, incarnation: Incarnation) -> Result<(), StoreError>;

    /// Takes a shard under an epoch larger than every earlier one of that kind and shard, unless
    /// another has it than `from` allows. The former owner is fenced first, before the epoch is
    /// taken (not when it is the taker itself, nor for [`ShardKind::Presence`]).
    ///
    /// Taking again what the taker has succeeds with a larger epoch, whatever `from` says: so an
    /// unknown outcome is resolved by asking the same again.
    async fn take_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        node: &str,
        incarnation: Incarnation,
        from: TakeFrom,
    ) -> Result<Claim, StoreError>;

    /// Gives a shard back: nobody has it then, and its epoch stays. Does nothing when that
    /// incarnation does not own it under that epoch, so it may be repeated.
    async fn release_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        incarnation: Incarnation,
        epoch: Epoch,
    ) -> Result<(), StoreError>;

    /// Gives a shard to another, which has it then under the next epoch, with nobody fenced. False,
    /// and nothing is done, when that owner does not own it under that epoch; true again when
    /// repeated, while the other has it so.
    async fn give_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        owner: Owner,
        node: &str,
        next: Incarnation,
    ) -> Result<bool, StoreError>;

    /// Whether this incarnation has been fenced (or was never registered).
    async fn is_fenced(&self, incarnation: Incarnation) -> Result<bool, StoreError>;

    // ---- a room's log ------------------------------------------------------------------------

    /// Writes what rooms add, as one group. Durable on `Ok`.
    async fn commit(&self, group: &[RoomWrite]) -> Result<(), StoreError>;

    /// As [`commit`](Store::commit), and tells at once what [`is_fenced`](Store::is_fenced) would
    /// tell of that incarnation when the group was durable; `None`: it must be asked.
    async fn commit_as(
        &self,
        _incarnation: Incarnation,
        group: &Arc<[RoomWrite]>,
    ) -> Result<Option<bool>, StoreError> {
        // A store that knows it only by asking lets its caller ask, and repeat only that.
        self.commit(group).await.map(|()| None)
    }

    /// The winning epoch list; empty for a room that never was.
    async fn room_epochs(&self, room: &RoomId) -> Result<EpochList, StoreError>;

    /// Keeps a whole list. Never changes a list with another last epoch.
    async fn put_room_epochs(&self, room: &RoomId, list: &EpochList) -> Result<(), StoreError>;

    /// All rows of the newest `offsets` offsets (of any epoch), by (offset, epoch). The log has no
    /// gap of [`crate::limits::BUCKET_OFFSETS`] or more: rows above one may be missed.
    async fn log_tail(&self, room: &RoomId, offsets: u32) -> Result<Vec<LogRow>, StoreError>;

    /// All rows with `from <= offset <= to`, by (offset, epoch). The range spans at most
    /// [`crate::limits::LOG_READ_OFFSETS_MAX`] offsets.
    async fn log_range(
        &self,
        room: &RoomId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<LogRow>, StoreError>;

    /// All marks on messages with `from <= target <= to`, by (target, offset, epoch). The range
    /// is bounded as that of [`log_range`](Store::log_range).
    async fn marks(
        &self,
        room: &RoomId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<MarkRow>, StoreError>;

    /// (target, offset, epoch) of every deletion in the room, by target.
    async fn deletions(&self, room: &RoomId) -> Result<Vec<(Offset, Offset, Epoch)>, StoreError>;

    // ---- what a room derives -------------------------------------------------------------------

    /// All versions of the room's settings, by (offset, epoch). Empty: no such room.
    async fn settings(&self, room: &RoomId) -> Result<Vec<RoomRow>, StoreError>;

    /// All versions of all memberships, by (user, offset, epoch).
    async fn members(&self, room: &RoomId) -> Result<Vec<MemberRow>, StoreError>;

    /// The cursors of all users who have one.
    async fn cursors(&self, room: &RoomId) -> Result<Vec<CursorRow>, StoreError>;

    /// The newest sent ids of one user in a room, at most `limit`, newest first, not older than
    /// `since_ms` (milliseconds since the Unix epoch).
    async fn sent_ids(
        &self,
        room: &RoomId,
        user: &UserId,
        since_ms: u64,
        limit: u32,
    ) -> Result<Vec<SentRow>, StoreError>;

    /// All rows of one client id.
    async fn sent_id(
        &self,
        room: &RoomId,
        user: &UserId,
        client_id: &str,
    ) -> Result<Vec<SentRow>, StoreError>;

    // ---- users ---------------------------------------------------------------------------------

    /// The newest row of each room of this user with a room id after `after`, by room id, at most
    /// `limit` rooms (rooms the user has left included).
    async fn user_rooms(
        &self,
        user: &UserId,
        after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<UserRoomRow>, StoreError>;

    /// What is kept of a user; a default row for one never seen.
    async fn user(&self, user: &UserId) -> Result<UserRow, StoreError>;

    /// Keeps when a user was last seen; never moves backwards.
    async fn put_last_seen(&self, user: &UserId, last_seen_ms: u64) -> Result<(), StoreError>;

    // ---- upkeep --------------------------------------------------------------------------------

    /// Removes sent ids older than `before_ms`, at most `limit`; returns how many. (CQL: a TTL.)
    async fn expire_sent_ids(&self, before_ms: u64, limit: u32) -> Result<u64, StoreError>;

    /// Finishes what is queued and releases the database. Later calls return
    /// [`StoreError::Closed`].
    async fn close(&self);
}
