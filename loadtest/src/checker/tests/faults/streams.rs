//! What can be wrong in what a session is sent by itself, and in the order of its answers.

use fastrand::Rng;
use rookery_proto::v1::{self, ack::Result as Answer, event::Body, server_frame::Frame};

use super::{Fault, places::*};
use crate::{
    checker::Verdict,
    client::Command,
    history::{Record, What},
};

pub(super) const FAULTS: &[Fault] = &[
    ("hole in a join", Verdict::Gap, join_event_missing),
    ("join that ends early", Verdict::Gap, join_cut),
    ("void event delivered", Verdict::Phantom, void_delivered),
    (
        "delivered twice in a session",
        Verdict::Duplicate,
        delivered_twice,
    ),
    (
        "two deliveries swapped",
        Verdict::Reordered,
        deliveries_swapped,
    ),
    ("two acks swapped", Verdict::Reordered, acks_swapped),
    (
        "delivered with another text",
        Verdict::Phantom,
        delivered_text_changed,
    ),
    (
        "delivered under another epoch",
        Verdict::Phantom,
        delivered_epoch_changed,
    ),
    ("hole in a stream", Verdict::Gap, delivery_missing),
];

fn delivered_twice(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let found = places(records, |_, record| event(record).is_some());
    let index = pick(&found, random)?;
    let again = records[index].clone();
    records.insert(index + 1, again);
    Some(())
}

fn deliveries_swapped(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let pairs: Vec<_> = followed_deliveries(records)
        .into_iter()
        .filter(|(one, other)| nothing_begins(&records[*one..*other]))
        .collect();
    let (one, other) = pick(&pairs, random)?;
    exchange(records, one, other);
    Some(())
}

/// Whether nothing begins there that would rightly be judged by what was known.
fn nothing_begins(records: &[Record]) -> bool {
    !records
        .iter()
        .any(|record| matches!(record.what, What::Sent(_)))
}

fn exchange(records: &mut [Record], one: usize, other: usize) {
    let (first, second) = (records[one].what.clone(), records[other].what.clone());
    records[one].what = second;
    records[other].what = first;
}

/// Two acknowledgements of one session and room change places.
fn acks_swapped(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let acks = places(records, |_, record| {
        appended(record).is_some_and(|appended| !appended.duplicate)
    });
    let mut pairs = Vec::new();
    for one in &acks {
        let here = &records[*one];
        let other = acks.iter().find(|other| {
            let there = &records[**other];
            **other > *one
                && there.client == here.client
                && there.session == here.session
                && appended(there).unwrap().room == appended(here).unwrap().room
        });
        if let Some(other) = other
            && nothing_begins(&records[*one..*other])
        {
            pairs.push((*one, *other));
        }
    }
    let (one, other) = pick(&pairs, random)?;
    exchange(records, one, other);
    Some(())
}

fn delivered_text_changed(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let found = places(records, |_, record| {
        event(record).is_some_and(|event| {
            matches!(event.body, Some(Body::Message(_) | Body::MessageEdited(_)))
        })
    });
    let index = pick(&found, random)?;
    if let Frame::Event(event) = frame_mut(&mut records[index]) {
        match &mut event.body {
            Some(Body::Message(message)) => message.text.push('!'),
            Some(Body::MessageEdited(edit)) => edit.text.push('!'),
            _ => return None,
        }
    }
    Some(())
}

fn delivered_epoch_changed(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let found = places(records, |_, record| event(record).is_some());
    let index = pick(&found, random)?;
    if let Frame::Event(event) = frame_mut(&mut records[index]) {
        event.epoch += 1;
    }
    Some(())
}

fn delivery_missing(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let (index, _) = pick(&followed_deliveries(records), random)?;
    // The first of a session may come before its join's answer, when nothing is due yet.
    let before = records[..index].iter().rev().find(|record| {
        record.client == records[index].client && matches!(answer(record), Some(Answer::Joined(_)))
    });
    let joined = before.is_some_and(|joined| joined.session == records[index].session);
    joined.then_some(())?;
    records.remove(index);
    Some(())
}

/// Joins that resume, with so many events.
fn resumes(records: &[Record], least: usize) -> Vec<usize> {
    let resumes = answers(records).filter(|of| {
        let asked = matches!(
            of.command,
            Command::Join(v1::Join {
                from: Some(v1::join::From::AfterOffset(_)),
                ..
            })
        );
        let whole = |joined: &v1::Joined| !joined.reset && joined.events.len() >= least;
        asked && matches!(of.answer, Answer::Joined(joined) if whole(joined))
    });
    resumes.map(|of| of.index).collect()
}

fn join_event_missing(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let index = pick(&resumes(records, 2), random)?;
    if let Answer::Joined(joined) = answer_mut(&mut records[index]) {
        let missing = random.usize(0..joined.events.len() - 1);
        joined.events.remove(missing);
    }
    Some(())
}

fn join_cut(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let index = pick(&resumes(records, 1), random)?;
    if let Answer::Joined(joined) = answer_mut(&mut records[index]) {
        joined.events.pop();
    }
    Some(())
}

/// At its end a client is shown an event behind the log's last one: it did not outlive its owner.
fn void_delivered(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let closed = places(&records[rest(records)..], |_, record| {
        matches!(record.what, What::Closed(_))
    });
    let index = rest(records) + pick(&closed, random)?;
    let mut void = final_events(records, "red").pop()?;
    void.offset += 1;
    void.body = Some(Body::Message(v1::Message {
        text: "void".to_owned(),
        client_id: "void".to_owned(),
        ..v1::Message::default()
    }));
    let frame = v1::ServerFrame {
        frame: Some(Frame::Event(void)),
    };
    let what = What::Received(Box::new(frame));
    let record = Record {
        what,
        ..records[index]
    };
    records.insert(index, record);
    Some(())
}
