//! A right history of any length, made record by record, for the checker's bench.
//!
//! Two users on three devices in each room: messages, edits, deletes, reactions, cursors, pages,
//! connections that end with a message unanswered. A record costs the same at the beginning and
//! at the end; of an event the maker keeps 16 bytes.

mod pages;

use std::collections::VecDeque;

use fastrand::Rng;
use rookery_proto::v1::{self, ack::Result as Answer, server_frame::Frame};

use crate::{
    client::{Closed, Command, command},
    history::{Purpose, Record, What},
};

/// Devices of a room: two of one user, one of another.
const DEVICES: u32 = 3;
/// How far back a message is edited, deleted or reacted to.
const RECENT: usize = 40;
/// Events of a page somebody reads.
const PAGE: usize = 20;
const EMOJI: &str = "👍";

/// See the module's words.
#[derive(Clone, Copy, Debug)]
pub struct MadeHistory {
    /// Decides every choice.
    pub seed: u64,
    /// Rooms, each with devices of its own.
    pub rooms: u32,
    /// Commands of all devices together.
    pub operations: u64,
}

impl MadeHistory {
    /// Gives each record, in time order; the same ones each time.
    pub fn tell(&self, to: &mut dyn FnMut(&Record)) {
        let mut maker = Maker {
            random: Rng::with_seed(self.seed),
            at: 0,
            serial: 0,
            to,
        };
        let mut rooms: Vec<Room> = (0..self.rooms).map(Room::new).collect();
        for room in &mut rooms {
            room.open(&mut maker);
        }
        for _ in 0..self.operations {
            let room = maker.random.usize(0..rooms.len());
            rooms[room].operate(&mut maker);
        }
        for room in &mut rooms {
            room.end(&mut maker, self.rooms * DEVICES);
        }
    }
}

struct Maker<'a> {
    random: Rng,
    at: u64,
    serial: u32,
    to: &'a mut dyn FnMut(&Record),
}

/// An event, to be made again when it is read.
#[derive(Clone, Copy)]
struct Kept {
    kind: Kind,
    user: u8,
    target: u32,
    serial: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Opened,
    Message,
    Edit,
    Delete,
    React,
}

struct Room {
    number: u32,
    name: String,
    log: Vec<Kept>,
    /// Messages that are not deleted: offset, sender, who reacted.
    recent: VecDeque<(u32, u8, [bool; 2])>,
    cursors: [u64; 2],
    sessions: [u32; DEVICES as usize],
    next_id: u64,
}

impl Room {
    fn new(number: u32) -> Self {
        Self {
            number,
            name: format!("room-{number}"),
            log: Vec::new(),
            recent: VecDeque::new(),
            cursors: [0; 2],
            sessions: [0; DEVICES as usize],
            next_id: 0,
        }
    }

    fn head(&self) -> u64 {
        self.log.len() as u64
    }

    fn user(&self, user: u8) -> String {
        format!("u{}-{user}", self.number)
    }

    fn user_of(device: u32) -> u8 {
        u8::from(device == DEVICES - 1)
    }

    fn record(&self, maker: &mut Maker<'_>, device: u32, what: What) {
        maker.at += 1;
        let record = Record {
            at: maker.at,
            client: self.number * DEVICES + device,
            session: self.sessions[device as usize],
            what,
        };
        (maker.to)(&record);
    }

    fn receive(&self, maker: &mut Maker<'_>, device: u32, frame: Frame) {
        let frame = v1::ServerFrame { frame: Some(frame) };
        self.record(maker, device, What::Received(Box::new(frame)));
    }

    fn ask(&mut self, maker: &mut Maker<'_>, device: u32, command: Command) -> String {
        self.next_id += 1;
        let id = self.next_id.to_string();
        let frame = v1::ClientFrame {
            id: id.clone(),
            command: Some(command),
        };
        self.record(maker, device, What::Sent(Box::new(frame)));
        id
    }

    fn answer(&self, maker: &mut Maker<'_>, device: u32, id: String, answer: Answer) {
        let result = Some(answer);
        self.receive(maker, device, Frame::Ack(v1::Ack { id, result }));
    }

    fn open(&mut self, maker: &mut Maker<'_>) {
        for device in 0..DEVICES {
            self.connect(maker, device);
        }
        let name = self.name.clone();
        let id = self.ask(maker, 0, command::create_group(&name, true, &[], ""));
        self.append(Kind::Opened, 0, 0, 0);
        let room = Some(self.described());
        let created = Answer::RoomCreated(v1::RoomCreated { room });
        self.answer(maker, 0, id, created);
        for device in 0..DEVICES {
            self.join(maker, device, 0);
        }
    }

    fn connect(&mut self, maker: &mut Maker<'_>, device: u32) {
        self.sessions[device as usize] += 1;
        let opened = What::Opened {
            user: self.user(Self::user_of(device)),
            purpose: Purpose::Take,
            session_id: String::new(),
        };
        self.record(maker, device, opened);
    }

    fn join(&mut self, maker: &mut Maker<'_>, device: u32, after: u64) {
        let name = self.name.clone();
        let id = self.ask(maker, device, command::join_after(&name, after));
        let from = usize::try_from(after).expect("an offset of this log");
        let events = (from..self.log.len()).map(|index| self.raw(index));
        let joined = v1::Joined {
            room: Some(self.described()),
            head: self.head(),
            epoch: 1,
            events: events.collect(),
            cursor: self.cursors[usize::from(Self::user_of(device))],
            unread: self.unread(Self::user_of(device)),
            ..v1::Joined::default()
        };
        self.answer(maker, device, id, Answer::Joined(joined));
    }

    fn described(&self) -> v1::Room {
        v1::Room {
            id: self.name.clone(),
            kind: v1::room::Kind::Group.into(),
            member_count: 2,
            ..v1::Room::default()
        }
    }

    fn append(&mut self, kind: Kind, user: u8, target: u32, serial: u32) -> u32 {
        self.log.push(Kept {
            kind,
            user,
            target,
            serial,
        });
        u32::try_from(self.log.len()).expect("fewer than 2^32 events in a room")
    }

    fn operate(&mut self, maker: &mut Maker<'_>) {
        maker.serial += 1;
        let device = maker.random.u32(0..DEVICES);
        let user = Self::user_of(device);
        let name = self.name.clone();
        let at = maker.random.usize(0..self.recent.len().max(1));
        let target = self.recent.get(at).copied();
        let own = target.filter(|(_, sender, _)| *sender == user);
        match (maker.random.u8(0..100), target, own) {
            (0..12, _, Some((offset, ..))) => {
                let text = edited(maker.serial);
                let edit = command::edit(&name, u64::from(offset), &text);
                self.change(maker, device, edit, Kind::Edit, offset);
            }
            (12..18, _, Some((offset, ..))) => {
                let delete = command::delete(&name, u64::from(offset));
                self.change(maker, device, delete, Kind::Delete, offset);
                self.recent.remove(at);
            }
            (18..32, Some((offset, _, reacted)), _) if !reacted[usize::from(user)] => {
                self.recent[at].2[usize::from(user)] = true;
                let react = command::react(&name, u64::from(offset), EMOJI);
                self.change(maker, device, react, Kind::React, offset);
            }
            (32..40, ..) => {
                let head = self.head();
                let id = self.ask(maker, device, command::mark_read(&name, head));
                self.cursors[usize::from(user)] = head;
                let cursor = v1::Cursor {
                    room: name,
                    offset: head,
                    unread: 0,
                };
                self.answer(maker, device, id, Answer::Cursor(cursor));
            }
            (40..43, ..) => {
                let limit = u32::try_from(PAGE).expect("a small number");
                let id = self.ask(maker, device, command::history_newest(&name, limit));
                let length = self.log.len();
                let page = self.page(length.saturating_sub(PAGE), length);
                self.answer(maker, device, id, Answer::History(page));
            }
            (43, ..) => self.lose_answer(maker, device),
            _ => {
                let send = command::send(&name, &sent(maker.serial), &maker.serial.to_string());
                let offset = self.change(maker, device, send, Kind::Message, 0);
                self.sent(user, offset);
            }
        }
    }

    fn sent(&mut self, user: u8, offset: u32) {
        self.cursors[usize::from(user)] = u64::from(offset);
        self.recent.push_back((offset, user, [false; 2]));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// A change that everybody sees and that is acknowledged. Gives its offset.
    fn change(
        &mut self,
        maker: &mut Maker<'_>,
        device: u32,
        command: Command,
        kind: Kind,
        target: u32,
    ) -> u32 {
        let id = self.ask(maker, device, command);
        let offset = self.append(kind, Self::user_of(device), target, maker.serial);
        self.deliver(maker, 0..DEVICES);
        let appended = self.appended(offset, false);
        self.answer(maker, device, id, appended);
        offset
    }

    /// The newest event comes to these devices.
    fn deliver(&self, maker: &mut Maker<'_>, devices: impl Iterator<Item = u32>) {
        let event = self.raw(self.log.len() - 1);
        for device in devices {
            self.receive(maker, device, Frame::Event(event.clone()));
        }
    }

    fn appended(&self, offset: u32, duplicate: bool) -> Answer {
        Answer::Appended(v1::Appended {
            room: self.name.clone(),
            offset: u64::from(offset),
            epoch: 1,
            duplicate,
            ..v1::Appended::default()
        })
    }

    /// A message is sent, the connection ends, and it is sent again after resuming.
    fn lose_answer(&mut self, maker: &mut Maker<'_>, device: u32) {
        let name = self.name.clone();
        let head = self.head();
        let send = command::send(&name, &sent(maker.serial), &maker.serial.to_string());
        let id = self.ask(maker, device, send.clone());
        let offset = self.append(Kind::Message, Self::user_of(device), 0, maker.serial);
        self.sent(Self::user_of(device), offset);
        self.deliver(maker, (0..DEVICES).filter(|other| *other != device));
        self.record(maker, device, What::GaveUp { id });
        self.record(maker, device, What::Closed(Closed::cut("made")));
        self.connect(maker, device);
        self.join(maker, device, head);
        let id = self.ask(maker, device, send);
        let appended = self.appended(offset, true);
        self.answer(maker, device, id, appended);
    }
}

fn person(id: String) -> v1::User {
    v1::User {
        id,
        name: String::new(),
    }
}

fn sent(serial: u32) -> String {
    format!("text of message {serial}")
}

fn edited(serial: u32) -> String {
    format!("text after edit {serial}")
}

#[cfg(test)]
mod tests;
