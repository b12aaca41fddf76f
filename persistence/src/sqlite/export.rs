//! What a copy of a whole installation asks, beside the port: which rooms, users and shards there
//! are. Pages, so that memory is bounded.

use rookery_proto::ids::{Epoch, RoomId, UserId};
use rusqlite::{Connection, Error, Result, Row, params, types::Type};

use super::{
    SqliteStore,
    queries::{self, number},
    statements::int,
};
use crate::{SentRow, ShardKind, StoreError, UserRow};

/// Which installation it is, and in what state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// When the database was made, in milliseconds since the Unix epoch: what tells it from others.
    pub(crate) made_ms: u64,
    /// How often a server was started on it. The same number: nothing has changed.
    pub(crate) starts: u64,
    /// Rows of the log.
    pub(crate) log_rows: u64,
}

/// The key of a sent id in its room.
pub(crate) type SentKey = (UserId, String, u64, u64);

impl SqliteStore {
    /// Which installation it is.
    pub(crate) async fn source(&self) -> std::result::Result<Source, StoreError> {
        self.readers.read("read the installation", source).await
    }

    /// Every shard that was ever taken, with its epoch.
    pub(crate) async fn shard_epochs(
        &self,
    ) -> std::result::Result<Vec<(ShardKind, u16, Epoch)>, StoreError> {
        self.readers.read("read shards", shard_epochs).await
    }

    /// Rooms of which anything is stored, behind that one, by id.
    pub(crate) async fn rooms_after(
        &self,
        after: Option<RoomId>,
        limit: usize,
    ) -> std::result::Result<Vec<RoomId>, StoreError> {
        let read = move |connection: &Connection| rooms_after(connection, after, limit);
        self.readers.read("read rooms", read).await
    }

    /// Users of whom anything is stored, behind that one, by id.
    pub(crate) async fn users_after(
        &self,
        after: Option<UserId>,
        limit: usize,
    ) -> std::result::Result<Vec<(UserId, UserRow)>, StoreError> {
        let read = move |connection: &Connection| users_after(connection, after, limit);
        self.readers.read("read users", read).await
    }

    /// Sent ids of a room from that time on, behind that key, by key.
    pub(crate) async fn sent_after(
        &self,
        room: RoomId,
        after: Option<SentKey>,
        since_ms: u64,
        limit: usize,
    ) -> std::result::Result<Vec<SentRow>, StoreError> {
        let read = move |connection: &Connection| {
            sent_after(connection, &room, after.as_ref(), since_ms, limit)
        };
        self.readers.read("read sent ids", read).await
    }
}

fn source(connection: &Connection) -> Result<Source> {
    let one = |sql| connection.query_row(sql, [], |row| number(row, 0));
    Ok(Source {
        made_ms: one("SELECT applied_ms FROM schema_version WHERE version = 1")?,
        starts: one("SELECT count(*) FROM nodes")?,
        // Rows are never removed, so the last one's number is how many there are.
        log_rows: one("SELECT coalesce(max(rowid), 0) FROM room_log")?,
    })
}

fn shard_epochs(connection: &Connection) -> Result<Vec<(ShardKind, u16, Epoch)>> {
    connection
        .prepare_cached("SELECT kind, shard, epoch FROM shards ORDER BY kind, shard")?
        .query_map([], |row| {
            let kind: u8 = row.get(0)?;
            let kind = ShardKind::ALL.into_iter().find(|one| *one as u8 == kind);
            let kind = kind.ok_or(Error::IntegralValueOutOfRange(0, -1))?;
            Ok((kind, row.get(1)?, Epoch(number(row, 2)?)))
        })?
        .collect()
}

/// Each step is a seek in the key of every table: reading distinct rooms would walk all rows.
fn rooms_after(
    connection: &Connection,
    after: Option<RoomId>,
    limit: usize,
) -> Result<Vec<RoomId>> {
    let mut statement = connection.prepare_cached(
        "SELECT min(room) FROM (
         SELECT min(room) AS room FROM room_log WHERE room > ?1
         UNION ALL SELECT min(room) FROM room_epochs WHERE room > ?1
         UNION ALL SELECT min(room) FROM rooms WHERE room > ?1
         UNION ALL SELECT min(room) FROM room_members WHERE room > ?1
         UNION ALL SELECT min(room) FROM read_cursors WHERE room > ?1
         UNION ALL SELECT min(room) FROM sent_ids WHERE room > ?1)",
    )?;
    let mut rooms: Vec<RoomId> = Vec::new();
    let mut last = after.map_or(String::new(), |room| room.as_str().to_owned());
    while rooms.len() < limit {
        let next: Option<String> = statement.query_row([&last], |row| row.get(0))?;
        let Some(next) = next else { break };
        rooms.push(RoomId::parse(&next).map_err(|error| not_an_id(error.into()))?);
        last = next;
    }
    Ok(rooms)
}

fn users_after(
    connection: &Connection,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<(UserId, UserRow)>> {
    let mut statement = connection.prepare_cached(
        "SELECT min(user) FROM (SELECT min(user) AS user FROM users WHERE user > ?1
         UNION ALL SELECT min(user) FROM user_rooms WHERE user > ?1)",
    )?;
    let mut users = Vec::new();
    let mut last = after.map_or(String::new(), |user| user.as_str().to_owned());
    while users.len() < limit {
        let next: Option<String> = statement.query_row([&last], |row| row.get(0))?;
        let Some(next) = next else { break };
        let user = UserId::parse(&next).map_err(|error| not_an_id(error.into()))?;
        let row = queries::user(connection, &user)?;
        users.push((user, row));
        last = next;
    }
    Ok(users)
}

fn sent_after(
    connection: &Connection,
    room: &RoomId,
    after: Option<&SentKey>,
    since_ms: u64,
    limit: usize,
) -> Result<Vec<SentRow>> {
    let (user, client_id, offset, epoch) = match after {
        None => ("", "", 0, 0),
        Some((user, client_id, offset, epoch)) => (user.as_str(), &**client_id, *offset, *epoch),
    };
    connection
        .prepare_cached(
            "SELECT user, client_id, offset, epoch, digest, time_ms FROM sent_ids
             WHERE room = ?1 AND (user, client_id, offset, epoch) > (?2, ?3, ?4, ?5)
             AND time_ms >= ?6 ORDER BY user, client_id, offset, epoch LIMIT ?7",
        )?
        .query_map(
            params![
                room.as_str(),
                user,
                client_id,
                int(offset)?,
                int(epoch)?,
                int(since_ms)?,
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            |row: &Row<'_>| queries::sent_row(row),
        )?
        .collect()
}

fn not_an_id(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::FromSqlConversionFailure(0, Type::Text, error)
}
