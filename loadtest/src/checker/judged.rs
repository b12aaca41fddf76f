//! What the second pass judges by: the final logs, and names as numbers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{log::RoomLog, names::Names, report::Violation};
use crate::history::Record;

/// See the module's words.
#[derive(Debug)]
pub(super) struct Judged {
    /// By the room's number.
    pub(super) logs: Vec<Option<RoomLog>>,
    pub(super) rooms: Names,
    pub(super) people: Names,
    pub(super) emoji: Names,
    /// Clients to their users.
    pub(super) users: HashMap<u32, u32>,
}

impl Judged {
    /// The room's final log.
    pub(super) fn log(&self, room: &str) -> Option<&RoomLog> {
        self.logs.get(self.rooms.find(room)? as usize)?.as_ref()
    }

    /// The same, where it is not judged wrong.
    pub(super) fn sound_log(&self, room: u32) -> Option<&RoomLog> {
        let log = self.logs.get(room as usize)?.as_ref();
        log.filter(|log| !log.wrong)
    }

    /// Who it is of.
    pub(super) fn user(&self, record: &Record) -> Option<u32> {
        self.users.get(&record.client).copied()
    }

    pub(super) fn seen(&self, record: &Record, room: u32, what: String) -> Violation {
        super::streams::seen(record, self.rooms.name(room), what)
    }

    /// Reactions, to be read.
    pub(super) fn named(
        &self,
        reactions: &BTreeMap<u32, BTreeSet<u32>>,
    ) -> BTreeMap<&str, BTreeSet<&str>> {
        let named = |users: &BTreeSet<u32>| users.iter().map(|it| self.people.name(*it)).collect();
        let each = reactions.iter();
        each.map(|(emoji, users)| (self.emoji.name(*emoji), named(users)))
            .collect()
    }
}
