//! What is written: rows, gathered into unlogged batches of one partition each.

use rookery_proto::ids::{Offset, RoomId, UserId};
use rustc_hash::FxHashMap;
use scylla::{
    serialize::{
        SerializationError,
        row::{RowSerializationContext, SerializeRow},
        writers::RowWriter,
    },
    statement::prepared::PreparedStatement,
};

use super::statements::Statements;
use crate::{
    CursorRow, EpochList, EventKind, LogRow, MemberRow, RoomRow, RoomWrite, SentRow, limits,
};

/// One row of one table, with what it is keyed by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Write<'a> {
    Log(&'a RoomId, &'a LogRow),
    Mark(&'a RoomId, &'a LogRow),
    Deletion(&'a RoomId, &'a LogRow),
    Head(&'a RoomId, u64),
    Room(&'a RoomId, &'a RoomRow),
    Member(&'a RoomId, &'a MemberRow),
    UserRoom(&'a RoomId, &'a MemberRow),
    Cursor(&'a RoomId, &'a CursorRow),
    Sent(&'a RoomId, &'a SentRow),
    SentByTime(&'a RoomId, &'a SentRow),
    List(&'a RoomId, &'a EpochList),
    LastSeen(&'a UserId, u64),
    /// Of that endpoint, with its number.
    Heartbeat(&'a str, &'a [u8], u64),
}

/// What rows must share to be one mutation for the database. Tables with an equal key lie on the
/// same replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Partition<'a> {
    Log(&'a RoomId, u64),
    Marks(&'a RoomId, u64),
    Room(&'a RoomId),
    User(&'a UserId),
    Sent(&'a RoomId, &'a UserId),
    Heartbeats,
}

/// The bucket of an offset.
pub(super) const fn bucket(offset: Offset) -> u64 {
    offset.0 / limits::BUCKET_OFFSETS
}

impl<'a> Write<'a> {
    fn partition(&self) -> Partition<'a> {
        match *self {
            Self::Log(room, row) => Partition::Log(room, bucket(row.offset)),
            Self::Mark(room, row) => Partition::Marks(room, bucket(row.target)),
            Self::Deletion(room, _)
            | Self::Head(room, _)
            | Self::Room(room, _)
            | Self::Member(room, _)
            | Self::Cursor(room, _)
            | Self::List(room, _) => Partition::Room(room),
            Self::UserRoom(_, row) => Partition::User(&row.user),
            Self::LastSeen(user, _) => Partition::User(user),
            Self::Sent(room, row) | Self::SentByTime(room, row) => Partition::Sent(room, &row.user),
            Self::Heartbeat(..) => Partition::Heartbeats,
        }
    }

    /// Bytes that can be many; the rest of a row is small.
    fn event_bytes(&self) -> usize {
        match self {
            Self::Log(_, row) | Self::Mark(_, row) => row.event.len(),
            _ => 0,
        }
    }

    /// The statement that writes it.
    pub(super) fn statement<'s>(&self, statements: &'s Statements) -> &'s PreparedStatement {
        match self {
            Self::Log(..) => &statements.put_log,
            Self::Mark(..) => &statements.put_mark,
            Self::Deletion(..) => &statements.put_deletion,
            Self::Head(..) => &statements.put_head,
            Self::Room(..) => &statements.put_room,
            Self::Member(..) => &statements.put_member,
            Self::UserRoom(..) => &statements.put_user_room,
            Self::Cursor(..) => &statements.put_cursor,
            Self::Sent(..) => &statements.put_sent,
            Self::SentByTime(..) => &statements.put_sent_by_time,
            Self::List(..) => &statements.put_list,
            Self::LastSeen(..) => &statements.put_last_seen,
            Self::Heartbeat(..) => &statements.put_heartbeat,
        }
    }
}

/// In the order of the statements' markers. Every value is bound: a null would be a tombstone.
impl SerializeRow for Write<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        match *self {
            Self::Log(room, row) => (
                room.as_str(),
                int(bucket(row.offset))?,
                int(row.offset.0)?,
                int(row.epoch.0)?,
                row.kind as i8,
                int(row.message_count)?,
                int(row.target.0)?,
                &row.event[..],
            )
                .serialize(context, writer),
            Self::Mark(room, row) => (
                room.as_str(),
                int(bucket(row.target))?,
                int(row.target.0)?,
                int(row.offset.0)?,
                int(row.epoch.0)?,
                row.kind as i8,
                &row.event[..],
            )
                .serialize(context, writer),
            Self::Deletion(room, row) => (
                room.as_str(),
                int(row.target.0)?,
                int(row.offset.0)?,
                int(row.epoch.0)?,
            )
                .serialize(context, writer),
            Self::Head(room, bucket) => {
                (room.as_str(), int(bucket)?, int(bucket)?).serialize(context, writer)
            }
            Self::Room(room, row) => (
                room.as_str(),
                int(row.offset.0)?,
                int(row.epoch.0)?,
                small(row.kind as i32)?,
                row.name.as_str(),
                row.public,
                row.creator.as_str(),
                row.client_id.as_str(),
            )
                .serialize(context, writer),
            Self::Member(room, row) => (
                room.as_str(),
                row.user.as_str(),
                int(row.offset.0)?,
                int(row.epoch.0)?,
                small(row.role.map_or(0, |role| role as i32))?,
                row.name.as_str(),
            )
                .serialize(context, writer),
            Self::UserRoom(room, row) => (
                row.user.as_str(),
                room.as_str(),
                int(row.offset.0)?,
                int(row.epoch.0)?,
                row.role.is_some(),
            )
                .serialize(context, writer),
            Self::Cursor(room, row) => (
                room.as_str(),
                row.user.as_str(),
                int(row.offset.0)?,
                int(row.message_count)?,
                int(row.offset.0)?,
            )
                .serialize(context, writer),
            Self::Sent(room, row) | Self::SentByTime(room, row) => (
                room.as_str(),
                row.user.as_str(),
                row.client_id.as_str(),
                int(row.offset.0)?,
                int(row.epoch.0)?,
                row.digest.cast_signed(),
                int(row.time_ms)?,
            )
                .serialize(context, writer),
            Self::List(room, list) => (
                room.as_str(),
                int(list.last_epoch().map_or(0, |epoch| epoch.0))?,
                list.to_text(),
            )
                .serialize(context, writer),
            Self::LastSeen(user, last_seen_ms) => {
                (user.as_str(), int(last_seen_ms)?, int(last_seen_ms)?).serialize(context, writer)
            }
            Self::Heartbeat(endpoint, heartbeat, number) => {
                (endpoint, heartbeat, int(number)?).serialize(context, writer)
            }
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// CQL's integers are signed. Offsets, epochs and times never come near that bound.
pub(super) fn int(number: u64) -> Result<i64, SerializationError> {
    i64::try_from(number).map_err(SerializationError::new)
}

/// Numbers of kinds and roles are small.
fn small(number: i32) -> Result<i8, SerializationError> {
    i8::try_from(number).map_err(SerializationError::new)
}

/// Rows of one partition that go as one request.
#[derive(Debug, Default)]
pub(super) struct PartitionBatch<'a> {
    pub(super) writes: Vec<Write<'a>>,
    event_bytes: usize,
}

impl PartitionBatch<'_> {
    fn has_room_for(&self, write: &Write<'_>) -> bool {
        self.writes.len() < limits::CQL_BATCH_ROWS_MAX
            && self.event_bytes + write.event_bytes() <= limits::CQL_BATCH_BYTES_MAX
    }
}

/// Gathers rows by partition, in the order in which partitions first appear.
#[derive(Debug, Default)]
pub(super) struct Batches<'a> {
    done: Vec<PartitionBatch<'a>>,
    /// The batch of `done` that each partition fills now.
    filling: FxHashMap<Partition<'a>, usize>,
}

impl<'a> Batches<'a> {
    /// The batches of one group commit.
    pub(super) fn of_group(group: &'a [RoomWrite]) -> Vec<PartitionBatch<'a>> {
        let mut batches = Self::default();
        for write in group {
            batches.room_write(write);
        }
        batches.done
    }

    fn room_write(&mut self, write: &'a RoomWrite) {
        let room = &write.room;
        for row in &write.log {
            self.push(Write::Log(room, row));
            if row.target != Offset::ZERO {
                self.push(Write::Mark(room, row));
                if row.kind == EventKind::Deleted {
                    self.push(Write::Deletion(room, row));
                }
            }
        }
        if let Some(settings) = &write.settings {
            self.push(Write::Room(room, settings));
        }
        for row in &write.members {
            self.push(Write::Member(room, row));
            self.push(Write::UserRoom(room, row));
        }
        for row in &write.sent {
            self.push(Write::Sent(room, row));
            self.push(Write::SentByTime(room, row));
        }
        for row in &write.cursors {
            self.push(Write::Cursor(room, row));
        }
    }

    fn push(&mut self, write: Write<'a>) {
        let next = self.done.len();
        let index = self.filling.entry(write.partition()).or_insert(next);
        if *index == next || !self.done[*index].has_room_for(&write) {
            *index = next;
            self.done.push(PartitionBatch::default());
        }
        let batch = &mut self.done[*index];
        batch.event_bytes += write.event_bytes();
        batch.writes.push(write);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::contract::fixture::{
        cursor, log_write, marking, membership, message, room, sent, user,
    };

    #[test]
    fn batch_never_spans_partitions() {
        let (room, ada, bob) = (room(), user(), user());
        let edge = limits::BUCKET_OFFSETS;
        let mut write = log_write(
            &room,
            vec![
                message(edge - 1, 1),
                message(edge, 1),
                marking(edge + 1, 1, EventKind::Deleted, 3),
                marking(edge + 2, 1, EventKind::Edited, edge),
            ],
        );
        write.members = vec![membership(&ada, 1, 1, None), membership(&bob, 2, 1, None)];
        write.sent = vec![sent(&ada, "a", 1, 1, 1), sent(&bob, "b", 2, 1, 1)];
        write.cursors = vec![cursor(&ada, 1), cursor(&bob, 2)];
        let group = [write];
        let batches = Batches::of_group(&group);
        let mut rows = 0;
        for batch in &batches {
            let first = batch.writes[0].partition();
            assert!(batch.writes.iter().all(|row| row.partition() == first));
            rows += batch.writes.len();
        }
        // 4 log, 2 marks, 1 deletion, 2 members and their 2 user rows, 2 sent ids twice, 2 cursors.
        assert_eq!(rows, 17);
        // Two buckets, two marks' buckets, the room, two users, two users' sent ids.
        assert_eq!(batches.len(), 9);
    }

    #[test]
    fn batch_is_bounded_by_rows_and_bytes() {
        let room = room();
        let small: Vec<_> = (1..=200).map(|offset| message(offset, 1)).collect();
        let large = |offset| LogRow {
            event: Bytes::from(vec![0; limits::CQL_BATCH_BYTES_MAX / 2 + 1]),
            ..message(offset, 1)
        };
        let group = [log_write(&room, small)];
        let rows: Vec<_> = Batches::of_group(&group)
            .iter()
            .map(|batch| batch.writes.len())
            .collect();
        assert_eq!(rows, [64, 64, 64, 8]);
        let group = [log_write(&room, (1..=3).map(large).collect())];
        assert_eq!(Batches::of_group(&group).len(), 3);
    }
}
