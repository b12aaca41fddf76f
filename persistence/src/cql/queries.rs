//! What is read, all of it at quorum.

mod log;

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
};
use crate::{
    CursorRow, EpochList, EventKind, MemberRow, RoomRow, SentRow, StoreError, UserRoomRow, UserRow,
};

/// A row of `rooms`.
type Room<'a> = (i64, i64, i8, &'a str, bool, &'a str, &'a str);
/// A row of `sent_ids` or `sent_ids_by_time`.
type Sent<'a> = (&'a str, i64, i64, i64, i64);

type Page = Result<ControlFlow<()>, Unsound>;
const MORE: ControlFlow<()> = ControlFlow::Continue(());
const ENOUGH: ControlFlow<()> = ControlFlow::Break(());

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
