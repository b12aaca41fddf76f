//! The embedded adapter.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    shard::Shard,
};

use crate::{
    CursorRow, EpochList, Incarnation, LogRow, MarkRow, MemberRow, RoomRow, RoomWrite, SentRow,
    Store, StoreError, UserRoomRow, UserRow,
};

/// Where the database is.
#[derive(Clone, Debug)]
pub struct SqliteConfig {
    /// The database file. Its folder must exist.
    pub path: PathBuf,
}

impl SqliteConfig {
    /// The defaults, for a database at that path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

/// Why a database was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {}

/// What [`SqliteStore::check`] found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// What is not sound, one line each.
    pub problems: Vec<String>,
}

/// The store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {}

impl SqliteStore {
    /// Opens or creates a database.
    ///
    /// # Errors
    /// [`OpenError`] names what is wrong.
    pub fn open(_config: SqliteConfig) -> Result<Self, OpenError> {
        Ok(Self {})
    }

    /// Checks a database that no process has open.
    ///
    /// # Errors
    /// [`OpenError`] names what is wrong.
    pub fn check(_path: &Path) -> Result<CheckReport, OpenError> {
        Ok(CheckReport::default())
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn durability(&self) -> String {
        String::new()
    }
    fn commits_in_flight_max(&self) -> usize {
        2
    }
    async fn register_node(&self, _: &str, _: Incarnation) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }
    async fn take_shard(&self, _: Shard, _: &str, _: Incarnation) -> Result<Epoch, StoreError> {
        Err(StoreError::Closed)
    }
    async fn is_fenced(&self, _: Incarnation) -> Result<bool, StoreError> {
        Err(StoreError::Closed)
    }
    async fn commit(&self, _: &[RoomWrite]) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }
    async fn room_epochs(&self, _: &RoomId) -> Result<EpochList, StoreError> {
        Err(StoreError::Closed)
    }
    async fn put_room_epochs(&self, _: &RoomId, _: &EpochList) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }
    async fn log_tail(&self, _: &RoomId, _: u32) -> Result<Vec<LogRow>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn log_range(&self, _: &RoomId, _: Offset, _: Offset) -> Result<Vec<LogRow>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn marks(&self, _: &RoomId, _: Offset, _: Offset) -> Result<Vec<MarkRow>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn deletions(&self, _: &RoomId) -> Result<Vec<(Offset, Offset, Epoch)>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn settings(&self, _: &RoomId) -> Result<Vec<RoomRow>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn members(&self, _: &RoomId) -> Result<Vec<MemberRow>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn cursors(&self, _: &RoomId) -> Result<Vec<CursorRow>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn sent_ids(
        &self,
        _: &RoomId,
        _: &UserId,
        _: u64,
        _: u32,
    ) -> Result<Vec<SentRow>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn sent_id(&self, _: &RoomId, _: &UserId, _: &str) -> Result<Vec<SentRow>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn user_rooms(
        &self,
        _: &UserId,
        _: Option<&RoomId>,
        _: u32,
    ) -> Result<Vec<UserRoomRow>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn user(&self, _: &UserId) -> Result<UserRow, StoreError> {
        Err(StoreError::Closed)
    }
    async fn put_last_seen(&self, _: &UserId, _: u64) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }
    async fn expire_sent_ids(&self, _: u64, _: u32) -> Result<u64, StoreError> {
        Err(StoreError::Closed)
    }
    async fn close(&self) {}
}
