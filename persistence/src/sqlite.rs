//! The embedded adapter: one SQLite file, one process.
//!
//! ```text
//! callers ──queue──► sqlite-writer ──one transaction, one sync──► file-wal ──► file
//!    │                    └─wakes──► sqlite-checkpoint ──copies pages──┘        ▲
//!    └─────queue──► sqlite-reader-1, -2 ────────────────────────────────────────┘
//! ```
//! Reading order: `schema` opens connections, `statements` and `queries` are the SQL,
//! `writer` the group commit, `error` what failures mean, `check` the soundness check.
//!
//! Invariants:
//! - Only the writer thread changes tables; an answer is given only after its sync returned.
//! - A read begins a transaction of its own, so it sees every commit that was answered before.
//! - The lock is held as long as any connection is open.

mod check;
mod checkpoint;
mod error;
#[cfg(feature = "cql")]
pub(crate) mod export;
mod lock;
mod queries;
mod reader;
mod schema;
mod statements;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    shard::Shard,
};
use tokio::sync::{Mutex, mpsc};

pub use self::check::CheckReport;
use self::{
    checkpoint::Checkpoints,
    lock::Lock,
    reader::Readers,
    statements::{Answer, WriteOp},
    writer::Writer,
};
use crate::{
    Claim, CursorRow, EpochList, Incarnation, LogRow, MarkRow, MemberRow, RoomRow, RoomWrite,
    SentRow, ShardKind, Store, StoreError, TakeFrom, UserRoomRow, UserRow, limits,
    ownership::Owner,
};

/// Where the database is, and how large it may become.
#[derive(Clone, Debug)]
pub struct SqliteConfig {
    /// The database file; made when missing, its folder must exist. Beside it are kept `-wal`,
    /// `-shm` and `.lock`.
    pub path: PathBuf,
    /// Bytes the database may have (without its log); `None`: as many as the disk holds. Past
    /// it, writes fail as on a full disk, and reads go on.
    pub bytes_max: Option<u64>,
}

impl SqliteConfig {
    /// The defaults, for a database at that path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            bytes_max: None,
        }
    }
}

/// Why a database was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or this one, has it open.
    #[error("the database {} is in use by {holder}", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
        /// "process 123", as far as known.
        holder: String,
    },
    /// The lock file cannot be made or locked.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder of the database cannot be read or made durable.
    #[error("cannot use the folder of {}", path.display())]
    Folder {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// SQLite cannot use the file.
    #[error("cannot open the database {}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The file is a database of another program.
    #[error("the database {} was not made by rookery", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// A newer program has been here.
    #[error(
        "the database {} has schema version {found}, this program knows up to {known}: \
         use a newer rookery",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A migration failed and was rolled back.
    #[error("cannot bring the database {} to schema version {number}", path.display())]
    Migration {
        /// The database.
        path: PathBuf,
        /// The migration.
        number: u32,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A thread did not start.
    #[error("cannot start a thread for the database {}", path.display())]
    Thread {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What every thread with a connection keeps until that is closed. Dropped in this order.
#[derive(Clone, Debug)]
struct Hold {
    _lock: Arc<Lock>,
    _ended: mpsc::Sender<Infallible>,
}

/// The store in one SQLite file.
///
/// Dropping it without [`close`](Store::close) finishes what is queued too, but nobody waits.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    /// Ends when the last thread has.
    ended: Mutex<mpsc::Receiver<Infallible>>,
}

impl SqliteStore {
    /// Opens or creates a database, and migrates it. Blocks for some file operations.
    ///
    /// # Errors
    /// [`OpenError`] names what is wrong. Nothing was changed then, except by migrations that
    /// succeeded.
    pub fn open(config: SqliteConfig) -> Result<Self, OpenError> {
        let path = config.path.as_path();
        let lock = Arc::new(Lock::take(path)?);
        let failed = |source| OpenError::Database {
            path: path.to_owned(),
            source,
        };
        let no_thread = |source| OpenError::Thread {
            path: path.to_owned(),
            source,
        };
        let connection = schema::open_writer(path)?;
        if let Some(bytes) = config.bytes_max {
            schema::bound(&connection, Some(bytes)).map_err(failed)?;
        }
        let (ended_sender, ended) = mpsc::channel(1);
        let hold = Hold {
            _lock: lock,
            _ended: ended_sender,
        };
        let reading = (0..limits::SQLITE_READERS).map(|_| schema::open_reader(path));
        let reading = reading.collect::<Result<_, _>>()?;
        let checkpoints = Checkpoints::start(schema::open_checkpointer(path)?, hold.clone())
            .map_err(no_thread)?;
        let readers = Readers::start(reading, &hold).map_err(no_thread)?;
        let writer = Writer::start(connection, checkpoints, hold)
            .map_err(no_thread)?
            .map_err(failed)?;
        tracing::info!(database.path = %path.display(), "database opened");
        Ok(Self {
            writer,
            readers,
            ended: Mutex::new(ended),
        })
    }

    /// Checks a database that no process has open, without changing it: the file, the schema,
    /// and what rooms rely on. Blocks as long as reading the whole file takes.
    ///
    /// # Errors
    /// [`OpenError`] when it cannot be checked; [`OpenError::InUse`] when a server has it open.
    pub fn check(path: &Path) -> Result<CheckReport, OpenError> {
        check::check(path)
    }

    /// Changes [`SqliteConfig::bytes_max`] while running. A limit below the present size is
    /// raised to that by SQLite.
    ///
    /// # Errors
    /// As any write.
    pub async fn set_bytes_max(&self, bytes: Option<u64>) -> Result<(), StoreError> {
        self.writer
            .write(WriteOp::SetBytesMax(bytes))
            .await
            .map(drop)
    }

    /// Transactions committed since it was opened: with several writes each when many wait.
    #[must_use]
    pub fn transactions(&self) -> u64 {
        self.writer.transactions()
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn durability(&self) -> String {
        "sqlite, WAL, synchronous=FULL: a returned commit is synced to this machine's disk"
            .to_owned()
    }

    fn commits_in_flight_max(&self) -> usize {
        limits::SQLITE_COMMITS_IN_FLIGHT
    }

    async fn register_node(&self, node: &str, incarnation: Incarnation) -> Result<(), StoreError> {
        let op = WriteOp::RegisterNode {
            node: node.to_owned(),
            incarnation,
        };
        self.writer.write(op).await.map(drop)
    }

    async fn take_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        node: &str,
        incarnation: Incarnation,
        from: TakeFrom,
    ) -> Result<Claim, StoreError> {
        let op = WriteOp::TakeShard {
            kind,
            shard,
            node: node.to_owned(),
            incarnation,
            from,
        };
        match self.writer.write(op).await? {
            Answer::Claim(claim) => Ok(claim),
            Answer::Done | Answer::Count(_) | Answer::Fenced(_) | Answer::HandedOver(_) => {
                unreachable!("taking a shard answers with a claim")
            }
        }
    }

    async fn release_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        incarnation: Incarnation,
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        let owner = Owner { incarnation, epoch };
        let op = WriteOp::HandOver {
            kind,
            shard,
            owner,
            node: String::new(),
            next: owner.released(),
        };
        self.writer.write(op).await.map(drop)
    }

    async fn give_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        owner: Owner,
        node: &str,
        next: Incarnation,
    ) -> Result<bool, StoreError> {
        let op = WriteOp::HandOver {
            kind,
            shard,
            owner,
            node: node.to_owned(),
            next: owner.given(next),
        };
        match self.writer.write(op).await? {
            Answer::HandedOver(done) => Ok(done),
            Answer::Done | Answer::Count(_) | Answer::Fenced(_) | Answer::Claim(_) => {
                unreachable!("giving a shard answers whether it is given")
            }
        }
    }

    async fn is_fenced(&self, incarnation: Incarnation) -> Result<bool, StoreError> {
        self.readers
            .read("read fence", move |connection| {
                queries::is_fenced(connection, incarnation)
            })
            .await
    }

    async fn commit(&self, group: &[RoomWrite]) -> Result<(), StoreError> {
        if group.is_empty() {
            return Ok(());
        }
        self.writer
            .write(WriteOp::Commit(group.to_vec()))
            .await
            .map(drop)
    }

    /// The fence is read in the transaction: who fences is another one, before it or after it.
    async fn commit_as(
        &self,
        incarnation: Incarnation,
        group: &Arc<[RoomWrite]>,
    ) -> Result<Option<bool>, StoreError> {
        let op = WriteOp::CommitAs(incarnation, Arc::clone(group));
        match self.writer.write(op).await? {
            Answer::Fenced(fenced) => Ok(Some(fenced)),
            Answer::Done | Answer::Count(_) | Answer::Claim(_) | Answer::HandedOver(_) => {
                unreachable!("a commit as somebody answers with the fence")
            }
        }
    }

    async fn room_epochs(&self, room: &RoomId) -> Result<EpochList, StoreError> {
        let room = room.clone();
        self.readers
            .read("read room epochs", move |connection| {
                queries::room_epochs(connection, &room)
            })
            .await
    }

    async fn put_room_epochs(&self, room: &RoomId, list: &EpochList) -> Result<(), StoreError> {
        let op = WriteOp::PutRoomEpochs {
            room: room.clone(),
            list: list.clone(),
        };
        self.writer.write(op).await.map(drop)
    }

    async fn log_tail(&self, room: &RoomId, offsets: u32) -> Result<Vec<LogRow>, StoreError> {
        let room = room.clone();
        self.readers
            .read("read log tail", move |connection| {
                queries::log_tail(connection, &room, offsets)
            })
            .await
    }

    async fn log_range(
        &self,
        room: &RoomId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<LogRow>, StoreError> {
        limits::assert_range(from, to);
        let room = room.clone();
        self.readers
            .read("read log", move |connection| {
                queries::log_range(connection, &room, from, to)
            })
            .await
    }

    async fn marks(
        &self,
        room: &RoomId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<MarkRow>, StoreError> {
        limits::assert_range(from, to);
        let room = room.clone();
        self.readers
            .read("read marks", move |connection| {
                queries::marks(connection, &room, from, to)
            })
            .await
    }

    async fn deletions(&self, room: &RoomId) -> Result<Vec<(Offset, Offset, Epoch)>, StoreError> {
        let room = room.clone();
        self.readers
            .read("read deletions", move |connection| {
                queries::deletions(connection, &room)
            })
            .await
    }

    async fn settings(&self, room: &RoomId) -> Result<Vec<RoomRow>, StoreError> {
        let room = room.clone();
        self.readers
            .read("read settings", move |connection| {
                queries::settings(connection, &room)
            })
            .await
    }

    async fn members(&self, room: &RoomId) -> Result<Vec<MemberRow>, StoreError> {
        let room = room.clone();
        self.readers
            .read("read members", move |connection| {
                queries::members(connection, &room)
            })
            .await
    }

    async fn cursors(&self, room: &RoomId) -> Result<Vec<CursorRow>, StoreError> {
        let room = room.clone();
        self.readers
            .read("read cursors", move |connection| {
                queries::cursors(connection, &room)
            })
            .await
    }

    async fn sent_ids(
        &self,
        room: &RoomId,
        user: &UserId,
        since_ms: u64,
        limit: u32,
    ) -> Result<Vec<SentRow>, StoreError> {
        let (room, user) = (room.clone(), user.clone());
        self.readers
            .read("read sent ids", move |connection| {
                queries::sent_ids(connection, &room, &user, since_ms, limit)
            })
            .await
    }

    async fn sent_id(
        &self,
        room: &RoomId,
        user: &UserId,
        client_id: &str,
    ) -> Result<Vec<SentRow>, StoreError> {
        let (room, user, client_id) = (room.clone(), user.clone(), client_id.to_owned());
        self.readers
            .read("read sent id", move |connection| {
                queries::sent_id(connection, &room, &user, &client_id)
            })
            .await
    }

    async fn user_rooms(
        &self,
        user: &UserId,
        after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<UserRoomRow>, StoreError> {
        let (user, after) = (user.clone(), after.cloned());
        self.readers
            .read("read user's rooms", move |connection| {
                queries::user_rooms(connection, &user, after.as_ref(), limit)
            })
            .await
    }

    async fn user(&self, user: &UserId) -> Result<UserRow, StoreError> {
        let user = user.clone();
        self.readers
            .read("read user", move |connection| {
                queries::user(connection, &user)
            })
            .await
    }

    async fn put_last_seen(&self, user: &UserId, last_seen_ms: u64) -> Result<(), StoreError> {
        let op = WriteOp::PutLastSeen {
            user: user.clone(),
            last_seen_ms,
        };
        self.writer.write(op).await.map(drop)
    }

    async fn expire_sent_ids(&self, before_ms: u64, limit: u32) -> Result<u64, StoreError> {
        let op = WriteOp::ExpireSentIds { before_ms, limit };
        match self.writer.write(op).await? {
            Answer::Count(count) => Ok(count),
            Answer::Done | Answer::Claim(_) | Answer::Fenced(_) | Answer::HandedOver(_) => {
                unreachable!("expiry answers with a count")
            }
        }
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        // Every thread holds a sender and none sends: this returns when the last has ended.
        let _: Option<Infallible> = self.ended.lock().await.recv().await;
    }
}
