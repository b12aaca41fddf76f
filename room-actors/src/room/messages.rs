//! Marks on messages as applied: who may change what, and what would change nothing.

use rookery_proto::{
    ids::Offset,
    v1::{Event, event::Body},
};
use rustc_hash::FxHashMap;

use super::{fold, sent};

/// A message with all applied marks, for decisions only: nothing of it is shown to anyone.
#[derive(Debug)]
pub(super) struct MessageView {
    pub(super) sender: String,
    pub(super) deleted: bool,
    pub(super) text_digest: u64,
    /// Users by emoji.
    pub(super) reactions: FxHashMap<String, Vec<String>>,
    /// The newest applied mark that was seen here: while it is in flight the view stays in memory.
    pub(super) last_mark: Offset,
    used: u64,
}

impl MessageView {
    /// From the message's event with its marks folded in, the newest of them at `last_mark` where it
    /// may be in flight; `None` for another kind.
    pub(super) fn new(event: Event, last_mark: Offset) -> Option<Self> {
        let Some(Body::Message(message)) = event.body else {
            return None;
        };
        let reactions = message.reactions.into_iter();
        Some(Self {
            sender: event.actor.unwrap_or_default().id,
            deleted: message.deleted,
            text_digest: sent::digest(&message.text),
            reactions: reactions
                .map(|reaction| (reaction.emoji, reaction.users))
                .collect(),
            last_mark,
            used: 0,
        })
    }

    pub(super) fn has_reaction(&self, emoji: &str, user: &str) -> bool {
        let users = self.reactions.get(emoji);
        users.is_some_and(|users| users.iter().any(|other| other == user))
    }

    pub(super) fn reaction_count(&self) -> usize {
        self.reactions.values().map(Vec::len).sum()
    }

    /// Applies a mark that was just appended.
    pub(super) fn mark(&mut self, offset: Offset, body: &Body, user: &str) {
        self.last_mark = offset;
        match body {
            Body::MessageEdited(edit) => self.text_digest = sent::digest(&edit.text),
            Body::MessageDeleted(_) => {
                self.deleted = true;
                self.reactions.clear();
            }
            Body::ReactionAdded(added) => {
                self.reactions
                    .entry(added.emoji.clone())
                    .or_default()
                    .push(user.to_owned());
            }
            Body::ReactionRemoved(removed) => {
                if let Some(users) = self.reactions.get_mut(&removed.emoji) {
                    users.retain(|other| other != user);
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
}

/// Views of messages that were marked lately.
#[derive(Debug)]
pub(super) struct Messages {
    kept_max: usize,
    views: FxHashMap<Offset, MessageView>,
    clock: u64,
}

impl Messages {
    pub(super) fn new(kept_max: usize) -> Self {
        Self {
            kept_max,
            views: FxHashMap::default(),
            clock: 0,
        }
    }

    pub(super) fn contains(&self, target: Offset) -> bool {
        self.views.contains_key(&target)
    }

    pub(super) fn get_mut(&mut self, target: Offset) -> Option<&mut MessageView> {
        self.clock += 1;
        let view = self.views.get_mut(&target)?;
        view.used = self.clock;
        Some(view)
    }

    /// Keeps a view. When full, the least recently used quarter leaves, but none with a mark in flight.
    pub(super) fn insert(&mut self, target: Offset, view: MessageView, head: Offset) {
        if self.views.len() >= self.kept_max {
            let mut used: Vec<_> = self.views.values().map(|view| view.used).collect();
            let quarter = used.len() / 4;
            let (_, &mut oldest, _) = used.select_nth_unstable(quarter);
            self.views
                .retain(|_, view| view.used >= oldest || view.last_mark > head);
        }
        self.clock += 1;
        let used = self.clock;
        self.views.insert(target, MessageView { used, ..view });
    }
}

/// The message with these marks folded in, in the order of their offsets.
pub(super) fn folded(mut message: Event, marks: impl IntoIterator<Item = Event>) -> Event {
    for mark in marks {
        fold::apply_mark(&mut message, mark);
    }
    message
}
