//! A room's final log, with the indexes the second pass asks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rookery_proto::v1::{self, event::Body};

use super::content::{Change, actor, hash};
use crate::replica::{Replica, target};

/// One offset of a final log.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) event: v1::Event,
    pub(super) change: Option<Change>,
    /// Hash of the text as it was sent, where it is known: from the log while it still has it,
    /// else from whoever sent it.
    pub(super) text: Option<u64>,
}

/// A room's final log.
#[derive(Debug, Default)]
pub(super) struct RoomLog {
    /// By offset - 1; `None` where the log has a hole.
    pub(super) entries: Vec<Option<Entry>>,
    /// Marks by message, ascending.
    marks: HashMap<u64, Vec<u64>>,
    /// Deleted messages to the offset of the first delete.
    deleted: BTreeMap<u64, u64>,
    /// Messages by offset - 1: how many up to there.
    message_counts: Vec<u64>,
    /// Own messages of each user, ascending.
    own: HashMap<String, Vec<u64>>,
    /// By offset - 1: when the newest of the operations up to there began. Nobody can have seen
    /// a head before the operation that made it began.
    began: Vec<u64>,
    /// Acknowledged, but not in the log.
    pub(super) lost: BTreeSet<u64>,
    /// Judged wrong: what follows from its state is not judged again.
    pub(super) wrong: bool,
    pub(super) replica: Option<Replica>,
}

/// How a message stands at some head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Folded {
    /// `None`: not known.
    pub(super) text: Option<u64>,
    pub(super) edited_ms: u64,
    pub(super) deleted: bool,
    pub(super) reactions: BTreeMap<String, BTreeSet<String>>,
}

impl RoomLog {
    pub(super) fn new(mut events: BTreeMap<u64, v1::Event>, head: u64) -> Self {
        let head = head.max(events.keys().next_back().copied().unwrap_or(0));
        let mut log = Self::default();
        let mut messages = 0;
        let whole: Vec<v1::Event> = events.values().cloned().collect();
        for offset in 1..=head {
            let event = events.remove(&offset);
            if let Some(body) = event.as_ref().and_then(|event| event.body.as_ref()) {
                let user = event.as_ref().map_or("", actor);
                match body {
                    Body::Message(_) => {
                        messages += 1;
                        log.own.entry(user.to_owned()).or_default().push(offset);
                    }
                    Body::MessageDeleted(mark) => {
                        log.deleted.entry(mark.target).or_insert(offset);
                    }
                    _ => {}
                }
                if target(body) > 0 {
                    log.marks.entry(target(body)).or_default().push(offset);
                }
            }
            log.message_counts.push(messages);
            log.entries.push(event.map(|event| {
                let change = Change::made(&event);
                Entry {
                    text: change.and_then(|change| change.text),
                    change,
                    event,
                }
            }));
        }
        log.began = vec![0; log.entries.len()];
        let room = whole.first().map_or("", |event| event.room.as_str());
        log.replica = Some(Replica::from_log(room, &whole));
        log
    }

    pub(super) fn head(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(super) fn entry(&self, offset: u64) -> Option<&Entry> {
        self.entries.get(index(offset)?)?.as_ref()
    }

    /// Notes when the operation began that made the event at `offset`, and its text.
    pub(super) fn explain(&mut self, offset: u64, began: u64, text: Option<u64>) {
        let Some(index) = index(offset) else { return };
        if let Some(time) = self.began.get_mut(index) {
            *time = began;
        }
        if let Some(Some(entry)) = self.entries.get_mut(index) {
            entry.text = entry.text.or(text);
        }
    }

    /// After all is explained: makes `began` a running maximum.
    pub(super) fn seal(&mut self) {
        let mut newest = 0;
        for time in &mut self.began {
            newest = newest.max(*time);
            *time = newest;
        }
    }

    /// The highest head anybody can have seen by that time.
    pub(super) fn head_possible_at(&self, at: u64) -> u64 {
        self.began.partition_point(|began| *began <= at) as u64
    }

    pub(super) fn is_deleted(&self, message: u64) -> bool {
        self.deleted.contains_key(&message)
    }

    /// Whether `event`, as it was delivered live or in a resume, is the one the log holds there.
    /// Its text may be gone if the message has been deleted since.
    pub(super) fn holds(&self, event: &v1::Event) -> bool {
        let Some(entry) = self.entry(event.offset) else {
            return false;
        };
        let kept = &entry.event;
        let (Some(one), Some(other)) = (&event.body, &kept.body) else {
            return false;
        };
        let same_text = |text: &str, message: u64| match entry.text {
            // In a wrong log the delete itself may be what is missing.
            _ if text.is_empty() => self.wrong || self.is_deleted(message),
            Some(known) => known == hash(text),
            None => true,
        };
        let same_body = match (one, other) {
            (Body::RoomOpened(_), Body::RoomOpened(_)) => true,
            (Body::Message(one), Body::Message(other)) => {
                one.client_id == other.client_id
                    && (one.edited_ms > 0 || same_text(&one.text, event.offset))
            }
            (Body::MessageEdited(one), Body::MessageEdited(other)) => {
                one.target == other.target && same_text(&one.text, one.target)
            }
            (one, other) => one == other,
        };
        same_body
            && event.epoch == kept.epoch
            && event.time_ms == kept.time_ms
            && actor(event) == actor(kept)
    }

    /// The message at `offset` as it stands at `head`, from the log's events alone.
    pub(super) fn fold(&self, offset: u64, head: u64) -> Option<Folded> {
        let entry = self.entry(offset)?;
        let mut folded = Folded {
            text: entry.text,
            edited_ms: 0,
            deleted: false,
            reactions: BTreeMap::new(),
        };
        let marks = self.marks.get(&offset).map_or(&[][..], Vec::as_slice);
        for mark in marks.iter().take_while(|mark| **mark <= head) {
            let Some(mark) = self.entry(*mark) else {
                continue;
            };
            let user = actor(&mark.event);
            match &mark.event.body {
                Some(Body::MessageEdited(_)) => {
                    folded.text = mark.text;
                    folded.edited_ms = mark.event.time_ms;
                }
                Some(Body::MessageDeleted(_)) => {
                    return Some(Folded {
                        text: None,
                        edited_ms: 0,
                        deleted: true,
                        reactions: BTreeMap::new(),
                    });
                }
                Some(Body::ReactionAdded(added)) => {
                    let users = folded.reactions.entry(added.emoji.clone()).or_default();
                    users.insert(user.to_owned());
                }
                Some(Body::ReactionRemoved(removed)) => {
                    if let Some(users) = folded.reactions.get_mut(&removed.emoji) {
                        users.remove(user);
                        if users.is_empty() {
                            folded.reactions.remove(&removed.emoji);
                        }
                    }
                }
                _ => {}
            }
        }
        Some(folded)
    }

    /// The user's unread at that cursor and head.
    pub(super) fn unread(&self, user: &str, cursor: u64, head: u64) -> u64 {
        if cursor >= head {
            return 0;
        }
        let messages = self.messages_until(head) - self.messages_until(cursor);
        let own = self.own.get(user).map_or(&[][..], Vec::as_slice);
        let own_count = own.partition_point(|offset| *offset <= head)
            - own.partition_point(|offset| *offset <= cursor);
        let deleted = self
            .deleted
            .range(cursor + 1..=head)
            .filter(|(message, at)| {
                **at <= head && self.is_message(**message) && own.binary_search(message).is_err()
            })
            .count();
        messages - (own_count + deleted) as u64
    }

    /// Whether the unread answer is right at some head of the range.
    pub(super) fn unread_possible(
        &self,
        user: &str,
        cursor: u64,
        heads: (u64, u64),
        answer: u64,
    ) -> bool {
        let (from, to) = heads;
        let mut unread = self.unread(user, cursor, from);
        if unread == answer {
            return true;
        }
        for head in from + 1..=to.min(self.head()) {
            let Some(entry) = self.entry(head) else {
                continue;
            };
            match &entry.event.body {
                Some(Body::Message(_)) if head > cursor && actor(&entry.event) != user => {
                    unread += 1;
                }
                Some(Body::MessageDeleted(mark))
                    if mark.target > cursor
                        && self.deleted.get(&mark.target) == Some(&head)
                        && self
                            .entry(mark.target)
                            .is_some_and(|m| actor(&m.event) != user) =>
                {
                    unread -= 1;
                }
                _ => {}
            }
            if unread == answer {
                return true;
            }
        }
        false
    }

    fn messages_until(&self, offset: u64) -> u64 {
        let known = offset.min(self.head());
        index(known).map_or(0, |index| self.message_counts[index])
    }

    fn is_message(&self, offset: u64) -> bool {
        self.messages_until(offset) > self.messages_until(offset - 1)
    }
}

fn index(offset: u64) -> Option<usize> {
    usize::try_from(offset.checked_sub(1)?).ok()
}
