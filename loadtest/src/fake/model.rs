//! The rooms of the fake server: one synchronous machine.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fastrand::Rng;
use rookery_proto::v1::{self, ack::Result as Answer, error::Code, event::Body};

use crate::{
    client::command::Command,
    replica::{MessageState, Replica, target},
    workload::Weights,
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    rooms: BTreeMap<String, Room>,
    time_ms: u64,
}

#[derive(Clone, Debug, Default)]
struct Room {
    id: String,
    /// Redacted as messages are deleted.
    raw: Vec<v1::Event>,
    members: BTreeSet<String>,
    cursors: BTreeMap<String, u64>,
    sent: HashMap<(String, String), (u64, String)>,
}

/// What a command did.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) answer: Result<Answer, Code>,
    /// For everybody who listens.
    pub(crate) events: Vec<v1::Event>,
}

impl Outcome {
    fn answer(answer: Answer) -> Self {
        Self {
            answer: Ok(answer),
            events: Vec::new(),
        }
    }

    fn refuse(code: Code) -> Self {
        Self {
            answer: Err(code),
            events: Vec::new(),
        }
    }
}

/// Who stopped being a member by this event.
pub(crate) fn who_left(event: &v1::Event) -> Option<&str> {
    match event.body.as_ref()? {
        Body::MemberLeft(left) => Some(left.user.as_ref()?.id.as_str()),
        _ => None,
    }
}

impl Model {
    pub(crate) fn open_room(&mut self, room: &str, owner: &str, members: &[&str]) {
        let command = crate::client::command::create_group(room, true, members, "");
        self.apply(owner, &command);
    }

    pub(crate) fn head(&self, room: &str) -> u64 {
        self.rooms.get(room).map_or(0, Room::head)
    }

    pub(crate) fn raw_log(&self, room: &str) -> &[v1::Event] {
        &self.rooms[room].raw
    }

    pub(crate) fn room_ids(&self) -> Vec<String> {
        self.rooms.keys().cloned().collect()
    }

    pub(crate) fn page_after(&self, room: &str, after: u64, limit: usize) -> Vec<v1::Event> {
        let room = &self.rooms[room];
        let from = usize::try_from(after).unwrap().min(room.raw.len());
        let to = (from + limit).min(room.raw.len());
        room.folded(from, to)
    }

    pub(crate) fn random_command(
        &self,
        room: &str,
        user: &str,
        serial: u64,
        random: &mut Rng,
    ) -> Command {
        let replica = Replica::from_log(room, self.raw_log(room));
        Weights::default().choose(&replica, user, serial, random)
    }

    pub(crate) fn apply(&mut self, user: &str, command: &Command) -> Outcome {
        self.time_ms += 1;
        let time_ms = self.time_ms;
        match command {
            Command::CreateRoom(create) => self.create(user, create),
            Command::Rooms(_) => {
                let rooms = self.rooms.values().filter(|r| r.members.contains(user));
                Outcome::answer(Answer::Rooms(v1::RoomPage {
                    rooms: rooms.map(|room| room.summary(user)).collect(),
                    next: String::new(),
                }))
            }
            other => {
                let room = crate::client::command::room_of(other).unwrap_or_default();
                match self.rooms.get_mut(room) {
                    Some(room) => room.apply(user, other, time_ms),
                    None => Outcome::refuse(Code::NotFound),
                }
            }
        }
    }

    fn create(&mut self, user: &str, create: &v1::CreateRoom) -> Outcome {
        let described = v1::Room {
            id: create.room.clone(),
            kind: create.kind,
            name: create.name.clone(),
            public: create.public,
            ..v1::Room::default()
        };
        let created = Answer::RoomCreated(v1::RoomCreated {
            room: Some(described.clone()),
        });
        if self.rooms.contains_key(&create.room) {
            return Outcome::answer(created);
        }
        let mut room = Room {
            id: create.room.clone(),
            ..Room::default()
        };
        let users = std::iter::once(user).chain(create.members.iter().map(String::as_str));
        let members = users.map(member).collect::<Vec<_>>();
        for member in &members {
            let user = member.user.clone().unwrap().id;
            room.members.insert(user.clone());
            room.cursors.insert(user, 1);
        }
        let opened = Body::RoomOpened(v1::RoomOpened {
            room: Some(described),
            members,
        });
        let event = room.append(user, opened, self.time_ms);
        self.rooms.insert(create.room.clone(), room);
        Outcome {
            answer: Ok(created),
            events: vec![event],
        }
    }
}

fn member(user: &str) -> v1::Member {
    v1::Member {
        user: Some(person(user)),
        role: v1::member::Role::Member.into(),
    }
}

fn person(user: &str) -> v1::User {
    v1::User {
        id: user.to_owned(),
        name: user.to_owned(),
    }
}

impl Room {
    fn head(&self) -> u64 {
        self.raw.len() as u64
    }

    fn append(&mut self, user: &str, body: Body, time_ms: u64) -> v1::Event {
        let event = v1::Event {
            room: self.id.clone(),
            epoch: 1,
            offset: self.head() + 1,
            time_ms,
            actor: Some(person(user)),
            body: Some(body),
        };
        self.raw.push(event.clone());
        event
    }

    fn appended(&self, offset: u64, duplicate: bool) -> Answer {
        Answer::Appended(v1::Appended {
            room: self.id.clone(),
            offset,
            epoch: u64::from(offset > 0),
            time_ms: 0,
            duplicate,
        })
    }

    fn message(&self, offset: u64) -> Option<MessageState> {
        let index = usize::try_from(offset).ok()?.checked_sub(1)?;
        let event = self.raw.get(index)?;
        let Some(Body::Message(message)) = &event.body else {
            return None;
        };
        let mut state = MessageState::new(&event.actor.as_ref()?.id, message);
        for mark in &self.raw[index + 1..] {
            let body = mark.body.as_ref()?;
            if target(body) == offset {
                state.mark(mark.offset, mark.time_ms, &mark.actor.as_ref()?.id, body);
            }
        }
        Some(state)
    }

    fn folded(&self, from: usize, to: usize) -> Vec<v1::Event> {
        let mut page = self.raw[from..to].to_vec();
        for event in &mut page {
            let Some(state) = self.message(event.offset) else {
                continue;
            };
            event.body = Some(Body::Message(v1::Message {
                text: state.text,
                client_id: state.client_id,
                edited_ms: state.edited_ms,
                deleted: state.deleted,
                reactions: state
                    .reactions
                    .into_iter()
                    .map(|(emoji, users)| v1::Reaction {
                        emoji,
                        users: users.into_iter().collect(),
                    })
                    .collect(),
                revision: state.revision,
            }));
        }
        page
    }

    fn unread(&self, user: &str) -> u64 {
        let cursor = self.cursors.get(user).copied().unwrap_or(0);
        let later = self.raw.iter().filter(|event| event.offset > cursor);
        let counted = later.filter(|event| {
            self.message(event.offset)
                .is_some_and(|message| !message.deleted && message.sender != user)
        });
        counted.count() as u64
    }

    fn summary(&self, user: &str) -> v1::RoomSummary {
        v1::RoomSummary {
            room: Some(v1::Room {
                id: self.id.clone(),
                kind: v1::room::Kind::Group.into(),
                member_count: u32::try_from(self.members.len()).unwrap(),
                ..v1::Room::default()
            }),
            head: self.head(),
            cursor: self.cursors.get(user).copied().unwrap_or(0),
            unread: self.unread(user),
            unavailable: false,
        }
    }

    fn apply(&mut self, user: &str, command: &Command, time_ms: u64) -> Outcome {
        if let Command::Join(join) = command {
            return self.join(user, join, time_ms);
        }
        if !self.members.contains(user) {
            return Outcome::refuse(Code::NotMember);
        }
        match command {
            Command::Leave(leave) => self.leave(user, leave, time_ms),
            Command::Send(send) => self.send(user, send, time_ms),
            Command::Edit(edit) => self.mark(user, edit.target, time_ms, |m| {
                if m.sender != user {
                    return Err(Code::Forbidden);
                }
                Ok((m.text != edit.text).then(|| {
                    Body::MessageEdited(v1::MessageEdited {
                        target: edit.target,
                        text: edit.text.clone(),
                    })
                }))
            }),
            Command::Delete(delete) => self.delete(user, delete.target, time_ms),
            Command::React(react) => self.mark(user, react.target, time_ms, |m| {
                let has = m.reactions.get(&react.emoji);
                Ok((!has.is_some_and(|users| users.contains(user))).then(|| {
                    Body::ReactionAdded(v1::ReactionAdded {
                        target: react.target,
                        emoji: react.emoji.clone(),
                    })
                }))
            }),
            Command::Unreact(react) => self.mark(user, react.target, time_ms, |m| {
                let has = m.reactions.get(&react.emoji);
                Ok(has.is_some_and(|users| users.contains(user)).then(|| {
                    Body::ReactionRemoved(v1::ReactionRemoved {
                        target: react.target,
                        emoji: react.emoji.clone(),
                    })
                }))
            }),
            Command::MarkRead(read) if read.offset > self.head() => Outcome::refuse(Code::Invalid),
            Command::MarkRead(read) => {
                let cursor = self.cursors.entry(user.to_owned()).or_default();
                *cursor = read.offset.max(*cursor);
                let offset = *cursor;
                Outcome::answer(Answer::Cursor(v1::Cursor {
                    room: self.id.clone(),
                    offset,
                    unread: self.unread(user),
                }))
            }
            Command::History(history) => self.history(history),
            _ => Outcome::refuse(Code::Unsupported),
        }
    }

    fn join(&mut self, user: &str, join: &v1::Join, time_ms: u64) -> Outcome {
        if join.resume && !self.members.contains(user) {
            return Outcome::refuse(Code::NotMember);
        }
        let mut events = Vec::new();
        if self.members.insert(user.to_owned()) {
            let body = Body::MemberJoined(v1::MemberJoined {
                member: Some(member(user)),
            });
            events.push(self.append(user, body, time_ms));
            self.cursors.insert(user.to_owned(), self.head());
        }
        let length = self.raw.len();
        let mut reset = false;
        let page = match join.from {
            None => Vec::new(),
            Some(v1::join::From::AfterOffset(after)) if after > self.head() => {
                reset = true;
                self.folded(length.saturating_sub(50), length)
            }
            Some(v1::join::From::AfterOffset(after)) => {
                self.raw[usize::try_from(after).unwrap()..].to_vec()
            }
            Some(v1::join::From::Last(messages)) => {
                let events = usize::try_from(messages).unwrap();
                self.folded(length.saturating_sub(events), length)
            }
        };
        let summary = self.summary(user);
        Outcome {
            answer: Ok(Answer::Joined(v1::Joined {
                room: summary.room,
                head: summary.head,
                epoch: 1,
                reset,
                events: page,
                cursor: summary.cursor,
                unread: summary.unread,
                ..v1::Joined::default()
            })),
            events,
        }
    }

    fn leave(&mut self, user: &str, leave: &v1::Leave, time_ms: u64) -> Outcome {
        let mut outcome = Outcome::answer(Answer::Done(v1::Done {}));
        if !leave.session_only {
            self.members.remove(user);
            let user_left = Some(person(user));
            let body = Body::MemberLeft(v1::MemberLeft { user: user_left });
            outcome.events.push(self.append(user, body, time_ms));
        }
        outcome
    }

    fn send(&mut self, user: &str, send: &v1::Send, time_ms: u64) -> Outcome {
        let key = (user.to_owned(), send.client_id.clone());
        if let Some((offset, text)) = self.sent.get(&key) {
            return if *text == send.text {
                Outcome::answer(self.appended(*offset, true))
            } else {
                Outcome::refuse(Code::Conflict)
            };
        }
        let body = Body::Message(v1::Message {
            text: send.text.clone(),
            client_id: send.client_id.clone(),
            ..v1::Message::default()
        });
        let event = self.append(user, body, time_ms);
        self.cursors.insert(user.to_owned(), event.offset);
        if !send.client_id.is_empty() {
            self.sent.insert(key, (event.offset, send.text.clone()));
        }
        Outcome {
            answer: Ok(self.appended(event.offset, false)),
            events: vec![event],
        }
    }

    fn mark(
        &mut self,
        user: &str,
        target: u64,
        time_ms: u64,
        decide: impl FnOnce(&MessageState) -> Result<Option<Body>, Code>,
    ) -> Outcome {
        let Some(message) = self.message(target).filter(|message| !message.deleted) else {
            return Outcome::refuse(Code::NotFound);
        };
        match decide(&message) {
            Err(code) => Outcome::refuse(code),
            Ok(None) => Outcome::answer(self.appended(0, false)),
            Ok(Some(body)) => {
                let event = self.append(user, body, time_ms);
                Outcome {
                    answer: Ok(self.appended(event.offset, false)),
                    events: vec![event],
                }
            }
        }
    }

    fn delete(&mut self, user: &str, offset: u64, time_ms: u64) -> Outcome {
        let outcome = self.mark(user, offset, time_ms, |message| {
            if message.sender != user {
                return Err(Code::Forbidden);
            }
            Ok(Some(Body::MessageDeleted(v1::MessageDeleted {
                target: offset,
            })))
        });
        if !outcome.events.is_empty() {
            for event in &mut self.raw {
                match &mut event.body {
                    Some(Body::Message(message)) if event.offset == offset => message.text.clear(),
                    Some(Body::MessageEdited(edit)) if edit.target == offset => edit.text.clear(),
                    _ => {}
                }
            }
        }
        outcome
    }

    fn history(&self, history: &v1::History) -> Outcome {
        let limit = if history.limit == 0 {
            50
        } else {
            history.limit
        };
        let limit = usize::try_from(limit).unwrap();
        let length = self.raw.len();
        let (from, to) = match history.from {
            Some(v1::history::From::AfterOffset(after)) => {
                let from = usize::try_from(after).unwrap().min(length);
                (from, (from + limit).min(length))
            }
            Some(v1::history::From::BeforeOffset(before)) => {
                let to = usize::try_from(before)
                    .unwrap()
                    .saturating_sub(1)
                    .min(length);
                (to.saturating_sub(limit), to)
            }
            None => (length.saturating_sub(limit), length),
        };
        Outcome::answer(Answer::History(v1::HistoryPage {
            room: self.id.clone(),
            events: self.folded(from, to),
            head: self.head(),
        }))
    }
}
