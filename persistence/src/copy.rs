//! Moves an embedded installation into a cluster: everything in a SQLite file into a keyspace.
//!
//! ```text
//! record: begun ─► shards ─► room after room: log, derived rows, epoch list ─► users
//!    ─► compare both, room by room and user by user ─► record: verified
//! ```
//! Every write may be repeated, and the record in the target says what need not be: a copy that
//! was killed goes on where it was. While the record is there and not "verified", no server starts
//! on the keyspace. The source is not changed; nobody serves from it meanwhile, it is locked.
//!
//! Rows keep their epochs and rooms their winning epoch list, so what counted counts, and shards go
//! on after their old epochs: whoever takes one gets a larger epoch than any row has. Runs of the
//! old server are not copied. Of sent ids only the young are.

mod error;
mod record;
mod verify;

use std::time::Duration;

use futures_util::future::try_join_all;
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    shard::Shard,
};
use rustc_hash::FxHashMap;
use tokio::time::sleep;

pub use self::error::CopyError;
pub(crate) use self::record::is_unfinished;
use self::record::{Done, Record};
use crate::{
    CqlConfig, CqlStore, EpochList, RoomWrite, ShardKind, SqliteStore, Store, StoreError,
    cql::RecordError,
    limits,
    sqlite::export::{SentKey, Source},
};

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyProgress {
    /// What it does: "copying", then "comparing".
    pub step: &'static str,
    /// Rows of the log that are done in this step.
    pub rows: u64,
    /// Rows of the log in the source.
    pub rows_all: u64,
    /// Rooms done in this step, by this process.
    pub rooms: u64,
}

/// What a copy did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyReport {
    /// It had been finished before; nothing was done.
    pub finished_before: bool,
    /// It went on with what another process had begun.
    pub resumed: bool,
    /// Rooms that were compared.
    pub rooms: u64,
    /// Rows of the log that were compared.
    pub log_rows: u64,
    /// Users that were compared.
    pub users: u64,
}

/// Copies, and compares. `now_ms` is the time since the Unix epoch; `progress` is told how far it
/// is, often.
///
/// # Errors
/// [`CopyError`]. What was copied stays, and the same again goes on with it.
///
/// # Cancel safety
/// Dropping it is like killing the process.
pub async fn run(
    source: &SqliteStore,
    target: CqlConfig,
    now_ms: u64,
    progress: &mut (dyn FnMut(CopyProgress) + Send),
) -> Result<CopyReport, CopyError> {
    let keyspace = target.keyspace.clone();
    let target = CqlStore::connect_to_copy(target).await?;
    let state = source.source().await.map_err(CopyError::Read)?;
    let mut copy = Copy {
        source,
        target: &target,
        state,
        keyspace,
        record: Record::new(state),
        kept: None,
        since_ms: now_ms.saturating_sub(ttl_ms()),
        group: Group::default(),
        rooms: 0,
        progress,
    };
    let report = copy.all().await;
    target.close().await;
    report
}

fn ttl_ms() -> u64 {
    u64::try_from(limits::SENT_ID_TTL.as_millis()).unwrap_or(u64::MAX)
}

/// A copy under way.
struct Copy<'a> {
    source: &'a SqliteStore,
    target: &'a CqlStore,
    state: Source,
    keyspace: String,
    /// What is in the target.
    record: Record,
    /// What the target's record says.
    kept: Option<String>,
    /// Older sent ids are left behind.
    since_ms: u64,
    group: Group,
    rooms: u64,
    progress: &'a mut (dyn FnMut(CopyProgress) + Send),
}

/// What was read and is not written yet.
#[derive(Default)]
struct Group {
    writes: Vec<RoomWrite>,
    lists: Vec<(RoomId, EpochList)>,
    rows: usize,
    log_rows: u64,
    bytes: usize,
}

impl Group {
    fn add(&mut self, write: RoomWrite) {
        self.rows += write.log.len() + write.members.len() + write.sent.len();
        self.rows += write.cursors.len() + usize::from(write.settings.is_some());
        self.log_rows += write.log.len() as u64;
        self.bytes += write.log.iter().map(|row| row.event.len()).sum::<usize>();
        self.writes.push(write);
    }

    fn is_full(&self) -> bool {
        self.rows >= limits::COPY_GROUP_ROWS
            || self.bytes >= limits::COPY_GROUP_BYTES
            || self.lists.len() >= limits::COPY_PAGE_ROWS
    }
}

impl Copy<'_> {
    async fn all(&mut self) -> Result<CopyReport, CopyError> {
        let mut report = CopyReport::default();
        match self.begin().await? {
            Begun::Finished => {
                report.finished_before = true;
                return Ok(report);
            }
            Begun::Again => report.resumed = true,
            Begun::New => {}
        }
        // Behind the first record of a room they are there.
        if self.record.done == Done::Nothing {
            self.shards().await?;
        }
        self.all_rooms().await?;
        self.all_users().await?;
        self.rooms = 0;
        self.compare(&mut report).await?;
        self.record.done = Done::Verified;
        self.keep().await?;
        Ok(report)
    }

    /// Finds out whether there is something to go on with, and whether the target is free.
    async fn begin(&mut self) -> Result<Begun, CopyError> {
        let keyspace = self.keyspace.clone();
        let kept = self.target.copy_record().await;
        let Some(text) = kept.map_err(|error| self.not_kept(error))? else {
            let data = self.target.holds_data().await;
            if let Some(table) = data.map_err(|error| self.not_kept(error))? {
                return Err(CopyError::OtherData { keyspace, table });
            }
            self.keep().await?;
            return Ok(Begun::New);
        };
        let Some(record) = Record::from_text(&text) else {
            let record = text;
            return Err(CopyError::Record { keyspace, record });
        };
        let (ours, unchanged) = (
            record.made_ms == self.state.made_ms,
            record.starts == self.state.starts,
        );
        if !ours {
            return Err(CopyError::OtherCopy { keyspace });
        }
        self.kept = Some(text);
        match (&record.done, unchanged) {
            (Done::Verified, true) => Ok(Begun::Finished),
            (Done::Verified, false) => Err(CopyError::SourceWentOn { keyspace }),
            (_, true) => {
                self.record = record;
                Ok(Begun::Again)
            }
            // Anything may have changed, so it begins again. Rows are never removed from the
            // source, so none of the copied ones is wrong.
            (_, false) => {
                self.keep().await?;
                Ok(Begun::Again)
            }
        }
    }

    /// Shards go on after the largest epoch that the source has seen, in its row or in a list.
    async fn shards(&mut self) -> Result<(), CopyError> {
        let taken = self.source.shard_epochs().await.map_err(CopyError::Read)?;
        let mut epochs: FxHashMap<(ShardKind, u16), Epoch> = taken
            .into_iter()
            .map(|(kind, shard, epoch)| ((kind, shard), epoch))
            .collect();
        let mut after = None;
        loop {
            let rooms = self.rooms_page(after).await?;
            let Some(last) = rooms.last().cloned() else {
                break;
            };
            for room in rooms {
                let list = self.source.room_epochs(&room).await;
                let epoch = list.map_err(CopyError::Read)?.last_epoch();
                let shard = (ShardKind::Rooms, Shard::of(room.as_str()).number());
                let largest = epochs.entry(shard).or_default();
                *largest = (*largest).max(epoch.unwrap_or_default());
            }
            after = Some(last);
        }
        let mut epochs: Vec<_> = epochs.into_iter().collect();
        epochs.sort_unstable();
        for page in epochs.chunks(limits::COPY_VERIFIED_AT_ONCE) {
            let target = self.target;
            let seeds = page
                .iter()
                .map(|&((kind, shard), epoch)| target.seed_shard(kind, shard, epoch));
            let seeded = try_join_all(seeds).await;
            seeded.map_err(|error| self.not_kept(error))?;
        }
        Ok(())
    }

    async fn rooms_page(&self, after: Option<RoomId>) -> Result<Vec<RoomId>, CopyError> {
        let page = self.source.rooms_after(after, limits::COPY_PAGE_ROWS);
        page.await.map_err(CopyError::Read)
    }

    async fn all_rooms(&mut self) -> Result<(), CopyError> {
        let mut after = match self.record.done.clone() {
            Done::Nothing => None,
            Done::Room(room) => Some(room),
            Done::Inside(room, offset) => {
                self.room(&room, offset).await?;
                Some(room)
            }
            Done::Rooms | Done::User(_) | Done::Users | Done::Verified => return Ok(()),
        };
        loop {
            let rooms = self.rooms_page(after).await?;
            let Some(last) = rooms.last().cloned() else {
                break;
            };
            for room in rooms {
                self.room(&room, Offset::ZERO).await?;
            }
            after = Some(last);
        }
        self.flush(Done::Rooms).await
    }

    /// Copies one room, whose log is there up to `done`.
    async fn room(&mut self, room: &RoomId, done: Offset) -> Result<(), CopyError> {
        let source = self.source;
        let newest = source.log_tail(room, 1).await.map_err(CopyError::Read)?;
        let newest = newest.last().map_or(Offset::ZERO, |row| row.offset);
        let mut done = done;
        while done < newest {
            let to = Offset(newest.0.min(done.0 + limits::COPY_PAGE_OFFSETS));
            let log = source.log_range(room, done.next(), to).await;
            self.group.add(RoomWrite {
                log: log.map_err(CopyError::Read)?,
                ..RoomWrite::new(room.clone())
            });
            done = to;
            if self.group.is_full() {
                self.flush(Done::Inside(room.clone(), done)).await?;
            }
        }
        for settings in source.settings(room).await.map_err(CopyError::Read)? {
            self.group.add(RoomWrite {
                settings: Some(settings),
                ..RoomWrite::new(room.clone())
            });
        }
        self.group.add(RoomWrite {
            members: source.members(room).await.map_err(CopyError::Read)?,
            cursors: source.cursors(room).await.map_err(CopyError::Read)?,
            ..RoomWrite::new(room.clone())
        });
        self.sent(room, newest).await?;
        let list = source.room_epochs(room).await.map_err(CopyError::Read)?;
        if list.last_epoch().is_some() {
            self.group.lists.push((room.clone(), list));
        }
        self.rooms += 1;
        if self.group.is_full() {
            self.flush(Done::Room(room.clone())).await?;
        }
        Ok(())
    }

    async fn sent(&mut self, room: &RoomId, newest: Offset) -> Result<(), CopyError> {
        let mut after = None;
        loop {
            let sent = self.sent_page(room, after).await?;
            let Some(last) = sent.last() else {
                return Ok(());
            };
            after = Some(sent_key(last));
            self.group.add(RoomWrite {
                sent,
                ..RoomWrite::new(room.clone())
            });
            if self.group.is_full() {
                self.flush(Done::Inside(room.clone(), newest)).await?;
            }
        }
    }

    async fn sent_page(
        &self,
        room: &RoomId,
        after: Option<SentKey>,
    ) -> Result<Vec<crate::SentRow>, CopyError> {
        let limit = limits::COPY_PAGE_ROWS;
        let page = self
            .source
            .sent_after(room.clone(), after, self.since_ms, limit);
        page.await.map_err(CopyError::Read)
    }

    async fn all_users(&mut self) -> Result<(), CopyError> {
        let mut after: Option<UserId> = match self.record.done.clone() {
            Done::User(user) => Some(user),
            Done::Users | Done::Verified => return Ok(()),
            Done::Nothing | Done::Inside(..) | Done::Room(_) | Done::Rooms => None,
        };
        loop {
            let limit = limits::COPY_PAGE_ROWS;
            let users = self.source.users_after(after, limit).await;
            let users = users.map_err(CopyError::Read)?;
            let Some((last, _)) = users.last().cloned() else {
                break;
            };
            let seen = users.iter().filter(|(_, row)| row.last_seen_ms > 0);
            let (target, seen) = (self.target, seen.collect::<Vec<_>>());
            again(|| {
                let puts = seen
                    .iter()
                    .map(|(user, row)| target.put_last_seen(user, row.last_seen_ms));
                try_join_all(puts)
            })
            .await?;
            self.record.done = Done::User(last.clone());
            self.keep().await?;
            after = Some(last);
        }
        self.record.done = Done::Users;
        self.keep().await
    }

    /// Writes the group; everything up to `done` is in the target then.
    async fn flush(&mut self, done: Done) -> Result<(), CopyError> {
        let (target, group) = (self.target, std::mem::take(&mut self.group));
        again(|| target.commit(&group.writes)).await?;
        again(|| {
            let puts = group
                .lists
                .iter()
                .map(|(room, list)| target.put_room_epochs(room, list));
            try_join_all(puts)
        })
        .await?;
        self.record.rows += group.log_rows;
        self.record.done = done;
        self.keep().await?;
        self.tell("copying", self.record.rows);
        Ok(())
    }

    fn tell(&mut self, step: &'static str, rows: u64) {
        (self.progress)(CopyProgress {
            step,
            rows,
            rows_all: self.state.log_rows,
            rooms: self.rooms,
        });
    }

    /// Keeps how far it is.
    async fn keep(&mut self) -> Result<(), CopyError> {
        let next = self.record.to_text();
        let kept = self.kept.as_deref();
        if kept != Some(&next) {
            let put = self.target.put_copy_record(kept, &next).await;
            put.map_err(|error| self.not_kept(error))?;
            self.kept = Some(next);
        }
        Ok(())
    }

    fn not_kept(&self, error: RecordError) -> CopyError {
        match error {
            RecordError::Changed => CopyError::Concurrent {
                keyspace: self.keyspace.clone(),
            },
            RecordError::Database(error) => CopyError::Target(error),
            RecordError::Store(error) => CopyError::Write(error),
        }
    }
}

/// What a copy begins with.
enum Begun {
    New,
    Again,
    Finished,
}

fn sent_key(row: &crate::SentRow) -> SentKey {
    let (user, client_id) = (row.user.clone(), row.client_id.clone());
    (user, client_id, row.offset.0, row.epoch.0)
}

/// Does it, again when the database did not: every write may be repeated.
async fn again<T, F: Future<Output = Result<T, StoreError>>>(
    mut what: impl FnMut() -> F,
) -> Result<T, CopyError> {
    let (mut tries, mut pause): (u32, Duration) = (limits::COPY_TRIES, limits::COPY_PAUSE);
    loop {
        let error = match what().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        tries -= 1;
        match error {
            StoreError::Unknown { .. } | StoreError::Failed { .. } if tries > 0 => {
                tracing::warn!(error = %error, "the database did not do it, trying again");
            }
            error => return Err(CopyError::Write(error)),
        }
        sleep(pause).await;
        pause *= 2;
    }
}
