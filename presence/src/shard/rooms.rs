//! The caller's rooms, a page at a time.

use rookery_persistence::{Store, StoreError};
use rookery_proto::{
    ids::{RoomId, UserId},
    limits::{ROOM_PAGE_DEFAULT, ROOM_PAGE_MAX},
    v1,
};

use crate::{limits::ROOM_ROWS_SCANNED_MAX, refusal::Refusal};

/// Checks a `rooms` command: where to go on, and how many.
pub(super) fn check(command: &v1::Rooms) -> Result<(Option<RoomId>, usize), Refusal> {
    let limit = match command.limit {
        0 => ROOM_PAGE_DEFAULT,
        limit if limit <= ROOM_PAGE_MAX => limit,
        _ => {
            let reason = format!("must be at most {ROOM_PAGE_MAX}");
            return Err(Refusal::Invalid {
                field: "rooms.limit",
                reason,
            });
        }
    };
    let after = match command.after.as_str() {
        "" => None,
        after => Some(RoomId::parse(after).map_err(|error| Refusal::Invalid {
            field: "rooms.after",
            reason: error.to_string(),
        })?),
    };
    Ok((after, limit as usize))
}

/// The first `limit` rooms after `after` that the user is in, with nothing but their ids.
///
/// `next` is set when there are more, or when so many left rooms were passed that looking further
/// would take too long.
pub(super) async fn page(
    store: &dyn Store,
    user: &UserId,
    mut after: Option<RoomId>,
    limit: usize,
) -> Result<v1::RoomPage, StoreError> {
    let mut rooms: Vec<RoomId> = Vec::with_capacity(limit + 1);
    let mut scanned = 0;
    let mut next = None;
    // One more than asked for tells whether there are more.
    'pages: while rooms.len() <= limit {
        let rows = store
            .user_rooms(user, after.as_ref(), ROOM_PAGE_MAX)
            .await?;
        let is_last = rows.len() < ROOM_PAGE_MAX as usize;
        for row in rows {
            scanned += 1;
            after = Some(row.room.clone());
            if row.member {
                rooms.push(row.room);
                if rooms.len() > limit {
                    break 'pages;
                }
            }
        }
        if is_last {
            break;
        }
        if scanned >= ROOM_ROWS_SCANNED_MAX {
            next.clone_from(&after);
            break;
        }
    }
    if rooms.len() > limit {
        rooms.truncate(limit);
        next = rooms.last().cloned();
    }
    let rooms = rooms.into_iter().map(summary).collect();
    Ok(v1::RoomPage {
        rooms,
        next: next.map_or_else(String::new, |room| room.as_str().to_owned()),
    })
}

fn summary(room: RoomId) -> v1::RoomSummary {
    let room = v1::Room {
        id: room.as_str().to_owned(),
        ..v1::Room::default()
    };
    v1::RoomSummary {
        room: Some(room),
        ..v1::RoomSummary::default()
    }
}
