//! Where a right history can be made wrong: its answers, deliveries and final logs.

use std::collections::HashMap;

use fastrand::Rng;
use rookery_proto::v1::{self, ack::Result as Answer, server_frame::Frame};

use crate::{
    checker::{facts::Facts, judged::Judged, report::Report, writes},
    client::Command,
    history::{Record, What},
};

pub(super) fn judge_client(records: &[Record]) -> u32 {
    records.iter().map(|record| record.client).max().unwrap()
}

pub(super) fn judged(records: &[Record]) -> Judged {
    let mut facts = Facts::default();
    for record in records {
        facts.gather(record);
    }
    writes::judge(facts, &mut Report::default())
}

pub(super) fn frame(record: &Record) -> Option<&Frame> {
    match &record.what {
        What::Received(frame) => frame.frame.as_ref(),
        _ => None,
    }
}

pub(super) fn frame_mut(record: &mut Record) -> &mut Frame {
    match &mut record.what {
        What::Received(frame) => frame.frame.as_mut().unwrap(),
        other => panic!("{other:?}"),
    }
}

pub(super) fn event(record: &Record) -> Option<&v1::Event> {
    match frame(record)? {
        Frame::Event(event) => Some(event),
        _ => None,
    }
}

pub(super) fn answer(record: &Record) -> Option<&Answer> {
    match frame(record)? {
        Frame::Ack(ack) => ack.result.as_ref(),
        _ => None,
    }
}

pub(super) fn answer_mut(record: &mut Record) -> &mut Answer {
    match frame_mut(record) {
        Frame::Ack(ack) => ack.result.as_mut().unwrap(),
        other => panic!("{other:?}"),
    }
}

pub(super) fn appended(record: &Record) -> Option<&v1::Appended> {
    match answer(record)? {
        Answer::Appended(appended) if appended.offset > 0 => Some(appended),
        _ => None,
    }
}

/// Indexes of the records for which `wanted` holds.
pub(super) fn places(records: &[Record], wanted: impl Fn(usize, &Record) -> bool) -> Vec<usize> {
    let found = records.iter().enumerate();
    found
        .filter(|(index, record)| wanted(*index, record))
        .map(|(index, _)| index)
        .collect()
}

pub(super) fn pick<T: Clone>(found: &[T], random: &mut Rng) -> Option<T> {
    found.get(random.usize(0..found.len().max(1))).cloned()
}

pub(super) fn final_pages<'a>(
    records: &'a mut [Record],
    room: &'a str,
) -> impl Iterator<Item = &'a mut v1::HistoryPage> {
    let judge = judge_client(records);
    records
        .iter_mut()
        .filter(move |record| record.client == judge && answer(record).is_some())
        .filter_map(move |record| match answer_mut(record) {
            Answer::History(page) if page.room == room => Some(page),
            _ => None,
        })
}

/// The final log, as it was read.
pub(super) fn final_events(records: &[Record], room: &str) -> Vec<v1::Event> {
    let judge = judge_client(records);
    let pages = records.iter().filter(|record| record.client == judge);
    let pages = pages.filter_map(|record| match answer(record) {
        Some(Answer::History(page)) if page.room == room => Some(&page.events),
        _ => None,
    });
    pages.flatten().cloned().collect()
}

pub(super) fn user_of<'a>(judged: &'a Judged, record: &Record) -> &'a str {
    judged.people.name(judged.user(record).unwrap())
}

pub(super) fn remove_from_final_log(records: &mut [Record], room: &str, offset: u64) {
    for page in final_pages(records, room) {
        page.events.retain(|event| event.offset != offset);
    }
}

pub(super) fn append_to_final_log(records: &mut [Record], room: &str, mut event: v1::Event) {
    let page = final_pages(records, room).last().unwrap();
    event.offset = page.head + 1;
    page.head += 1;
    page.events.push(event);
}

pub(in crate::checker::tests) fn forget_final_log(records: &mut Vec<Record>, room: &str) {
    let judge = judge_client(records);
    records.retain(|record| {
        record.client != judge
            || !matches!(answer(record), Some(Answer::History(page)) if page.room == room)
    });
}

pub(super) fn sent(records: &[Record]) -> HashMap<(u32, String), (usize, Command)> {
    let mut sent = HashMap::new();
    for (index, record) in records.iter().enumerate() {
        if let What::Sent(frame) = &record.what {
            let command = frame.command.clone().unwrap();
            sent.insert((record.client, frame.id.clone()), (index, command));
        }
    }
    sent
}

/// An answer and what it answers.
pub(super) struct Answered<'a> {
    pub(super) index: usize,
    pub(super) record: &'a Record,
    pub(super) answer: &'a Answer,
    /// Where it was asked for.
    pub(super) asked: usize,
    pub(super) command: Command,
}

/// All answers, in their order.
pub(super) fn answers(records: &[Record]) -> impl Iterator<Item = Answered<'_>> {
    let sent = sent(records);
    records
        .iter()
        .enumerate()
        .filter_map(move |(index, record)| {
            let Frame::Ack(ack) = frame(record)? else {
                return None;
            };
            let (asked, command) = sent.get(&(record.client, ack.id.clone()))?.clone();
            Some(Answered {
                index,
                record,
                answer: ack.result.as_ref()?,
                asked,
                command,
            })
        })
}

/// The same session's next record about a room's stream after `index`.
pub(super) fn next_in_stream(records: &[Record], index: usize) -> Option<usize> {
    let here = &records[index];
    let room = &event(here)?.room;
    (index + 1..records.len()).find(|later| {
        let later = &records[*later];
        later.client == here.client
            && (later.session != here.session
                || event(later).is_some_and(|event| event.room == *room)
                || matches!(answer(later), Some(Answer::Joined(joined)) if joined.room.as_ref().unwrap().id == *room))
    })
}

/// Live deliveries directly followed, in their stream, by another one.
pub(super) fn followed_deliveries(records: &[Record]) -> Vec<(usize, usize)> {
    places(records, |_, record| event(record).is_some())
        .into_iter()
        .filter_map(|index| Some((index, next_in_stream(records, index)?)))
        .filter(|(index, next)| {
            event(&records[*next]).is_some() && records[*next].session == records[*index].session
        })
        .collect()
}

/// Where all clients are connected and at rest: the judge comes next.
pub(super) fn rest(records: &[Record]) -> usize {
    let judge = judge_client(records);
    let mut clients = records.iter().map(|record| record.client);
    clients.position(|client| client == judge).unwrap()
}

/// At rest, a client asks for something more and is answered, or given up.
pub(in crate::checker::tests) fn ask_at_rest(
    records: &mut Vec<Record>,
    client: u32,
    command: Command,
    answer: impl FnOnce(String) -> Option<Frame>,
) {
    let rest = rest(records);
    let id = format!("asked-at-rest-{rest}");
    let frame = v1::ClientFrame {
        id: id.clone(),
        command: Some(command),
    };
    let answer = match answer(id.clone()) {
        Some(frame) => What::Received(Box::new(v1::ServerFrame { frame: Some(frame) })),
        None => What::GaveUp { id },
    };
    let before = &records[..rest];
    let session = before.iter().rev().find(|record| record.client == client);
    let (session, at) = (session.unwrap().session, records[rest - 1].at);
    for (number, what) in [What::Sent(Box::new(frame)), answer]
        .into_iter()
        .enumerate()
    {
        let record = Record {
            at,
            client,
            session,
            what,
        };
        records.insert(rest + number, record);
    }
}

pub(super) fn ack(id: String, answer: Answer) -> Frame {
    let result = Some(answer);
    Frame::Ack(v1::Ack { id, result })
}

pub(super) fn refusal(id: String, code: v1::error::Code) -> Frame {
    Frame::Error(v1::Error {
        id,
        code: code.into(),
        ..v1::Error::default()
    })
}

/// Whether exactly one record asks for this.
pub(super) fn only_asked_once(records: &[Record], wanted: &Command) -> bool {
    let mut asked = records.iter().filter(|record| {
        matches!(&record.what, What::Sent(frame) if frame.command.as_ref() == Some(wanted))
    });
    asked.next().is_some() && asked.next().is_none()
}

/// An acknowledgement never comes.
pub(in crate::checker::tests) fn lose_answer(
    records: &mut [Record],
    random: &mut Rng,
) -> Option<()> {
    let found = places(records, |_, record| {
        appended(record).is_some_and(|appended| !appended.duplicate)
    });
    let index = pick(&found, random)?;
    let Frame::Ack(ack) = frame_mut(&mut records[index]) else {
        return None;
    };
    let id = std::mem::take(&mut ack.id);
    records[index].what = What::GaveUp { id };
    Some(())
}
