//! Compares a copy with its source: rows and digests of every room and every user.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rookery_proto::ids::{Offset, RoomId, UserId};
use tokio::time::interval;
use xxhash_rust::xxh3::Xxh3;

use super::{Copy, CopyError, CopyReport, again, sent_key};
use crate::{
    CqlStore, CursorRow, LogRow, MarkRow, MemberRow, RoomRow, SqliteStore, Store, StoreError,
    UserRoomRow, limits,
};

/// Rows of one kind: how many, and XXH3 of all their fields.
#[derive(Default)]
struct Part {
    rows: u64,
    hash: Xxh3,
}

impl Part {
    /// Numbers have a fixed length and texts carry theirs, so different rows are different bytes.
    fn add(&mut self, numbers: &[u64], texts: &[&[u8]]) {
        self.rows += 1;
        for number in numbers {
            self.hash.update(&number.to_le_bytes());
        }
        for text in texts {
            self.hash.update(&(text.len() as u64).to_le_bytes());
            self.hash.update(text);
        }
    }

    fn log(&mut self, rows: &[LogRow]) {
        for row in rows {
            let numbers = [
                row.offset.0,
                row.epoch.0,
                row.kind as u64,
                row.message_count,
                row.target.0,
            ];
            self.add(&numbers, &[&row.event]);
        }
    }

    fn marks(&mut self, rows: &[MarkRow]) {
        for row in rows {
            let numbers = [row.target.0, row.offset.0, row.epoch.0, row.kind as u64];
            self.add(&numbers, &[&row.event]);
        }
    }

    fn settings(&mut self, rows: &[RoomRow]) {
        for row in rows {
            let kind = i32::from(row.kind).cast_unsigned();
            let numbers = [row.offset.0, row.epoch.0, kind.into(), row.public.into()];
            let texts = [row.name.as_str(), row.creator.as_str(), &row.client_id];
            self.add(&numbers, &texts.map(str::as_bytes));
        }
    }

    fn members(&mut self, rows: &[MemberRow]) {
        for row in rows {
            let role = row.role.map_or(0, i32::from).cast_unsigned();
            let numbers = [row.offset.0, row.epoch.0, role.into()];
            self.add(
                &numbers,
                &[row.user.as_str().as_bytes(), row.name.as_bytes()],
            );
        }
    }

    /// Cursors have no order of their own.
    fn cursors(&mut self, mut rows: Vec<CursorRow>) {
        rows.sort_unstable_by(|one, other| one.user.cmp(&other.user));
        for row in rows {
            let numbers = [row.offset.0, row.message_count];
            self.add(&numbers, &[row.user.as_str().as_bytes()]);
        }
    }

    fn user_rooms(&mut self, rows: &[UserRoomRow]) {
        for row in rows {
            let numbers = [row.offset.0, row.epoch.0, row.member.into()];
            self.add(&numbers, &[row.room.as_str().as_bytes()]);
        }
    }
}

/// The two sides of a comparison.
#[derive(Clone, Copy)]
struct Sides<'a> {
    source: &'a SqliteStore,
    target: &'a CqlStore,
}

impl<'a> Copy<'a> {
    pub(super) async fn compare(&mut self, report: &mut CopyReport) -> Result<(), CopyError> {
        let mut after = None;
        // A large room takes long, so rows are told as they are compared.
        let rows = AtomicU64::new(0);
        let mut pace = interval(limits::COPY_TELL_INTERVAL);
        loop {
            let rooms = self.rooms_page(after).await?;
            let Some(last) = rooms.last().cloned() else {
                break;
            };
            let (sides, since_ms, rows) = (self.sides(), self.since_ms, &rows);
            let mut compared = stream::iter(rooms)
                .map(|room| async move { sides.room(&room, since_ms, rows).await })
                .buffer_unordered(limits::COPY_VERIFIED_AT_ONCE);
            loop {
                tokio::select! {
                    biased;
                    _ = pace.tick() => {}
                    room = compared.try_next() => match room? {
                        Some(()) => self.rooms += 1,
                        None => break,
                    },
                }
                self.tell("comparing", rows.load(Ordering::Relaxed));
            }
            after = Some(last);
        }
        (report.rooms, report.log_rows) = (self.rooms, rows.into_inner());
        self.tell("comparing", report.log_rows);
        self.compare_users(report).await
    }

    const fn sides(&self) -> Sides<'a> {
        Sides {
            source: self.source,
            target: self.target,
        }
    }

    async fn compare_users(&self, report: &mut CopyReport) -> Result<(), CopyError> {
        let (mut after, sides) = (None, self.sides());
        loop {
            let users = self.source.users_after(after, limits::COPY_PAGE_ROWS).await;
            let users = users.map_err(CopyError::Read)?;
            let Some((last, _)) = users.last().cloned() else {
                return Ok(());
            };
            report.users += users.len() as u64;
            let mut compared = stream::iter(users)
                .map(|(user, _)| async move { sides.user(&user).await })
                .buffer_unordered(limits::COPY_VERIFIED_AT_ONCE);
            while let Some(()) = compared.try_next().await? {}
            after = Some(last);
        }
    }
}

impl Sides<'_> {
    /// Compares one room, and counts the rows of its log.
    async fn room(&self, room: &RoomId, since_ms: u64, rows: &AtomicU64) -> Result<(), CopyError> {
        let whose = format!("room {room}");
        let newest = self
            .source
            .log_tail(room, 1)
            .await
            .map_err(CopyError::Read)?;
        let newest = newest.last().map_or(Offset::ZERO, |row| row.offset);
        let tail = again(|| self.target.log_tail(room, 1)).await?;
        // Behind the source's last offset the target has nothing: then both end alike.
        let last = [newest, tail.last().map_or(Offset::ZERO, |row| row.offset)].map(|offset| {
            let mut part = Part::default();
            part.add(&[offset.0], &[]);
            part
        });
        equal(&whose, "last offsets", last)?;
        let [mut log, mut marks] = [(); 2].map(|()| [Part::default(), Part::default()]);
        let mut from = Offset(1);
        while from <= newest {
            let to = Offset(newest.0.min(from.0 + limits::COPY_PAGE_OFFSETS - 1));
            let (ours, theirs) = tokio::join!(
                self.source.log_range(room, from, to),
                again(|| self.target.log_range(room, from, to))
            );
            let ours = ours.map_err(CopyError::Read)?;
            rows.fetch_add(ours.len() as u64, Ordering::Relaxed);
            log[0].log(&ours);
            log[1].log(&theirs?);
            let (ours, theirs) = tokio::join!(
                self.source.marks(room, from, to),
                again(|| self.target.marks(room, from, to))
            );
            marks[0].marks(&ours.map_err(CopyError::Read)?);
            marks[1].marks(&theirs?);
            from = to.next();
        }
        equal(&whose, "events", log)?;
        equal(&whose, "marks", marks)?;
        self.derived(room, &whose).await?;
        self.sent(room, &whose, since_ms).await
    }

    async fn derived(&self, room: &RoomId, whose: &str) -> Result<(), CopyError> {
        let pair = self.pair(async |store| {
            let mut part = Part::default();
            let mut deletions = store.deletions(room).await?;
            deletions.sort_unstable();
            for (target, offset, epoch) in deletions {
                part.add(&[target.0, offset.0, epoch.0], &[]);
            }
            Ok(part)
        });
        equal(whose, "deletions", pair.await?)?;
        let pair = self.pair(async |store| {
            let mut part = Part::default();
            part.settings(&store.settings(room).await?);
            Ok(part)
        });
        equal(whose, "settings", pair.await?)?;
        let pair = self.pair(async |store| {
            let mut part = Part::default();
            part.members(&store.members(room).await?);
            Ok(part)
        });
        equal(whose, "memberships", pair.await?)?;
        let pair = self.pair(async |store| {
            let mut part = Part::default();
            part.cursors(store.cursors(room).await?);
            Ok(part)
        });
        equal(whose, "cursors", pair.await?)?;
        let pair = self.pair(async |store| {
            let mut part = Part::default();
            for (epoch, first) in store.room_epochs(room).await?.entries() {
                part.add(&[epoch.0, first.0], &[]);
            }
            Ok(part)
        });
        equal(whose, "epochs", pair.await?)
    }

    /// The young sent ids; the target may have others that the source has dropped since.
    async fn sent(&self, room: &RoomId, whose: &str, since_ms: u64) -> Result<(), CopyError> {
        let mut parts = [Part::default(), Part::default()];
        let mut after = None;
        loop {
            let limit = limits::COPY_PAGE_ROWS;
            let page = self.source.sent_after(room.clone(), after, since_ms, limit);
            let page = page.await.map_err(CopyError::Read)?;
            let Some(last) = page.last() else {
                return equal(whose, "sent ids", parts);
            };
            after = Some(sent_key(last));
            let mut found = stream::iter(page)
                .map(async |row| {
                    let (user, id) = (&row.user, &row.client_id);
                    let there = again(|| self.target.sent_id(room, user, id)).await?;
                    let there = there.into_iter().find(|one| *one == row);
                    Ok::<_, CopyError>((row, there))
                })
                .buffered(limits::COPY_VERIFIED_AT_ONCE);
            while let Some((row, there)) = found.try_next().await? {
                for (part, row) in parts.iter_mut().zip([Some(row), there]) {
                    if let Some(row) = row {
                        let numbers = [row.offset.0, row.epoch.0, row.digest, row.time_ms];
                        let texts = [row.user.as_str(), &row.client_id];
                        part.add(&numbers, &texts.map(str::as_bytes));
                    }
                }
            }
        }
    }

    async fn user(&self, user: &UserId) -> Result<(), CopyError> {
        let whose = format!("user {user}");
        let pair = self.pair(async |store| {
            let mut part = Part::default();
            part.add(&[store.user(user).await?.last_seen_ms], &[]);
            Ok(part)
        });
        equal(&whose, "times last seen", pair.await?)?;
        let pair = self.pair(async |store| {
            let mut part = Part::default();
            let mut after = None;
            loop {
                let limit = limits::COPY_PAGE_ROWS as u32;
                let rooms = store.user_rooms(user, after.as_ref(), limit).await?;
                let Some(last) = rooms.last() else {
                    return Ok(part);
                };
                after = Some(last.room.clone());
                part.user_rooms(&rooms);
            }
        });
        equal(&whose, "rooms", pair.await?)
    }

    /// The same question to both.
    async fn pair(
        &self,
        ask: impl AsyncFn(&dyn Store) -> Result<Part, StoreError>,
    ) -> Result<[Part; 2], CopyError> {
        let ours = ask(self.source).await.map_err(CopyError::Read)?;
        let theirs = again(|| ask(self.target)).await?;
        Ok([ours, theirs])
    }
}

fn equal(whose: &str, what: &'static str, [ours, theirs]: [Part; 2]) -> Result<(), CopyError> {
    let (source_digest, target_digest) = (ours.hash.digest(), theirs.hash.digest());
    if (ours.rows, source_digest) == (theirs.rows, target_digest) {
        return Ok(());
    }
    Err(CopyError::Differs {
        whose: whose.to_owned(),
        what,
        source_rows: ours.rows,
        source_digest,
        target_rows: theirs.rows,
        target_digest,
    })
}
