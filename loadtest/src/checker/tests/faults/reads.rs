//! What can be wrong in what clients are told when they ask, and in what they end with.

use fastrand::Rng;
use rookery_proto::v1::{ack::Result as Answer, server_frame::Frame};

use super::{Fault, places::*};
use crate::{
    checker::Verdict,
    history::{Record, What},
};

pub(super) const FAULTS: &[Fault] = &[
    ("hole in a page", Verdict::Gap, page_event_missing),
    (
        "cursor told lower",
        Verdict::CursorBackwards,
        cursor_lowered,
    ),
    ("unread off by one", Verdict::UnreadWrong, unread_changed),
    ("state not as the log", Verdict::Divergent, replica_changed),
    ("head told too low", Verdict::Stale, head_lowered),
];

fn page_event_missing(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let judge = judge_client(records);
    let found = places(records, |_, record| {
        record.client != judge
            && matches!(answer(record), Some(Answer::History(page)) if page.events.len() > 2)
    });
    let index = pick(&found, random)?;
    if let Answer::History(page) = answer_mut(&mut records[index]) {
        page.events.remove(page.events.len() / 2);
    }
    Some(())
}

fn cursor_lowered(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let log = judged(records);
    // A cursor that this client itself was told before it asked.
    let sent = sent(records);
    let mut found = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let (Some(Frame::Ack(ack)), Some(Answer::Joined(joined))) = (frame(record), answer(record))
        else {
            continue;
        };
        let room = &joined.room.as_ref().unwrap().id;
        let began = sent[&(record.client, ack.id.clone())].0;
        let told = records[..began]
            .iter()
            .filter(|earlier| earlier.client == record.client)
            .filter_map(answer)
            .filter_map(|answer| match answer {
                Answer::Cursor(cursor) if cursor.room == *room => Some(cursor.offset),
                Answer::Joined(joined) if joined.room.as_ref().unwrap().id == *room => {
                    Some(joined.cursor)
                }
                _ => None,
            })
            .max();
        if let Some(told) = told.filter(|told| *told > 0) {
            found.push((index, told - 1));
        }
    }
    let (index, lower) = pick(&found, random)?;
    let user = log.user(&records[index]).unwrap();
    if let Answer::Joined(joined) = answer_mut(&mut records[index]) {
        joined.cursor = lower;
        let room = &joined.room.as_ref().unwrap().id;
        joined.unread = log.log(room).unwrap().unread(user, lower, joined.head);
    }
    Some(())
}

fn unread_changed(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let found = places(records, |_, record| {
        matches!(
            answer(record),
            Some(Answer::Joined(_) | Answer::Cursor(_) | Answer::Rooms(_))
        )
    });
    let index = pick(&found, random)?;
    match answer_mut(&mut records[index]) {
        Answer::Joined(joined) => joined.unread += 1,
        // Other messages may arrive while it is asked: only far off is surely wrong.
        Answer::Cursor(cursor) => cursor.unread += 10_000,
        Answer::Rooms(page) => page.rooms.first_mut()?.unread += 1,
        _ => return None,
    }
    Some(())
}

fn replica_changed(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let found = places(
        records,
        |_, record| matches!(&record.what, What::Replica(replica) if replica.messages().values().any(|m| !m.deleted)),
    );
    let index = pick(&found, random)?;
    let What::Replica(replica) = &mut records[index].what else {
        return None;
    };
    let mut value = serde_json::to_value(&**replica).unwrap();
    let messages = value["messages"].as_object_mut().unwrap();
    let message = messages
        .values_mut()
        .find(|message| message["deleted"] == false)
        .unwrap();
    message["reactions"] = serde_json::json!({ "👎": ["ghost"] });
    **replica = serde_json::from_value(value).unwrap();
    Some(())
}

fn head_lowered(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let log = judged(records);
    let sent = sent(records);
    let mut found = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let (Some(Frame::Ack(ack)), Some(Answer::Rooms(page))) = (frame(record), answer(record))
        else {
            continue;
        };
        let began = sent[&(record.client, ack.id.clone())].0;
        for (at, summary) in page.rooms.iter().enumerate() {
            let room = &summary.room.as_ref().unwrap().id;
            let known = records[..began]
                .iter()
                .filter_map(event)
                .filter(|event| event.room == *room)
                .map(|event| event.offset)
                .max();
            let user = log.user(record).unwrap();
            if let Some(lower) = known.map(|known| known - 1)
                && log.log(room).unwrap().members.is_member(user, lower)
            {
                found.push((index, at, lower));
            }
        }
    }
    let (index, at, lower) = pick(&found, random)?;
    let user = log.user(&records[index]).unwrap();
    if let Answer::Rooms(page) = answer_mut(&mut records[index]) {
        let summary = &mut page.rooms[at];
        let room = summary.room.as_mut().unwrap();
        let log = log.log(&room.id).unwrap();
        room.member_count = u32::try_from(log.members.count(lower)).unwrap();
        summary.unread = log.unread(user, summary.cursor, lower);
        summary.head = lower;
    }
    Some(())
}
