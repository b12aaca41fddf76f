//! How far each user has read, and what that leaves unread.

use rookery_persistence::CursorRow;
use rookery_proto::ids::{Offset, UserId};
use rustc_hash::FxHashMap;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) offset: Offset,
    /// Messages in the log up to the offset.
    pub(super) message_count: u64,
}

/// Rows of cursors.
pub(super) fn rows(cursors: FxHashMap<UserId, Cursor>) -> Vec<CursorRow> {
    let row = |(user, cursor): (UserId, Cursor)| CursorRow {
        user,
        offset: cursor.offset,
        message_count: cursor.message_count,
    };
    cursors.into_iter().map(row).collect()
}

/// Visible cursors: durable ones, and those that a committed event of the user implies (they are
/// derived again at wake until they are written).
#[derive(Debug, Default)]
pub(super) struct Cursors {
    by_user: FxHashMap<UserId, Cursor>,
    /// Moved by a committed event and not handed to the store yet.
    unsaved: FxHashMap<UserId, Cursor>,
    /// Offset of the oldest of these moves.
    unsaved_since: Option<Offset>,
    /// Deleted messages, ascending.
    deleted: Vec<Offset>,
}

impl Cursors {
    pub(super) fn new(rows: Vec<CursorRow>, deleted: Vec<Offset>) -> Self {
        let by_user = rows
            .into_iter()
            .map(|row| {
                (
                    row.user,
                    Cursor {
                        offset: row.offset,
                        message_count: row.message_count,
                    },
                )
            })
            .collect();
        Self {
            by_user,
            deleted,
            ..Self::default()
        }
    }

    pub(super) fn get(&self, user: &UserId) -> Cursor {
        self.by_user.get(user).copied().unwrap_or_default()
    }

    /// Moves a cursor forward; false when it stands there or further already.
    pub(super) fn advance(&mut self, user: &UserId, to: Cursor) -> bool {
        match self.by_user.get_mut(user) {
            Some(cursor) if cursor.offset >= to.offset => false,
            Some(cursor) => {
                *cursor = to;
                true
            }
            None => {
                self.by_user.insert(user.clone(), to);
                true
            }
        }
    }

    /// A committed event of the user moves the cursor; it is written later.
    pub(super) fn moved_by_event(&mut self, user: &UserId, to: Cursor) {
        if !self.advance(user, to) {
            return;
        }
        self.unsaved_since.get_or_insert(to.offset);
        match self.unsaved.get_mut(user) {
            Some(cursor) => *cursor = to,
            None => drop(self.unsaved.insert(user.clone(), to)),
        }
    }

    /// The oldest move that is not handed to the store yet.
    pub(super) const fn unsaved_since(&self) -> Option<Offset> {
        self.unsaved_since
    }

    /// Hands out the moves that are to be written now.
    pub(super) fn take_unsaved(&mut self) -> FxHashMap<UserId, Cursor> {
        self.unsaved_since = None;
        std::mem::take(&mut self.unsaved)
    }

    /// The message at that offset was deleted.
    pub(super) fn message_deleted(&mut self, target: Offset) {
        if let Err(index) = self.deleted.binary_search(&target) {
            self.deleted.insert(index, target);
        }
    }

    pub(super) fn is_deleted(&self, message: Offset) -> bool {
        self.deleted.binary_search(&message).is_ok()
    }

    /// Messages after the user's cursor that are not deleted. The user's own are never after it.
    pub(super) fn unread(&self, user: &UserId, head_count: u64) -> u64 {
        let cursor = self.get(user);
        let after = self
            .deleted
            .partition_point(|&offset| offset <= cursor.offset);
        let deleted = (self.deleted.len() - after) as u64;
        head_count
            .saturating_sub(cursor.message_count)
            .saturating_sub(deleted)
    }
}
