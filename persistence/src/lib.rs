//! What Rookery keeps, and the port behind which it is kept.
//!
//! Reading order: [`rows`] are the things stored, [`epochs`] decides which of them count,
//! [`ownership`] who may take a shard, [`store`] is the port ([`Store`]: its documentation is the contract), [`sqlite`] the embedded
//! adapter, `cql` that of a cluster (by the feature of that name, which is on by default), `copy`
//! the way from one into the other.
//! `contract` holds the one suite of cases that every adapter must pass.
//!
//! Invariants:
//! - No row written here ever overwrites a row of another epoch: the epoch is part of the key.
//! - What a void event derived (member, mark, sent id) stays in its own row and is never counted.
//! - Cursors are written only for committed events, so the largest offset is the newest.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
#[cfg(feature = "cql")]
pub mod copy;
#[cfg(feature = "cql")]
pub mod cql;
pub mod epochs;
pub mod limits;
pub mod metrics;
pub mod ownership;
pub mod rows;
pub mod sqlite;
pub mod store;

#[cfg(feature = "cql")]
pub use copy::{CopyError, CopyProgress, CopyReport};
#[cfg(feature = "cql")]
pub use cql::{ConnectError, CqlConfig, CqlCredentials, CqlMigration, CqlStore};
pub use epochs::EpochList;
pub use ownership::{Claim, Incarnation, ShardKind, TakeFrom};
pub use rows::{
    CursorRow, EventKind, LogRow, MarkRow, MemberRow, RoomRow, RoomWrite, SentRow, UserRoomRow,
    UserRow,
};
pub use sqlite::{CheckReport, OpenError, SqliteConfig, SqliteStore};
pub use store::{Store, StoreError};
