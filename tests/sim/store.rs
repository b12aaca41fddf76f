//! The database as one node has it: the `Store` port, with one rule of it broken on request.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use prost::Message as _;
use rookery_cluster::{
    EndpointId, Liveness, LivenessError, LivenessRow,
    task::{TaskKind, spawn},
};
use rookery_persistence::{
    Claim, CursorRow, EpochList, Incarnation, LogRow, MarkRow, MemberRow, RoomRow, RoomWrite,
    SentRow, ShardKind, Store, StoreError, TakeFrom, UserRoomRow, UserRow,
    ownership::{Owner, Step, decide},
};
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    shard::Shard,
    v1,
};
use tokio::time::{Duration, Instant, sleep};

use crate::{
    mutation::Mutation,
    quorum::{Fate, NoQuorum, QUORUM, Quorum},
    replica::{Cell, Key, Partition, Row, Rows, Value, batches},
    world::Process,
};

/// How long an operation on ownership is tried.
const OWNERSHIP_TIMEOUT: Duration = Duration::from_secs(6);

/// Told of each shard that was taken, with its epoch.
pub(crate) type Taken = Box<dyn Fn(Shard, Epoch) + Send + Sync>;

/// The `Store` of one process.
pub(crate) struct NodeStore {
    taken: Taken,
    quorum: Arc<Quorum>,
    process: Arc<Process>,
    mutation: Option<Mutation>,
    closed: Mutex<bool>,
    /// Only for mutations: tasks that have just claimed a room, and those that wake one.
    claiming: Mutex<BTreeSet<tokio::task::Id>>,
    waking: Mutex<BTreeSet<tokio::task::Id>>,
    /// Only for a mutation: the fence as the last commits read it at their start.
    fence_early: Mutex<Option<bool>>,
}

fn unknown(what: &'static str) -> impl FnOnce(NoQuorum) -> StoreError {
    move |error| StoreError::Unknown {
        what,
        source: Box::new(error),
    }
}

fn owner_of(value: Option<Value>) -> Option<Owner> {
    match value {
        Some(Value::Shard { epoch, incarnation }) => Some(Owner {
            incarnation: Incarnation(incarnation),
            epoch: Epoch(epoch),
        }),
        _ => None,
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
            claiming: Mutex::default(),
            waking: Mutex::default(),
            fence_early: Mutex::default(),
        }
    }

    fn breaks(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    async fn begin(&self) -> Result<(), StoreError> {
        self.process.pass().await;
        if *self.closed.lock().expect("no panic while held") {
            return Err(StoreError::Closed);
        }
        if let Some(stall) = self.quorum.stall() {
            sleep(stall).await;
            self.process.pass().await;
        }
        Ok(())
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
        self.begin().await?;
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
            // A list must ascend: what a later claim cut is left out.
            let mut merged: Vec<(Epoch, Offset)> = Vec::new();
            for entry in entries {
                if merged.last().is_none_or(|last| last.1 <= entry.1) {
                    merged.push(entry);
                }
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

    async fn fence(&self, incarnation: Incarnation) -> Result<(), NoQuorum> {
        let cell = Cell::Node(incarnation.0);
        let until = Instant::now() + OWNERSHIP_TIMEOUT;
        loop {
            let fate = self
                .quorum
                .transact(&self.process, cell, self.learns(), |value| {
                    (value != Some(Value::Node { fenced: true }))
                        .then_some(Value::Node { fenced: true })
                })
                .await;
            match fate {
                // Refused: it is fenced already, and the transaction saw that learned.
                Fate::Applied | Fate::Refused => return Ok(()),
                Fate::Unknown(error) => self.again(until, error).await?,
            }
        }
    }

    fn learns(&self) -> bool {
        !self.breaks(Mutation::ClaimNotLearned)
    }

    async fn again(&self, until: Instant, error: NoQuorum) -> Result<(), NoQuorum> {
        self.process.pass().await;
        if Instant::now() >= until {
            return Err(error);
        }
        let pause = self.quorum.world.throw(|dice| dice.u64(1..=30));
        sleep(Duration::from_millis(pause)).await;
        Ok(())
    }

    async fn fenced_now(&self, incarnation: Incarnation) -> Result<bool, StoreError> {
        let cell = Cell::Node(incarnation.0);
        let value = self.quorum.read_cell(&self.process, cell).await;
        self.process.pass().await;
        Ok(match value.map_err(unknown("read fence"))? {
            Some(Value::Node { fenced }) => fenced,
            _ => true,
        })
    }
}

#[async_trait]
impl Store for NodeStore {
    fn durability(&self) -> String {
        "simulated".to_owned()
    }

    fn commits_in_flight_max(&self) -> usize {
        4
    }

    async fn register_node(&self, _node: &str, incarnation: Incarnation) -> Result<(), StoreError> {
        self.begin().await?;
        let cell = Cell::Node(incarnation.0);
        let until = Instant::now() + OWNERSHIP_TIMEOUT;
        loop {
            let fate = self
                .quorum
                .transact(&self.process, cell, true, |value| {
                    value.is_none().then_some(Value::Node { fenced: false })
                })
                .await;
            match fate {
                Fate::Applied | Fate::Refused => break,
                Fate::Unknown(error) => self
                    .again(until, error)
                    .await
                    .map_err(unknown("register node"))?,
            }
        }
        self.process.pass().await;
        Ok(())
    }

    async fn take_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        _node: &str,
        taker: Incarnation,
        from: TakeFrom,
    ) -> Result<Claim, StoreError> {
        self.begin().await?;
        let cell = Cell::Shard(kind as u8, shard.number());
        let until = Instant::now() + OWNERSHIP_TIMEOUT;
        let failed = unknown("take shard");
        let attempt = async {
            loop {
                let value = match self.quorum.read_serially(&self.process, cell).await {
                    Ok(value) => value,
                    Err(error) => {
                        self.again(until, error).await?;
                        continue;
                    }
                };
                let (fence, epoch) = match decide(owner_of(value), kind, taker, from) {
                    Step::Take { fence, epoch } => (fence, epoch),
                    Step::Refuse(Owner { incarnation, epoch }) => {
                        return Ok(Claim::Refused {
                            owner: incarnation,
                            epoch,
                        });
                    }
                };
                if let Some(former) = fence {
                    self.fence(former).await?;
                }
                let next = Value::Shard {
                    epoch: epoch.0,
                    incarnation: taker.0,
                };
                let fate = self
                    .quorum
                    .transact(&self.process, cell, self.learns(), |now| {
                        (now == value).then_some(next)
                    })
                    .await;
                match fate {
                    Fate::Applied => return Ok(Claim::Taken(epoch)),
                    Fate::Refused => {}
                    Fate::Unknown(error) => self.again(until, error).await?,
                }
            }
        };
        let claim: Result<Claim, NoQuorum> = attempt.await;
        self.process.pass().await;
        if let Ok(Claim::Taken(epoch)) = claim {
            (self.taken)(shard, epoch);
        }
        if !self.quorum.is_cheap(cell) {
            self.quorum
                .world
                .say(|| format!("{:?} takes {kind:?} {shard}: {claim:?}", self.process));
        }
        claim.map_err(failed)
    }

    async fn release_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        incarnation: Incarnation,
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        self.begin().await?;
        let cell = Cell::Shard(kind as u8, shard.number());
        let until = Instant::now() + OWNERSHIP_TIMEOUT;
        let own = Owner { incarnation, epoch };
        let nobody = Value::Shard {
            epoch: epoch.0,
            incarnation: Incarnation::NOBODY.0,
        };
        loop {
            let fate = self
                .quorum
                .transact(&self.process, cell, true, |value| {
                    (owner_of(value) == Some(own)).then_some(nobody)
                })
                .await;
            match fate {
                Fate::Applied | Fate::Refused => break,
                Fate::Unknown(error) => self
                    .again(until, error)
                    .await
                    .map_err(unknown("release shard"))?,
            }
        }
        self.process.pass().await;
        Ok(())
    }

    async fn is_fenced(&self, incarnation: Incarnation) -> Result<bool, StoreError> {
        self.begin().await?;
        if self.breaks(Mutation::FenceNotRead) {
            return Ok(false);
        }
        let task = tokio::task::try_id();
        let claimed = task.is_some_and(|task| {
            self.claiming
                .lock()
                .expect("no panic while held")
                .remove(&task)
        });
        if claimed && self.breaks(Mutation::FenceNotReadAfterWaking) {
            return Ok(false);
        }
        if self.breaks(Mutation::FenceBeforeWrite)
            && !claimed
            && let Some(fenced) = *self.fence_early.lock().expect("no panic while held")
        {
            return Ok(fenced);
        }
        self.fenced_now(incarnation).await
    }

    async fn commit(&self, group: &[RoomWrite]) -> Result<(), StoreError> {
        self.begin().await?;
        let task = tokio::task::try_id();
        let wakes = task.is_some_and(|task| {
            self.waking
                .lock()
                .expect("no panic while held")
                .remove(&task)
        });
        if wakes && self.breaks(Mutation::NoTailRewrite) {
            return Ok(());
        }
        if self.breaks(Mutation::FenceBeforeWrite) && !wakes {
            let incarnation = Incarnation(self.process.incarnation);
            let fenced = self.fenced_now(incarnation).await?;
            *self.fence_early.lock().expect("no panic while held") = Some(fenced);
        }
        let mut group = group.to_vec();
        if self.breaks(Mutation::EventLeftOut) && !wakes && group.len() + group[0].log.len() > 3 {
            group[0].log.pop();
        }
        if self.breaks(Mutation::HighestEpochWins) {
            // Rows keep their own epoch, whatever they were read as.
            for row in group.iter_mut().flat_map(|write| &mut write.log) {
                row.epoch = Epoch(
                    v1::Event::decode(row.event.clone())
                        .expect("an event")
                        .epoch,
                );
            }
        }
        let all: Vec<_> = group.iter().flat_map(batches).collect();
        let done = if self.breaks(Mutation::AckAtOneReplica) && !wakes {
            self.quorum.write(&self.process, all, 1).await
        } else {
            self.quorum.write(&self.process, all, QUORUM).await
        };
        self.process.pass().await;
        done.map_err(unknown("commit"))
    }

    async fn room_epochs(&self, room: &RoomId) -> Result<EpochList, StoreError> {
        if let Some(task) = tokio::task::try_id() {
            self.waking
                .lock()
                .expect("no panic while held")
                .insert(task);
        }
        self.list(room).await
    }

    async fn put_room_epochs(&self, room: &RoomId, list: &EpochList) -> Result<(), StoreError> {
        self.begin().await?;
        if let Some(task) = tokio::task::try_id() {
            self.claiming
                .lock()
                .expect("no panic while held")
                .insert(task);
        }
        let Some(last) = list.last_epoch() else {
            return Ok(());
        };
        let batch = (
            Partition::Room(room.clone()),
            vec![(Key::List(last.0), Row::List(list.clone()))],
        );
        if self.breaks(Mutation::ListNotAwaited) {
            let (quorum, process) = (Arc::clone(&self.quorum), Arc::clone(&self.process));
            spawn(TaskKind::Passing, "list, not awaited", async move {
                let _ = quorum.write(&process, vec![batch], QUORUM).await;
            });
            return Ok(());
        }
        let done = self.quorum.write(&self.process, vec![batch], QUORUM).await;
        self.process.pass().await;
        done.map_err(unknown("write epochs"))
    }

    async fn log_tail(&self, room: &RoomId, offsets: u32) -> Result<Vec<LogRow>, StoreError> {
        let rows = self.log(room).await?;
        let mut known: Vec<Offset> = rows.iter().map(|row| row.offset).collect();
        known.dedup();
        let newest = &known[known.len().saturating_sub(offsets as usize)..];
        let wanted = |row: &LogRow| newest.first().is_some_and(|first| row.offset >= *first);
        Ok(rows.into_iter().filter(wanted).collect())
    }

    async fn log_range(
        &self,
        room: &RoomId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<LogRow>, StoreError> {
        let rows = self.log(room).await?;
        let wanted = rows
            .into_iter()
            .filter(|row| from <= row.offset && row.offset <= to);
        Ok(wanted.collect())
    }

    async fn marks(
        &self,
        room: &RoomId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<MarkRow>, StoreError> {
        let list = self.looks_canonical(room).await?;
        let partition = Partition::Marks(room.clone());
        let rows = self.read_rows("read marks", partition).await?;
        Ok(rows
            .into_values()
            .filter_map(|row| match row {
                Row::Mark(row) if from <= row.target && row.target <= to => Some(MarkRow {
                    epoch: as_if_valid(list.as_ref(), row.offset, row.epoch),
                    ..row
                }),
                _ => None,
            })
            .collect())
    }

    async fn deletions(&self, room: &RoomId) -> Result<Vec<(Offset, Offset, Epoch)>, StoreError> {
        let list = self.looks_canonical(room).await?;
        let partition = Partition::Room(room.clone());
        let rows = self.read_rows("read deletions", partition).await?;
        Ok(rows
            .into_keys()
            .filter_map(|key| match key {
                Key::Deletion(target, offset, epoch) => {
                    let epoch = as_if_valid(list.as_ref(), Offset(offset), Epoch(epoch));
                    Some((Offset(target), Offset(offset), epoch))
                }
                _ => None,
            })
            .collect())
    }

    async fn settings(&self, room: &RoomId) -> Result<Vec<RoomRow>, StoreError> {
        let partition = Partition::Room(room.clone());
        let rows = self.read_rows("read settings", partition).await?;
        Ok(rows
            .into_values()
            .filter_map(|row| match row {
                Row::Settings(row) => Some(row),
                _ => None,
            })
            .collect())
    }

    async fn members(&self, room: &RoomId) -> Result<Vec<MemberRow>, StoreError> {
        let list = self.looks_canonical(room).await?;
        let partition = Partition::Room(room.clone());
        let rows = self.read_rows("read members", partition).await?;
        Ok(rows
            .into_values()
            .filter_map(|row| match row {
                Row::Member(row) => Some(MemberRow {
                    epoch: as_if_valid(list.as_ref(), row.offset, row.epoch),
                    ..row
                }),
                _ => None,
            })
            .collect())
    }

    async fn cursors(&self, room: &RoomId) -> Result<Vec<CursorRow>, StoreError> {
        let partition = Partition::Room(room.clone());
        let rows = self.read_rows("read cursors", partition).await?;
        Ok(rows
            .into_values()
            .filter_map(|row| match row {
                Row::Cursor(row) => Some(row),
                _ => None,
            })
            .collect())
    }

    async fn sent_ids(
        &self,
        room: &RoomId,
        user: &UserId,
        since_ms: u64,
        limit: u32,
    ) -> Result<Vec<SentRow>, StoreError> {
        let mut rows = self.sent(room, user).await?;
        rows.retain(|row| row.time_ms >= since_ms);
        rows.sort_by_key(|row| std::cmp::Reverse((row.time_ms, row.offset)));
        rows.truncate(limit as usize);
        Ok(rows)
    }

    async fn sent_id(
        &self,
        room: &RoomId,
        user: &UserId,
        client_id: &str,
    ) -> Result<Vec<SentRow>, StoreError> {
        let mut rows = self.sent(room, user).await?;
        rows.retain(|row| row.client_id == client_id);
        Ok(rows)
    }

    async fn user_rooms(
        &self,
        user: &UserId,
        after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<UserRoomRow>, StoreError> {
        let partition = Partition::User(user.clone());
        let rows = self.read_rows("read user's rooms", partition).await?;
        let mut newest: BTreeMap<RoomId, UserRoomRow> = BTreeMap::new();
        for (key, row) in rows {
            if let (Key::UserRoom(room, offset, epoch), Row::UserRoom(member)) = (key, row)
                && after.is_none_or(|after| room > *after)
            {
                let row = UserRoomRow {
                    room: room.clone(),
                    offset: Offset(offset),
                    epoch: Epoch(epoch),
                    member,
                };
                newest.insert(room, row);
            }
        }
        Ok(newest.into_values().take(limit as usize).collect())
    }

    async fn user(&self, user: &UserId) -> Result<UserRow, StoreError> {
        let partition = Partition::User(user.clone());
        let rows = self.read_rows("read user", partition).await?;
        let last_seen_ms = match rows.get(&Key::LastSeen) {
            Some(Row::LastSeen(time)) => *time,
            _ => 0,
        };
        Ok(UserRow { last_seen_ms })
    }

    async fn put_last_seen(&self, user: &UserId, last_seen_ms: u64) -> Result<(), StoreError> {
        self.begin().await?;
        let rows = vec![(Key::LastSeen, Row::LastSeen(last_seen_ms))];
        let batch = (Partition::User(user.clone()), rows);
        let done = self.quorum.write(&self.process, vec![batch], QUORUM).await;
        self.process.pass().await;
        done.map_err(unknown("write last seen"))
    }

    async fn expire_sent_ids(&self, before_ms: u64, limit: u32) -> Result<u64, StoreError> {
        self.begin().await?;
        Ok(self.quorum.expire(before_ms, limit))
    }

    async fn close(&self) {
        *self.closed.lock().expect("no panic while held") = true;
    }
}

impl NodeStore {
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

#[async_trait]
impl Liveness for NodeStore {
    async fn write(&self, row: LivenessRow) -> Result<(), LivenessError> {
        self.process.pass().await;
        let key = Key::Heartbeat(row.endpoint.as_str().to_owned());
        let row = Row::Heartbeat(self.quorum.world.number(), row.heartbeat);
        let batch = (Partition::Heartbeats, vec![(key, row)]);
        let done = self.quorum.write(&self.process, vec![batch], QUORUM).await;
        self.process.pass().await;
        done.map_err(silent)
    }

    async fn read(&self) -> Result<Vec<LivenessRow>, LivenessError> {
        self.process.pass().await;
        let partition = Partition::Heartbeats;
        let rows = self.quorum.read(&self.process, QUORUM, partition).await;
        self.process.pass().await;
        let rows = rows.map_err(silent)?;
        Ok(rows
            .into_iter()
            .filter_map(|row| match row {
                (Key::Heartbeat(endpoint), Row::Heartbeat(_, heartbeat)) => Some(LivenessRow {
                    endpoint: EndpointId::from_wire(&endpoint),
                    heartbeat,
                }),
                _ => None,
            })
            .collect())
    }
}

fn silent(error: NoQuorum) -> LivenessError {
    LivenessError {
        source: Box::new(error),
    }
}
