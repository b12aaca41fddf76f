//! Ways to make a right history wrong, each in one way only. They give `None` when the history
//! offers no place for it.

#![expect(
    clippy::ptr_arg,
    reason = "faults share one type; some insert and remove records"
)]

mod members;

use std::collections::HashMap;

use fastrand::Rng;
use rookery_proto::v1::{self, ack::Result as Answer, event::Body, server_frame::Frame};

use crate::{
    checker::{
        Verdict,
        facts::Facts,
        report::Report,
        writes::{self, Judged},
    },
    client::{Command, command},
    history::{Record, What},
    replica::target,
};

type Inject = fn(&mut Vec<Record>, &mut Rng) -> Option<()>;

pub(super) const FAULTS: [(&str, Verdict, Inject); 26] = [
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
        "delivered twice in a session",
        Verdict::Duplicate,
        delivered_twice,
    ),
    (
        "one client id at two offsets",
        Verdict::Duplicate,
        logged_twice,
    ),
    (
        "two deliveries swapped",
        Verdict::Reordered,
        deliveries_swapped,
    ),
    ("two acks swapped", Verdict::Reordered, acks_swapped),
    (
        "began after it was known",
        Verdict::Reordered,
        began_after_known,
    ),
    ("event nobody asked for", Verdict::Phantom, ghost_in_log),
    ("member by a resume", Verdict::Phantom, member_by_resume),
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
    ("hole in a page", Verdict::Gap, page_event_missing),
    (
        "unacked event missing in the log",
        Verdict::Gap,
        unacked_event_missing,
    ),
    (
        "cursor told lower",
        Verdict::CursorBackwards,
        cursor_lowered,
    ),
    ("unread off by one", Verdict::UnreadWrong, unread_changed),
    ("state not as the log", Verdict::Divergent, replica_changed),
    (
        "retry acked at another offset",
        Verdict::Conflict,
        retry_elsewhere,
    ),
    ("head told too low", Verdict::Stale, head_lowered),
    (
        "members miscounted",
        Verdict::Divergent,
        members::member_count_changed,
    ),
    (
        "member refused as none",
        Verdict::Stale,
        members::member_refused,
    ),
    (
        "leave acked that is not in the log",
        Verdict::Lost,
        members::leave_without_trace,
    ),
    (
        "member joined again",
        Verdict::Duplicate,
        members::joined_again,
    ),
    (
        "shown online long after",
        Verdict::Ghost,
        shown_online_for_ever,
    ),
    (
        "shown offline while connected",
        Verdict::Ghost,
        shown_offline_while_connected,
    ),
];

// ---- finding places ------------------------------------------------------------------------

fn judge_client(records: &[Record]) -> u32 {
    records.iter().map(|record| record.client).max().unwrap()
}

fn judged(records: &[Record]) -> Judged {
    let mut facts = Facts::default();
    for record in records {
        facts.gather(record);
    }
    writes::judge(facts, &mut Report::default())
}

fn frame(record: &Record) -> Option<&Frame> {
    match &record.what {
        What::Received(frame) => frame.frame.as_ref(),
        _ => None,
    }
}

fn frame_mut(record: &mut Record) -> &mut Frame {
    match &mut record.what {
        What::Received(frame) => frame.frame.as_mut().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn event(record: &Record) -> Option<&v1::Event> {
    match frame(record)? {
        Frame::Event(event) => Some(event),
        _ => None,
    }
}

fn answer(record: &Record) -> Option<&Answer> {
    match frame(record)? {
        Frame::Ack(ack) => ack.result.as_ref(),
        _ => None,
    }
}

fn answer_mut(record: &mut Record) -> &mut Answer {
    match frame_mut(record) {
        Frame::Ack(ack) => ack.result.as_mut().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn appended(record: &Record) -> Option<&v1::Appended> {
    match answer(record)? {
        Answer::Appended(appended) if appended.offset > 0 => Some(appended),
        _ => None,
    }
}

/// Indexes of the records for which `wanted` holds.
fn places(records: &[Record], wanted: impl Fn(usize, &Record) -> bool) -> Vec<usize> {
    let found = records.iter().enumerate();
    found
        .filter(|(index, record)| wanted(*index, record))
        .map(|(index, _)| index)
        .collect()
}

fn pick<T: Clone>(found: &[T], random: &mut Rng) -> Option<T> {
    found.get(random.usize(0..found.len().max(1))).cloned()
}

fn final_pages<'a>(
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
fn final_events(records: &[Record], room: &str) -> Vec<v1::Event> {
    let judge = judge_client(records);
    let pages = records.iter().filter(|record| record.client == judge);
    let pages = pages.filter_map(|record| match answer(record) {
        Some(Answer::History(page)) if page.room == room => Some(&page.events),
        _ => None,
    });
    pages.flatten().cloned().collect()
}

fn user_of<'a>(judged: &'a Judged, record: &Record) -> &'a str {
    judged.people.name(judged.user(record).unwrap())
}

fn remove_from_final_log(records: &mut [Record], room: &str, offset: u64) {
    for page in final_pages(records, room) {
        page.events.retain(|event| event.offset != offset);
    }
}

fn append_to_final_log(records: &mut [Record], room: &str, mut event: v1::Event) {
    let page = final_pages(records, room).last().unwrap();
    event.offset = page.head + 1;
    page.head += 1;
    page.events.push(event);
}

pub(super) fn forget_final_log(records: &mut Vec<Record>, room: &str) {
    let judge = judge_client(records);
    records.retain(|record| {
        record.client != judge
            || !matches!(answer(record), Some(Answer::History(page)) if page.room == room)
    });
}

fn sent(records: &[Record]) -> HashMap<(u32, String), (usize, Command)> {
    let mut sent = HashMap::new();
    for (index, record) in records.iter().enumerate() {
        if let What::Sent(frame) = &record.what {
            let command = frame.command.clone().unwrap();
            sent.insert((record.client, frame.id.clone()), (index, command));
        }
    }
    sent
}

/// The same session's next record about a room's stream after `index`.
fn next_in_stream(records: &[Record], index: usize) -> Option<usize> {
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
fn followed_deliveries(records: &[Record]) -> Vec<(usize, usize)> {
    places(records, |_, record| event(record).is_some())
        .into_iter()
        .filter_map(|index| Some((index, next_in_stream(records, index)?)))
        .filter(|(index, next)| {
            event(&records[*next]).is_some() && records[*next].session == records[*index].session
        })
        .collect()
}

// ---- faults --------------------------------------------------------------------------------

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

fn delivered_twice(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let found = places(records, |_, record| event(record).is_some());
    let index = pick(&found, random)?;
    let again = records[index].clone();
    records.insert(index + 1, again);
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

/// A user who is let in has only ever resumed.
fn member_by_resume(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let let_in: Vec<(String, String)> = final_pages(records, "red")
        .flat_map(|page| &page.events)
        .filter_map(|event| match &event.body {
            Some(Body::MemberJoined(joined)) => {
                let user = joined.member.as_ref()?.user.as_ref()?;
                Some((event.room.clone(), user.id.clone()))
            }
            _ => None,
        })
        .collect();
    let (room, user) = pick(&let_in, random)?;
    let log = judged(records);
    for record in records {
        let of_user = user_of(&log, record) == user;
        if let What::Sent(frame) = &mut record.what
            && let Some(Command::Join(join)) = &mut frame.command
            && join.room == room
            && of_user
        {
            join.resume = true;
        }
    }
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

/// A watcher is told this of the user of a device, and a long time passes after that record.
fn show(records: &mut Vec<Record>, index: usize, client: u32, online: bool) -> Option<()> {
    use v1::presence::Status;
    let user = user_of(
        &judged(records),
        records.iter().find(|it| it.client == client)?,
    )
    .to_owned();
    let watcher = judge_client(records) + 1;
    let status = if online {
        Status::Online
    } else {
        Status::Offline
    };
    let told = Frame::Signal(v1::Signal {
        body: Some(v1::signal::Body::Presence(v1::Presence {
            user,
            status: status.into(),
            ..v1::Presence::default()
        })),
        ..v1::Signal::default()
    });
    let opened = What::Opened {
        user: "watcher".to_owned(),
        purpose: crate::history::Purpose::Take,
        session_id: "watcher".to_owned(),
    };
    let told = What::Received(Box::new(v1::ServerFrame { frame: Some(told) }));
    let at = records[index].at;
    let long = u64::try_from(crate::limits::GHOST_MAX.as_micros()).unwrap() * 2;
    for later in &mut records[index + 1..] {
        later.at += long;
    }
    let ended = What::Closed(crate::client::Closed::cut("made"));
    let end = records.last()?.at.max(at + long) + 1;
    for (number, what) in [opened, told].into_iter().enumerate() {
        let record = Record {
            at,
            client: watcher,
            session: 1,
            what,
        };
        records.insert(index + 1 + number, record);
    }
    records.push(Record {
        at: end,
        client: watcher,
        session: 1,
        what: ended,
    });
    Some(())
}

fn shown_online_for_ever(records: &mut Vec<Record>, _: &mut Rng) -> Option<()> {
    // At the end all devices have ended but the judge's, which is of u0.
    let last = records.len() - 1;
    show(records, last, 1, true)
}

fn shown_offline_while_connected(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let opened = places(records, |_, record| {
        matches!(record.what, What::Opened { .. })
    });
    let index = pick(&opened, random)?;
    let client = records[index].client;
    show(records, index, client, false)
}
