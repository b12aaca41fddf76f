//! What a command asks for and what an event holds, in a form that can be compared.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    num::NonZeroU64,
};

use prost::Message as _;
use rookery_proto::v1::{self, event::Body};

use crate::client::Command;

/// Identifies what a change does, without its text: who, what kind, on what. A retry has the same
/// key, and so has the event it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(u64);

/// A change asked for, or made by an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) kind: Kind,
    pub(super) key: Key,
    /// Of a message or an edit: its text; `None` when it was redacted. Of an event by which
    /// somebody came or went: who, which no command says.
    pub(super) text: Option<Text>,
}

/// The hash of a text, the same for the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text(NonZeroU64);

impl Text {
    pub(super) fn of(text: impl Hash) -> Self {
        Self(NonZeroU64::new(hash(text)).unwrap_or(NonZeroU64::MIN))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Open,
    /// A message that names a client id: its key is unique for one message.
    NamedMessage,
    Message,
    Edit,
    Delete,
    React,
    Unreact,
    Join,
    Leave,
}

/// A text's hash, the same for the life of a process.
fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Change {
    fn new(user: &str, kind: Kind, on: impl Hash, text: Option<&str>) -> Self {
        Self {
            kind,
            key: Key(hash((user, kind, hash(on)))),
            text: text.map(Text::of),
        }
    }

    fn message(user: &str, client_id: &str, text: Option<&str>) -> Self {
        let kind = if client_id.is_empty() {
            Kind::Message
        } else {
            Kind::NamedMessage
        };
        Self::new(user, kind, client_id, text)
    }

    /// What a command asks for; `None` for commands that change nothing in a room's log.
    pub(super) fn asked(user: &str, command: &Command) -> Option<Self> {
        Some(match command {
            Command::CreateRoom(_) => Self::new(user, Kind::Open, (), None),
            // A resume makes nobody a member.
            Command::Join(join) if !join.resume => Self::new(user, Kind::Join, (), None),
            Command::Leave(leave) if !leave.session_only => Self::new(user, Kind::Leave, (), None),
            Command::Send(send) => Self::message(user, &send.client_id, Some(&send.text)),
            Command::Edit(edit) => Self::new(user, Kind::Edit, edit.target, Some(&edit.text)),
            Command::Delete(delete) => Self::new(user, Kind::Delete, delete.target, None),
            Command::React(react) => {
                Self::new(user, Kind::React, (react.target, &react.emoji), None)
            }
            Command::Unreact(react) => {
                Self::new(user, Kind::Unreact, (react.target, &react.emoji), None)
            }
            _ => return None,
        })
    }

    /// What an event changed. Empty text counts as redacted: messages are never empty.
    pub(super) fn made(event: &v1::Event) -> Option<Self> {
        let user = actor(event);
        let written = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Some(match event.body.as_ref()? {
            Body::RoomOpened(_) => Self::new(user, Kind::Open, (), None),
            Body::Message(message) => {
                // A folded message that was edited no longer has the text it was sent with.
                let text = written(&message.text).filter(|_| message.edited_ms == 0);
                Self::message(user, &message.client_id, text.as_deref())
            }
            Body::MessageEdited(edit) => {
                let text = written(&edit.text);
                Self::new(user, Kind::Edit, edit.target, text.as_deref())
            }
            Body::MessageDeleted(mark) => Self::new(user, Kind::Delete, mark.target, None),
            Body::ReactionAdded(mark) => {
                Self::new(user, Kind::React, (mark.target, &mark.emoji), None)
            }
            Body::ReactionRemoved(mark) => {
                Self::new(user, Kind::Unreact, (mark.target, &mark.emoji), None)
            }
            Body::MemberJoined(joined) => Self {
                text: Some(Text::of(joined.encode_to_vec())),
                ..Self::new(user, Kind::Join, (), None)
            },
            Body::MemberLeft(left) => Self {
                text: Some(Text::of(left.encode_to_vec())),
                ..Self::new(user, Kind::Leave, (), None)
            },
        })
    }

    /// Whether this is the message of that sender with that id.
    pub(super) fn is_message(&self, sender: &str, client_id: &str) -> bool {
        self.key == Self::message(sender, client_id, None).key
    }

    /// Whether an event of `made` can be what `self` asked for.
    pub(super) fn fits(&self, made: &Self) -> bool {
        self.key == made.key
            && match (self.text, made.text) {
                (Some(asked), Some(made)) => asked == made,
                _ => true,
            }
    }
}

/// Who did it.
pub(super) fn actor(event: &v1::Event) -> &str {
    event.actor.as_ref().map_or("", |user| user.id.as_str())
}

/// An event in few words, without its text.
pub(super) fn describe(event: &v1::Event) -> String {
    let what = match &event.body {
        None => "nothing".to_owned(),
        Some(Body::RoomOpened(_)) => "room opened".to_owned(),
        Some(Body::Message(message)) => format!("message {:?}", message.client_id),
        Some(Body::MessageEdited(mark)) => format!("edit of {}", mark.target),
        Some(Body::MessageDeleted(mark)) => format!("delete of {}", mark.target),
        Some(Body::ReactionAdded(mark)) => format!("reaction {} on {}", mark.emoji, mark.target),
        Some(Body::ReactionRemoved(mark)) => {
            format!("reaction {} off {}", mark.emoji, mark.target)
        }
        Some(Body::MemberJoined(_)) => "member joined".to_owned(),
        Some(Body::MemberLeft(_)) => "member left".to_owned(),
    };
    format!(
        "offset {} epoch {} {what} by {:?}",
        event.offset,
        event.epoch,
        actor(event)
    )
}
