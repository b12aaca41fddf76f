//! What can be wrong in the final log, or about what it should hold.

use std::collections::HashMap;

use fastrand::Rng;
use rookery_proto::v1::{self, ack::Result as Answer, event::Body, server_frame::Frame};

use super::{Fault, places::*};
use crate::{
    checker::Verdict,
    client::{Command, command},
    history::Record,
    replica::target,
};

pub(super) const FAULTS: &[Fault] = &[
    (
        "told as so already, and it was not",
        Verdict::Lost,
        told_as_so_already,
    ),
    (
        "opening missing in the log",
        Verdict::Lost,
        opening_without_content,
    ),
    (
        "reaction twice in the log",
        Verdict::Duplicate,
        reacted_twice,
    ),
    (
        "refused message in the log",
        Verdict::Phantom,
        refused_in_log,
    ),
    (
        "event without content",
        Verdict::Phantom,
        unacked_without_content,
    ),
    (
        "one client id for two texts",
        Verdict::Conflict,
        retry_with_another_text,
    ),
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
    let mut found = Vec::new();
    for of in answers(records) {
        let Some(appended) = appended(of.record) else {
            continue;
        };
        let (began, answered) = (of.asked, of.index);
        let marks = matches!(
            of.command,
            Command::Edit(_) | Command::Delete(_) | Command::React(_) | Command::Unreact(_)
        );
        let between = &records[began..answered];
        let known = between
            .iter()
            .filter_map(event)
            .any(|event| event.room == appended.room && event.offset >= appended.offset);
        // Who was told of unread or a leave meanwhile, or was refused, is judged by what there may have
        // been then: by the true beginning.
        let counted = between.iter().any(|record| match frame(record) {
            Some(Frame::Error(_)) => true,
            Some(Frame::Ack(_)) => match answer(record) {
                Some(Answer::Cursor(_) | Answer::Done(_)) => true,
                Some(Answer::Appended(appended)) => appended.offset == 0,
                _ => false,
            },
            _ => false,
        });
        if marks && known && !counted {
            found.push((began, answered));
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
    let (room, offset) = pick(&unacked_marks(records), random)?;
    remove_from_final_log(records, room, offset);
    Some(())
}

/// Edits, deletes and reactions that are in a log, not at its end, and were never acknowledged.
fn unacked_marks(records: &[Record]) -> Vec<(&'static str, u64)> {
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
    found
}

fn retry_elsewhere(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let mut acks: HashMap<(String, String), Vec<usize>> = HashMap::new();
    for of in answers(records) {
        if let (Some(appended), Command::Send(send)) = (appended(of.record), of.command) {
            let key = (appended.room.clone(), send.client_id);
            acks.entry(key).or_default().push(of.index);
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
        let id = ack.id.clone();
        *frame_mut(&mut records[index]) = refusal(id, v1::error::Code::Conflict);
    } else if let Answer::Appended(appended) = answer_mut(&mut records[index]) {
        appended.offset -= 1;
    }
    Some(())
}

/// An answer that nothing had to change, at rest: nobody did that to this message.
fn told_as_so_already(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let stands = |event: &v1::Event| match &event.body {
        Some(Body::Message(message)) => !message.deleted,
        _ => false,
    };
    let messages: Vec<v1::Event> = final_events(records, "red")
        .into_iter()
        .filter(stands)
        .collect();
    let message = pick(&messages, random)?;
    let (room, target) = (&message.room, message.offset);
    let command = match random.u8(0..3) {
        0 => command::edit(room, target, "a text that nobody wrote"),
        1 => command::delete(room, target),
        _ => command::react(room, target, "an emoji of nobody"),
    };
    let told = v1::Appended {
        room: room.clone(),
        epoch: 1,
        ..v1::Appended::default()
    };
    ask_at_rest(records, random.u32(0..3), command, |id| {
        Some(ack(id, Answer::Appended(told)))
    });
    Some(())
}

fn opening_without_content(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let room = ["red", "blue"][random.usize(0..2)];
    if random.bool() {
        remove_from_final_log(records, room, 1);
    } else {
        remove_content(records, room, 1);
    }
    Some(())
}

fn remove_content(records: &mut [Record], room: &str, offset: u64) {
    for event in final_pages(records, room).flat_map(|page| &mut page.events) {
        if event.offset == offset {
            event.body = None;
        }
    }
}

fn unacked_without_content(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let (room, offset) = pick(&unacked_marks(records), random)?;
    remove_content(records, room, offset);
    Some(())
}

fn reacted_twice(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let once = |event: &v1::Event| match &event.body {
        Some(Body::ReactionAdded(mark)) => {
            let asked = command::react(&event.room, mark.target, &mark.emoji);
            only_asked_once(records, &asked)
        }
        _ => false,
    };
    let reactions: Vec<v1::Event> = final_events(records, "red")
        .into_iter()
        .filter(once)
        .collect();
    let twice = pick(&reactions, random)?;
    append_to_final_log(records, "red", twice);
    Some(())
}

fn refused_in_log(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let client = random.u32(0..3);
    let event = v1::Event {
        room: "red".to_owned(),
        epoch: 1,
        actor: Some(v1::User {
            id: format!("u{client}"),
            name: String::new(),
        }),
        body: Some(Body::Message(v1::Message {
            text: "refused".to_owned(),
            client_id: "refused".to_owned(),
            ..v1::Message::default()
        })),
        ..v1::Event::default()
    };
    let send = command::send("red", "refused", "refused");
    ask_at_rest(records, client, send, |id| {
        Some(refusal(id, v1::error::Code::Forbidden))
    });
    append_to_final_log(records, "red", event);
    Some(())
}

/// A message is sent again with its id and another text, and taken for the first.
fn retry_with_another_text(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let logs = ["red", "blue"].map(|room| final_events(records, room));
    let mut found = Vec::new();
    for of in answers(records) {
        let (Some(appended), Command::Send(send)) = (appended(of.record), of.command) else {
            continue;
        };
        let mut log = logs[usize::from(appended.room == "blue")].iter();
        let has_text = log.any(|event| {
            event.offset == appended.offset
                && matches!(&event.body, Some(Body::Message(message)) if message.text == send.text)
        });
        if has_text && !send.client_id.is_empty() {
            found.push((of.record.client, send.client_id, appended.clone()));
        }
    }
    let (client, client_id, appended) = pick(&found, random)?;
    let again = command::send(&appended.room, "another text", &client_id);
    let duplicate = v1::Appended {
        duplicate: true,
        ..appended
    };
    ask_at_rest(records, client, again, |id| {
        Some(ack(id, Answer::Appended(duplicate)))
    });
    Some(())
}
