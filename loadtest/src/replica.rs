//! A room as one client sees it: events folded into messages, edits, reactions and members.
//!
//! Two clients that saw the same log have equal replicas, however they came by it: live, by
//! resuming, by a snapshot or by history pages. Equality is over what both can know
//! ([`Replica::difference`]): a client that started with a snapshot knows no older messages, and
//! only one that saw the log from its beginning knows the members.

mod difference;
mod message;

use std::collections::BTreeMap;

use rookery_proto::v1::{self, event::Body};
use serde::{Deserialize, Serialize};

pub use difference::Difference;
pub use message::MessageState;

/// A room's state as folded from its events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replica {
    room: String,
    /// The first offset whose event was seen; messages before it are not known.
    from: u64,
    /// The last offset whose event was seen; 0: none.
    head: u64,
    messages: BTreeMap<u64, MessageState>,
    /// User to role; meaningful when the log was seen from offset 1.
    members: BTreeMap<String, i32>,
}

/// What an event did to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was the next one.
    New,
    /// It was known already.
    Known,
    /// Events before it are missing; nothing was changed.
    Gap {
        /// The offset that should have come.
        expected: u64,
    },
}

impl Replica {
    /// An empty replica that has seen nothing.
    #[must_use]
    pub fn new(room: &str) -> Self {
        Self {
            room: room.to_owned(),
            from: 1,
            head: 0,
            messages: BTreeMap::new(),
            members: BTreeMap::new(),
        }
    }

    /// Folds a whole log, as read from `history`.
    #[must_use]
    pub fn from_log(room: &str, events: &[v1::Event]) -> Self {
        let mut replica = Self::new(room);
        for event in events {
            replica.apply(event);
        }
        replica
    }

    /// The room.
    #[must_use]
    pub fn room(&self) -> &str {
        &self.room
    }

    /// The last offset seen; resume after it.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// The first offset seen.
    #[must_use]
    pub fn from(&self) -> u64 {
        self.from
    }

    /// The messages by offset.
    #[must_use]
    pub fn messages(&self) -> &BTreeMap<u64, MessageState> {
        &self.messages
    }

    /// Users and their roles, when the log was seen from its beginning.
    #[must_use]
    pub fn members(&self) -> Option<&BTreeMap<String, i32>> {
        (self.from == 1).then_some(&self.members)
    }

    /// Folds the answer of a join that asked for events `after` an offset, or for a page.
    pub fn join(&mut self, joined: &v1::Joined, after: Option<u64>) {
        let continues = !joined.reset && after.is_some_and(|after| after <= self.head);
        if !continues {
            let first = joined.events.first().map_or(joined.head + 1, |e| e.offset);
            *self = Self::new(&self.room);
            self.from = first;
            self.head = first - 1;
        }
        for event in &joined.events {
            self.apply(event);
        }
    }

    /// Folds one event, live or from a page.
    pub fn apply(&mut self, event: &v1::Event) -> Applied {
        if event.offset <= self.head {
            return Applied::Known;
        }
        if event.offset != self.head + 1 {
            return Applied::Gap {
                expected: self.head + 1,
            };
        }
        self.head = event.offset;
        let actor = event.actor.as_ref().map_or("", |user| user.id.as_str());
        match &event.body {
            None => {}
            Some(Body::RoomOpened(opened)) => {
                for member in &opened.members {
                    self.admit(member);
                }
            }
            Some(Body::Message(message)) => {
                self.messages
                    .insert(event.offset, MessageState::new(actor, message));
            }
            Some(Body::MemberJoined(joined)) => {
                if let Some(member) = &joined.member {
                    self.admit(member);
                }
            }
            Some(Body::MemberLeft(left)) => {
                if let Some(user) = &left.user {
                    self.members.remove(&user.id);
                }
            }
            Some(
                body @ (Body::MessageEdited(_)
                | Body::MessageDeleted(_)
                | Body::ReactionAdded(_)
                | Body::ReactionRemoved(_)),
            ) => {
                if let Some(message) = self.messages.get_mut(&target(body)) {
                    message.mark(event.offset, event.time_ms, actor, body);
                }
            }
        }
        Applied::New
    }

    fn admit(&mut self, member: &v1::Member) {
        if let Some(user) = &member.user {
            self.members.insert(user.id.clone(), member.role);
        }
    }

    /// Compares what both know; `None` when they agree.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        Difference::between(self, other)
    }
}

/// The message an event marks; 0 when it marks none.
#[must_use]
pub fn target(body: &Body) -> u64 {
    match body {
        Body::MessageEdited(mark) => mark.target,
        Body::MessageDeleted(mark) => mark.target,
        Body::ReactionAdded(mark) => mark.target,
        Body::ReactionRemoved(mark) => mark.target,
        Body::RoomOpened(_) | Body::Message(_) | Body::MemberJoined(_) | Body::MemberLeft(_) => 0,
    }
}

#[cfg(test)]
mod tests;
