//! The floor's rooms: who listens, the newest events, and the frames of this round.

use std::{
    collections::{HashMap, VecDeque},
    time::{SystemTime, UNIX_EPOCH},
};

use rookery_proto::v1::{
    self, ack::Result as Answer, client_frame::Command, error::Code, event::Body,
    server_frame::Frame, signal,
};

use super::{frames, session::Session, sockets::Sockets};
use crate::{
    client::Encoding,
    limits::{FLOOR_EVENTS_MAX, FLOOR_RESUME_EVENTS_MAX},
};

#[derive(Debug, Default)]
pub(super) struct Rooms {
    numbers: HashMap<String, usize>,
    rooms: Vec<Room>,
    /// Rooms with frames of this round.
    touched: Vec<usize>,
}

#[derive(Debug)]
struct Room {
    described: v1::Room,
    head: u64,
    /// The newest events, without a gap.
    recent: VecDeque<v1::Event>,
    /// By encoding, as [`Encoding::ALL`] orders them.
    audiences: [Audience; 2],
}

#[derive(Debug, Default)]
struct Audience {
    sockets: Vec<usize>,
    /// Finished WebSocket frames of this round.
    frames: Vec<u8>,
}

impl Rooms {
    pub(super) fn apply(
        &mut self,
        sockets: &mut Sockets,
        socket: usize,
        user: &str,
        command: Command,
    ) -> Result<Answer, Code> {
        let done = Ok(Answer::Done(v1::Done {}));
        match command {
            Command::CreateRoom(create) => Ok(self.create(user, create)),
            Command::Join(join) => self.join(sockets, socket, &join),
            Command::Leave(leave) => {
                let number = self.number(&leave.room)?;
                if let Some(session) = sockets.get(socket) {
                    session.rooms.retain(|room| *room != number);
                    self.rooms[number].audience(session.encoding).remove(socket);
                }
                done
            }
            Command::Send(send) => self.send(user, send),
            Command::MarkRead(read) => Ok(Answer::Cursor(v1::Cursor {
                room: read.room,
                offset: read.offset,
                unread: 0,
            })),
            Command::Typing(typing) => {
                let number = self.number(&typing.room)?;
                let body = signal::Body::Typing(v1::TypingSignal {
                    user: Some(person(user)),
                    active: typing.active,
                });
                let signal = v1::Signal {
                    room: typing.room,
                    body: Some(body),
                };
                self.put(number, &Frame::Signal(signal));
                done
            }
            Command::History(history) => self.history(history),
            Command::Rooms(_) => Ok(Answer::Rooms(v1::RoomPage::default())),
            Command::SetPresence(_) | Command::UnwatchPresence(_) => done,
            Command::WatchPresence(watch) => {
                let online = watch.users.into_iter().map(|user| v1::Presence {
                    user,
                    status: v1::presence::Status::Online.into(),
                    last_seen_ms: 0,
                });
                let users = online.collect();
                Ok(Answer::Presence(v1::PresenceList { users }))
            }
            Command::Ping(_) => Ok(Answer::Pong(v1::Pong { time_ms: now_ms() })),
            Command::Authenticate(_)
            | Command::RefreshToken(_)
            | Command::Edit(_)
            | Command::Delete(_)
            | Command::React(_)
            | Command::Unreact(_) => Err(Code::Unsupported),
        }
    }

    fn number(&self, room: &str) -> Result<usize, Code> {
        self.numbers.get(room).copied().ok_or(Code::NotFound)
    }

    fn create(&mut self, user: &str, create: v1::CreateRoom) -> Answer {
        let number = if let Some(number) = self.numbers.get(&create.room) {
            *number
        } else {
            let number = self.rooms.len();
            let described = v1::Room {
                id: create.room.clone(),
                kind: create.kind,
                name: create.name,
                public: create.public,
                ..v1::Room::default()
            };
            let mut room = Room {
                described: described.clone(),
                head: 0,
                recent: VecDeque::new(),
                audiences: Default::default(),
            };
            let opened = v1::RoomOpened {
                room: Some(described),
                members: Vec::new(),
            };
            room.append(user, Body::RoomOpened(opened));
            self.rooms.push(room);
            self.numbers.insert(create.room, number);
            number
        };
        Answer::RoomCreated(v1::RoomCreated {
            room: Some(self.rooms[number].described.clone()),
        })
    }

    fn join(
        &mut self,
        sockets: &mut Sockets,
        socket: usize,
        join: &v1::Join,
    ) -> Result<Answer, Code> {
        let number = self.number(&join.room)?;
        // What was said before is for those who were there.
        self.flush(sockets, number);
        let room = &mut self.rooms[number];
        if let Some(session) = sockets.get(socket)
            && !session.rooms.contains(&number)
        {
            session.rooms.push(number);
            room.audience(session.encoding).sockets.push(socket);
        }
        let (reset, missed) = match join.from {
            None => (false, 0),
            Some(v1::join::From::Last(last)) => (false, u64::from(last)),
            Some(v1::join::From::AfterOffset(after)) => match room.head.checked_sub(after) {
                Some(missed) if missed <= FLOOR_RESUME_EVENTS_MAX as u64 => (false, missed),
                _ => (true, 0),
            },
        };
        Ok(Answer::Joined(v1::Joined {
            room: Some(room.described.clone()),
            head: room.head,
            epoch: 1,
            reset,
            events: room.page(room.head + 1 - missed.min(room.head), missed),
            cursor: room.head,
            role: v1::member::Role::Member.into(),
            ..v1::Joined::default()
        }))
    }

    fn send(&mut self, user: &str, send: v1::Send) -> Result<Answer, Code> {
        let number = self.number(&send.room)?;
        let body = Body::Message(v1::Message {
            text: send.text,
            client_id: send.client_id,
            ..v1::Message::default()
        });
        let event = self.rooms[number].append(user, body);
        let answer = Answer::Appended(v1::Appended {
            room: send.room,
            offset: event.offset,
            epoch: event.epoch,
            time_ms: event.time_ms,
            duplicate: false,
        });
        self.put(number, &Frame::Event(event));
        Ok(answer)
    }

    fn history(&mut self, history: v1::History) -> Result<Answer, Code> {
        let room = &self.rooms[self.number(&history.room)?];
        let limit = match history.limit {
            0 => rookery_proto::limits::HISTORY_EVENTS_DEFAULT,
            some => some.min(rookery_proto::limits::HISTORY_EVENTS_MAX),
        };
        let limit = u64::from(limit);
        let newest = |before: u64| before.saturating_sub(limit).max(1);
        let (from, count) = match history.from {
            Some(v1::history::From::AfterOffset(after)) => (after.saturating_add(1), limit),
            Some(v1::history::From::BeforeOffset(before)) => {
                let before = before.min(room.head + 1);
                (newest(before), before.saturating_sub(newest(before)))
            }
            None => (newest(room.head + 1), limit),
        };
        Ok(Answer::History(v1::HistoryPage {
            events: room.page(from, count),
            head: room.head,
            room: history.room,
        }))
    }

    /// Puts a frame for everybody who listens, encoded once for each encoding somebody reads.
    fn put(&mut self, number: usize, frame: &Frame) {
        let room = &mut self.rooms[number];
        let audiences = Encoding::ALL.into_iter().zip(&mut room.audiences);
        let heard = audiences.filter(|(_, audience)| !audience.sockets.is_empty());
        for (encoding, audience) in heard {
            frames::put_frame(encoding, frame.clone(), &mut audience.frames);
        }
        if self.touched.last() != Some(&number) {
            self.touched.push(number);
        }
    }

    /// Writes what was put in this round.
    pub(super) fn flush_all(&mut self, sockets: &mut Sockets) {
        for number in std::mem::take(&mut self.touched) {
            self.flush(sockets, number);
        }
    }

    fn flush(&mut self, sockets: &mut Sockets, number: usize) {
        for audience in &mut self.rooms[number].audiences {
            if audience.frames.is_empty() {
                continue;
            }
            for socket in &audience.sockets {
                sockets.write(*socket, &audience.frames);
            }
            // The buffer is the room's for its next round.
            audience.frames.clear();
        }
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, socket: usize, session: &Session) {
        for number in &session.rooms {
            self.rooms[*number]
                .audience(session.encoding)
                .remove(socket);
        }
    }
}

impl Room {
    fn audience(&mut self, encoding: Encoding) -> &mut Audience {
        match encoding {
            Encoding::Json => &mut self.audiences[0],
            Encoding::Protobuf => &mut self.audiences[1],
        }
    }

    fn append(&mut self, user: &str, body: Body) -> v1::Event {
        self.head += 1;
        let event = v1::Event {
            room: self.described.id.clone(),
            epoch: 1,
            offset: self.head,
            time_ms: now_ms(),
            actor: Some(person(user)),
            body: Some(body),
        };
        self.recent.push_back(event.clone());
        if self.recent.len() > FLOOR_EVENTS_MAX {
            self.recent.pop_front();
        }
        event
    }

    /// At most `count` events from an offset; fewer where they are no longer kept.
    fn page(&self, from: u64, count: u64) -> Vec<v1::Event> {
        let kept = self.recent.iter().filter(|event| event.offset >= from);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        kept.take(count).cloned().collect()
    }
}

impl Audience {
    fn remove(&mut self, socket: usize) {
        if let Some(at) = self.sockets.iter().position(|one| *one == socket) {
            self.sockets.swap_remove(at);
        }
    }
}

pub(super) fn person(user: &str) -> v1::User {
    v1::User {
        id: user.to_owned(),
        name: user.to_owned(),
    }
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.map_or(0, |since| since.as_millis());
    u64::try_from(ms).unwrap_or(u64::MAX)
}
