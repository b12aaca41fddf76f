//! Messages as they stand now: marks folded in, deleted text taken out.

use bytes::Bytes;
use prost::Message as _;
use rookery_proto::v1::{Event, Reaction, event::Body};

/// Decodes an event of our own log.
pub(super) fn decode(event: &Bytes) -> Event {
    Event::decode(event.clone()).expect("the log holds events that this crate encoded")
}

/// The same event without its text.
pub(super) fn redacted(event: &Bytes) -> Bytes {
    let mut event = decode(event);
    redact(&mut event);
    Bytes::from(event.encode_to_vec())
}

/// Takes the text out of a message or an edit.
pub(super) fn redact(event: &mut Event) {
    match &mut event.body {
        Some(Body::Message(message)) => message.text = String::new(),
        Some(Body::MessageEdited(edit)) => edit.text = String::new(),
        _ => {}
    }
}

/// Applies a mark to a message. Marks are applied in the order of their offsets.
pub(super) fn apply_mark(message: &mut Event, mark: Event) {
    let Some(Body::Message(message)) = &mut message.body else {
        return;
    };
    message.revision = mark.offset;
    match mark.body {
        Some(Body::MessageEdited(edit)) if !message.deleted => {
            message.text = edit.text;
            message.edited_ms = mark.time_ms;
        }
        Some(Body::MessageDeleted(_)) => {
            message.deleted = true;
            message.text = String::new();
            message.reactions = Vec::new();
        }
        Some(Body::ReactionAdded(added)) if !message.deleted => {
            let user = mark.actor.unwrap_or_default().id;
            add_reaction(&mut message.reactions, added.emoji, user);
        }
        Some(Body::ReactionRemoved(removed)) => {
            let user = mark.actor.unwrap_or_default().id;
            remove_reaction(&mut message.reactions, &removed.emoji, &user);
        }
        _ => {}
    }
}

fn add_reaction(reactions: &mut Vec<Reaction>, emoji: String, user: String) {
    match reactions
        .iter_mut()
        .find(|reaction| reaction.emoji == emoji)
    {
        Some(reaction) if reaction.users.contains(&user) => {}
        Some(reaction) => reaction.users.push(user),
        None => reactions.push(Reaction {
            emoji,
            users: vec![user],
        }),
    }
}

fn remove_reaction(reactions: &mut Vec<Reaction>, emoji: &str, user: &str) {
    if let Some(reaction) = reactions
        .iter_mut()
        .find(|reaction| reaction.emoji == emoji)
    {
        reaction.users.retain(|other| other != user);
    }
    reactions.retain(|reaction| !reaction.users.is_empty());
}
