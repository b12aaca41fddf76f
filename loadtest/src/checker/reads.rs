//! What clients were told when they asked: pages, cursors, unread, and their state at the end.

use std::collections::{BTreeMap, HashMap};

use rookery_proto::v1::{self, ack::Result as Answer, event::Body, server_frame::Frame};

use super::{
    content::{describe, hash},
    facts::is_read,
    report::{Report, Verdict},
    streams::seen,
    writes::Judged,
};
use crate::{
    client::{Command, command::room_of},
    history::{Record, What},
};

#[derive(Debug)]
pub(super) struct Reads<'a> {
    judged: &'a Judged,
    questions: HashMap<(u32, String), Question>,
    /// The highest offset of a room anybody knows.
    known: HashMap<String, u64>,
    /// The highest cursor acknowledged, by user and room.
    cursors: HashMap<String, HashMap<String, u64>>,
}

/// A question without an answer yet, with what was known when it was asked.
#[derive(Debug)]
struct Question {
    command: Command,
    /// By room: head and the user's cursor.
    floors: BTreeMap<String, Floor>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Floor {
    head: u64,
    cursor: u64,
}

impl<'a> Reads<'a> {
    pub(super) fn new(judged: &'a Judged) -> Self {
        Self {
            judged,
            questions: HashMap::new(),
            known: HashMap::new(),
            cursors: HashMap::new(),
        }
    }

    fn user(&self, record: &Record) -> &'a str {
        let judged = self.judged;
        judged.users.get(&record.client).map_or("", String::as_str)
    }

    pub(super) fn judge(&mut self, record: &Record, report: &mut Report) {
        match &record.what {
            What::Sent(frame) => self.asked(record, frame),
            What::Received(frame) => match &frame.frame {
                Some(Frame::Event(event)) => self.knows(&event.room, event.offset),
                Some(Frame::Ack(ack)) => self.answered(record, ack, report),
                Some(Frame::Error(error)) => {
                    self.questions.remove(&(record.client, error.id.clone()));
                }
                _ => {}
            },
            What::Replica(replica) => {
                if let Some(log) = self.judged.logs.get(replica.room())
                    && !log.wrong
                    && let Some(want) = &log.replica
                {
                    report.totals.replicas += 1;
                    if let Some(difference) = replica.difference(want) {
                        let what =
                            format!("the client's state differs from the log's: {difference}");
                        report.found(Verdict::Divergent, seen(record, replica.room(), what));
                    }
                }
            }
            What::Opened { .. } | What::GaveUp { .. } | What::Closed(_) => {}
        }
    }

    fn asked(&mut self, record: &Record, frame: &v1::ClientFrame) {
        let Some(command) = frame.command.as_ref().filter(|command| is_read(command)) else {
            return;
        };
        let user = self.user(record);
        let rooms: Vec<&str> = match room_of(command) {
            Some(room) => vec![room],
            None => self.known.keys().map(String::as_str).collect(),
        };
        let cursors = self.cursors.get(user);
        let floors = rooms
            .into_iter()
            .map(|room| {
                let floor = Floor {
                    head: self.known.get(room).copied().unwrap_or(0),
                    cursor: cursors.and_then(|c| c.get(room)).copied().unwrap_or(0),
                };
                (room.to_owned(), floor)
            })
            .collect();
        let question = Question {
            command: command.clone(),
            floors,
        };
        self.questions
            .insert((record.client, frame.id.clone()), question);
    }

    fn answered(&mut self, record: &Record, ack: &v1::Ack, report: &mut Report) {
        let question = self.questions.remove(&(record.client, ack.id.clone()));
        match &ack.result {
            Some(Answer::Appended(appended)) => {
                self.knows(&appended.room, appended.offset);
                // A message moves its sender's own cursor; other changes do not.
                let message = self.judged.logs.get(&appended.room).is_some_and(|log| {
                    let entry = log.entry(appended.offset);
                    entry.is_some_and(|e| matches!(e.event.body, Some(Body::Message(_))))
                });
                if message {
                    self.cursor_is(record, &appended.room, appended.offset);
                }
            }
            Some(Answer::Joined(joined)) => {
                let Some(room) = joined.room.as_ref().map(|room| room.id.as_str()) else {
                    return;
                };
                let floor = floor(question.as_ref(), room);
                self.head(record, room, joined.head, floor, report);
                let raw = matches!(
                    question.as_ref().map(|question| &question.command),
                    Some(Command::Join(v1::Join {
                        from: Some(v1::join::From::AfterOffset(_)),
                        ..
                    }))
                ) && !joined.reset;
                if !raw {
                    self.folded(record, room, &joined.events, joined.head, report);
                }
                self.cursor(record, room, joined.cursor, floor, report);
                let heads = (joined.head, joined.head);
                self.unread(record, room, joined.cursor, heads, joined.unread, report);
            }
            Some(Answer::Cursor(cursor)) => {
                let floor = floor(question.as_ref(), &cursor.room);
                let asked = match question.as_ref().map(|question| &question.command) {
                    Some(Command::MarkRead(read)) => read.offset,
                    _ => 0,
                };
                let least = Floor {
                    cursor: floor.cursor.max(asked),
                    ..floor
                };
                self.cursor(record, &cursor.room, cursor.offset, least, report);
                let possible = self
                    .judged
                    .logs
                    .get(&cursor.room)
                    .map_or(0, |log| log.head_possible_at(record.at));
                let heads = (floor.head.max(cursor.offset), possible);
                self.unread(
                    record,
                    &cursor.room,
                    cursor.offset,
                    heads,
                    cursor.unread,
                    report,
                );
            }
            Some(Answer::Rooms(page)) => {
                for summary in page.rooms.iter().filter(|summary| !summary.unavailable) {
                    let Some(room) = summary.room.as_ref().map(|room| room.id.as_str()) else {
                        continue;
                    };
                    let floor = floor(question.as_ref(), room);
                    self.head(record, room, summary.head, floor, report);
                    self.cursor(record, room, summary.cursor, floor, report);
                    let heads = (summary.head, summary.head);
                    self.unread(record, room, summary.cursor, heads, summary.unread, report);
                }
            }
            Some(Answer::History(page)) => {
                let Some(Question {
                    command: Command::History(asked),
                    floors,
                }) = question
                else {
                    return;
                };
                let floor = floors.get(&page.room).copied().unwrap_or_default();
                self.head(record, &page.room, page.head, floor, report);
                self.page(record, &asked, page, report);
            }
            _ => {}
        }
    }

    fn knows(&mut self, room: &str, offset: u64) {
        match self.known.get_mut(room) {
            Some(known) => *known = offset.max(*known),
            None => {
                self.known.insert(room.to_owned(), offset);
            }
        }
    }

    fn cursor_is(&mut self, record: &Record, room: &str, cursor: u64) {
        let user = self.user(record);
        let known = self
            .cursors
            .entry(user.to_owned())
            .or_default()
            .entry(room.to_owned())
            .or_default();
        *known = cursor.max(*known);
    }

    fn head(&mut self, record: &Record, room: &str, head: u64, floor: Floor, report: &mut Report) {
        self.knows(room, head);
        // A lost event is a violation of its own; an answer without it only repeats that.
        let lost = self.judged.logs.get(room).is_some_and(|log| log.wrong);
        if head < floor.head && !lost {
            let what = format!(
                "answered at head {head}, but offset {} was known before the question",
                floor.head
            );
            report.found(Verdict::Stale, seen(record, room, what));
        }
    }

    fn cursor(
        &mut self,
        record: &Record,
        room: &str,
        cursor: u64,
        floor: Floor,
        report: &mut Report,
    ) {
        if cursor < floor.cursor {
            let what = format!("cursor {cursor}, after {} was acknowledged", floor.cursor);
            report.found(Verdict::CursorBackwards, seen(record, room, what));
        }
        self.cursor_is(record, room, cursor);
    }

    fn unread(
        &self,
        record: &Record,
        room: &str,
        cursor: u64,
        heads: (u64, u64),
        answer: u64,
        report: &mut Report,
    ) {
        let Some(log) = self.judged.logs.get(room).filter(|log| !log.wrong) else {
            return;
        };
        report.totals.unread_checked += 1;
        let user = self.user(record);
        if !log.unread_possible(user, cursor, heads, answer) {
            let what = format!(
                "unread {answer} of {user:?} with cursor {cursor}: at head {} it is {}, at head {} it is {}",
                heads.0,
                log.unread(user, cursor, heads.0),
                heads.1,
                log.unread(user, cursor, heads.1)
            );
            report.found(Verdict::UnreadWrong, seen(record, room, what));
        }
    }

    /// A page is dense, touches the bound it was asked for, and holds what the log holds.
    fn page(
        &self,
        record: &Record,
        asked: &v1::History,
        page: &v1::HistoryPage,
        report: &mut Report,
    ) {
        use v1::history::From;
        report.totals.read += page.events.len() as u64;
        let first = page.events.first().map(|event| event.offset);
        let last = page.events.last().map(|event| event.offset);
        let due = match asked.from {
            Some(From::AfterOffset(after)) => {
                (after < page.head && first != Some(after + 1)).then_some(after + 1)
            }
            Some(From::BeforeOffset(before)) => {
                let due = before.saturating_sub(1).min(page.head);
                (due > 0 && last != Some(due)).then_some(due)
            }
            None => (page.head > 0 && last != Some(page.head)).then_some(page.head),
        };
        let hole = page
            .events
            .windows(2)
            .find(|pair| pair[1].offset > pair[0].offset + 1)
            .map(|pair| pair[0].offset + 1);
        let wrong = self
            .judged
            .logs
            .get(&page.room)
            .is_some_and(|log| log.wrong);
        if let Some(missing) = due.or(hole).filter(|_| !wrong) {
            let what = format!("a page lacks offset {missing}");
            report.found(Verdict::Gap, seen(record, &page.room, what));
        }
        self.folded(record, &page.room, &page.events, page.head, report);
    }

    /// Folded messages are how the log stands at that head; other events are the log's.
    fn folded(
        &self,
        record: &Record,
        room: &str,
        events: &[v1::Event],
        head: u64,
        report: &mut Report,
    ) {
        let Some(log) = self.judged.logs.get(room).filter(|log| !log.wrong) else {
            return;
        };
        for event in events {
            let Some(Body::Message(message)) = &event.body else {
                if !log.holds(event) {
                    let what = format!("read {}, which the log does not hold", describe(event));
                    report.found(Verdict::Phantom, seen(record, room, what));
                }
                continue;
            };
            let (Some(want), Some(entry)) = (log.fold(event.offset, head), log.entry(event.offset))
            else {
                let what = format!("read {}, which the log does not hold", describe(event));
                report.found(Verdict::Phantom, seen(record, room, what));
                continue;
            };
            let reactions: BTreeMap<_, _> = message
                .reactions
                .iter()
                .filter(|reaction| !reaction.users.is_empty())
                .map(|reaction| {
                    (
                        reaction.emoji.clone(),
                        reaction.users.iter().cloned().collect(),
                    )
                })
                .collect();
            let same = if want.deleted {
                message.deleted && message.text.is_empty()
            } else {
                !message.deleted
                    && message.edited_ms == want.edited_ms
                    && want.text.is_none_or(|text| text == hash(&message.text))
                    && reactions == want.reactions
            };
            if event.epoch != entry.event.epoch || event.time_ms != entry.event.time_ms {
                let what = format!(
                    "read {}, but the log holds {}",
                    describe(event),
                    describe(&entry.event)
                );
                report.found(Verdict::Phantom, seen(record, room, what));
            } else if !same {
                let what = format!(
                    "message {} read at head {head} is not how the log folds to there: edited {} against {}, deleted {} against {}, reactions {reactions:?} against {:?}, or another text",
                    event.offset,
                    message.edited_ms,
                    want.edited_ms,
                    message.deleted,
                    want.deleted,
                    want.reactions
                );
                report.found(Verdict::Divergent, seen(record, room, what));
            }
        }
    }
}

fn floor(question: Option<&Question>, room: &str) -> Floor {
    question
        .and_then(|question| question.floors.get(room))
        .copied()
        .unwrap_or_default()
}
