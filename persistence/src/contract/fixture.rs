//! Names that were never used, and rows that are a function of their key.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    v1,
};

use crate::{
    CursorRow, EventKind, Incarnation, LogRow, MarkRow, MemberRow, RoomRow, RoomWrite, SentRow,
};

/// A number no other call has given, in this run or an earlier one.
#[must_use]
pub fn unique() -> u64 {
    static START: OnceLock<u64> = OnceLock::new();
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let start = START.get_or_init(|| {
        let since = SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("the clock is past 1970");
        since.as_micros() as u64
    });
    start * 1_000 + CALLS.fetch_add(1, Ordering::Relaxed)
}

/// A room that was never written.
#[must_use]
pub fn room() -> RoomId {
    RoomId::parse(&format!("contract-{}", unique())).expect("a room id")
}

/// A user who was never written.
#[must_use]
pub fn user() -> UserId {
    user_named(&format!("contract-{}", unique()))
}

/// The user of that name.
#[must_use]
pub fn user_named(name: &str) -> UserId {
    UserId::parse(name).expect("a user id")
}

/// An incarnation that was never written.
#[must_use]
pub fn incarnation() -> Incarnation {
    Incarnation(unique())
}

/// A message.
#[must_use]
pub fn message(offset: u64, epoch: u64) -> LogRow {
    LogRow {
        offset: Offset(offset),
        epoch: Epoch(epoch),
        kind: EventKind::Message,
        message_count: offset,
        target: Offset::ZERO,
        event: event(offset, epoch),
    }
}

/// An event about a message.
#[must_use]
pub fn marking(offset: u64, epoch: u64, kind: EventKind, target: u64) -> LogRow {
    LogRow {
        kind,
        target: Offset(target),
        ..message(offset, epoch)
    }
}

/// The mark that a row with a target is also kept as.
#[must_use]
pub fn mark_of(row: &LogRow) -> MarkRow {
    MarkRow {
        target: row.target,
        offset: row.offset,
        epoch: row.epoch,
        kind: row.kind,
        event: row.event.clone(),
    }
}

/// Bytes that differ by offset and epoch, with every byte value among them.
#[must_use]
pub fn event(offset: u64, epoch: u64) -> Bytes {
    let head = format!("event {offset} of epoch {epoch} ");
    head.into_bytes().into_iter().chain(0..=255).collect()
}

/// Settings as of an event.
#[must_use]
pub fn settings(offset: u64, epoch: u64) -> RoomRow {
    RoomRow {
        offset: Offset(offset),
        epoch: Epoch(epoch),
        kind: v1::room::Kind::Group,
        name: format!("name {offset}/{epoch}"),
        public: offset.is_multiple_of(2),
        creator: user_named("creator"),
        client_id: String::new(),
    }
}

/// A membership as of an event.
#[must_use]
pub fn membership(
    user: &UserId,
    offset: u64,
    epoch: u64,
    role: Option<v1::member::Role>,
) -> MemberRow {
    MemberRow {
        user: user.clone(),
        name: format!("name {offset}"),
        offset: Offset(offset),
        epoch: Epoch(epoch),
        role,
    }
}

/// The result of a send. The digest uses all bits.
#[must_use]
pub fn sent(user: &UserId, client_id: &str, offset: u64, epoch: u64, time_ms: u64) -> SentRow {
    SentRow {
        user: user.clone(),
        client_id: client_id.to_owned(),
        offset: Offset(offset),
        epoch: Epoch(epoch),
        digest: u64::MAX - offset,
        time_ms,
    }
}

/// A cursor.
#[must_use]
pub fn cursor(user: &UserId, offset: u64) -> CursorRow {
    CursorRow {
        user: user.clone(),
        offset: Offset(offset),
        message_count: offset / 2,
    }
}

/// A write of log rows only.
#[must_use]
pub fn log_write(room: &RoomId, log: Vec<LogRow>) -> RoomWrite {
    RoomWrite {
        log,
        ..RoomWrite::new(room.clone())
    }
}
