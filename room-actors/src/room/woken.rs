//! A room as its rows say: which of them count, and what the newest events say again.

use rookery_persistence::{CursorRow, EpochList, LogRow, MemberRow, RoomRow};
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    v1::{self, event::Body, member::Role, room::Kind},
};
use rustc_hash::FxHashMap;

use super::{
    cursors::{Cursor, Cursors},
    fold,
    members::{Member, Members},
};

/// What the shell read when it woke the room. Rows of all epochs, but for the tail.
#[derive(Debug)]
pub(crate) struct Woken {
    pub(crate) room: RoomId,
    /// Under which ownership.
    pub(crate) epoch: Epoch,
    /// The list that names this epoch last.
    pub(crate) epochs: EpochList,
    /// The adopted tail: dense, canonical, ends at the head.
    pub(crate) tail: Vec<LogRow>,
    pub(crate) settings: Vec<RoomRow>,
    pub(crate) members: Vec<MemberRow>,
    pub(crate) cursors: Vec<CursorRow>,
    /// (target, offset, epoch).
    pub(crate) deletions: Vec<(Offset, Offset, Epoch)>,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) public: bool,
    pub(super) creator: UserId,
    pub(super) client_id: String,
}

/// What counts of [`Woken`].
pub(super) struct Recalled {
    pub(super) room: RoomId,
    pub(super) epoch: Epoch,
    pub(super) epochs: EpochList,
    pub(super) tail: Vec<LogRow>,
    pub(super) settings: Option<Settings>,
    pub(super) members: Members,
    pub(super) cursors: Cursors,
}

impl Woken {
    /// Keeps the canonical rows up to the head, and derives again what the tail's events imply:
    /// rows derived from the newest events may be missing.
    pub(super) fn recall(self) -> Recalled {
        let Woken {
            room,
            epoch,
            epochs,
            tail,
            settings,
            members,
            cursors,
            deletions,
        } = self;
        let head = tail.last().map_or(Offset::ZERO, |row| row.offset);
        let counts = |offset, epoch| offset <= head && epochs.is_canonical(offset, epoch);
        let mut settings = settings
            .into_iter()
            .filter(|row| counts(row.offset, row.epoch))
            .max_by_key(|row| row.offset)
            .map(|row| Settings {
                kind: row.kind,
                name: row.name,
                public: row.public,
                creator: row.creator,
                client_id: row.client_id,
            });
        let mut roles: FxHashMap<UserId, (Offset, Option<Role>)> = FxHashMap::default();
        for row in members
            .into_iter()
            .filter(|row| counts(row.offset, row.epoch))
        {
            note_role(&mut roles, row.user, row.offset, row.role);
        }
        let mut deleted: Vec<_> = deletions
            .into_iter()
            .filter(|&(_, offset, epoch)| counts(offset, epoch))
            .map(|(target, ..)| target)
            .collect();
        deleted.sort_unstable();
        deleted.dedup();
        let mut cursors = Cursors::new(cursors, deleted);
        // Rows derived from the newest events may be missing: derive them again.
        for row in &tail {
            derive(row, &mut settings, &mut roles, &mut cursors);
        }
        let members = roles
            .into_iter()
            .filter_map(|(user, (since, role))| Some((user, Member { role: role?, since })))
            .collect();
        Recalled {
            room,
            epoch,
            epochs,
            tail,
            settings,
            members: Members::new(members),
            cursors,
        }
    }
}

fn note_role(
    roles: &mut FxHashMap<UserId, (Offset, Option<Role>)>,
    user: UserId,
    offset: Offset,
    role: Option<Role>,
) {
    let known = roles.entry(user).or_insert((offset, role));
    if known.0 <= offset {
        *known = (offset, role);
    }
}

/// What one event of the tail implies for the rows derived from it.
fn derive(
    row: &LogRow,
    settings: &mut Option<Settings>,
    roles: &mut FxHashMap<UserId, (Offset, Option<Role>)>,
    cursors: &mut Cursors,
) {
    let event = fold::decode(&row.event);
    let to = Cursor {
        offset: row.offset,
        message_count: row.message_count,
    };
    let actor = event.actor.and_then(|actor| UserId::parse(&actor.id).ok());
    match event.body {
        Some(Body::RoomOpened(opened)) => {
            let room = opened.room.unwrap_or_default();
            if let (None, Some(creator)) = (&settings, actor) {
                *settings = Some(Settings {
                    kind: room.kind(),
                    name: room.name,
                    public: room.public,
                    creator,
                    client_id: String::new(),
                });
            }
            for member in opened.members {
                note_member(roles, cursors, &member, to);
            }
        }
        Some(Body::Message(_)) => {
            if let Some(actor) = actor {
                cursors.moved_by_event(&actor, to);
            }
        }
        Some(Body::MemberJoined(joined)) => {
            note_member(roles, cursors, &joined.member.unwrap_or_default(), to);
        }
        Some(Body::MemberLeft(left)) => {
            if let Ok(user) = UserId::parse(&left.user.unwrap_or_default().id) {
                note_role(roles, user, row.offset, None);
            }
        }
        Some(Body::MessageDeleted(delete)) => cursors.message_deleted(Offset(delete.target)),
        Some(Body::MessageEdited(_) | Body::ReactionAdded(_) | Body::ReactionRemoved(_)) | None => {
        }
    }
}

fn note_member(
    roles: &mut FxHashMap<UserId, (Offset, Option<Role>)>,
    cursors: &mut Cursors,
    member: &v1::Member,
    to: Cursor,
) {
    let id = member.user.as_ref().map_or("", |user| &user.id);
    if let Ok(user) = UserId::parse(id) {
        cursors.moved_by_event(&user, to);
        note_role(roles, user, to.offset, Some(member.role()));
    }
}
