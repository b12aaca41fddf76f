//! What can be wrong in what clients are told when they ask, and in what they end with.

use fastrand::Rng;
use rookery_proto::v1::{self, ack::Result as Answer, event::Body};

use super::{Fault, places::*};
use crate::{
    checker::Verdict,
    client::Command,
    history::{Record, What},
    replica::target,
};

pub(super) const FAULTS: &[Fault] = &[
    (
        "event twice in a page",
        Verdict::Duplicate,
        page_event_twice,
    ),
    ("page out of order", Verdict::Reordered, page_out_of_order),
    ("page that ends early", Verdict::Gap, page_cut),
    (
        "page under another epoch",
        Verdict::Phantom,
        page_epoch_changed,
    ),
    (
        "page with a reaction of nobody",
        Verdict::Divergent,
        page_message_changed,
    ),
    (
        "page of a former head",
        Verdict::Stale,
        page_of_a_former_head,
    ),
    (
        "cursor answered lower than asked",
        Verdict::CursorBackwards,
        cursor_below_the_asked,
    ),
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
    let mut found = Vec::new();
    for of in answers(records) {
        let Answer::Joined(joined) = of.answer else {
            continue;
        };
        let room = &joined.room.as_ref().unwrap().id;
        let told = records[..of.asked]
            .iter()
            .filter(|earlier| earlier.client == of.record.client)
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
            found.push((of.index, told - 1));
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
    let mut found = Vec::new();
    for of in answers(records) {
        let Answer::Rooms(page) = of.answer else {
            continue;
        };
        for (at, summary) in page.rooms.iter().enumerate() {
            let room = &summary.room.as_ref().unwrap().id;
            let known = records[..of.asked]
                .iter()
                .filter_map(event)
                .filter(|event| event.room == *room)
                .map(|event| event.offset)
                .max();
            let user = log.user(of.record).unwrap();
            if let Some(lower) = known.map(|known| known - 1)
                && log.log(room).unwrap().members.is_member(user, lower)
            {
                found.push((of.index, at, lower));
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

/// Pages of so many events, the judge's too.
fn pages(records: &[Record], least: usize) -> Vec<usize> {
    places(
        records,
        |_, record| matches!(answer(record), Some(Answer::History(page)) if page.events.len() >= least),
    )
}

fn page_mut(record: &mut Record) -> &mut v1::HistoryPage {
    match answer_mut(record) {
        Answer::History(page) => page,
        other => panic!("{other:?}"),
    }
}

fn page_event_twice(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let index = pick(&pages(records, 2), random)?;
    let events = &mut page_mut(&mut records[index]).events;
    let twice = random.usize(0..events.len());
    events.insert(twice, events[twice].clone());
    Some(())
}

fn page_out_of_order(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let index = pick(&pages(records, 2), random)?;
    let events = &mut page_mut(&mut records[index]).events;
    let early = random.usize(1..events.len());
    events.swap(early - 1, early);
    Some(())
}

/// Pages of clients that asked for the newest events, and where they asked.
fn newest_pages(records: &[Record]) -> Vec<(usize, usize)> {
    let judge = judge_client(records);
    let newest = answers(records).filter(|of| {
        of.record.client != judge
            && matches!(&of.command, Command::History(history) if history.from.is_none())
            && matches!(of.answer, Answer::History(page) if page.events.len() >= 2)
    });
    newest.map(|of| (of.index, of.asked)).collect()
}

fn page_cut(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let (index, _) = pick(&newest_pages(records), random)?;
    page_mut(&mut records[index]).events.pop();
    Some(())
}

fn page_epoch_changed(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let judge = judge_client(records);
    let mut found = pages(records, 1);
    found.retain(|index| records[*index].client != judge);
    let index = pick(&found, random)?;
    let events = &mut page_mut(&mut records[index]).events;
    let changed = random.usize(0..events.len());
    events[changed].epoch += 1;
    Some(())
}

fn page_message_changed(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let judge = judge_client(records);
    let mut found = Vec::new();
    for index in pages(records, 1) {
        let Some(Answer::History(page)) = answer(&records[index]) else {
            continue;
        };
        let stands = page.events.iter().position(
            |event| matches!(&event.body, Some(Body::Message(message)) if !message.deleted),
        );
        if let Some(stands) = stands.filter(|_| records[index].client != judge) {
            found.push((index, stands));
        }
    }
    let (index, stands) = pick(&found, random)?;
    if let Some(Body::Message(message)) = &mut page_mut(&mut records[index]).events[stands].body {
        message.reactions.push(v1::Reaction {
            emoji: "an emoji of nobody".to_owned(),
            users: vec!["u0".to_owned()],
        });
    }
    Some(())
}

/// A page of the newest events without the last, which somebody knew before it was asked for.
fn page_of_a_former_head(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let mut found = newest_pages(records);
    found.retain(|(index, began)| {
        let Some(Answer::History(page)) = answer(&records[*index]) else {
            return false;
        };
        // A mark on one of the others would change how that one stands.
        let marked = page.events.last().and_then(|last| last.body.as_ref());
        let marked = marked.map_or(0, target);
        let alone = page.events.iter().all(|event| event.offset != marked);
        let known = records[..*began].iter().any(|earlier| {
            let delivered = event(earlier).map(|event| (&event.room, event.offset));
            let acked = appended(earlier).map(|acked| (&acked.room, acked.offset));
            delivered.or(acked) == Some((&page.room, page.head))
        });
        alone && known
    });
    let (index, _) = pick(&found, random)?;
    let page = page_mut(&mut records[index]);
    page.events.pop();
    page.head -= 1;
    Some(())
}

fn cursor_below_the_asked(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let log = judged(records);
    let as_asked = answers(records).filter(|of| match (&of.command, of.answer) {
        (Command::MarkRead(read), Answer::Cursor(cursor)) => {
            read.offset == cursor.offset && read.offset > 0
        }
        _ => false,
    });
    let found: Vec<usize> = as_asked.map(|of| of.index).collect();
    let index = pick(&found, random)?;
    let (user, at) = (log.user(&records[index])?, records[index].at);
    if let Answer::Cursor(cursor) = answer_mut(&mut records[index]) {
        let log = log.log(&cursor.room)?;
        cursor.offset -= 1;
        cursor.unread = log.unread(user, cursor.offset, log.head_possible_at(at));
    }
    Some(())
}
