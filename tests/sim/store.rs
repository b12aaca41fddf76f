//! The database as one node has it: the `Store` port, with one rule of it broken on request.

mod heartbeats;
mod port;
mod shards;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use rookery_persistence::{EpochList, LogRow, SentRow, StoreError};
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    shard::Shard,
};
use tokio::time::sleep;

use self::write::Writes;
use crate::{
    mutation::Mutation,
    quorum::{NoQuorum, Point, QUORUM, Quorum},
    replica::{Partition, Row, Rows},
    world::Process,
};

/// Told of each shard that was taken, with its epoch.
pub(crate) type Taken = Box<dyn Fn(Shard, Epoch) + Send + Sync>;

/// The `Store` of one process.
pub(crate) struct NodeStore {
    taken: Taken,
    quorum: Arc<Quorum>,
    process: Arc<Process>,
    mutation: Option<Mutation>,
    closed: Mutex<bool>,
    /// Tasks that have just claimed a room, and those that wake one.
    claiming: Tasks,
    waking: Tasks,
    writes: Writes,
}

/// Tasks that are at a certain step.
#[derive(Default)]
struct Tasks(Mutex<BTreeSet<tokio::task::Id>>);

impl Tasks {
    fn known(&self) -> MutexGuard<'_, BTreeSet<tokio::task::Id>> {
        self.0.lock().expect("no panic while held")
    }

    /// This task is at it now.
    fn enter(&self) {
        self.known().extend(tokio::task::try_id());
    }

    /// Whether this task was at it; it is not any more.
    fn leave(&self) -> bool {
        tokio::task::try_id().is_some_and(|task| self.known().remove(&task))
    }
}

fn unknown(what: &'static str) -> impl FnOnce(NoQuorum) -> StoreError {
    move |error| StoreError::Unknown {
        what,
        source: Box::new(error),
    }
}

impl NodeStore {
    pub(crate) fn new(
        quorum: &Arc<Quorum>,
        process: &Arc<Process>,
        mutation: Option<Mutation>,
        taken: Taken,
    ) -> Self {
        Self {
            taken,
            quorum: Arc::clone(quorum),
            process: Arc::clone(process),
            mutation,
            closed: Mutex::new(false),
            claiming: Tasks::default(),
            waking: Tasks::default(),
            writes: Writes::default(),
        }
    }

    fn breaks(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    async fn begin(&self, point: Point) -> Result<(), StoreError> {
        self.process.pass().await;
        if *self.closed.lock().expect("no panic while held") {
            return Err(StoreError::Closed);
        }
        self.stall(point).await;
        Ok(())
    }

    /// Loses time, as an owner may between any two steps.
    async fn stall(&self, point: Point) {
        if let Some(stall) = self.quorum.stall(point) {
            sleep(stall).await;
            self.process.pass().await;
        }
    }

    async fn read_rows(
        &self,
        what: &'static str,
        partition: Partition,
    ) -> Result<Rows, StoreError> {
        self.read_from(what, partition, QUORUM).await
    }

    async fn read_from(
        &self,
        what: &'static str,
        partition: Partition,
        need: usize,
    ) -> Result<Rows, StoreError> {
        self.begin(Point::Other).await?;
        let rows = self.quorum.read(&self.process, need, partition).await;
        self.process.pass().await;
        rows.map_err(unknown(what))
    }

    async fn log(&self, room: &RoomId) -> Result<Vec<LogRow>, StoreError> {
        let need = if self.breaks(Mutation::RowsAtOneReplica) {
            1
        } else {
            QUORUM
        };
        let partition = Partition::Log(room.clone());
        let rows = self.read_from("read log", partition, need).await?;
        let rows: Vec<LogRow> = rows
            .into_values()
            .filter_map(|row| match row {
                Row::Log(row) => Some(row),
                _ => None,
            })
            .collect();
        if !self.breaks(Mutation::HighestEpochWins) {
            return Ok(rows);
        }
        let highest: BTreeMap<Offset, LogRow> =
            rows.into_iter().map(|row| (row.offset, row)).collect();
        let list = self.list(room).await?;
        let relabeled = highest.into_values().map(|row| LogRow {
            epoch: list.epoch_at(row.offset).unwrap_or(row.epoch),
            ..row
        });
        Ok(relabeled.collect())
    }

    async fn list(&self, room: &RoomId) -> Result<EpochList, StoreError> {
        let need = if self.breaks(Mutation::ListAtOneReplica) {
            1
        } else {
            QUORUM
        };
        let partition = Partition::Room(room.clone());
        let rows = self.read_from("read epochs", partition, need).await?;
        let mut lists = rows.into_values().filter_map(|row| match row {
            Row::List(list) => Some(list),
            _ => None,
        });
        if self.breaks(Mutation::ListsMerged) {
            let mut entries: BTreeMap<Epoch, Offset> = BTreeMap::new();
            for list in lists {
                entries.extend(list.entries().iter().copied());
            }
            // At each offset the highest epoch that began there or before.
            let mut merged: Vec<(Epoch, Offset)> = Vec::new();
            for entry in entries {
                while merged.last().is_some_and(|last| last.1 > entry.1) {
                    merged.pop();
                }
                merged.push(entry);
            }
            return Ok(EpochList::from_entries(merged).expect("ascending"));
        }
        Ok(lists.next_back().unwrap_or_default())
    }

    /// For a mutation: every row of a void event looks as if its event counted.
    async fn looks_canonical(&self, room: &RoomId) -> Result<Option<EpochList>, StoreError> {
        Ok(if self.breaks(Mutation::VoidDerivedCounts) {
            Some(self.list(room).await?)
        } else {
            None
        })
    }

    async fn sent(&self, room: &RoomId, user: &UserId) -> Result<Vec<SentRow>, StoreError> {
        let partition = Partition::Sent(room.clone(), user.clone());
        let rows = self.read_rows("read sent ids", partition).await?;
        if self.breaks(Mutation::SentIdsForgotten) {
            return Ok(Vec::new());
        }
        let list = if self.breaks(Mutation::VoidSentIdBelieved) {
            Some(self.list(room).await?)
        } else {
            None
        };
        Ok(rows
            .into_values()
            .filter_map(|row| match row {
                Row::Sent(row) => Some(SentRow {
                    epoch: as_if_valid(list.as_ref(), row.offset, row.epoch),
                    ..row
                }),
                _ => None,
            })
            .collect())
    }
}

/// The epoch under which a row of that offset would count, where a mutation gives a list.
fn as_if_valid(list: Option<&EpochList>, offset: Offset, epoch: Epoch) -> Epoch {
    list.and_then(|list| list.epoch_at(offset)).unwrap_or(epoch)
}
