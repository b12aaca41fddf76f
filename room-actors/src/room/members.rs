//! Who is in the room, as applied.

use rookery_proto::{
    ids::{Offset, UserId},
    v1::member::Role,
};
use rustc_hash::FxHashMap;

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) role: Role,
    /// Offset of the event that made them a member. Beyond the head: not visible yet.
    pub(super) since: Offset,
}

/// Applied members, and how many of them are visible.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_user: FxHashMap<UserId, Member>,
    /// Members as of the committed head.
    visible: usize,
}

impl Members {
    pub(super) fn new(by_user: FxHashMap<UserId, Member>) -> Self {
        let visible = by_user.len();
        Self { by_user, visible }
    }

    pub(super) fn get(&self, user: &UserId) -> Option<&Member> {
        self.by_user.get(user)
    }

    pub(super) fn len(&self) -> usize {
        self.by_user.len()
    }

    pub(super) fn visible_count(&self) -> u32 {
        u32::try_from(self.visible).unwrap_or(u32::MAX)
    }

    pub(super) fn add(&mut self, user: UserId, role: Role, since: Offset) {
        self.by_user.insert(user, Member { role, since });
    }

    pub(super) fn remove(&mut self, user: &UserId) {
        self.by_user.remove(user);
    }

    /// An event that adds so many committed.
    pub(super) fn became_visible(&mut self, count: usize) {
        self.visible += count;
    }

    /// An event that removes one committed.
    pub(super) fn became_gone(&mut self) {
        self.visible = self.visible.saturating_sub(1);
    }

    /// Users, sorted.
    pub(super) fn sorted_users(&self) -> Vec<String> {
        let mut users: Vec<_> = self
            .by_user
            .keys()
            .map(|user| user.as_str().to_owned())
            .collect();
        users.sort_unstable();
        users
    }
}
