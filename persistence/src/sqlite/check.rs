//! Is a database sound? For `rookery check`.

use std::path::Path;

use rookery_proto::ids::{Epoch, Offset, RoomId};
use rusqlite::{Connection, Result, types::ValueRef};

use super::{
    OpenError,
    lock::Lock,
    queries::{self, event_kind, number},
    schema,
};
use crate::{EpochList, EventKind, limits};

/// What [`SqliteStore::check`](super::SqliteStore::check) found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// The schema's version.
    pub schema_version: u32,
    /// Whether the next start will migrate it.
    pub schema_outdated: bool,
    /// Rooms with a log.
    pub rooms: u64,
    /// Events that count.
    pub events: u64,
    /// Rows that a takeover voided. They are no problem.
    pub void_rows: u64,
    /// What is not sound, one line each; at most [`limits::CHECK_PROBLEMS_MAX`].
    pub problems: Vec<String>,
    /// Problems beyond those listed.
    pub problems_more: u64,
}

impl CheckReport {
    /// Whether no problem was found.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, text: String) {
        if self.problems.len() < limits::CHECK_PROBLEMS_MAX {
            self.problems.push(text);
        } else {
            self.problems_more += 1;
        }
    }
}

/// Holds the lock meanwhile, so that no server starts on the file.
pub(super) fn check(path: &Path) -> std::result::Result<CheckReport, OpenError> {
    let failed = |source| OpenError::Database {
        path: path.to_owned(),
        source,
    };
    std::fs::metadata(path).map_err(|source| OpenError::Folder {
        path: path.to_owned(),
        source,
    })?;
    let _lock = Lock::take(path)?;
    let connection = schema::open_reader(path)?;
    let mut report = CheckReport {
        schema_version: schema::version(&connection, path)?,
        ..CheckReport::default()
    };
    report.schema_outdated = report.schema_version < schema::VERSION;
    file(&connection, &mut report).map_err(failed)?;
    if report.is_sound() && report.schema_version > 0 {
        lists(&connection, &mut report).map_err(failed)?;
        rooms(&connection, &mut report).map_err(failed)?;
        marks(&connection, &mut report).map_err(failed)?;
    }
    Ok(report)
}

/// SQLite's own look at pages and indexes.
fn file(connection: &Connection, report: &mut CheckReport) -> Result<()> {
    let mut statement = connection.prepare("PRAGMA quick_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let line: String = row.get(0)?;
        if line != "ok" {
            report.problem(format!("file: {line}"));
        }
    }
    Ok(())
}

/// Every stored epoch list can be read, and ends with the epoch of its key.
fn lists(connection: &Connection, report: &mut CheckReport) -> Result<()> {
    let mut statement = connection.prepare("SELECT room, epoch, list FROM room_epochs")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (room, text): (String, String) = (row.get(0)?, row.get(2)?);
        let epoch = Epoch(number(row, 1)?);
        let list = EpochList::from_text(&text);
        if list.and_then(|list| list.last_epoch()) != Some(epoch) {
            report.problem(format!(
                "room {room}: the epoch list of epoch {epoch} is damaged"
            ));
        }
    }
    Ok(())
}

/// The canonical rows of each room are dense from 1, and their message counts are exact.
fn rooms(connection: &Connection, report: &mut CheckReport) -> Result<()> {
    let mut statement = connection.prepare(
        "SELECT room, offset, epoch, kind, message_count FROM room_log
         ORDER BY room, offset, epoch",
    )?;
    let mut rows = statement.query([])?;
    let mut walk: Option<Walk> = None;
    while let Some(row) = rows.next()? {
        let ValueRef::Text(room) = row.get_ref(0)? else {
            report.problem("a row of the log has no room".to_owned());
            continue;
        };
        if walk
            .as_ref()
            .is_none_or(|walk| walk.room.as_bytes() != room)
        {
            let room = String::from_utf8_lossy(room).into_owned();
            report.rooms += 1;
            walk = Some(Walk::begin(connection, room, report));
        }
        let Some(walk) = &mut walk else { continue };
        let (offset, epoch) = (Offset(number(row, 1)?), Epoch(number(row, 2)?));
        if walk.list.is_canonical(offset, epoch) {
            report.events += 1;
            let kind = event_kind(row, 3)?;
            walk.step(offset, kind, number(row, 4)?, report);
        } else {
            report.void_rows += 1;
        }
    }
    Ok(())
}

/// The position in one room's log.
struct Walk {
    room: String,
    list: EpochList,
    last: Offset,
    messages: u64,
}

impl Walk {
    fn begin(connection: &Connection, room: String, report: &mut CheckReport) -> Self {
        let list = match RoomId::parse(&room) {
            // A damaged list has been reported.
            Ok(id) => queries::room_epochs(connection, &id).unwrap_or_default(),
            Err(error) => {
                report.problem(format!("room {room:?}: the id {error}"));
                EpochList::default()
            }
        };
        if list.entries().is_empty() {
            report.problem(format!("room {room}: rows without an epoch list"));
        }
        Self {
            room,
            list,
            last: Offset::ZERO,
            messages: 0,
        }
    }

    fn step(&mut self, offset: Offset, kind: EventKind, count: u64, report: &mut CheckReport) {
        let room = &self.room;
        if offset != self.last.next() {
            report.problem(format!(
                "room {room}: offsets {} to {} are missing before {offset} (lost, or never \
                 acknowledged when writing failed just before a crash)",
                self.last.next(),
                offset.0 - 1,
            ));
        } else if count != self.messages + u64::from(kind == EventKind::Message) {
            report.problem(format!(
                "room {room}: offset {offset} counts {count} messages after {}",
                self.messages
            ));
        }
        (self.last, self.messages) = (offset, count);
    }
}

/// Every row about a message is found by that message too.
fn marks(connection: &Connection, report: &mut CheckReport) -> Result<()> {
    let mut statement = connection.prepare(
        "SELECT room, offset FROM room_log AS log WHERE target != 0 AND NOT EXISTS
         (SELECT 1 FROM room_marks AS mark WHERE mark.room = log.room
          AND mark.target = log.target AND mark.offset = log.offset AND mark.epoch = log.epoch)",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (room, offset): (String, i64) = (row.get(0)?, row.get(1)?);
        report.problem(format!(
            "room {room}: the mark of offset {offset} is missing"
        ));
    }
    Ok(())
}
