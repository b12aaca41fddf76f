//! The first pass: what was asked for, how it ended, and the final logs.

use std::collections::{BTreeMap, HashMap, HashSet};

use rookery_proto::v1::{self, ack::Result as Answer, error::Code, server_frame::Frame};

use super::{
    content::{Change, Kind},
    log::Entry,
    members::Membership,
    names::Names,
};
use crate::{
    client::{Command, command::room_of, maybe},
    history::{Purpose, Record, What},
};

/// One change asked for.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) client: u32,
    pub(super) change: Change,
    pub(super) began: u64,
    /// When it was answered; of one that was not, the end of time.
    pub(super) ended: u64,
    /// The highest offset of the room anybody knew when it began.
    pub(super) floor: u64,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No answer, or one that leaves it open.
    Unknown,
    /// Refused for good. True: as a conflict.
    Refused { conflict: bool },
    /// Acknowledged at this offset; 0: nothing had to change.
    Appended { offset: u64, duplicate: bool },
    /// Acknowledged without an offset.
    Done,
    /// It turned out to be about another room, and stands there.
    Elsewhere,
}

/// What the judging session read of one room.
#[derive(Debug, Default)]
pub(super) struct FinalRead {
    /// In the order read.
    pub(super) entries: Vec<(u64, Entry)>,
    /// Who came and went, by offset.
    pub(super) memberships: BTreeMap<u64, Membership>,
    pub(super) head: u64,
}

/// A mark that was answered with: nothing had to change.
#[derive(Debug)]
pub(super) struct Unchanged {
    /// Of the operation.
    pub(super) index: usize,
    pub(super) user: u32,
    pub(super) mark: Mark,
}

/// What an edit, a delete or a reaction is on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    pub(super) target: u64,
    /// Of a reaction.
    pub(super) emoji: u32,
}

/// Where an operation without an answer stands.
#[derive(Clone, Copy, Debug)]
struct Open {
    room: u32,
    index: usize,
    mark: Mark,
}

/// All of one room.
#[derive(Debug, Default)]
pub(super) struct RoomFacts {
    /// In the order they began.
    pub(super) operations: Vec<Operation>,
    pub(super) unchanged: Vec<Unchanged>,
    pub(super) read: Option<FinalRead>,
    pub(super) known: Known,
}

/// The highest offset of a room that anybody knows.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// (when, offset), both ascending.
    steps: Vec<(u64, u64)>,
}

impl Known {
    fn raise(&mut self, at: u64, offset: u64) {
        if offset > self.highest() {
            self.steps.push((at, offset));
        }
    }

    fn highest(&self) -> u64 {
        self.steps.last().map_or(0, |(_, offset)| *offset)
    }

    /// When it was known that there is something at an offset; the end of time: never.
    pub(super) fn since(&self, offset: u64) -> u64 {
        let before = self.steps.partition_point(|(_, known)| *known < offset);
        self.steps.get(before).map_or(u64::MAX, |(at, _)| *at)
    }
}

#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) rooms: Names,
    pub(super) people: Names,
    pub(super) emoji: Names,
    /// By the room's number.
    pub(super) by_room: Vec<RoomFacts>,
    /// Clients to their users.
    pub(super) users: HashMap<u32, u32>,
    pub(super) sessions: u64,
    judges: HashSet<(u32, u32)>,
    /// Operations of sessions that stand, by frame id.
    open: HashMap<(u32, u32), HashMap<String, Open>>,
}

impl Facts {
    pub(super) fn gather(&mut self, record: &Record) {
        let who = (record.client, record.session);
        match &record.what {
            What::Opened { user, purpose, .. } => {
                self.sessions += 1;
                let user = self.people.number(user);
                self.users.insert(record.client, user);
                if *purpose == Purpose::Judge {
                    self.judges.insert(who);
                }
            }
            What::Sent(frame) => self.sent(record, frame),
            What::Received(frame) => match &frame.frame {
                Some(Frame::Ack(ack)) => self.acked(record, ack, self.judges.contains(&who)),
                Some(Frame::Error(error)) => self.refused(record, error),
                Some(Frame::Event(event)) => self.knows(record, &event.room, event.offset),
                _ => {}
            },
            // No answer comes after the end of a session.
            What::Closed(_) => drop(self.open.remove(&who)),
            What::GaveUp { .. } | What::Replica(_) => {}
        }
    }

    fn room(&mut self, name: &str) -> u32 {
        let room = self.rooms.number(name);
        if self.by_room.len() < self.rooms.len() {
            self.by_room.push(RoomFacts::default());
        }
        room
    }

    fn sent(&mut self, record: &Record, frame: &v1::ClientFrame) {
        let user = self.users.get(&record.client).copied();
        let user = user.map_or("", |user| self.people.name(user));
        let Some((command, change)) = frame
            .command
            .as_ref()
            .and_then(|command| Some((command, Change::asked(user, command)?)))
        else {
            return;
        };
        let room = self.room(room_of(command).unwrap_or_default());
        let mark = self.mark(command);
        let facts = &mut self.by_room[room as usize];
        let session = self.open.entry((record.client, record.session));
        let index = facts.operations.len();
        let open = Open { room, index, mark };
        session.or_default().insert(frame.id.clone(), open);
        facts.operations.push(Operation {
            client: record.client,
            change,
            began: record.at,
            ended: u64::MAX,
            floor: facts.known.highest(),
            outcome: Outcome::Unknown,
        });
    }

    fn mark(&mut self, command: &Command) -> Mark {
        let mut reaction = |target, emoji: &str| Mark {
            target,
            emoji: self.emoji.number(emoji),
        };
        match command {
            Command::React(react) => reaction(react.target, &react.emoji),
            Command::Unreact(react) => reaction(react.target, &react.emoji),
            Command::Edit(v1::Edit { target, .. }) | Command::Delete(v1::Delete { target, .. }) => {
                let target = *target;
                Mark { target, emoji: 0 }
            }
            _ => Mark::default(),
        }
    }

    /// Where the operation of a frame stands that has no answer yet.
    fn open(&self, record: &Record, id: &str) -> Option<Open> {
        let session = self.open.get(&(record.client, record.session))?;
        session.get(id).copied()
    }

    /// The operation that an answer ends.
    fn ended(&mut self, record: &Record, id: &str) -> Option<&mut Operation> {
        let session = self.open.get_mut(&(record.client, record.session))?;
        let Open { room, index, .. } = session.remove(id)?;
        let operation = &mut self.by_room[room as usize].operations[index];
        operation.ended = record.at;
        Some(operation)
    }

    fn refused(&mut self, record: &Record, error: &v1::Error) {
        let Some(operation) = self.ended(record, &error.id) else {
            return;
        };
        if maybe(error.code()) {
            // It may still be under way.
            operation.ended = u64::MAX;
            return;
        }
        // It joined, and its user left on another device before it could be told.
        let left_again = operation.change.kind == Kind::Join && error.code() == Code::NotMember;
        if !left_again {
            let conflict = error.code() == Code::Conflict;
            operation.outcome = Outcome::Refused { conflict };
        }
    }

    fn acked(&mut self, record: &Record, ack: &v1::Ack, judge: bool) {
        let open = self.open(record, &ack.id);
        let mut settle = |outcome| {
            if let Some(operation) = self.ended(record, &ack.id) {
                operation.outcome = outcome;
            }
        };
        match &ack.result {
            Some(Answer::Appended(appended)) => {
                settle(Outcome::Appended {
                    offset: appended.offset,
                    duplicate: appended.duplicate,
                });
                self.knows(record, &appended.room, appended.offset);
                let user = self.users.get(&record.client).copied();
                if let (Some(open), Some(user), 0) = (open, user, appended.offset) {
                    self.by_room[open.room as usize].unchanged.push(Unchanged {
                        index: open.index,
                        user,
                        mark: open.mark,
                    });
                }
            }
            Some(Answer::RoomCreated(created)) => {
                let room = created.room.as_ref().map_or("", |room| room.id.as_str());
                self.created(record, &ack.id, room);
            }
            Some(Answer::Joined(joined)) => {
                settle(Outcome::Done);
                if let Some(room) = &joined.room {
                    self.knows(record, &room.id, joined.head);
                }
            }
            Some(Answer::History(page)) => {
                self.knows(record, &page.room, page.head);
                if judge {
                    self.read(page);
                }
            }
            Some(Answer::Rooms(page)) => {
                for summary in &page.rooms {
                    if let Some(room) = &summary.room {
                        self.room(&room.id);
                    }
                }
            }
            _ => settle(Outcome::Done),
        }
    }

    /// The server may have derived the room's id.
    fn created(&mut self, record: &Record, id: &str, room: &str) {
        let number = self.room(room);
        let asked = self.open(record, id);
        let Some(operation) = self.ended(record, id) else {
            return;
        };
        operation.outcome = Outcome::Done;
        if asked.is_some_and(|asked| asked.room != number) {
            let there = Operation {
                outcome: std::mem::replace(&mut operation.outcome, Outcome::Elsewhere),
                ..*operation
            };
            self.by_room[number as usize].operations.push(there);
        }
    }

    fn knows(&mut self, record: &Record, room: &str, offset: u64) {
        let room = self.room(room);
        let known = &mut self.by_room[room as usize].known;
        known.raise(record.at, offset);
    }

    fn read(&mut self, page: &v1::HistoryPage) {
        let room = self.room(&page.room);
        let read = &mut self.by_room[room as usize].read;
        let read = read.get_or_insert_default();
        read.head = read.head.max(page.head);
        for event in &page.events {
            let entry = Entry::of(event, &mut self.people, &mut self.emoji);
            read.entries.push((event.offset, entry));
            if let Some(membership) = Membership::of(event, &mut self.people) {
                read.memberships.insert(event.offset, membership);
            }
        }
    }
}

/// Whether a command's operation may become an event without being told its offset.
pub(super) fn answers_without_offset(kind: Kind) -> bool {
    matches!(kind, Kind::Open | Kind::Join | Kind::Leave)
}

/// The frames the second pass must remember until they are answered.
pub(super) fn is_read(command: &Command) -> bool {
    matches!(
        command,
        Command::Join(_) | Command::History(_) | Command::Rooms(_) | Command::MarkRead(_)
    )
}
