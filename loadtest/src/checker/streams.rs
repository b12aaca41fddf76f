//! What each session was sent by itself: order, holes, doubles, and content.

use std::collections::{BTreeSet, HashMap};

use rookery_proto::v1::{self, ack::Result as Answer, notice, server_frame::Frame};

use super::{
    content::describe,
    judged::Judged,
    report::{Report, Verdict, Violation},
};
use crate::{
    client::Command,
    history::{Record, What},
    limits::HOLES_MAX,
};

#[derive(Debug)]
pub(super) struct Streams<'a> {
    judged: &'a Judged,
    /// By client and number; those that stand.
    sessions: HashMap<(u32, u32), Session>,
}

#[derive(Debug, Default)]
struct Session {
    /// By room.
    streams: HashMap<u32, Stream>,
    /// Joins without an answer yet, by frame id: what they asked to resume after.
    joins: HashMap<String, Option<u64>>,
}

#[derive(Debug, Default)]
struct Stream {
    /// Everything up to here was delivered or is in `missing`.
    position: u64,
    /// Skipped so far: a hole, unless it still comes (then it was out of order).
    missing: BTreeSet<u64>,
    /// Not joined yet, or told to join again: holes are allowed.
    loose: bool,
    /// The last offset acknowledged to this session as new.
    acked: u64,
}

impl<'a> Streams<'a> {
    pub(super) fn new(judged: &'a Judged) -> Self {
        Self {
            judged,
            sessions: HashMap::new(),
        }
    }

    pub(super) fn judge(&mut self, record: &Record, report: &mut Report) {
        match &record.what {
            What::Sent(frame) => {
                if let Some(Command::Join(join)) = &frame.command {
                    let after = match join.from {
                        Some(v1::join::From::AfterOffset(after)) => Some(after),
                        _ => None,
                    };
                    let session = self.session(record);
                    session.joins.insert(frame.id.clone(), after);
                }
            }
            What::Received(frame) => match &frame.frame {
                Some(Frame::Event(event)) => self.event(record, event, report),
                Some(Frame::Ack(ack)) => self.ack(record, ack, report),
                Some(Frame::Notice(v1::Notice {
                    body: Some(notice::Body::ResumeRoom(resume)),
                })) => {
                    if let Some(stream) = self.stream(record, &resume.room) {
                        stream.loose = true;
                        stream.missing.clear();
                    }
                }
                _ => {}
            },
            What::Closed(_) => self.close(record, report),
            What::Opened { .. } | What::GaveUp { .. } | What::Replica(_) => {}
        }
    }

    fn session(&mut self, record: &Record) -> &mut Session {
        let session = (record.client, record.session);
        self.sessions.entry(session).or_default()
    }

    fn stream(&mut self, record: &Record, room: &str) -> Option<&mut Stream> {
        let room = self.judged.rooms.find(room)?;
        let streams = &mut self.session(record).streams;
        Some(streams.entry(room).or_insert_with(|| Stream {
            loose: true,
            ..Stream::default()
        }))
    }

    fn event(&mut self, record: &Record, event: &v1::Event, report: &mut Report) {
        report.totals.delivered += 1;
        self.content(record, event, report);
        let Some(stream) = self.stream(record, &event.room) else {
            return;
        };
        let offset = event.offset;
        let wrong = if stream.missing.remove(&offset) {
            Some((
                Verdict::Reordered,
                format!("{} came after offset {}", describe(event), stream.position),
            ))
        } else if offset <= stream.position {
            Some((
                Verdict::Duplicate,
                format!("{} came again in one session", describe(event)),
            ))
        } else {
            if !stream.loose {
                let missing = stream.position + 1..offset;
                stream.missing.extend(missing.take(HOLES_MAX as usize));
            }
            stream.position = offset;
            None
        };
        if let Some((verdict, what)) = wrong {
            report.found(verdict, seen(record, &event.room, what));
        }
    }

    fn ack(&mut self, record: &Record, ack: &v1::Ack, report: &mut Report) {
        match &ack.result {
            Some(Answer::Appended(appended)) if appended.offset > 0 && !appended.duplicate => {
                let Some(stream) = self.stream(record, &appended.room) else {
                    return;
                };
                let before = std::mem::replace(&mut stream.acked, appended.offset);
                if appended.offset < before {
                    let what = format!(
                        "offset {} was acknowledged after offset {before}",
                        appended.offset
                    );
                    report.found(Verdict::Reordered, seen(record, &appended.room, what));
                }
            }
            Some(Answer::Joined(joined)) => {
                let after = self.session(record).joins.remove(&ack.id);
                self.joined(record, joined, after.flatten(), report);
            }
            _ => {}
        }
    }

    fn joined(
        &mut self,
        record: &Record,
        joined: &v1::Joined,
        after: Option<u64>,
        report: &mut Report,
    ) {
        let Some(room) = joined.room.as_ref().map(|room| room.id.as_str()) else {
            return;
        };
        report.totals.delivered += joined.events.len() as u64;
        let mut gap = |what: String| report.found(Verdict::Gap, seen(record, room, what));
        let mut expected = match after {
            Some(after) if !joined.reset => {
                if after > joined.head {
                    gap(format!(
                        "resumed after {after}, beyond head {}, without reset",
                        joined.head
                    ));
                }
                Some(after + 1)
            }
            _ => None,
        };
        for event in &joined.events {
            if expected.is_some_and(|expected| expected != event.offset) {
                gap(format!(
                    "a join gives offset {} where {} is due",
                    event.offset,
                    expected.unwrap_or(0)
                ));
            }
            expected = Some(event.offset + 1);
        }
        if let Some(due) = expected.filter(|due| *due <= joined.head) {
            gap(format!(
                "a join ends before offset {due}, but says head {}",
                joined.head
            ));
        }
        if after.is_some() && !joined.reset {
            for event in &joined.events {
                self.content(record, event, report);
            }
        }
        let Some(fresh) = self.stream(record, room) else {
            return;
        };
        let stream = std::mem::take(fresh);
        *fresh = Stream {
            position: joined.head.max(stream.position),
            missing: BTreeSet::new(),
            loose: false,
            acked: stream.acked,
        };
        // Joining again heals the client, not the stream that had the hole.
        never_came(record.client, record.at, room, &stream, report);
    }

    /// Whether a raw event is the one the log holds.
    fn content(&self, record: &Record, event: &v1::Event, report: &mut Report) {
        let Some(log) = self.judged.log(&event.room) else {
            return;
        };
        if log.holds(event) || log.lost.contains(&event.offset) {
            return;
        }
        let what = match log.entry(event.offset) {
            Some(entry) => format!(
                "delivered {}, but the log holds {} (or another text or time)",
                describe(event),
                entry.describe(event.offset, &self.judged.people)
            ),
            // The hole itself is already a violation.
            None if event.offset <= log.head() => return,
            None => format!(
                "delivered {}, but the log ends at {}",
                describe(event),
                log.head()
            ),
        };
        report.found(Verdict::Phantom, seen(record, &event.room, what));
    }

    fn close(&mut self, record: &Record, report: &mut Report) {
        let session = self.sessions.remove(&(record.client, record.session));
        for (room, stream) in session.into_iter().flat_map(|session| session.streams) {
            let room = self.judged.rooms.name(room);
            never_came(record.client, record.at, room, &stream, report);
        }
    }

    pub(super) fn finish(self, report: &mut Report) {
        for ((client, _), session) in &self.sessions {
            for (room, stream) in &session.streams {
                never_came(*client, 0, self.judged.rooms.name(*room), stream, report);
            }
        }
    }
}

fn never_came(client: u32, at: u64, room: &str, stream: &Stream, report: &mut Report) {
    for offset in &stream.missing {
        report.found(
            Verdict::Gap,
            Violation {
                room: room.to_owned(),
                at,
                client: Some(client),
                what: format!("offset {offset} never came in this session"),
            },
        );
    }
}

pub(super) fn seen(record: &Record, room: &str, what: String) -> Violation {
    Violation {
        room: room.to_owned(),
        at: record.at,
        client: Some(record.client),
        what,
    }
}
