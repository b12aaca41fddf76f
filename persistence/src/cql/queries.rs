//! What is read, all of it at quorum.

use std::ops::ControlFlow;

use bytes::Bytes;
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    v1,
};
use scylla::{
    response::{PagingState, query_result::QueryRowsResult},
    serialize::row::SerializeRow,
    statement::prepared::PreparedStatement,
};

use super::{
    Open,
    error::{Unsound, read_failed},
    writes::{Write, bucket},
};
use crate::{
    CursorRow, EpochList, EventKind, LogRow, MarkRow, MemberRow, RoomRow, SentRow, StoreError,
    UserRoomRow, UserRow, limits,
};

/// A row of `room_log`, as it is selected.
type Log<'a> = (i64, i64, i8, i64, i64, &'a [u8]);
/// A row of `room_marks`.
type Mark<'a> = (i64, i64, i64, i8, &'a [u8]);
/// A row of `rooms`.
type Room<'a> = (i64, i64, i8, &'a str, bool, &'a str, &'a str);
/// A row of `sent_ids` or `sent_ids_by_time`.
type Sent<'a> = (&'a str, i64, i64, i64, i64);

type Page = Result<ControlFlow<()>, Unsound>;
const MORE: ControlFlow<()> = ControlFlow::Continue(());
const ENOUGH: ControlFlow<()> = ControlFlow::Break(());

/// The newest rows of a log, from the highest offset down.
struct Tail {
    rows: Vec<LogRow>,
    /// Offsets that are wanted and not seen yet.
    missing: u32,
    /// There are rows below, which are not wanted.
    is_cut: bool,
}

impl Tail {
    const fn of(offsets: u32) -> Self {
        Self {
            rows: Vec::new(),
            missing: offsets,
            is_cut: false,
        }
    }

    /// Adds the next row below.
    fn push(&mut self, row: LogRow) {
        let is_new = self.rows.last().is_none_or(|it| it.offset != row.offset);
        if is_new && self.missing == 0 {
            self.is_cut = true;
        }
        if !self.is_cut {
            self.missing -= u32::from(is_new);
            self.rows.push(row);
        }
    }
}

impl Open {
    /// Reads page by page until `take` has enough.
    pub(super) async fn read(
        &self,
        what: &'static str,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        mut take: impl FnMut(&QueryRowsResult) -> Page,
    ) -> Result<(), StoreError> {
        let began = std::time::Instant::now();
        let mut state = PagingState::start();
        loop {
            let place = self.place().await;
            let page = self.session.execute_single_page(statement, &values, state);
            let (page, next) = page.await.map_err(|error| read_failed(what, error))?;
            drop(place);
            let page = page
                .into_rows_result()
                .map_err(|error| Unsound::from(error).corrupt(what))?;
            let flow = take(&page).map_err(|unsound| unsound.corrupt(what))?;
            match (flow, next.into_paging_control_flow()) {
                (ControlFlow::Continue(()), ControlFlow::Continue(next)) => state = next,
                _ => break,
            }
        }
        crate::metrics::read_done(began.elapsed());
        Ok(())
    }

    pub(super) async fn room_epochs(&self, room: &RoomId) -> Result<EpochList, StoreError> {
        let mut list = EpochList::default();
        let statement = &self.statements.list;
        self.read("read room epochs", statement, (room.as_str(),), |page| {
            for row in page.rows::<(&str,)>()? {
                let (text,) = row?;
                list = EpochList::from_text(text)
                    .ok_or_else(|| Unsound::Meaning(format!("not an epoch list: {text:?}")))?;
            }
            Ok(MORE)
        })
        .await?;
        Ok(list)
    }

    /// Walks down from the newest bucket until it has seen enough offsets.
    ///
    /// The newest one is where the hint says, or above, as long as there are rows: offsets are
    /// dense up to the head, and no row lies a whole bucket above it, so an empty bucket has none
    /// above it either. The hint saves reads and nothing else: when it is too low, or gone, more
    /// buckets are probed; when it is too high, the walk down passes empty ones. It is nearly
    /// always right, so its bucket is read while the one above is probed.
    pub(super) async fn log_tail(
        &self,
        room: &RoomId,
        offsets: u32,
    ) -> Result<Vec<LogRow>, StoreError> {
        let mut tail = Tail::of(offsets);
        if offsets == 0 {
            return Ok(tail.rows);
        }
        let hint = self.head_hint(room).await?;
        let (is_hint_low, ()) = tokio::try_join!(
            self.has_rows(room, hint + 1),
            self.read_down(room, hint, &mut tail),
        )?;
        let mut below = hint;
        if is_hint_low {
            let newest = self.newest_bucket_from(room, hint + 1).await?;
            self.keep_head(room, newest).await;
            tail = Tail::of(offsets);
            below = newest + 1;
        }
        for bucket in (0..below).rev() {
            if tail.missing == 0 {
                break;
            }
            self.read_down(room, bucket, &mut tail).await?;
        }
        tail.rows.reverse();
        Ok(tail.rows)
    }

    async fn head_hint(&self, room: &RoomId) -> Result<u64, StoreError> {
        let mut hint = 0;
        let statement = &self.statements.head;
        self.read("read head hint", statement, (room.as_str(),), |page| {
            for row in page.rows::<(i64,)>()? {
                hint = number(row?.0)?;
            }
            Ok(MORE)
        })
        .await?;
        Ok(hint)
    }

    /// The highest bucket with rows, from one on that has some.
    async fn newest_bucket_from(&self, room: &RoomId, from: u64) -> Result<u64, StoreError> {
        let mut newest = from;
        while self.has_rows(room, newest + 1).await? {
            newest += 1;
        }
        Ok(newest)
    }

    /// Adds a bucket's rows from its highest offset on, until there are enough.
    async fn read_down(
        &self,
        room: &RoomId,
        bucket: u64,
        tail: &mut Tail,
    ) -> Result<(), StoreError> {
        let values = (room.as_str(), bound(bucket));
        let mut statement = self.statements.log_down.clone();
        // Few offsets have rows of two epochs, so one page has them all and one row more.
        let rows = i32::try_from(tail.missing.saturating_add(1)).unwrap_or(i32::MAX);
        statement.set_page_size(rows.min(limits::CQL_PAGE_ROWS));
        self.read("read log tail", &statement, values, |page| {
            for row in page.rows::<Log<'_>>()? {
                tail.push(log_row(row?)?);
                if tail.is_cut {
                    return Ok(ENOUGH);
                }
            }
            Ok(MORE)
        })
        .await
    }

    async fn has_rows(&self, room: &RoomId, bucket: u64) -> Result<bool, StoreError> {
        let mut any = false;
        let values = (room.as_str(), bound(bucket));
        let statement = &self.statements.any_in_bucket;
        self.read("probe log", statement, values, |page| {
            any = page.rows_num() > 0;
            Ok(ENOUGH)
        })
        .await?;
        Ok(any)
    }

    /// Keeps the hint. When that fails, the next reader probes more.
    pub(super) async fn keep_head(&self, room: &RoomId, bucket: u64) {
        let write = Write::Head(room, bucket);
        if let Err(error) = self.write("put head hint", &[write]).await {
            tracing::debug!(room.id = %room, %error, "head hint not kept");
        }
    }

    pub(super) async fn log_range(
        &self,
        room: &RoomId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<LogRow>, StoreError> {
        let mut rows = Vec::new();
        for bucket in buckets(from, to) {
            let values = (room.as_str(), bound(bucket), bound(from.0), bound(to.0));
            let statement = &self.statements.log_range;
            self.read("read log", statement, values, |page| {
                for row in page.rows::<Log<'_>>()? {
                    rows.push(log_row(row?)?);
                }
                Ok(MORE)
            })
            .await?;
        }
        Ok(rows)
    }

    pub(super) async fn marks(
        &self,
        room: &RoomId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<MarkRow>, StoreError> {
        let mut rows = Vec::new();
        for bucket in buckets(from, to) {
            let values = (room.as_str(), bound(bucket), bound(from.0), bound(to.0));
            let statement = &self.statements.marks;
            self.read("read marks", statement, values, |page| {
                for row in page.rows::<Mark<'_>>()? {
                    let (target, offset, epoch, kind, event) = row?;
                    rows.push(MarkRow {
                        target: Offset(number(target)?),
                        offset: Offset(number(offset)?),
                        epoch: Epoch(number(epoch)?),
                        kind: event_kind(kind)?,
                        event: Bytes::copy_from_slice(event),
                    });
                }
                Ok(MORE)
            })
            .await?;
        }
        Ok(rows)
    }

    pub(super) async fn deletions(
        &self,
        room: &RoomId,
    ) -> Result<Vec<(Offset, Offset, Epoch)>, StoreError> {
        let mut rows = Vec::new();
        let statement = &self.statements.deletions;
        self.read("read deletions", statement, (room.as_str(),), |page| {
            for row in page.rows::<(i64, i64, i64)>()? {
                let (target, offset, epoch) = row?;
                let (target, offset) = (Offset(number(target)?), Offset(number(offset)?));
                rows.push((target, offset, Epoch(number(epoch)?)));
            }
            Ok(MORE)
        })
        .await?;
        Ok(rows)
    }

    pub(super) async fn settings(&self, room: &RoomId) -> Result<Vec<RoomRow>, StoreError> {
        let mut rows = Vec::new();
        let statement = &self.statements.settings;
        self.read("read settings", statement, (room.as_str(),), |page| {
            for row in page.rows::<Room<'_>>()? {
                let (offset, epoch, kind, name, public, creator, client_id) = row?;
                rows.push(RoomRow {
                    offset: Offset(number(offset)?),
                    epoch: Epoch(number(epoch)?),
                    kind: v1::room::Kind::try_from(i32::from(kind))
                        .map_err(|_| Unsound::Meaning(format!("not a kind of room: {kind}")))?,
                    name: name.to_owned(),
                    public,
                    creator: user_id(creator)?,
                    client_id: client_id.to_owned(),
                });
            }
            Ok(MORE)
        })
        .await?;
        Ok(rows)
    }

    pub(super) async fn members(&self, room: &RoomId) -> Result<Vec<MemberRow>, StoreError> {
        let mut rows = Vec::new();
        let statement = &self.statements.members;
        self.read("read members", statement, (room.as_str(),), |page| {
            for row in page.rows::<(&str, &str, i64, i64, i8)>()? {
                let (user, name, offset, epoch, role) = row?;
                let role = match role {
                    0 => None,
                    role => Some(
                        v1::member::Role::try_from(i32::from(role))
                            .map_err(|_| Unsound::Meaning(format!("not a role: {role}")))?,
                    ),
                };
                rows.push(MemberRow {
                    user: user_id(user)?,
                    name: name.to_owned(),
                    offset: Offset(number(offset)?),
                    epoch: Epoch(number(epoch)?),
                    role,
                });
            }
            Ok(MORE)
        })
        .await?;
        Ok(rows)
    }

    pub(super) async fn cursors(&self, room: &RoomId) -> Result<Vec<CursorRow>, StoreError> {
        let mut rows = Vec::new();
        let statement = &self.statements.cursors;
        self.read("read cursors", statement, (room.as_str(),), |page| {
            for row in page.rows::<(&str, i64, i64)>()? {
                let (user, offset, message_count) = row?;
                rows.push(CursorRow {
                    user: user_id(user)?,
                    offset: Offset(number(offset)?),
                    message_count: number(message_count)?,
                });
            }
            Ok(MORE)
        })
        .await?;
        Ok(rows)
    }

    pub(super) async fn sent_ids(
        &self,
        room: &RoomId,
        user: &UserId,
        since_ms: u64,
        limit: u32,
    ) -> Result<Vec<SentRow>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let values = (room.as_str(), user.as_str(), bound(since_ms), limit);
        self.sent("read sent ids", &self.statements.sent_ids, values, user)
            .await
    }

    pub(super) async fn sent_id(
        &self,
        room: &RoomId,
        user: &UserId,
        client_id: &str,
    ) -> Result<Vec<SentRow>, StoreError> {
        let values = (room.as_str(), user.as_str(), client_id);
        self.sent("read sent id", &self.statements.sent_id, values, user)
            .await
    }

    async fn sent(
        &self,
        what: &'static str,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        user: &UserId,
    ) -> Result<Vec<SentRow>, StoreError> {
        let mut rows = Vec::new();
        self.read(what, statement, values, |page| {
            for row in page.rows::<Sent<'_>>()? {
                let (client_id, offset, epoch, digest, time_ms) = row?;
                rows.push(SentRow {
                    user: user.clone(),
                    client_id: client_id.to_owned(),
                    offset: Offset(number(offset)?),
                    epoch: Epoch(number(epoch)?),
                    digest: digest.cast_unsigned(),
                    time_ms: number(time_ms)?,
                });
            }
            Ok(MORE)
        })
        .await?;
        Ok(rows)
    }

    pub(super) async fn user_rooms(
        &self,
        user: &UserId,
        after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<UserRoomRow>, StoreError> {
        let mut newest: Vec<UserRoomRow> = Vec::new();
        if limit == 0 {
            return Ok(newest);
        }
        let values = (user.as_str(), after.map_or("", RoomId::as_str));
        let statement = &self.statements.user_rooms;
        self.read("read user's rooms", statement, values, |page| {
            for row in page.rows::<(&str, i64, i64, bool)>()? {
                let (room, offset, epoch, member) = row?;
                if newest.last().is_some_and(|last| last.room.as_str() == room) {
                    newest.pop();
                } else if newest.len() == limit as usize {
                    return Ok(ENOUGH);
                }
                newest.push(UserRoomRow {
                    room: RoomId::parse(room)
                        .map_err(|error| Unsound::Meaning(format!("room {error}")))?,
                    offset: Offset(number(offset)?),
                    epoch: Epoch(number(epoch)?),
                    member,
                });
            }
            Ok(MORE)
        })
        .await?;
        Ok(newest)
    }

    pub(super) async fn user(&self, user: &UserId) -> Result<UserRow, StoreError> {
        let mut found = UserRow::default();
        let statement = &self.statements.user;
        self.read("read user", statement, (user.as_str(),), |page| {
            for row in page.rows::<(i64,)>()? {
                found.last_seen_ms = number(row?.0)?;
            }
            Ok(MORE)
        })
        .await?;
        Ok(found)
    }

    pub(super) async fn heartbeats(&self) -> Result<Vec<(String, Bytes)>, StoreError> {
        let mut rows = Vec::new();
        let statement = &self.statements.heartbeats;
        self.read("read heartbeats", statement, (), |page| {
            for row in page.rows::<(&str, &[u8])>()? {
                let (endpoint, heartbeat) = row?;
                rows.push((endpoint.to_owned(), Bytes::copy_from_slice(heartbeat)));
            }
            Ok(MORE)
        })
        .await?;
        Ok(rows)
    }
}

fn log_row(
    (offset, epoch, kind, message_count, target, event): Log<'_>,
) -> Result<LogRow, Unsound> {
    Ok(LogRow {
        offset: Offset(number(offset)?),
        epoch: Epoch(number(epoch)?),
        kind: event_kind(kind)?,
        message_count: number(message_count)?,
        target: Offset(number(target)?),
        // A copy: a slice would keep the whole page in memory.
        event: Bytes::copy_from_slice(event),
    })
}

/// The buckets of a range, none when it is empty.
fn buckets(from: Offset, to: Offset) -> impl Iterator<Item = u64> {
    let last = if from <= to { bucket(to) + 1 } else { 0 };
    bucket(from)..last
}

/// An upper or lower bound of a range; nothing is stored beyond CQL's integers.
pub(super) fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn number(value: i64) -> Result<u64, Unsound> {
    u64::try_from(value).map_err(|_| Unsound::Meaning(format!("a negative number: {value}")))
}

fn event_kind(number: i8) -> Result<EventKind, Unsound> {
    u8::try_from(number)
        .ok()
        .and_then(EventKind::from_number)
        .ok_or_else(|| Unsound::Meaning(format!("not a kind of event: {number}")))
}

fn user_id(text: &str) -> Result<UserId, Unsound> {
    UserId::parse(text).map_err(|error| Unsound::Meaning(format!("user {error}")))
}

const _: () = assert!(
    limits::LOG_READ_OFFSETS_MAX <= limits::BUCKET_OFFSETS,
    "a range reads two buckets at most"
);
