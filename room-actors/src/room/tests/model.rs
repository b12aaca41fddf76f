//! A room as simply as can be: a list of events, and every answer computed by looking at all of them.

use std::collections::{BTreeMap, BTreeSet};

use rookery_proto::errors::Code;

/// A user, by number.
pub(super) type User = usize;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Opened { members: Vec<User> },
    Message { text: String, client_id: String },
    Edited { target: u64, text: String },
    Deleted { target: u64 },
    Reacted { target: u64, emoji: String },
    Unreacted { target: u64, emoji: String },
    Joined,
    Left,
}

/// The event at offset (index + 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) actor: User,
    pub(super) kind: Kind,
}

/// A message as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) actor: User,
    pub(super) text: String,
    pub(super) deleted: bool,
    pub(super) reactions: BTreeSet<(String, User)>,
}

#[derive(Clone, Debug)]
pub(super) enum Command {
    Send {
        text: String,
        client_id: String,
    },
    Edit {
        target: u64,
        text: String,
    },
    Delete {
        target: u64,
    },
    React {
        target: u64,
        emoji: String,
    },
    Unreact {
        target: u64,
        emoji: String,
    },
    MarkRead {
        offset: u64,
    },
    Join,
    /// Joins, but not to become a member.
    Resume,
    Leave,
}

/// What must come of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// This event, at the next offset.
    Appends(Kind),
    /// The result of the event at this offset.
    Same(u64),
    /// Nothing has to change, by the events up to this offset.
    Unchanged(u64),
    /// A cursor at least here.
    Cursor(u64),
    /// Already in: just listens, unless a leave is durable first.
    Listens,
    Refused(Code),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) public: bool,
    /// Applied; the first `head` of them are committed.
    pub(super) events: Vec<Event>,
    pub(super) head: u64,
    /// Furthest acknowledged `markRead`, by user.
    pub(super) read: BTreeMap<User, u64>,
}

impl Model {
    fn upto(&self, offset: u64) -> impl Iterator<Item = (u64, &Event)> {
        (1..)
            .zip(&self.events)
            .take_while(move |(at, _)| *at <= offset)
    }

    fn applied(&self) -> u64 {
        self.events.len() as u64
    }

    /// Offset at which the user's present membership began, as of an offset.
    pub(super) fn member_since(&self, user: User, upto: u64) -> Option<u64> {
        let mut since = None;
        for (at, event) in self.upto(upto) {
            match &event.kind {
                Kind::Opened { members } if members.contains(&user) => since = Some(at),
                Kind::Joined if event.actor == user => since = Some(at),
                Kind::Left if event.actor == user => since = None,
                _ => {}
            }
        }
        since
    }

    pub(super) fn message(&self, target: u64, upto: u64) -> Option<Message> {
        let mut message: Option<Message> = None;
        for (at, event) in self.upto(upto) {
            match (&event.kind, &mut message) {
                (Kind::Message { text, .. }, _) if at == target => {
                    message = Some(Message {
                        actor: event.actor,
                        text: text.clone(),
                        ..Message::default()
                    });
                }
                (Kind::Edited { target: to, text }, Some(message)) if *to == target => {
                    message.text = text.clone();
                }
                (Kind::Deleted { target: to }, Some(message)) if *to == target => {
                    message.deleted = true;
                    message.text.clear();
                    message.reactions.clear();
                }
                (Kind::Reacted { target: to, emoji }, Some(message)) if *to == target => {
                    message.reactions.insert((emoji.clone(), event.actor));
                }
                (Kind::Unreacted { target: to, emoji }, Some(message)) if *to == target => {
                    message.reactions.remove(&(emoji.clone(), event.actor));
                }
                _ => {}
            }
        }
        message
    }

    /// The user's cursor: what was acknowledged, the own newest message, or the own joining.
    pub(super) fn cursor(&self, user: User) -> u64 {
        let own = self.upto(self.head).filter(|(_, event)| match &event.kind {
            Kind::Message { .. } | Kind::Joined => event.actor == user,
            Kind::Opened { members } => members.contains(&user),
            _ => false,
        });
        let own = own.map(|(at, _)| at).max().unwrap_or(0);
        own.max(self.read.get(&user).copied().unwrap_or(0))
    }

    pub(super) fn unread(&self, user: User) -> u64 {
        let cursor = self.cursor(user);
        let unread = self.upto(self.head).filter(|(at, event)| {
            *at > cursor
                && event.actor != user
                && self
                    .message(*at, self.head)
                    .is_some_and(|message| !message.deleted)
        });
        unread.count() as u64
    }

    /// Where the user has sent that id, and what. Also one who has left since is told it again.
    fn first_sent(&self, user: User, client_id: &str) -> Option<(u64, &String)> {
        self.upto(self.applied())
            .find_map(|(at, event)| match &event.kind {
                Kind::Message {
                    text,
                    client_id: id,
                } if event.actor == user && id == client_id && !id.is_empty() => Some((at, text)),
                _ => None,
            })
    }

    pub(super) fn expect(&self, user: User, command: &Command) -> Expected {
        let since = self.member_since(user, self.applied());
        let is_member = since.is_some();
        let not_member = Expected::Refused(Code::NotMember);
        let refused = Expected::Refused;
        if let Command::Send { text, client_id } = command
            && let Some((at, first)) = self.first_sent(user, client_id)
        {
            return match first == text {
                true => Expected::Same(at),
                false => refused(Code::Conflict),
            };
        }
        match command {
            Command::Join | Command::Resume => match since {
                Some(_) => Expected::Listens,
                None if self.public && matches!(command, Command::Join) => {
                    Expected::Appends(Kind::Joined)
                }
                // The leave is in flight.
                None if self.member_since(user, self.head).is_some() => Expected::Listens,
                None => not_member,
            },
            Command::MarkRead { offset } => {
                if since.is_none_or(|since| since > self.head) {
                    not_member
                } else if *offset > self.head {
                    refused(Code::Invalid)
                } else {
                    Expected::Cursor(*offset)
                }
            }
            _ if !is_member => not_member,
            Command::Leave => Expected::Appends(Kind::Left),
            Command::Send { text, client_id } => Expected::Appends(Kind::Message {
                text: text.clone(),
                client_id: client_id.clone(),
            }),
            Command::Edit { target, text } => match self.target(*target) {
                Err(code) => refused(code),
                Ok(message) if message.actor != user => refused(Code::Forbidden),
                Ok(message) if message.deleted => refused(Code::NotFound),
                Ok(message) if message.text == *text => self.unchanged(*target),
                Ok(_) => Expected::Appends(Kind::Edited {
                    target: *target,
                    text: text.clone(),
                }),
            },
            Command::Delete { target } => match self.target(*target) {
                Err(code) => refused(code),
                Ok(message) if message.actor != user && !self.owns(user) => {
                    refused(Code::Forbidden)
                }
                Ok(message) if message.deleted => self.unchanged(*target),
                Ok(_) => Expected::Appends(Kind::Deleted { target: *target }),
            },
            Command::React { target, emoji } => match self.target(*target) {
                Err(code) => refused(code),
                Ok(message) if message.deleted => refused(Code::NotFound),
                Ok(message) if message.reactions.contains(&(emoji.clone(), user)) => {
                    self.unchanged(*target)
                }
                Ok(_) => Expected::Appends(Kind::Reacted {
                    target: *target,
                    emoji: emoji.clone(),
                }),
            },
            Command::Unreact { target, emoji } => match self.target(*target) {
                Err(code) => refused(code),
                Ok(message) if message.reactions.contains(&(emoji.clone(), user)) => {
                    Expected::Appends(Kind::Unreacted {
                        target: *target,
                        emoji: emoji.clone(),
                    })
                }
                Ok(_) => self.unchanged(*target),
            },
        }
    }

    /// The creator owns the room until it leaves; coming back makes it a plain member.
    fn owns(&self, user: User) -> bool {
        self.events[0].actor == user && self.member_since(user, self.applied()) == Some(1)
    }

    /// Nothing changes, by whatever marked the message last.
    fn unchanged(&self, target: u64) -> Expected {
        let marks = self.upto(self.applied()).filter(|(_, event)| {
            matches!(
                &event.kind,
                Kind::Edited { target: to, .. }
                | Kind::Deleted { target: to }
                | Kind::Reacted { target: to, .. }
                | Kind::Unreacted { target: to, .. } if *to == target
            )
        });
        Expected::Unchanged(marks.map(|(at, _)| at).last().unwrap_or(0))
    }

    /// Only committed messages can be meant; how they stand is as applied.
    fn target(&self, target: u64) -> Result<Message, Code> {
        if target == 0 || target > self.head {
            return Err(Code::NotFound);
        }
        self.message(target, self.applied()).ok_or(Code::Invalid)
    }
}
