//! One replica of the database: rows by partition, and the cells of lightweight transactions.

use std::collections::{BTreeMap, btree_map::Entry};

use bytes::Bytes;
use rookery_persistence::{
    CursorRow, EpochList, EventKind, LogRow, MarkRow, MemberRow, RoomRow, RoomWrite, SentRow,
};
use rookery_proto::ids::{Offset, RoomId, UserId};

use crate::mutation::Mutation;

/// What rows must share to be written and read together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Partition {
    Log(RoomId),
    Marks(RoomId),
    /// What else there is of a room.
    Room(RoomId),
    Sent(RoomId, UserId),
    User(UserId),
    Heartbeats,
}

/// A row's key inside its partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// (offset, epoch)
    Log(u64, u64),
    /// (target, offset, epoch)
    Mark(u64, u64, u64),
    Deletion(u64, u64, u64),
    /// (offset, epoch)
    Settings(u64, u64),
    /// (user, offset, epoch)
    Member(UserId, u64, u64),
    Cursor(UserId),
    /// Last epoch.
    List(u64),
    /// (client id, offset, epoch)
    Sent(String, u64, u64),
    /// (room, offset, epoch)
    UserRoom(RoomId, u64, u64),
    LastSeen,
    /// Endpoint.
    Heartbeat(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    Log(LogRow),
    Mark(MarkRow),
    Deletion,
    Settings(RoomRow),
    Member(MemberRow),
    Cursor(CursorRow),
    List(EpochList),
    Sent(SentRow),
    UserRoom(bool),
    LastSeen(u64),
    Heartbeat(u64, Bytes),
}

impl Row {
    /// Of two rows of one key: the one whose write has the higher timestamp. Most have none: their
    /// key says all, so both must be equal.
    pub(crate) fn newer(self, other: Self) -> Self {
        let other_wins = match (&self, &other) {
            (Self::Cursor(one), Self::Cursor(other)) => one.offset < other.offset,
            (Self::LastSeen(one), Self::LastSeen(other)) => one < other,
            (Self::Heartbeat(one, _), Self::Heartbeat(other, _)) => one < other,
            _ => true,
        };
        if other_wins { other } else { self }
    }

    /// Whether the key alone says what is in it.
    fn is_fixed(&self) -> bool {
        !matches!(
            self,
            Self::Cursor(_) | Self::LastSeen(_) | Self::Heartbeat(..)
        )
    }
}

pub(crate) type Rows = BTreeMap<Key, Row>;

/// Rows that go as one request.
pub(crate) type Batch = (Partition, Vec<(Key, Row)>);

/// What one room adds, by partition.
pub(crate) fn batches(write: &RoomWrite) -> Vec<Batch> {
    let room = &write.room;
    let mut by_partition: BTreeMap<Partition, Vec<(Key, Row)>> = BTreeMap::new();
    let mut put = |partition, key, row| by_partition.entry(partition).or_default().push((key, row));
    for row in &write.log {
        let (offset, epoch, target) = (row.offset.0, row.epoch.0, row.target.0);
        let key = Key::Log(offset, epoch);
        put(Partition::Log(room.clone()), key, Row::Log(row.clone()));
        if row.target == Offset::ZERO {
            continue;
        }
        let mark = MarkRow {
            target: row.target,
            offset: row.offset,
            epoch: row.epoch,
            kind: row.kind,
            event: row.event.clone(),
        };
        let key = Key::Mark(target, offset, epoch);
        put(Partition::Marks(room.clone()), key, Row::Mark(mark));
        if row.kind == EventKind::Deleted {
            let key = Key::Deletion(target, offset, epoch);
            put(Partition::Room(room.clone()), key, Row::Deletion);
        }
    }
    if let Some(row) = &write.settings {
        let key = Key::Settings(row.offset.0, row.epoch.0);
        put(
            Partition::Room(room.clone()),
            key,
            Row::Settings(row.clone()),
        );
    }
    for row in &write.members {
        let (offset, epoch) = (row.offset.0, row.epoch.0);
        let key = Key::Member(row.user.clone(), offset, epoch);
        put(Partition::Room(room.clone()), key, Row::Member(row.clone()));
        let key = Key::UserRoom(room.clone(), offset, epoch);
        let row_of_user = Row::UserRoom(row.role.is_some());
        put(Partition::User(row.user.clone()), key, row_of_user);
    }
    for row in &write.sent {
        let key = Key::Sent(row.client_id.clone(), row.offset.0, row.epoch.0);
        let partition = Partition::Sent(room.clone(), row.user.clone());
        put(partition, key, Row::Sent(row.clone()));
    }
    for row in &write.cursors {
        let key = Key::Cursor(row.user.clone());
        put(Partition::Room(room.clone()), key, Row::Cursor(row.clone()));
    }
    by_partition.into_iter().collect()
}

/// What a lightweight transaction changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cell {
    /// (kind, shard)
    Shard(u8, u16),
    /// Whether that incarnation is fenced.
    Node(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Shard { epoch: u64, incarnation: u64 },
    Node { fenced: bool },
}

/// A value, and which transaction it is of.
pub(crate) type Proposed = (Value, u64);

/// A proposal's number: larger than that of every earlier one of its proposer.
pub(crate) type Ballot = u64;

/// What one replica knows of a cell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Register {
    promised: Ballot,
    pub(crate) accepted: Option<(Ballot, Proposed)>,
    pub(crate) committed: Option<(Ballot, Proposed)>,
}

/// One replica.
#[derive(Debug, Default)]
pub(crate) struct Replica {
    pub(crate) index: usize,
    rows: BTreeMap<Partition, Rows>,
    registers: BTreeMap<Cell, Register>,
    /// Keys that two different rows were written under.
    pub(crate) clashes: Vec<String>,
    /// What this replica does wrong.
    mutation: Option<Mutation>,
}

impl Replica {
    pub(crate) fn new(index: usize, mutation: Option<Mutation>) -> Self {
        Self {
            index,
            mutation,
            ..Self::default()
        }
    }

    pub(crate) fn write(&mut self, (partition, rows): &Batch) {
        let kept = self.rows.entry(partition.clone()).or_default();
        for (key, row) in rows {
            if self.mutation == Some(Mutation::CursorOverwritten) && matches!(key, Key::Cursor(_)) {
                kept.remove(key);
            }
            match kept.entry(key.clone()) {
                Entry::Vacant(entry) => drop(entry.insert(row.clone())),
                Entry::Occupied(mut entry) => {
                    let before = entry.get().clone();
                    if row.is_fixed() && before != *row {
                        let clash = format!("{partition:?} {key:?}: {before:?} and {row:?}");
                        self.clashes.push(clash);
                    }
                    entry.insert(before.newer(row.clone()));
                }
            }
        }
    }

    pub(crate) fn read(&self, partition: &Partition) -> Rows {
        self.rows.get(partition).cloned().unwrap_or_default()
    }

    /// Removes sent ids that are too old.
    pub(crate) fn expire(&mut self, before_ms: u64, limit: u32) -> u64 {
        let mut removed = 0;
        for rows in self.rows.values_mut() {
            rows.retain(|_, row| {
                let old = matches!(row, Row::Sent(row) if row.time_ms < before_ms);
                removed += u64::from(old && removed < u64::from(limit));
                !old || removed > u64::from(limit)
            });
        }
        removed
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = (&Partition, &Rows)> {
        self.rows.iter()
    }

    /// Phase 1: false when a later proposal was promised to.
    pub(crate) fn prepare(&mut self, cell: Cell, ballot: Ballot) -> (bool, Register) {
        let register = self.registers.entry(cell).or_default();
        let promised = ballot > register.promised;
        if promised {
            register.promised = ballot;
        }
        (promised, *register)
    }

    /// Phase 2.
    pub(crate) fn propose(&mut self, cell: Cell, ballot: Ballot, value: Proposed) -> bool {
        let register = self.registers.entry(cell).or_default();
        let accepts = ballot >= register.promised;
        if accepts {
            register.promised = ballot;
            register.accepted = Some((ballot, value));
        }
        accepts
    }

    /// Phase 3: readers see it from here on.
    pub(crate) fn commit(&mut self, cell: Cell, ballot: Ballot, value: Proposed) {
        let register = self.registers.entry(cell).or_default();
        if register.committed.is_none_or(|(known, _)| known < ballot) {
            register.committed = Some((ballot, value));
        }
    }

    pub(crate) fn cell(&self, cell: Cell) -> Option<(Ballot, Proposed)> {
        self.registers.get(&cell)?.committed
    }
}
