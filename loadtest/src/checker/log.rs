//! A room's final log, with the indexes the second pass asks.
//!
//! An event is kept as what is compared: hashes and numbers, no text. That is 80 bytes for each,
//! whatever people wrote.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rookery_proto::v1::{self, event::Body};

use super::{
    content::{Change, Kind, Text, actor},
    deleted::Deleted,
    facts::FinalRead,
    members::MemberLog,
    names::Names,
};
use crate::{limits::HOLES_MAX, replica::target};

/// One offset of a final log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// `None`: an event without content.
    pub(super) change: Option<Change>,
    time_ms: u64,
    epoch: u64,
    /// The message it marks; 0: none.
    target: u64,
    actor: u32,
    /// Of a reaction.
    emoji: u32,
}

impl Entry {
    pub(super) fn of(event: &v1::Event, people: &mut Names, emoji: &mut Names) -> Self {
        let reaction = match &event.body {
            Some(Body::ReactionAdded(mark)) => mark.emoji.as_str(),
            Some(Body::ReactionRemoved(mark)) => mark.emoji.as_str(),
            _ => "",
        };
        Self {
            change: Change::made(event),
            time_ms: event.time_ms,
            epoch: event.epoch,
            target: event.body.as_ref().map_or(0, target),
            actor: people.number(actor(event)),
            emoji: emoji.number(reaction),
        }
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        self.change.map(|change| change.kind)
    }

    pub(super) fn is_message(&self) -> bool {
        matches!(self.kind(), Some(Kind::Message | Kind::NamedMessage))
    }

    pub(super) fn is_of(&self, event: &v1::Event) -> bool {
        self.epoch == event.epoch && self.time_ms == event.time_ms
    }

    /// In few words.
    pub(super) fn describe(&self, offset: u64, people: &Names) -> String {
        let what = match self.kind() {
            None => "nothing".to_owned(),
            Some(Kind::Open) => "room opened".to_owned(),
            Some(Kind::NamedMessage | Kind::Message) => "message".to_owned(),
            Some(Kind::Edit) => format!("edit of {}", self.target),
            Some(Kind::Delete) => format!("delete of {}", self.target),
            Some(Kind::React) => format!("reaction on {}", self.target),
            Some(Kind::Unreact) => format!("reaction off {}", self.target),
            Some(Kind::Join) => "member joined".to_owned(),
            Some(Kind::Leave) => "member left".to_owned(),
        };
        let (epoch, by) = (self.epoch, people.name(self.actor));
        format!("offset {offset} epoch {epoch} {what} by {by:?}")
    }
}

/// A room's final log. What is kept for each offset lies at the offset - 1.
#[derive(Debug, Default)]
pub(super) struct RoomLog {
    /// `None` where the log has a hole.
    entries: Vec<Option<Entry>>,
    /// Text as it was sent, where it is known: from the log while it still has it, else from
    /// whoever sent it.
    texts: Vec<Option<Text>>,
    /// Of a message its first mark, of a mark the next one on the same message; 0: none.
    next_mark: Vec<u32>,
    /// How many messages up to there.
    message_counts: Vec<u32>,
    /// When the newest of the operations up to there began. Nobody can have seen a head before
    /// the operation that made it began.
    began: Vec<u64>,
    deleted: Deleted,
    /// Of each user, the same.
    deleted_own: HashMap<u32, Deleted>,
    /// Deleted messages to the offset of the first delete.
    deleted_at: HashMap<u64, u64>,
    /// Own messages of each user, ascending.
    own: HashMap<u32, Vec<u64>>,
    /// Acknowledged, but not in the log.
    pub(super) lost: BTreeSet<u64>,
    /// Judged wrong: what follows from its state is not judged again.
    pub(super) wrong: bool,
    /// It says that it ends so far beyond what was read that the rest was not looked at.
    pub(super) cut_at: Option<u64>,
    /// Who was a member when.
    pub(super) members: MemberLog,
}

/// How a message stands at some head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Folded {
    /// `None`: not known.
    pub(super) text: Option<Text>,
    pub(super) edited_ms: u64,
    pub(super) deleted: bool,
    /// Emoji to users.
    pub(super) reactions: BTreeMap<u32, BTreeSet<u32>>,
}

impl RoomLog {
    pub(super) fn new(mut read: FinalRead) -> Self {
        // What was read twice counts as it was read last.
        read.entries.sort_by_key(|(offset, _)| *offset);
        let last = read.entries.last().map_or(0, |(offset, _)| *offset);
        let said = read.head.max(last);
        let head = said.min(read.entries.len() as u64 + HOLES_MAX);
        let length = usize::try_from(head).expect("as many as were read and some more");
        let mut log = Self {
            entries: vec![None; length],
            texts: vec![None; length],
            next_mark: vec![0; length],
            message_counts: vec![0; length],
            began: vec![0; length],
            cut_at: (head < said).then_some(head),
            ..Self::default()
        };
        for (offset, entry) in read.entries {
            if let Some(place) = index(offset).and_then(|index| log.entries.get_mut(index)) {
                *place = Some(entry);
            }
        }
        for membership in read.memberships {
            log.members.fold(membership);
        }
        log.count();
        log.chain();
        log
    }

    /// Indexes what is counted, from the beginning.
    fn count(&mut self) {
        let mut messages = 0;
        for (index, entry) in self.entries.iter().enumerate() {
            let offset = index as u64 + 1;
            if let Some(entry) = entry {
                self.texts[index] = entry.change.and_then(|change| change.text);
                if entry.is_message() {
                    messages += 1;
                    self.own.entry(entry.actor).or_default().push(offset);
                }
            }
            self.message_counts[index] = messages;
            let Some(delete) = entry.filter(|entry| entry.kind() == Some(Kind::Delete)) else {
                continue;
            };
            let message = delete.target;
            let place = self::index(message).and_then(|index| self.entries.get(index)?.as_ref());
            let sender = place.filter(|it| it.is_message()).map(|it| it.actor);
            if let std::collections::hash_map::Entry::Vacant(first) = self.deleted_at.entry(message)
            {
                first.insert(offset);
                if let Some(sender) = sender {
                    self.deleted.push(offset, message);
                    let own = self.deleted_own.entry(sender).or_default();
                    own.push(offset, message);
                }
            }
        }
    }

    /// Chains the marks to their messages, from the end.
    fn chain(&mut self) {
        for index in (0..self.entries.len()).rev() {
            let target = self.entries[index].map_or(0, |entry| entry.target);
            let Some(message) = self::index(target).filter(|message| *message < index) else {
                continue;
            };
            if self.entries[message].is_some_and(|entry| entry.is_message()) {
                let offset = u32::try_from(index + 1).expect("fewer than 2^32 events in a room");
                self.next_mark[index] = std::mem::replace(&mut self.next_mark[message], offset);
            }
        }
    }

    pub(super) fn head(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(super) fn entry(&self, offset: u64) -> Option<&Entry> {
        self.entries.get(index(offset)?)?.as_ref()
    }

    fn text(&self, offset: u64) -> Option<Text> {
        *self.texts.get(index(offset)?)?
    }

    /// Notes when the operation began that made the event at `offset`, and its text.
    pub(super) fn explain(&mut self, offset: u64, began: u64, text: Option<Text>) {
        let Some(index) = index(offset) else { return };
        if let Some(time) = self.began.get_mut(index) {
            *time = began;
        }
        if let Some(known) = self.texts.get_mut(index) {
            *known = known.or(text);
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

    /// Whether `event`, as it was delivered live or in a resume, is the one the log holds there.
    /// Its text may be gone if the message has been deleted since.
    pub(super) fn holds(&self, event: &v1::Event) -> bool {
        let Some(kept) = self.entry(event.offset) else {
            return false;
        };
        let (Some(one), Some(other), Some(body)) =
            (Change::made(event), kept.change, event.body.as_ref())
        else {
            return false;
        };
        let same_text = |text: &str, message: u64| match self.text(event.offset) {
            // In a wrong log the delete itself may be what is missing.
            _ if text.is_empty() => self.wrong || self.deleted_at.contains_key(&message),
            Some(known) => known == Text::of(text),
            None => true,
        };
        let same_body = match body {
            Body::Message(message) => {
                message.edited_ms > 0 || same_text(&message.text, event.offset)
            }
            Body::MessageEdited(edit) => same_text(&edit.text, edit.target),
            _ => one.text == other.text,
        };
        // The key says who, which kind, and on what.
        one.key == other.key && same_body && kept.is_of(event)
    }

    /// The message at `offset` as it stands at `head`, from the log's events alone.
    pub(super) fn fold(&self, offset: u64, head: u64) -> Option<Folded> {
        self.entry(offset)?;
        let mut folded = Folded {
            text: self.text(offset),
            edited_ms: 0,
            deleted: false,
            reactions: BTreeMap::new(),
        };
        for offset in self.marks(offset).take_while(|mark| *mark <= head) {
            let Some(mark) = self.entry(offset) else {
                continue;
            };
            match mark.kind() {
                Some(Kind::Edit) => {
                    folded.text = self.text(offset);
                    folded.edited_ms = mark.time_ms;
                }
                Some(Kind::Delete) => {
                    return Some(Folded {
                        text: None,
                        edited_ms: 0,
                        deleted: true,
                        reactions: BTreeMap::new(),
                    });
                }
                Some(Kind::React) => {
                    let users = folded.reactions.entry(mark.emoji).or_default();
                    users.insert(mark.actor);
                }
                Some(Kind::Unreact) => {
                    if let Some(users) = folded.reactions.get_mut(&mark.emoji) {
                        users.remove(&mark.actor);
                        if users.is_empty() {
                            folded.reactions.remove(&mark.emoji);
                        }
                    }
                }
                _ => {}
            }
        }
        Some(folded)
    }

    /// Whether the message stood so at some head from the one to the other.
    pub(super) fn stood(
        &self,
        message: u64,
        (from, to): (u64, u64),
        so: impl Fn(&Folded) -> bool,
    ) -> bool {
        let later = self.marks(message).skip_while(|mark| *mark <= from);
        let heads = std::iter::once(from).chain(later.take_while(|mark| *mark <= to));
        let mut states = heads.filter_map(|head| self.fold(message, head));
        states.any(|state| so(&state))
    }

    /// The marks on a message, ascending.
    fn marks(&self, message: u64) -> impl Iterator<Item = u64> {
        let next = |offset: u64| {
            let next = index(offset).and_then(|index| self.next_mark.get(index).copied());
            next.filter(|next| *next > 0).map(u64::from)
        };
        let first = self.entry(message).filter(|entry| entry.is_message());
        std::iter::successors(first.and_then(|_| next(message)), move |mark| next(*mark))
    }

    /// The user's unread at that cursor and head.
    pub(super) fn unread(&self, user: u32, cursor: u64, head: u64) -> u64 {
        if cursor >= head {
            return 0;
        }
        let messages = self.messages_until(head) - self.messages_until(cursor);
        let own = self.own.get(&user).map_or(&[][..], Vec::as_slice);
        let own = own.partition_point(|offset| *offset <= head)
            - own.partition_point(|offset| *offset <= cursor);
        let deleted_own = self.deleted_own.get(&user);
        let deleted_own = deleted_own.map_or(0, |own| own.count(cursor, head));
        let deleted = self.deleted.count(cursor, head) - deleted_own;
        messages - own as u64 - deleted
    }

    /// Whether the unread answer is right at some head of the range.
    pub(super) fn unread_possible(
        &self,
        user: u32,
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
            if entry.is_message() && head > cursor && entry.actor != user {
                unread += 1;
            }
            let deleted = entry.target;
            if entry.kind() == Some(Kind::Delete)
                && deleted > cursor
                && self.deleted_at.get(&deleted) == Some(&head)
                && self
                    .entry(deleted)
                    .is_some_and(|it| it.is_message() && it.actor != user)
            {
                unread -= 1;
            }
            if unread == answer {
                return true;
            }
        }
        false
    }

    pub(super) fn messages_until(&self, offset: u64) -> u64 {
        let known = offset.min(self.head());
        index(known).map_or(0, |index| u64::from(self.message_counts[index]))
    }
}

fn index(offset: u64) -> Option<usize> {
    usize::try_from(offset.checked_sub(1)?).ok()
}
