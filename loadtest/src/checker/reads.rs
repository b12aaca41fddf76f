//! What clients were told when they asked: pages, cursors, unread, and their state at the end.

use std::collections::{BTreeSet, HashMap};

use rookery_proto::v1::{self, ack::Result as Answer, event::Body, server_frame::Frame};

use super::{
    content::{actor, describe},
    facts::is_read,
    judged::Judged,
    log::Entry,
    report::{Report, Verdict},
    state::{difference, is_folded},
    streams::seen,
    timeline::Timeline,
};
use crate::{
    client::Command,
    history::{Record, What},
    replica::MessageState,
};

#[derive(Debug)]
pub(super) struct Reads<'a> {
    judged: &'a Judged,
    /// Counts records.
    now: u64,
    /// Of sessions that stand, by frame id.
    questions: HashMap<(u32, u32), HashMap<String, Question>>,
    /// When those were asked.
    asked_at: BTreeSet<u64>,
    /// By room: the highest offset anybody knows.
    known: HashMap<u32, Timeline>,
    /// By user and room: the highest cursor acknowledged.
    cursors: HashMap<(u32, u32), Timeline>,
}

/// A question without an answer yet.
#[derive(Debug)]
struct Question {
    command: Command,
    at: u64,
}

/// What was known when a question was asked.
#[derive(Clone, Copy, Debug, Default)]
struct Floor {
    head: u64,
    cursor: u64,
}

impl<'a> Reads<'a> {
    pub(super) fn new(judged: &'a Judged) -> Self {
        Self {
            judged,
            now: 0,
            questions: HashMap::new(),
            asked_at: BTreeSet::new(),
            known: HashMap::new(),
            cursors: HashMap::new(),
        }
    }

    pub(super) fn judge(&mut self, record: &Record, report: &mut Report) {
        self.now += 1;
        match &record.what {
            What::Sent(frame) => self.asked(record, frame),
            What::Received(frame) => match &frame.frame {
                Some(Frame::Event(event)) => self.knows(&event.room, event.offset),
                Some(Frame::Ack(ack)) => self.answered(record, ack, report),
                Some(Frame::Error(error)) => {
                    self.take(record, &error.id);
                }
                _ => {}
            },
            What::Replica(replica) => {
                if let Some(log) = self.judged.log(replica.room())
                    && !log.wrong
                {
                    report.totals.replicas += 1;
                    if let Some(difference) = difference(log, self.judged, replica) {
                        let what =
                            format!("the client's state differs from the log's: {difference}");
                        report.found(Verdict::Divergent, seen(record, replica.room(), what));
                    }
                }
            }
            // No answer comes after the end of a session.
            What::Closed(_) => {
                let session = self.questions.remove(&(record.client, record.session));
                for question in session.into_iter().flat_map(HashMap::into_values) {
                    self.asked_at.remove(&question.at);
                }
            }
            What::Opened { .. } | What::GaveUp { .. } => {}
        }
    }

    fn asked(&mut self, record: &Record, frame: &v1::ClientFrame) {
        if let Some(command) = frame.command.as_ref().filter(|command| is_read(command)) {
            let question = Question {
                command: command.clone(),
                at: self.now,
            };
            self.asked_at.insert(self.now);
            let session = self.questions.entry((record.client, record.session));
            session.or_default().insert(frame.id.clone(), question);
        }
    }

    fn take(&mut self, record: &Record, id: &str) -> Option<Question> {
        let session = self.questions.get_mut(&(record.client, record.session))?;
        let question = session.remove(id)?;
        self.asked_at.remove(&question.at);
        Some(question)
    }

    fn floor(&self, record: &Record, question: Option<&Question>, room: &str) -> Floor {
        let room = self.judged.rooms.find(room);
        let (Some(question), Some(room)) = (question, room) else {
            return Floor::default();
        };
        let head = self.known.get(&room);
        let user = self.judged.user(record);
        let cursor = user.and_then(|user| self.cursors.get(&(user, room)));
        Floor {
            head: head.map_or(0, |line| line.at(question.at)),
            cursor: cursor.map_or(0, |line| line.at(question.at)),
        }
    }

    fn answered(&mut self, record: &Record, ack: &v1::Ack, report: &mut Report) {
        let question = self.take(record, &ack.id);
        match &ack.result {
            Some(Answer::Appended(appended)) => {
                self.knows(&appended.room, appended.offset);
                // A message moves its sender's own cursor; other changes do not.
                let message = self.judged.log(&appended.room).is_some_and(|log| {
                    let entry = log.entry(appended.offset);
                    entry.is_some_and(Entry::is_message)
                });
                if message {
                    self.cursor_is(record, &appended.room, appended.offset);
                }
            }
            Some(Answer::Joined(joined)) => {
                let Some(room) = joined.room.as_ref().map(|room| room.id.as_str()) else {
                    return;
                };
                let floor = self.floor(record, question.as_ref(), room);
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
                let floor = self.floor(record, question.as_ref(), &cursor.room);
                let asked = match question.as_ref().map(|question| &question.command) {
                    Some(Command::MarkRead(read)) => read.offset,
                    _ => 0,
                };
                let least = Floor {
                    cursor: floor.cursor.max(asked),
                    ..floor
                };
                self.cursor(record, &cursor.room, cursor.offset, least, report);
                let log = self.judged.log(&cursor.room);
                let possible = log.map_or(0, |log| log.head_possible_at(record.at));
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
                    let floor = self.floor(record, question.as_ref(), room);
                    self.head(record, room, summary.head, floor, report);
                    self.cursor(record, room, summary.cursor, floor, report);
                    let heads = (summary.head, summary.head);
                    self.unread(record, room, summary.cursor, heads, summary.unread, report);
                }
            }
            Some(Answer::History(page)) => {
                let floor = self.floor(record, question.as_ref(), &page.room);
                let Some(Command::History(asked)) = question.map(|question| question.command)
                else {
                    return;
                };
                self.head(record, &page.room, page.head, floor, report);
                self.page(record, &asked, page, report);
            }
            _ => {}
        }
    }

    /// When the oldest question without an answer was asked.
    fn oldest(&self) -> u64 {
        self.asked_at.first().copied().unwrap_or(self.now)
    }

    fn knows(&mut self, room: &str, offset: u64) {
        let oldest = self.oldest();
        if let Some(room) = self.judged.rooms.find(room) {
            let known = self.known.entry(room).or_default();
            known.raise(self.now, offset, oldest);
        }
    }

    fn cursor_is(&mut self, record: &Record, room: &str, cursor: u64) {
        let oldest = self.oldest();
        let room = self.judged.rooms.find(room);
        if let (Some(user), Some(room)) = (self.judged.user(record), room) {
            let known = self.cursors.entry((user, room)).or_default();
            known.raise(self.now, cursor, oldest);
        }
    }

    fn head(&mut self, record: &Record, room: &str, head: u64, floor: Floor, report: &mut Report) {
        self.knows(room, head);
        // A lost event is a violation of its own; an answer without it only repeats that.
        let lost = self.judged.log(room).is_some_and(|log| log.wrong);
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
        let log = self.judged.log(room).filter(|log| !log.wrong);
        let (Some(log), Some(user)) = (log, self.judged.user(record)) else {
            return;
        };
        report.totals.unread_checked += 1;
        if !log.unread_possible(user, cursor, heads, answer) {
            let what = format!(
                "unread {answer} of {:?} with cursor {cursor}: at head {} it is {}, at head {} it is {}",
                self.judged.people.name(user),
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
        let wrong = self.judged.log(&page.room).is_some_and(|log| log.wrong);
        let mut pairs = page.events.windows(2);
        if let Some(pair) = pairs.find(|pair| pair[1].offset <= pair[0].offset) {
            let (before, after) = (pair[0].offset, pair[1].offset);
            let verdict = if before == after {
                Verdict::Duplicate
            } else {
                Verdict::Reordered
            };
            let what = format!("a page has offset {after} behind {before}");
            report.found(verdict, seen(record, &page.room, what));
        } else if let Some(missing) = due.or(hole).filter(|_| !wrong) {
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
        let Some(log) = self.judged.log(room).filter(|log| !log.wrong) else {
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
            let told = MessageState::new(actor(event), message);
            let same = is_folded(&told, &want, self.judged);
            if !entry.is_of(event) {
                let what = format!(
                    "read {}, but the log holds {}",
                    describe(event),
                    entry.describe(event.offset, &self.judged.people)
                );
                report.found(Verdict::Phantom, seen(record, room, what));
            } else if !same {
                let what = format!(
                    "message {} read at head {head} is not how the log folds to there: edited {} against {}, deleted {} against {}, reactions {:?} against {:?}, or another text",
                    event.offset,
                    message.edited_ms,
                    want.edited_ms,
                    message.deleted,
                    want.deleted,
                    told.reactions,
                    self.judged.named(&want.reactions)
                );
                report.found(Verdict::Divergent, seen(record, room, what));
            }
        }
    }
}
