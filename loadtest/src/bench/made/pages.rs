//! What is read of a room: its events as they were, and as they stand.

use rookery_proto::v1::{self, ack::Result as Answer, event::Body, server_frame::Frame};

use super::{EMOJI, Kind, Maker, Room, edited, person, sent};
use crate::{
    client::{Closed, command},
    history::{Purpose, Record, What},
    limits::PAGE_EVENTS,
    replica::Replica,
};

/// How a message stands.
#[derive(Clone, Copy, Default)]
struct State {
    edit: Option<(u32, u64)>,
    deleted: bool,
    reacted: [bool; 2],
    revision: u64,
}

impl Room {
    /// Messages of others after the user's cursor. Cursors are never far from the head.
    pub(super) fn unread(&self, user: u8) -> u64 {
        let cursor = usize::try_from(self.cursors[usize::from(user)]).expect("an offset");
        let after = self.log.get(cursor..).unwrap_or_default();
        let gone = |offset: usize| {
            let mut later = after.iter();
            later.any(|kept| kept.kind == Kind::Delete && kept.target as usize == offset)
        };
        let unread = after.iter().enumerate().filter(|(index, kept)| {
            kept.kind == Kind::Message && kept.user != user && !gone(cursor + index + 1)
        });
        unread.count() as u64
    }

    /// The event as it is delivered live.
    pub(super) fn raw(&self, index: usize) -> v1::Event {
        let kept = self.log[index];
        let target = u64::from(kept.target);
        let member = |user| v1::Member {
            user: Some(person(self.user(user))),
            role: v1::member::Role::Member.into(),
        };
        let body = match kept.kind {
            Kind::Opened => Body::RoomOpened(v1::RoomOpened {
                room: Some(self.described()),
                members: vec![member(0), member(1)],
            }),
            Kind::Message => Body::Message(v1::Message {
                text: sent(kept.serial),
                client_id: kept.serial.to_string(),
                ..v1::Message::default()
            }),
            Kind::Edit => Body::MessageEdited(v1::MessageEdited {
                target,
                text: edited(kept.serial),
            }),
            Kind::Delete => Body::MessageDeleted(v1::MessageDeleted { target }),
            Kind::React => Body::ReactionAdded(v1::ReactionAdded {
                target,
                emoji: EMOJI.to_owned(),
            }),
        };
        let offset = index as u64 + 1;
        v1::Event {
            room: self.name.clone(),
            epoch: 1,
            offset,
            time_ms: offset,
            actor: Some(person(self.user(kept.user))),
            body: Some(body),
        }
    }

    /// A page as it stands now; what marks its messages lies in it or before it.
    pub(super) fn page(&self, from: usize, to: usize) -> v1::HistoryPage {
        let states = self.states(from);
        v1::HistoryPage {
            room: self.name.clone(),
            events: (from..to)
                .map(|index| self.folded(index, from, &states))
                .collect(),
            head: self.head(),
        }
    }

    /// How the events from there on stand, by the marks from there on. Marks lie behind what they
    /// mark.
    fn states(&self, from: usize) -> Vec<State> {
        let mut states = vec![State::default(); self.log.len() - from];
        for (index, kept) in self.log.iter().enumerate().skip(from) {
            let place = (kept.target as usize).checked_sub(from + 1);
            let Some(state) = place.and_then(|place| states.get_mut(place)) else {
                continue;
            };
            let offset = index as u64 + 1;
            state.revision = offset;
            match kept.kind {
                Kind::Edit => state.edit = Some((kept.serial, offset)),
                Kind::Delete => state.deleted = true,
                Kind::React => state.reacted[usize::from(kept.user)] = true,
                Kind::Opened | Kind::Message => {}
            }
        }
        states
    }

    fn folded(&self, index: usize, from: usize, states: &[State]) -> v1::Event {
        let mut event = self.raw(index);
        match &mut event.body {
            Some(Body::Message(message)) => {
                let state = states[index - from];
                message.revision = state.revision;
                if state.deleted {
                    message.deleted = true;
                    message.text.clear();
                } else {
                    if let Some((serial, at)) = state.edit {
                        message.text = edited(serial);
                        message.edited_ms = at;
                    }
                    let users = (0..2u8).filter(|user| state.reacted[usize::from(*user)]);
                    let users: Vec<String> = users.map(|user| self.user(user)).collect();
                    if !users.is_empty() {
                        let emoji = EMOJI.to_owned();
                        message.reactions.push(v1::Reaction { emoji, users });
                    }
                }
            }
            Some(Body::MessageEdited(edit)) => {
                let place = usize::try_from(edit.target).ok();
                let place = place.and_then(|target| target.checked_sub(from + 1));
                if place.is_some_and(|place| states[place].deleted) {
                    edit.text.clear();
                }
            }
            _ => {}
        }
        event
    }

    /// A judge reads all of it, and the first device shows its state.
    pub(super) fn end(&mut self, maker: &mut Maker<'_>, judge: u32) {
        let states = self.states(0);
        let mut replica = Replica::new(&self.name);
        let mut tell = |session: u32, what: What| {
            maker.at += 1;
            (maker.to)(&Record {
                at: maker.at,
                client: judge,
                session,
                what,
            });
        };
        let session = self.number + 1;
        tell(
            session,
            What::Opened {
                user: self.user(0),
                purpose: Purpose::Judge,
                session_id: String::new(),
            },
        );
        let length = self.log.len();
        let page_events = PAGE_EVENTS as usize;
        for from in (0..length).step_by(page_events) {
            let id = format!("{}-{from}", self.number);
            let asked = command::history_after(&self.name, from as u64, PAGE_EVENTS);
            let frame = v1::ClientFrame {
                id: id.clone(),
                command: Some(asked),
            };
            tell(session, What::Sent(Box::new(frame)));
            let to = length.min(from + page_events);
            let events: Vec<v1::Event> = (from..to).map(|at| self.folded(at, 0, &states)).collect();
            for event in &events {
                replica.apply(event);
            }
            let page = v1::HistoryPage {
                room: self.name.clone(),
                events,
                head: self.head(),
            };
            let result = Some(Answer::History(page));
            let frame = v1::ServerFrame {
                frame: Some(Frame::Ack(v1::Ack { id, result })),
            };
            tell(session, What::Received(Box::new(frame)));
        }
        tell(session, What::Closed(Closed::cut("made")));
        self.record(maker, 0, What::Replica(Box::new(replica)));
        // What the maker kept is not needed any more.
        self.log = Vec::new();
    }
}
