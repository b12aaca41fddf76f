//! One message and the marks on it.

use std::collections::{BTreeMap, BTreeSet};

use rookery_proto::v1::{self, event::Body};
use serde::{Deserialize, Serialize};

/// How a message stands after the marks seen so far.
#[derive(Clone, Debug, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageState {
    /// Who sent it.
    pub sender: String,
    /// The present text; empty once deleted.
    pub text: String,
    /// The sender's id for it; may be empty.
    pub client_id: String,
    /// When it was edited last, in Unix milliseconds; 0: never, or deleted.
    pub edited_ms: u64,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Emoji to users; empty once deleted.
    pub reactions: BTreeMap<String, BTreeSet<String>>,
    /// Offset of the newest mark folded in. Not compared: a page may count marks that change
    /// nothing to see.
    pub revision: u64,
}

impl PartialEq for MessageState {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            sender,
            text,
            client_id,
            edited_ms,
            deleted,
            reactions,
            revision: _,
        } = self;
        *sender == other.sender
            && *text == other.text
            && *client_id == other.client_id
            && *edited_ms == other.edited_ms
            && *deleted == other.deleted
            && *reactions == other.reactions
    }
}

impl MessageState {
    /// From a message event, live or folded.
    #[must_use]
    pub fn new(sender: &str, message: &v1::Message) -> Self {
        let mut state = Self {
            sender: sender.to_owned(),
            text: message.text.clone(),
            client_id: message.client_id.clone(),
            edited_ms: message.edited_ms,
            deleted: message.deleted,
            reactions: BTreeMap::new(),
            revision: message.revision,
        };
        for reaction in &message.reactions {
            if !reaction.users.is_empty() {
                state.reactions.insert(
                    reaction.emoji.clone(),
                    reaction.users.iter().cloned().collect(),
                );
            }
        }
        if state.deleted {
            state.erase();
        }
        state
    }

    /// Folds a mark, unless the message came with it folded in.
    pub fn mark(&mut self, offset: u64, time_ms: u64, actor: &str, body: &Body) {
        if offset <= self.revision {
            return;
        }
        self.revision = offset;
        if self.deleted {
            return;
        }
        match body {
            Body::MessageEdited(edited) => {
                self.text.clone_from(&edited.text);
                self.edited_ms = time_ms;
            }
            Body::MessageDeleted(_) => self.erase(),
            Body::ReactionAdded(added) => {
                self.reactions
                    .entry(added.emoji.clone())
                    .or_default()
                    .insert(actor.to_owned());
            }
            Body::ReactionRemoved(removed) => {
                if let Some(users) = self.reactions.get_mut(&removed.emoji) {
                    users.remove(actor);
                    if users.is_empty() {
                        self.reactions.remove(&removed.emoji);
                    }
                }
            }
            Body::RoomOpened(_)
            | Body::Message(_)
            | Body::MemberJoined(_)
            | Body::MemberLeft(_) => {}
        }
    }

    /// What remains of a deleted message: who sent it and its ids.
    fn erase(&mut self) {
        self.deleted = true;
        self.text.clear();
        self.edited_ms = 0;
        self.reactions.clear();
    }
}
