//! Traces of voided events: texts, answers, members and cursors that only an event can have left
//! that a takeover did not adopt.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use rookery_loadtest::{
    client::{Command, command::room_of},
    history::{Purpose, Record, What},
    replica::Replica,
};
use rookery_persistence::{EpochList, LogRow};
use rookery_proto::{
    ids::{Epoch, Offset},
    v1::{self, ack, event::Body, server_frame::Frame},
};

use crate::{
    judge::{Found, Kind},
    quorum::Quorum,
    replica::{Partition, Row},
};

/// What is stored of one room, on any replica.
#[derive(Default)]
struct Room {
    list: EpochList,
    rows: BTreeMap<(Offset, Epoch), LogRow>,
}

/// What a user may have a cursor at, by room and user.
type Places = BTreeMap<(String, String), BTreeSet<u64>>;

/// Looks for traces in all that clients were told.
pub(crate) fn traces(records: &[Record], quorum: &Quorum) -> Vec<Found> {
    let rooms = rooms(quorum);
    let voided = voided_texts(&rooms);
    let places = places(records, &rooms);
    let mut users: BTreeMap<u32, &str> = BTreeMap::new();
    let mut judges = BTreeSet::new();
    let mut found = Vec::new();
    for record in records {
        let frame = match &record.what {
            What::Opened { user, purpose, .. } => {
                users.insert(record.client, user);
                if *purpose == Purpose::Judge {
                    judges.insert(record.client);
                }
                continue;
            }
            What::Received(frame) => frame.frame.as_ref(),
            _ => continue,
        };
        let mut trace = |what: String| {
            found.push(Found {
                kind: Kind::Trace,
                what: format!("client {} at {} µs: {what}", record.client, record.at),
            });
        };
        for event in frame.map_or(&[][..], events_of) {
            if let Some(text) = text_of(event)
                && voided.contains(text)
            {
                trace(format!("{text:?} of an event that does not count"));
            }
        }
        let Some(Frame::Ack(ack)) = frame else {
            continue;
        };
        let user = users.get(&record.client).copied().unwrap_or_default();
        let mut cursor_at = |room: &str, offset: u64| {
            let key = (room.to_owned(), user.to_owned());
            let known = places.get(&key).is_some_and(|it| it.contains(&offset));
            if offset > 0 && !known {
                trace(format!(
                    "cursor of {user} in {room} at {offset}, where nothing put it"
                ));
            }
        };
        match &ack.result {
            Some(ack::Result::Cursor(cursor)) => cursor_at(&cursor.room, cursor.offset),
            Some(ack::Result::Joined(joined)) => {
                let Some(room) = &joined.room else { continue };
                cursor_at(&room.id, joined.cursor);
                if judges.contains(&record.client) {
                    found.extend(members(room, &rooms));
                }
            }
            Some(ack::Result::Appended(appended)) if appended.offset > 0 => {
                let (offset, epoch) = (Offset(appended.offset), Epoch(appended.epoch));
                let list = rooms.get(&appended.room).map(|room| &room.list);
                if list.is_some_and(|list| list.epoch_at(offset) != Some(epoch)) {
                    let room = &appended.room;
                    trace(format!(
                        "{room} {offset} of epoch {epoch} acknowledged, which is void"
                    ));
                }
            }
            _ => {}
        }
    }
    found
}

fn rooms(quorum: &Quorum) -> BTreeMap<String, Room> {
    let mut rooms: BTreeMap<String, Room> = BTreeMap::new();
    quorum.inspect(|replicas| {
        for (partition, rows) in replicas.iter().flat_map(|it| it.partitions()) {
            let (Partition::Log(id) | Partition::Room(id)) = partition else {
                continue;
            };
            let room = rooms.entry(id.as_str().to_owned()).or_default();
            for row in rows.values() {
                match row {
                    Row::Log(row) => {
                        room.rows.insert((row.offset, row.epoch), row.clone());
                    }
                    Row::List(list) if list.last_epoch() > room.list.last_epoch() => {
                        room.list = list.clone();
                    }
                    _ => {}
                }
            }
        }
    });
    rooms
}

impl Room {
    /// The events that count, dense from the first.
    fn canonical(&self) -> Vec<v1::Event> {
        let mut next = Offset(1);
        let mut events = Vec::new();
        while let Some(epoch) = self.list.epoch_at(next)
            && let Some(row) = self.rows.get(&(next, epoch))
        {
            events.push(decode(row));
            next = next.next();
        }
        events
    }
}

fn decode(row: &LogRow) -> v1::Event {
    v1::Event::decode(row.event.clone()).expect("an event")
}

fn text_of(event: &v1::Event) -> Option<&str> {
    let text = match event.body.as_ref()? {
        Body::Message(message) => &message.text,
        Body::MessageEdited(edit) => &edit.text,
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// Texts of which no event counts. (A message that is sent again has the same text.)
fn voided_texts(rooms: &BTreeMap<String, Room>) -> BTreeSet<String> {
    let mut voided = BTreeSet::new();
    for room in rooms.values() {
        let texts = |events: &[v1::Event]| -> BTreeSet<String> {
            let texts = events.iter().filter_map(text_of);
            texts.map(str::to_owned).collect()
        };
        let all: Vec<_> = room.rows.values().map(decode).collect();
        let counting = texts(&room.canonical());
        voided.extend(texts(&all).difference(&counting).cloned());
    }
    voided
}

/// Where cursors may stand: at what was asked for, the own messages, and where one became a member.
fn places(records: &[Record], rooms: &BTreeMap<String, Room>) -> Places {
    let mut places = Places::new();
    let mut put = |room: &str, user: &str, offset| {
        let key = (room.to_owned(), user.to_owned());
        places.entry(key).or_default().insert(offset);
    };
    let mut users: BTreeMap<u32, &str> = BTreeMap::new();
    for record in records {
        match &record.what {
            What::Opened { user, .. } => drop(users.insert(record.client, user)),
            What::Sent(frame) => {
                if let Some(command @ Command::MarkRead(read)) = &frame.command {
                    let user = users.get(&record.client).copied().unwrap_or_default();
                    put(room_of(command).unwrap_or_default(), user, read.offset);
                }
            }
            _ => {}
        }
    }
    for (id, room) in rooms {
        for event in room.canonical() {
            let actor = event.actor.as_ref().map_or("", |user| &user.id);
            match &event.body {
                Some(Body::Message(_)) => put(id, actor, event.offset),
                Some(Body::RoomOpened(opened)) => {
                    for user in opened.members.iter().filter_map(|it| it.user.as_ref()) {
                        put(id, &user.id, event.offset);
                    }
                }
                Some(Body::MemberJoined(joined)) => {
                    let member = joined.member.as_ref().and_then(|it| it.user.as_ref());
                    if let Some(user) = member {
                        put(id, &user.id, event.offset);
                    }
                }
                _ => {}
            }
        }
    }
    places
}

/// Whether the room has as many members as its events say, when all is at rest.
fn members(room: &v1::Room, rooms: &BTreeMap<String, Room>) -> Option<Found> {
    let events = rooms.get(&room.id)?.canonical();
    let replica = Replica::from_log(&room.id, &events);
    let members = replica.members().map_or(0, BTreeMap::len);
    (members != room.member_count as usize).then(|| Found {
        kind: Kind::Trace,
        what: format!(
            "{} has {} members, its events make it {members}",
            room.id, room.member_count
        ),
    })
}

fn events_of(frame: &Frame) -> &[v1::Event] {
    match frame {
        Frame::Event(event) => std::slice::from_ref(event),
        Frame::Ack(ack) => match &ack.result {
            Some(ack::Result::Joined(joined)) => &joined.events,
            Some(ack::Result::History(page)) => &page.events,
            _ => &[],
        },
        _ => &[],
    }
}
