//! What can be wrong in the final log, or about what it should hold.

use std::collections::HashMap;

use fastrand::Rng;
use rookery_proto::v1::{self, ack::Result as Answer, event::Body, server_frame::Frame};

use super::{Fault, places::*};
use crate::{
    checker::Verdict,
    client::Command,
    history::Record,
    replica::target,
};

pub(super) const FAULTS: &[Fault] = &[
    (
        "acked event missing in the log",
        Verdict::Lost,
        acked_event_missing,
    ),
    (
        "acked message with another text",
        Verdict::Lost,
        acked_text_changed,
    ),
    ("log cut at the end", Verdict::Lost, log_cut),
    (
        "one client id at two offsets",
        Verdict::Duplicate,
        logged_twice,
    ),
    (
        "began after it was known",
        Verdict::Reordered,
        began_after_known,
    ),
    ("event nobody asked for", Verdict::Phantom, ghost_in_log),
    (
        "unacked event missing in the log",
        Verdict::Gap,
        unacked_event_missing,
    ),
    (
        "retry acked at another offset",
        Verdict::Conflict,
        retry_elsewhere,
    ),
];

fn acked_event_missing(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let found = places(records, |_, record| appended(record).is_some());
    let lost = appended(&records[pick(&found, random)?])?.clone();
    remove_from_final_log(records, &lost.room, lost.offset);
    Some(())
}

fn acked_text_changed(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let logs = ["red", "blue"].map(|room| final_events(records, room));
    let found = places(records, |_, record| {
        appended(record).is_some_and(|appended| {
            let log = &logs[usize::from(appended.room == "blue")];
            let mut events = log.iter();
            let event = events
                .find(|event| event.offset == appended.offset)
                .unwrap();
            let body = event.body.as_ref().unwrap();
            matches!(body, Body::Message(message) if !message.deleted && message.edited_ms == 0)
        })
    });
    let place = appended(&records[pick(&found, random)?])?.clone();
    for page in final_pages(records, &place.room) {
        for event in &mut page.events {
            if let Some(Body::Message(message)) = &mut event.body
                && event.offset == place.offset
            {
                "another text".clone_into(&mut message.text);
            }
        }
    }
    Some(())
}

fn log_cut(records: &mut Vec<Record>, _: &mut Rng) -> Option<()> {
    let head = judged(records).log("red").unwrap().head();
    let acked = records.iter().filter_map(appended);
    let last = acked.filter(|a| a.room == "red").map(|a| a.offset).max()?;
    (last == head).then_some(())?;
    remove_from_final_log(records, "red", head);
    for page in final_pages(records, "red") {
        page.head -= 1;
    }
    Some(())
}

fn logged_twice(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let messages: Vec<v1::Event> = final_events(records, "blue")
        .into_iter()
        .filter(|event| matches!(event.body, Some(Body::Message(_) | Body::MessageEdited(_))))
        .collect();
    let twice = pick(&messages, random)?;
    append_to_final_log(records, "blue", twice);
    Some(())
}

/// A change begins only after its event was known to somebody.
fn began_after_known(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let sent = sent(records);
    let mut found = Vec::new();
    for (answered, record) in records.iter().enumerate() {
        let (Some(Frame::Ack(ack)), Some(appended)) = (frame(record), appended(record)) else {
            continue;
        };
        let (began, command) = &sent[&(record.client, ack.id.clone())];
        let marks = matches!(
            command,
            Command::Edit(_) | Command::Delete(_) | Command::React(_) | Command::Unreact(_)
        );
        let between = &records[*began..answered];
        let known = between
            .iter()
            .filter_map(event)
            .any(|event| event.room == appended.room && event.offset >= appended.offset);
        // Who asked for unread meanwhile counted on the true beginning.
        let counted = between
            .iter()
            .any(|record| matches!(answer(record), Some(Answer::Cursor(_))));
        if marks && known && !counted {
            found.push((*began, answered));
        }
    }
    let (began, answered) = pick(&found, random)?;
    // Right before the answer, and what was at one time stays at one time.
    for record in records.iter_mut() {
        record.at *= 2;
    }
    let mut late = records.remove(began);
    late.at = records[answered - 1].at - 1;
    records.insert(answered - 1, late);
    Some(())
}

fn ghost_in_log(records: &mut Vec<Record>, _: &mut Rng) -> Option<()> {
    let ghost = v1::Event {
        room: "red".to_owned(),
        epoch: 1,
        actor: Some(v1::User {
            id: "ghost".to_owned(),
            name: String::new(),
        }),
        body: Some(Body::Message(v1::Message {
            text: "boo".to_owned(),
            ..v1::Message::default()
        })),
        ..v1::Event::default()
    };
    append_to_final_log(records, "red", ghost);
    Some(())
}

fn unacked_event_missing(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let mut found = Vec::new();
    for room in ["blue", "red"] {
        let mut events = final_events(records, room);
        events.pop();
        for event in events {
            let offset = event.offset;
            let mark = target(event.body.as_ref().unwrap()) > 0;
            let acked = records
                .iter()
                .filter_map(appended)
                .any(|acked| acked.room == room && acked.offset == offset);
            if mark && !acked {
                found.push((room, offset));
            }
        }
    }
    let (room, offset) = pick(&found, random)?;
    remove_from_final_log(records, room, offset);
    Some(())
}

fn retry_elsewhere(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let sent = sent(records);
    let mut acks: HashMap<(String, String), Vec<usize>> = HashMap::new();
    for (index, record) in records.iter().enumerate() {
        if let (Some(Frame::Ack(ack)), Some(appended)) = (frame(record), appended(record))
            && let Some((_, Command::Send(send))) = sent.get(&(record.client, ack.id.clone()))
        {
            let key = (appended.room.clone(), send.client_id.clone());
            acks.entry(key).or_default().push(index);
        }
    }
    let mut found: Vec<usize> = acks
        .into_values()
        .filter(|acks| acks.len() > 1)
        .map(|acks| acks[1])
        .filter(|index| appended(&records[*index]).unwrap().duplicate)
        .collect();
    found.sort_unstable();
    let index = pick(&found, random)?;
    if random.bool() {
        let Frame::Ack(ack) = frame_mut(&mut records[index]) else {
            return None;
        };
        let error = v1::Error {
            id: ack.id.clone(),
            code: v1::error::Code::Conflict.into(),
            ..v1::Error::default()
        };
        *frame_mut(&mut records[index]) = Frame::Error(error);
    } else if let Answer::Appended(appended) = answer_mut(&mut records[index]) {
        appended.offset -= 1;
    }
    Some(())
}
