//! What the readers ask. Each function is one statement on a connection of its own.

use bytes::Bytes;
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    v1,
};
use rusqlite::{Connection, Error, OptionalExtension, Params, Result, Row, params, types::Type};

use super::statements::int;
use crate::{
    CursorRow, EpochList, EventKind, Incarnation, LogRow, MarkRow, MemberRow, RoomRow, SentRow,
    UserRoomRow, UserRow,
};

pub(super) fn is_fenced(connection: &Connection, incarnation: Incarnation) -> Result<bool> {
    let fenced = connection
        .prepare_cached("SELECT fenced FROM nodes WHERE incarnation = ?1")?
        .query_row([int(incarnation.0)?], |row| row.get(0))
        .optional()?;
    Ok(fenced.unwrap_or(true))
}

pub(super) fn room_epochs(connection: &Connection, room: &RoomId) -> Result<EpochList> {
    let list = connection
        .prepare_cached("SELECT list FROM room_epochs WHERE room = ?1 ORDER BY epoch DESC LIMIT 1")?
        .query_row([room.as_str()], |row| {
            let text: String = row.get(0)?;
            EpochList::from_text(&text).ok_or_else(|| unsound(0, Type::Text, "not an epoch list"))
        })
        .optional()?;
    Ok(list.unwrap_or_default())
}

pub(super) fn log_tail(
    connection: &Connection,
    room: &RoomId,
    offsets: u32,
) -> Result<Vec<LogRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT offset, epoch, kind, message_count, target, event FROM room_log
         WHERE room = ?1 ORDER BY offset DESC, epoch DESC",
    )?;
    let mut rows = statement.query([room.as_str()])?;
    let mut tail: Vec<LogRow> = Vec::new();
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        let row = log_row(row)?;
        if tail.last().is_none_or(|above| above.offset != row.offset) {
            seen += 1;
            if seen > offsets {
                break;
            }
        }
        tail.push(row);
    }
    tail.reverse();
    Ok(tail)
}

pub(super) fn log_range(
    connection: &Connection,
    room: &RoomId,
    from: Offset,
    to: Offset,
) -> Result<Vec<LogRow>> {
    collect(
        connection,
        "SELECT offset, epoch, kind, message_count, target, event FROM room_log
         WHERE room = ?1 AND offset BETWEEN ?2 AND ?3 ORDER BY offset, epoch",
        params![room.as_str(), bound(from.0), bound(to.0)],
        log_row,
    )
}

pub(super) fn marks(
    connection: &Connection,
    room: &RoomId,
    from: Offset,
    to: Offset,
) -> Result<Vec<MarkRow>> {
    collect(
        connection,
        "SELECT target, offset, epoch, kind, event FROM room_marks
         WHERE room = ?1 AND target BETWEEN ?2 AND ?3 ORDER BY target, offset, epoch",
        params![room.as_str(), bound(from.0), bound(to.0)],
        |row| {
            Ok(MarkRow {
                target: Offset(number(row, 0)?),
                offset: Offset(number(row, 1)?),
                epoch: Epoch(number(row, 2)?),
                kind: event_kind(row, 3)?,
                event: Bytes::from(row.get::<_, Vec<u8>>(4)?),
            })
        },
    )
}

pub(super) fn deletions(
    connection: &Connection,
    room: &RoomId,
) -> Result<Vec<(Offset, Offset, Epoch)>> {
    const { assert!(EventKind::Deleted as u8 == 4, "the partial index says 4") };
    collect(
        connection,
        "SELECT target, offset, epoch FROM room_marks
         WHERE room = ?1 AND kind = 4 ORDER BY target, offset, epoch",
        [room.as_str()],
        |row| {
            Ok((
                Offset(number(row, 0)?),
                Offset(number(row, 1)?),
                Epoch(number(row, 2)?),
            ))
        },
    )
}

pub(super) fn settings(connection: &Connection, room: &RoomId) -> Result<Vec<RoomRow>> {
    collect(
        connection,
        "SELECT offset, epoch, kind, name, public, creator, client_id FROM rooms
         WHERE room = ?1 ORDER BY offset, epoch",
        [room.as_str()],
        |row| {
            Ok(RoomRow {
                offset: Offset(number(row, 0)?),
                epoch: Epoch(number(row, 1)?),
                kind: v1::room::Kind::try_from(row.get::<_, i32>(2)?)
                    .map_err(|_| unsound(2, Type::Integer, "not a kind of room"))?,
                name: row.get(3)?,
                public: row.get(4)?,
                creator: user_id(row, 5)?,
                client_id: row.get(6)?,
            })
        },
    )
}

pub(super) fn members(connection: &Connection, room: &RoomId) -> Result<Vec<MemberRow>> {
    collect(
        connection,
        "SELECT user, name, offset, epoch, role FROM room_members
         WHERE room = ?1 ORDER BY user, offset, epoch",
        [room.as_str()],
        |row| {
            let role = match row.get::<_, i32>(4)? {
                0 => None,
                role => Some(
                    v1::member::Role::try_from(role)
                        .map_err(|_| unsound(4, Type::Integer, "not a role"))?,
                ),
            };
            Ok(MemberRow {
                user: user_id(row, 0)?,
                name: row.get(1)?,
                offset: Offset(number(row, 2)?),
                epoch: Epoch(number(row, 3)?),
                role,
            })
        },
    )
}

pub(super) fn cursors(connection: &Connection, room: &RoomId) -> Result<Vec<CursorRow>> {
    collect(
        connection,
        "SELECT user, offset, message_count FROM read_cursors WHERE room = ?1 ORDER BY user",
        [room.as_str()],
        |row| {
            Ok(CursorRow {
                user: user_id(row, 0)?,
                offset: Offset(number(row, 1)?),
                message_count: number(row, 2)?,
            })
        },
    )
}

/// The pluses keep SQLite on the clustered key: the index by time spans all rooms.
pub(super) fn sent_ids(
    connection: &Connection,
    room: &RoomId,
    user: &UserId,
    since_ms: u64,
    limit: u32,
) -> Result<Vec<SentRow>> {
    collect(
        connection,
        "SELECT user, client_id, offset, epoch, digest, time_ms FROM sent_ids
         WHERE room = ?1 AND user = ?2 AND +time_ms >= ?3
         ORDER BY +time_ms DESC, offset DESC, epoch DESC, client_id LIMIT ?4",
        params![room.as_str(), user.as_str(), bound(since_ms), limit],
        sent_row,
    )
}

pub(super) fn sent_id(
    connection: &Connection,
    room: &RoomId,
    user: &UserId,
    client_id: &str,
) -> Result<Vec<SentRow>> {
    collect(
        connection,
        "SELECT user, client_id, offset, epoch, digest, time_ms FROM sent_ids
         WHERE room = ?1 AND user = ?2 AND client_id = ?3 ORDER BY offset, epoch",
        params![room.as_str(), user.as_str(), client_id],
        sent_row,
    )
}

pub(super) fn user_rooms(
    connection: &Connection,
    user: &UserId,
    after: Option<&RoomId>,
    limit: u32,
) -> Result<Vec<UserRoomRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT room, offset, epoch, member FROM user_rooms
         WHERE user = ?1 AND room > ?2 ORDER BY room, offset, epoch",
    )?;
    let mut rows = statement.query(params![user.as_str(), after.map_or("", RoomId::as_str)])?;
    let mut newest: Vec<UserRoomRow> = Vec::new();
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        if newest.last().is_some_and(|last| last.room.as_str() == text) {
            newest.pop();
        } else if newest.len() == limit as usize {
            break;
        }
        newest.push(UserRoomRow {
            room: RoomId::parse(&text)
                .map_err(|error| Error::FromSqlConversionFailure(0, Type::Text, error.into()))?,
            offset: Offset(number(row, 1)?),
            epoch: Epoch(number(row, 2)?),
            member: row.get(3)?,
        });
    }
    Ok(newest)
}

pub(super) fn user(connection: &Connection, user: &UserId) -> Result<UserRow> {
    let row = connection
        .prepare_cached("SELECT last_seen_ms FROM users WHERE user = ?1")?
        .query_row([user.as_str()], |row| {
            Ok(UserRow {
                last_seen_ms: number(row, 0)?,
            })
        })
        .optional()?;
    Ok(row.unwrap_or_default())
}

fn collect<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    decode: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    connection
        .prepare_cached(sql)?
        .query_map(params, decode)?
        .collect()
}

fn log_row(row: &Row<'_>) -> Result<LogRow> {
    Ok(LogRow {
        offset: Offset(number(row, 0)?),
        epoch: Epoch(number(row, 1)?),
        kind: event_kind(row, 2)?,
        message_count: number(row, 3)?,
        target: Offset(number(row, 4)?),
        event: Bytes::from(row.get::<_, Vec<u8>>(5)?),
    })
}

pub(super) fn sent_row(row: &Row<'_>) -> Result<SentRow> {
    Ok(SentRow {
        user: user_id(row, 0)?,
        client_id: row.get(1)?,
        offset: Offset(number(row, 2)?),
        epoch: Epoch(number(row, 3)?),
        digest: row.get::<_, i64>(4)?.cast_unsigned(),
        time_ms: number(row, 5)?,
    })
}

/// An upper or lower bound of a range; nothing is stored beyond SQLite's integers.
fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn number(row: &Row<'_>, column: usize) -> Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| Error::IntegralValueOutOfRange(column, value))
}

pub(super) fn event_kind(row: &Row<'_>, column: usize) -> Result<EventKind> {
    EventKind::from_number(row.get(column)?)
        .ok_or_else(|| unsound(column, Type::Integer, "not a kind of event"))
}

fn user_id(row: &Row<'_>, column: usize) -> Result<UserId> {
    let text: String = row.get(column)?;
    UserId::parse(&text)
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, error.into()))
}

fn unsound(column: usize, kind: Type, problem: &'static str) -> Error {
    Error::FromSqlConversionFailure(column, kind, problem.into())
}
