//! The first pass: what was asked for, how it ended, and the final logs.

use std::collections::{BTreeMap, HashMap, HashSet};

use rookery_proto::v1::{self, ack::Result as Answer, server_frame::Frame};

use super::content::{Change, Key, Kind};
use crate::{
    client::{Command, command::room_of, maybe},
    history::{Purpose, Record, What},
};

/// One change asked for.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) client: u32,
    pub(super) room: u32,
    pub(super) change: Change,
    pub(super) began: u64,
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
}

/// What the judging session read of one room.
#[derive(Debug, Default)]
pub(super) struct FinalRead {
    pub(super) events: BTreeMap<u64, v1::Event>,
    pub(super) head: u64,
    /// (offset, what) of pages that repeat or step back.
    pub(super) disorder: Vec<(u64, Disorder)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Disorder {
    Repeated,
    StepsBack,
}

#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) operations: Vec<Operation>,
    pub(super) rooms: Rooms,
    pub(super) finals: HashMap<u32, FinalRead>,
    pub(super) users: HashMap<u32, String>,
    pub(super) sessions: u64,
    judges: HashSet<(u32, u32)>,
    /// Index of the operation by client and frame id.
    open: HashMap<(u32, String), usize>,
    /// The first floor and begin of each named message, which its retries share.
    first: HashMap<(u32, Key), u64>,
    known: HashMap<u32, u64>,
}

/// Room names and their numbers.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
}

impl Rooms {
    pub(super) fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).expect("fewer than 2^32 rooms");
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    pub(super) fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }
}

impl Facts {
    pub(super) fn gather(&mut self, record: &Record) {
        let who = (record.client, record.session);
        match &record.what {
            What::Opened { user, purpose, .. } => {
                self.sessions += 1;
                self.users.insert(record.client, user.clone());
                if *purpose == Purpose::Judge {
                    self.judges.insert(who);
                }
            }
            What::Sent(frame) => self.sent(record, frame),
            What::Received(frame) => match &frame.frame {
                Some(Frame::Ack(ack)) => self.acked(record, ack, self.judges.contains(&who)),
                Some(Frame::Error(error)) => {
                    let found = self.open.remove(&(record.client, error.id.clone()));
                    if let Some(index) = found.filter(|_| !maybe(error.code())) {
                        let conflict = error.code() == v1::error::Code::Conflict;
                        self.operations[index].outcome = Outcome::Refused { conflict };
                    }
                }
                Some(Frame::Event(event)) => self.knows(&event.room, event.offset),
                _ => {}
            },
            What::GaveUp { .. } | What::Closed(_) | What::Replica(_) => {}
        }
    }

    fn sent(&mut self, record: &Record, frame: &v1::ClientFrame) {
        let user = self.users.get(&record.client).map_or("", String::as_str);
        let Some((command, change)) = frame
            .command
            .as_ref()
            .and_then(|command| Some((command, Change::asked(user, command)?)))
        else {
            return;
        };
        let room = self.rooms.number(room_of(command).unwrap_or_default());
        let mut floor = self.known.get(&room).copied().unwrap_or(0);
        if change.kind == Kind::NamedMessage {
            floor = *self.first.entry((room, change.key)).or_insert(floor);
        }
        self.open
            .insert((record.client, frame.id.clone()), self.operations.len());
        self.operations.push(Operation {
            client: record.client,
            room,
            change,
            began: record.at,
            floor,
            outcome: Outcome::Unknown,
        });
    }

    fn acked(&mut self, record: &Record, ack: &v1::Ack, judge: bool) {
        let operation = self.open.remove(&(record.client, ack.id.clone()));
        let mut settle = |outcome| {
            if let Some(index) = operation {
                self.operations[index].outcome = outcome;
            }
        };
        match &ack.result {
            Some(Answer::Appended(appended)) => {
                settle(Outcome::Appended {
                    offset: appended.offset,
                    duplicate: appended.duplicate,
                });
                self.knows(&appended.room, appended.offset);
            }
            Some(Answer::RoomCreated(created)) => {
                settle(Outcome::Done);
                // The server may have derived the room's id.
                if let (Some(index), Some(room)) = (operation, &created.room) {
                    self.operations[index].room = self.rooms.number(&room.id);
                }
            }
            Some(Answer::Joined(joined)) => {
                settle(Outcome::Done);
                if let Some(room) = &joined.room {
                    self.knows(&room.id, joined.head);
                }
            }
            Some(Answer::History(page)) => {
                self.knows(&page.room, page.head);
                if judge {
                    self.read(page);
                }
            }
            _ => settle(Outcome::Done),
        }
    }

    fn knows(&mut self, room: &str, offset: u64) {
        let room = self.rooms.number(room);
        let known = self.known.entry(room).or_default();
        *known = offset.max(*known);
    }

    fn read(&mut self, page: &v1::HistoryPage) {
        let room = self.rooms.number(&page.room);
        let read = self.finals.entry(room).or_default();
        read.head = read.head.max(page.head);
        let mut last = 0;
        for event in &page.events {
            if event.offset == last {
                read.disorder.push((event.offset, Disorder::Repeated));
            } else if event.offset < last {
                read.disorder.push((event.offset, Disorder::StepsBack));
            }
            last = last.max(event.offset);
            read.events.insert(event.offset, event.clone());
        }
    }
}

/// Whether a command's operation may become at most one event without being told its offset.
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
