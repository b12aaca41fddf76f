//! The history file: what crossed the wire, per client and in time order, one JSON line a record.
//!
//! The first line is the header (`{"rookeryHistory":1,…}`), every other line a [`Record`]. Time is
//! of one monotonic clock per process, taken under the writer's lock, so the order of lines is the
//! order of time. A process killed while writing leaves a torn last line: the reader drops it and
//! says so ([`HistoryReader::torn`]).

mod reader;
mod writer;

use std::{collections::BTreeMap, io, path::PathBuf};

use rookery_proto::v1;
use serde::{Deserialize, Serialize};

use crate::{client::Closed, replica::Replica};
pub use reader::HistoryReader;
pub use writer::HistoryWriter;

/// The version this library writes and reads.
pub const VERSION: u32 = 1;

/// The first line of a history file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`] of the file.
    #[serde(rename = "rookeryHistory")]
    pub version: u32,
    /// Anything worth keeping beside it: seed, workload, server version.
    #[serde(default)]
    pub about: BTreeMap<String, String>,
}

impl Header {
    /// A header of the present version.
    #[must_use]
    pub fn new(about: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            version: VERSION,
            about: about.into_iter().collect(),
        }
    }
}

/// One line: something a client did or saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Microseconds since the history began.
    pub at: u64,
    /// Which client.
    pub client: u32,
    /// Which of the client's connections, from 1; 0 before the first.
    pub session: u32,
    /// What happened.
    pub what: What,
}

/// What a client did or saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum What {
    /// A session was welcomed.
    Opened {
        /// The user, as the server named it.
        user: String,
        /// What the session is for.
        purpose: Purpose,
        /// The server's id of the session.
        session_id: String,
    },
    /// A frame is about to be sent. Its id is unique for the client over all its sessions.
    Sent(Box<v1::ClientFrame>),
    /// A frame came.
    Received(Box<v1::ServerFrame>),
    /// The client no longer waits for the answer to the frame of this id: its outcome is unknown
    /// (an answer that comes later still counts).
    GaveUp {
        /// The frame's id.
        id: String,
    },
    /// The connection ended.
    Closed(Closed),
    /// The client's state of a room, at the end and after everything was delivered.
    Replica(Box<Replica>),
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// It takes part.
    Take,
    /// It reads the final log of each room, after all clients are done: its history pages are
    /// what the rest is judged by.
    Judge,
}

/// The history cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file.
    #[error("cannot use history file {}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The first line is no header.
    #[error("{} does not start with a history header", .0.display())]
    NoHeader(PathBuf),
    /// Written by another version.
    #[error("{} has history version {version}; this build reads {VERSION}", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A line that nobody writes.
    #[error("{} line {line} is longer than {bytes_max} bytes", path.display())]
    LongLine {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// Bytes a line may have.
        bytes_max: u64,
    },
    /// A line, not the last one, that is no record.
    #[error("{} line {line} is not a record", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
}

#[cfg(test)]
mod tests;
