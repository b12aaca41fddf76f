//! What the writer thread does to the tables, with every statement prepared once.

use std::sync::Arc;

use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    shard::Shard,
};
use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::{
    error::WriteError,
    queries::{self, number},
    schema,
};
use crate::{
    Claim, EpochList, Incarnation, LogRow, MemberRow, RoomRow, RoomWrite, SentRow, ShardKind,
    TakeFrom,
    ownership::{Owner, Step, decide},
};

/// One write, as it waits in the queue.
#[derive(Debug)]
pub(super) enum WriteOp {
    RegisterNode {
        node: String,
        incarnation: Incarnation,
    },
    TakeShard {
        kind: ShardKind,
        shard: Shard,
        node: String,
        incarnation: Incarnation,
        from: TakeFrom,
    },
    /// The owner's row becomes nobody's, or another's.
    HandOver {
        kind: ShardKind,
        shard: Shard,
        owner: Owner,
        node: String,
        next: Owner,
    },
    Commit(Vec<RoomWrite>),
    /// The same, and it reads the fence of who commits.
    CommitAs(Incarnation, Arc<[RoomWrite]>),
    PutRoomEpochs {
        room: RoomId,
        list: EpochList,
    },
    PutLastSeen {
        user: UserId,
        last_seen_ms: u64,
    },
    ExpireSentIds {
        before_ms: u64,
        limit: u32,
    },
    SetBytesMax(Option<u64>),
}

impl WriteOp {
    /// The operation's name in errors.
    pub(super) const fn what(&self) -> &'static str {
        match self {
            Self::RegisterNode { .. } => "register node",
            Self::TakeShard { .. } => "take shard",
            Self::HandOver { .. } => "hand over shard",
            Self::Commit(_) | Self::CommitAs(..) => "commit",
            Self::PutRoomEpochs { .. } => "put room epochs",
            Self::PutLastSeen { .. } => "put last seen",
            Self::ExpireSentIds { .. } => "expire sent ids",
            Self::SetBytesMax(_) => "set size limit",
        }
    }

    /// Rows and bytes of events it writes, to bound a transaction.
    pub(super) fn weight(&self) -> (usize, usize) {
        match self {
            Self::Commit(group) => weight(group),
            Self::CommitAs(_, group) => weight(group),
            Self::ExpireSentIds { limit, .. } => (*limit as usize, 0),
            _ => (1, 0),
        }
    }
}

fn weight(group: &[RoomWrite]) -> (usize, usize) {
    group.iter().fold((0, 0), |(rows, bytes), write| {
        let marks = write
            .log
            .iter()
            .filter(|row| row.target != Offset::ZERO)
            .count();
        let log = write.log.len() + marks;
        let derived = 2 * write.members.len() + write.sent.len() + write.cursors.len();
        let events: usize = write.log.iter().map(|row| row.event.len()).sum();
        (
            rows + log + usize::from(write.settings.is_some()) + derived,
            bytes + events,
        )
    })
}

/// What a write gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing but that it is done.
    Done,
    /// How many rows it touched.
    Count(u64),
    /// Whose the shard is.
    Claim(Claim),
    /// Whether who commits is fenced.
    Fenced(bool),
    /// Whether the shard is whose it was to be.
    HandedOver(bool),
}

/// Every statement of the writer, prepared for one connection.
pub(super) struct Statements<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
    log: Statement<'c>,
    mark: Statement<'c>,
    room: Statement<'c>,
    member: Statement<'c>,
    user_room: Statement<'c>,
    sent: Statement<'c>,
    cursor: Statement<'c>,
    list: Statement<'c>,
    put_list: Statement<'c>,
    register: Statement<'c>,
    shard: Statement<'c>,
    put_shard: Statement<'c>,
    hand_over: Statement<'c>,
    fence: Statement<'c>,
    last_seen: Statement<'c>,
    expire: Statement<'c>,
    connection: &'c Connection,
}

impl<'c> Statements<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            commit: connection.prepare("COMMIT")?,
            rollback: connection.prepare("ROLLBACK")?,
            log: connection.prepare(
                "INSERT INTO room_log (room, offset, epoch, kind, message_count, target, event)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
            )?,
            mark: connection.prepare(
                "INSERT INTO room_marks (room, target, offset, epoch, kind, event)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
            )?,
            room: connection.prepare(
                "INSERT INTO rooms (room, offset, epoch, kind, name, public, creator, client_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
            )?,
            member: connection.prepare(
                "INSERT INTO room_members (room, user, offset, epoch, role, name)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
            )?,
            user_room: connection.prepare(
                "INSERT INTO user_rooms (user, room, offset, epoch, member)
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            )?,
            sent: connection.prepare(
                "INSERT INTO sent_ids (room, user, client_id, offset, epoch, digest, time_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
            )?,
            cursor: connection.prepare(
                "INSERT INTO read_cursors (room, user, offset, message_count)
                 VALUES (?1, ?2, ?3, ?4) ON CONFLICT (room, user) DO UPDATE
                 SET offset = excluded.offset, message_count = excluded.message_count
                 WHERE excluded.offset > read_cursors.offset",
            )?,
            list: connection
                .prepare("SELECT list FROM room_epochs WHERE room = ?1 AND epoch = ?2")?,
            put_list: connection
                .prepare("INSERT INTO room_epochs (room, epoch, list) VALUES (?1, ?2, ?3)")?,
            register: connection.prepare(
                "INSERT INTO nodes (incarnation, node, fenced) VALUES (?1, ?2, 0)
                 ON CONFLICT DO NOTHING",
            )?,
            shard: connection
                .prepare("SELECT epoch, incarnation FROM shards WHERE kind = ?1 AND shard = ?2")?,
            put_shard: connection.prepare(
                "INSERT INTO shards (kind, shard, epoch, node, incarnation)
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (kind, shard) DO UPDATE
                 SET epoch = excluded.epoch, node = excluded.node,
                 incarnation = excluded.incarnation",
            )?,
            hand_over: connection.prepare(
                "UPDATE shards SET epoch = ?1, node = ?2, incarnation = ?3
                 WHERE kind = ?4 AND shard = ?5 AND epoch = ?6 AND incarnation = ?7",
            )?,
            fence: connection.prepare(
                "INSERT INTO nodes (incarnation, node, fenced) VALUES (?1, '', 1)
                 ON CONFLICT (incarnation) DO UPDATE SET fenced = 1",
            )?,
            last_seen: connection.prepare(
                "INSERT INTO users (user, last_seen_ms) VALUES (?1, ?2)
                 ON CONFLICT (user) DO UPDATE SET last_seen_ms = excluded.last_seen_ms
                 WHERE excluded.last_seen_ms > users.last_seen_ms",
            )?,
            expire: connection.prepare(
                "DELETE FROM sent_ids WHERE (room, user, client_id, offset, epoch) IN
                 (SELECT room, user, client_id, offset, epoch FROM sent_ids
                  WHERE time_ms < ?1 ORDER BY time_ms LIMIT ?2)",
            )?,
            connection,
        })
    }

    pub(super) fn begin(&mut self) -> rusqlite::Result<()> {
        self.begin.execute([]).map(drop)
    }

    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        self.commit.execute([]).map(drop)
    }

    pub(super) fn rollback(&mut self) -> rusqlite::Result<()> {
        self.rollback.execute([]).map(drop)
    }

    /// Does one write inside the current transaction.
    pub(super) fn apply(&mut self, op: &WriteOp) -> Result<Answer, WriteError> {
        match op {
            WriteOp::RegisterNode { node, incarnation } => {
                self.register.execute(params![int(incarnation.0)?, node])?;
                Ok(Answer::Done)
            }
            WriteOp::TakeShard {
                kind,
                shard,
                node,
                incarnation,
                from,
            } => self
                .take_shard(*kind, *shard, node, *incarnation, *from)
                .map(Answer::Claim),
            WriteOp::HandOver {
                kind,
                shard,
                owner,
                node,
                next,
            } => {
                let key = (*kind as u8, shard.number());
                self.hand_over.execute(params![
                    int(next.epoch.0)?,
                    node,
                    int(next.incarnation.0)?,
                    key.0,
                    key.1,
                    int(owner.epoch.0)?,
                    int(owner.incarnation.0)?,
                ])?;
                Ok(Answer::HandedOver(self.owner(key)? == Some(*next)))
            }
            WriteOp::Commit(group) => {
                self.room_writes(group)?;
                Ok(Answer::Done)
            }
            WriteOp::CommitAs(incarnation, group) => {
                self.room_writes(group)?;
                let fenced = queries::is_fenced(self.connection, *incarnation)?;
                Ok(Answer::Fenced(fenced))
            }
            WriteOp::PutRoomEpochs { room, list } => {
                self.put_room_epochs(room, list)?;
                Ok(Answer::Done)
            }
            WriteOp::PutLastSeen { user, last_seen_ms } => {
                self.last_seen
                    .execute(params![user.as_str(), int(*last_seen_ms)?])?;
                Ok(Answer::Done)
            }
            WriteOp::ExpireSentIds { before_ms, limit } => {
                let expired = self.expire.execute(params![int(*before_ms)?, limit])?;
                Ok(Answer::Count(expired as u64))
            }
            WriteOp::SetBytesMax(bytes) => {
                schema::bound(self.connection, *bytes)?;
                Ok(Answer::Done)
            }
        }
    }

    fn room_writes(&mut self, group: &[RoomWrite]) -> rusqlite::Result<()> {
        group.iter().try_for_each(|write| self.room_write(write))
    }

    fn room_write(&mut self, write: &RoomWrite) -> rusqlite::Result<()> {
        let room = write.room.as_str();
        for row in &write.log {
            self.log_row(room, row)?;
        }
        if let Some(settings) = &write.settings {
            self.room_row(room, settings)?;
        }
        for row in &write.members {
            self.member_row(room, row)?;
        }
        for row in &write.sent {
            self.sent_row(room, row)?;
        }
        for row in &write.cursors {
            let (offset, count) = (int(row.offset.0)?, int(row.message_count)?);
            self.cursor
                .execute(params![room, row.user.as_str(), offset, count])?;
        }
        Ok(())
    }

    fn log_row(&mut self, room: &str, row: &LogRow) -> rusqlite::Result<()> {
        let (offset, epoch) = (int(row.offset.0)?, int(row.epoch.0)?);
        let (kind, target, event) = (row.kind as u8, int(row.target.0)?, &row.event[..]);
        let count = int(row.message_count)?;
        self.log
            .execute(params![room, offset, epoch, kind, count, target, event])?;
        if row.target != Offset::ZERO {
            self.mark
                .execute(params![room, target, offset, epoch, kind, event])?;
        }
        Ok(())
    }

    fn room_row(&mut self, room: &str, row: &RoomRow) -> rusqlite::Result<()> {
        let (offset, epoch) = (int(row.offset.0)?, int(row.epoch.0)?);
        let (kind, creator) = (row.kind as i32, row.creator.as_str());
        self.room.execute(params![
            room,
            offset,
            epoch,
            kind,
            row.name,
            row.public,
            creator,
            row.client_id
        ])?;
        Ok(())
    }

    fn member_row(&mut self, room: &str, row: &MemberRow) -> rusqlite::Result<()> {
        let (offset, epoch) = (int(row.offset.0)?, int(row.epoch.0)?);
        let (user, role) = (row.user.as_str(), row.role.map_or(0, |role| role as i32));
        self.member
            .execute(params![room, user, offset, epoch, role, row.name])?;
        self.user_room
            .execute(params![user, room, offset, epoch, row.role.is_some()])?;
        Ok(())
    }

    fn sent_row(&mut self, room: &str, row: &SentRow) -> rusqlite::Result<()> {
        let (offset, epoch) = (int(row.offset.0)?, int(row.epoch.0)?);
        let (user, digest) = (row.user.as_str(), row.digest.cast_signed());
        let time_ms = int(row.time_ms)?;
        self.sent.execute(params![
            room,
            user,
            row.client_id,
            offset,
            epoch,
            digest,
            time_ms
        ])?;
        Ok(())
    }

    /// Two lists with one last epoch would be two owners under one epoch: never accepted.
    fn put_room_epochs(&mut self, room: &RoomId, list: &EpochList) -> Result<(), WriteError> {
        let Some(last) = list.last_epoch() else {
            return Err(WriteError::Refused(
                "an empty epoch list claims nothing".to_owned(),
            ));
        };
        let (room, epoch, text) = (room.as_str(), int(last.0)?, list.to_text());
        let stored = self
            .list
            .query_row(params![room, epoch], |row| row.get::<_, String>(0))
            .optional()?;
        match stored {
            None => self
                .put_list
                .execute(params![room, epoch, text])
                .map(drop)?,
            Some(stored) if stored == text => {}
            Some(_) => {
                let problem = format!("another list of the room ends with epoch {last}");
                return Err(WriteError::Refused(problem));
            }
        }
        Ok(())
    }

    fn owner(&mut self, key: (u8, u16)) -> rusqlite::Result<Option<Owner>> {
        let row = self.shard.query_row(key, |row| {
            Ok(Owner {
                epoch: Epoch(number(row, 0)?),
                incarnation: Incarnation(number(row, 1)?),
            })
        });
        row.optional()
    }

    fn take_shard(
        &mut self,
        kind: ShardKind,
        shard: Shard,
        node: &str,
        taker: Incarnation,
        from: TakeFrom,
    ) -> Result<Claim, WriteError> {
        let key = (kind as u8, shard.number());
        match decide(self.owner(key)?, kind, taker, from) {
            Step::Refuse(Owner { incarnation, epoch }) => Ok(Claim::Refused {
                owner: incarnation,
                epoch,
            }),
            Step::Take { fence, epoch } => {
                if let Some(former) = fence {
                    self.fence.execute([int(former.0)?])?;
                }
                let (next, own) = (int(epoch.0)?, int(taker.0)?);
                self.put_shard
                    .execute(params![key.0, key.1, next, node, own])?;
                Ok(Claim::Taken(epoch))
            }
        }
    }
}

/// SQLite's integers are signed. Offsets, epochs and times never come near that bound.
pub(super) fn int(number: u64) -> rusqlite::Result<i64> {
    i64::try_from(number).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
