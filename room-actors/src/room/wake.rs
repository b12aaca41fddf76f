//! How a new owner finds the truth: which rows count, and which list says so from now on.
//!
//! The shell does it in this order: read list and tail; [`recover`]; write the adopted tail rows
//! again; write the new list; read the own fence; only then serve.

use rookery_persistence::{EpochList, LogRow, MemberRow, RoomWrite, SentRow};
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    v1::{self, event::Body},
};

use super::{fold, sent};
use crate::limits::IN_FLIGHT_EVENTS_MAX;

/// Why a room cannot be woken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecoverError {
    /// A later owner has claimed the room.
    #[error("epoch {claimed} owns the room, this node has epoch {own}")]
    Superseded {
        /// The epoch this node has.
        own: Epoch,
        /// The last one in the list.
        claimed: Epoch,
    },
    /// No canonical row where there must be one.
    #[error("no row that counts at offset {offset}")]
    Hole {
        /// Where the read tail begins.
        offset: Offset,
    },
}

/// What a waking room does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// The canonical rows of the tail that follow each other without a hole. The last is the head.
    pub(crate) adopted: Vec<LogRow>,
    /// The list under which the room is served.
    pub(crate) epochs: EpochList,
    /// Whether the list and the rows from `rewrite_from` on must be written before serving.
    pub(crate) claim: Option<Claim>,
}

/// What a takeover writes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Adopted rows from this index on may not have reached a quorum: write them again. What is
    /// derived from earlier ones may be missing, too.
    pub(crate) rewrite_from: usize,
}

/// Decides from the winning list and the rows (of any epoch, by offset and epoch) of the newest
/// `window` offsets.
///
/// # Errors
/// [`RecoverError`], when this node does not own the room or the rows cannot be right.
pub(crate) fn recover(
    list: EpochList,
    tail: Vec<LogRow>,
    window: u32,
    own: Epoch,
) -> Result<Recovery, RecoverError> {
    if let Some(claimed) = list.last_epoch()
        && claimed > own
    {
        return Err(RecoverError::Superseded { own, claimed });
    }
    let last = tail.last().map_or(Offset::ZERO, |row| row.offset);
    let first = tail.first().map_or(Offset(1), |row| row.offset);
    // Where the tail that was asked for begins, whether a row stands there or not.
    let first = Offset((last.0.saturating_sub(u64::from(window)) + 1).min(first.0));
    let mut adopted: Vec<LogRow> = Vec::with_capacity(tail.len());
    let mut next = first;
    for row in tail {
        if row.offset == next && list.is_canonical(row.offset, row.epoch) {
            next = next.next();
            adopted.push(row);
        }
    }
    // No owner writes further than this beyond what it acknowledged, so older rows all count.
    if adopted.is_empty() && first > Offset(1) {
        return Err(RecoverError::Hole { offset: first });
    }
    if list.last_epoch() == Some(own) {
        return Ok(Recovery {
            adopted,
            epochs: list,
            claim: None,
        });
    }
    let head = Offset(next.0 - 1);
    let epochs = list.claimed_by(own, head);
    let maybe_lost = last.0.saturating_sub(IN_FLIGHT_EVENTS_MAX as u64);
    let rewrite_from = adopted.partition_point(|row| row.offset.0 <= maybe_lost);
    Ok(Recovery {
        adopted,
        epochs,
        claim: Some(Claim { rewrite_from }),
    })
}

/// The write that repeats adopted rows from `from` on, with what is derived from all of them: same
/// keys, same content. (Cursors have no epoch in their key and are derived in memory, after the
/// claim; settings stand in the room's first row's own write.)
pub(crate) fn rewrite(room: &RoomId, adopted: &[LogRow], from: usize) -> RoomWrite {
    let mut write = RoomWrite::new(room.clone());
    for row in adopted {
        derive_rows(row, &mut write);
    }
    write.log = adopted[from..].to_vec();
    write
}

fn derive_rows(row: &LogRow, write: &mut RoomWrite) {
    let event = fold::decode(&row.event);
    let mut member = |user: Option<v1::User>, role| {
        let v1::User { id, name } = user.unwrap_or_default();
        if let Ok(user) = UserId::parse(&id) {
            write.members.push(MemberRow {
                user,
                name,
                offset: row.offset,
                epoch: row.epoch,
                role,
            });
        }
    };
    match event.body {
        Some(Body::RoomOpened(opened)) => {
            for added in opened.members {
                let role = added.role();
                member(added.user, Some(role));
            }
        }
        Some(Body::MemberJoined(joined)) => {
            let added = joined.member.unwrap_or_default();
            let role = added.role();
            member(added.user, Some(role));
        }
        Some(Body::MemberLeft(left)) => member(left.user, None),
        Some(Body::Message(message)) if !message.client_id.is_empty() => {
            if let Ok(user) = UserId::parse(&event.actor.unwrap_or_default().id) {
                write.sent.push(SentRow {
                    user,
                    client_id: message.client_id,
                    offset: row.offset,
                    epoch: row.epoch,
                    digest: sent::digest(&message.text),
                    time_ms: event.time_ms,
                });
            }
        }
        _ => {}
    }
}
