//! Why a copy is not made.

use crate::{ConnectError, OpenError, StoreError};

/// Why a copy was not made, or not finished.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source cannot be opened; in use, for example.
    #[error(transparent)]
    Source(#[from] OpenError),
    /// The target cannot be used.
    #[error(transparent)]
    Target(#[from] ConnectError),
    /// Somebody's data is there.
    #[error(
        "the keyspace {keyspace:?} (cql.keyspace) holds other data (in {table}): copy into one \
         that `rookery migrate` has just made"
    )]
    OtherData {
        /// The keyspace.
        keyspace: String,
        /// A table with rows.
        table: &'static str,
    },
    /// Another installation was copied there, or a part of it.
    #[error("the keyspace {keyspace:?} (cql.keyspace) holds a copy of another installation")]
    OtherCopy {
        /// The keyspace.
        keyspace: String,
    },
    /// It was copied, and then somebody went on writing to the source.
    #[error(
        "the keyspace {keyspace:?} (cql.keyspace) holds a finished copy, and a server was started \
         on the source since: what was written then is only there"
    )]
    SourceWentOn {
        /// The keyspace.
        keyspace: String,
    },
    /// Two copies at once.
    #[error("another process copies into the keyspace {keyspace:?} (cql.keyspace)")]
    Concurrent {
        /// The keyspace.
        keyspace: String,
    },
    /// What was read is not what this program writes there.
    #[error("the record of a copy in the keyspace {keyspace:?} is not sound: {record:?}")]
    Record {
        /// The keyspace.
        keyspace: String,
        /// The record.
        record: String,
    },
    /// The source did not answer.
    #[error("cannot read the source")]
    Read(#[source] StoreError),
    /// The target did not do it, asked several times. What was copied is kept.
    #[error("the database did not do it, run the same again to go on")]
    Write(#[source] StoreError),
    /// The copy is not like the source.
    #[error(
        "{whose} differs: {what} are {source_rows} rows in the source (digest \
         {source_digest:016x}), {target_rows} in the copy (digest {target_digest:016x})"
    )]
    Differs {
        /// "room x" or "user x".
        whose: String,
        /// Which rows.
        what: &'static str,
        /// How many the source has.
        source_rows: u64,
        /// XXH3 of them.
        source_digest: u64,
        /// How many the target has.
        target_rows: u64,
        /// XXH3 of them.
        target_digest: u64,
    },
}
