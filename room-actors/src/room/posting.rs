//! Messages, edits, deletions and reactions.

use rookery_persistence::{EventKind, SentRow};
use rookery_proto::{
    errors::{Code, WireError},
    ids::Offset,
    limits::{CLIENT_ID_BYTES_MAX, EMOJI_BYTES_MAX, TEXT_BYTES_MAX},
    link::Grant,
    v1::{
        self, Appended, Delete, Edit, React, Send, Unreact, ack, event::Body, member::Role,
        room::Kind,
    },
};

use super::{
    command::{Need, Now, Ticket, Who},
    log::{Answer, Change, Waiter},
    sent::{Known, SentResult, digest},
    state::{Handled, NewEvent, RoomState},
};
use crate::limits::{EMOJI_PER_MESSAGE_MAX, REACTIONS_PER_MESSAGE_MAX};

impl RoomState {
    pub(super) fn needs_send(&self, send: &Send, who: &Who, now: Now) -> Option<Need> {
        let bytes = send.client_id.len();
        if bytes == 0 || bytes > CLIENT_ID_BYTES_MAX {
            return None;
        }
        match self.sent.find(&who.user, &send.client_id, now.ms) {
            Known::Sent(_) | Known::New => None,
            Known::NeedSender => Some(Need::Sender(who.user.clone())),
            Known::NeedSentId => Some(Need::SentId(who.user.clone(), send.client_id.clone())),
        }
    }

    pub(super) fn send(&mut self, ticket: Ticket, who: Who, send: Send, now: Now) -> Handled {
        check_text(&send.text, "send.text")?;
        if send.client_id.len() > CLIENT_ID_BYTES_MAX {
            let message = format!("must have at most {CLIENT_ID_BYTES_MAX} bytes");
            return Err(WireError::invalid("send.clientId", message));
        }
        let digest = if send.client_id.is_empty() {
            0
        } else {
            digest(&send.text)
        };
        if !send.client_id.is_empty()
            && let Known::Sent(first) = self.sent.find(&who.user, &send.client_id, now.ms)
        {
            // Also to who has left since: what is told again was done.
            return self.send_again(ticket, first, digest);
        }
        self.may_post(&who, "send.room")?;
        self.writable()?;
        let limits = &self.limits;
        self.rates
            .take(
                &who.user,
                now.at,
                limits.sends_per_second,
                limits.sends_burst,
            )
            .map_err(|wait| {
                WireError::new(Code::RateLimited, "too many messages").retry_after(wait)
            })?;
        let offset = self.log.next_offset();
        if !send.client_id.is_empty() {
            let result = SentResult {
                offset,
                epoch: self.epoch,
                digest,
                time_ms: now.ms,
            };
            self.sent.insert(&who.user, &send.client_id, result);
            self.behind.sent(SentRow {
                user: who.user.clone(),
                client_id: send.client_id.clone(),
                offset,
                epoch: self.epoch,
                digest,
                time_ms: now.ms,
            });
        }
        let message = v1::Message {
            text: send.text,
            client_id: send.client_id,
            ..v1::Message::default()
        };
        let new = NewEvent {
            kind: EventKind::Message,
            target: Offset::ZERO,
            body: Body::Message(message),
            change: Change::Message,
            waiter: Waiter {
                ticket,
                answer: Answer::Appended { duplicate: false },
            },
        };
        self.append(who, now, new);
        Ok(None)
    }

    fn send_again(&mut self, ticket: Ticket, first: SentResult, digest: u64) -> Handled {
        if first.digest != digest {
            let message = "this clientId was used for another text";
            return Err(WireError::new(Code::Conflict, message).at("send.clientId"));
        }
        if first.offset > self.log.head() {
            // While the store fails nobody waits: the outcome is not known.
            self.writable()?;
            let answer = Answer::Appended { duplicate: true };
            let pending = self
                .log
                .pending_mut(first.offset)
                .expect("applied and beyond the head");
            pending.waiters.push(Waiter { ticket, answer });
            return Ok(None);
        }
        Ok(Some(ack::Result::Appended(Appended {
            room: self.room.as_str().to_owned(),
            offset: first.offset.0,
            epoch: first.epoch.0,
            time_ms: first.time_ms,
            duplicate: true,
        })))
    }

    pub(super) fn edit(&mut self, ticket: Ticket, who: Who, edit: Edit, now: Now) -> Handled {
        check_text(&edit.text, "edit.text")?;
        self.may_post(&who, "edit.room")?;
        let message = self.message(edit.target, "edit.target")?;
        if message.sender != who.user.as_str() {
            return Err(WireError::new(Code::Forbidden, "only the sender edits").at("edit.target"));
        }
        if message.deleted {
            return Err(deleted("edit.target"));
        }
        if message.text_digest == digest(&edit.text) {
            let since = message.last_mark;
            return self.unchanged(ticket, since);
        }
        let body = Body::MessageEdited(v1::MessageEdited {
            target: edit.target,
            text: edit.text,
        });
        self.mark(
            ticket,
            who,
            now,
            EventKind::Edited,
            edit.target,
            body,
            Change::Edited,
        )
    }

    pub(super) fn delete(
        &mut self,
        ticket: Ticket,
        who: Who,
        delete: &Delete,
        now: Now,
    ) -> Handled {
        self.may_post(&who, "delete.room")?;
        let is_group = self.settings("delete.room")?.kind == Kind::Group;
        let role = self.members.get(&who.user).map(|member| member.role);
        let moderates = who.grant >= Grant::Admin
            || (is_group && matches!(role, Some(Role::Owner | Role::Moderator)));
        let message = self.message(delete.target, "delete.target")?;
        if message.sender != who.user.as_str() && !moderates {
            let error = WireError::new(Code::Forbidden, "only the sender or a moderator deletes");
            return Err(error.at("delete.target"));
        }
        if message.deleted {
            let since = message.last_mark;
            return self.unchanged(ticket, since);
        }
        let body = Body::MessageDeleted(v1::MessageDeleted {
            target: delete.target,
        });
        self.mark(
            ticket,
            who,
            now,
            EventKind::Deleted,
            delete.target,
            body,
            Change::Deleted,
        )
    }

    pub(super) fn react(&mut self, ticket: Ticket, who: Who, react: React, now: Now) -> Handled {
        check_emoji(&react.emoji, "react.emoji")?;
        self.may_post(&who, "react.room")?;
        let message = self.message(react.target, "react.target")?;
        if message.deleted {
            return Err(deleted("react.target"));
        }
        if message.has_reaction(&react.emoji, who.user.as_str()) {
            let since = message.last_mark;
            return self.unchanged(ticket, since);
        }
        if !message.reactions.contains_key(&react.emoji)
            && message.reactions.len() >= EMOJI_PER_MESSAGE_MAX
        {
            let message = format!("a message has at most {EMOJI_PER_MESSAGE_MAX} emoji");
            return Err(WireError::new(Code::LimitReached, message).at("react.emoji"));
        }
        if message.reaction_count() >= REACTIONS_PER_MESSAGE_MAX {
            let message = format!("a message has at most {REACTIONS_PER_MESSAGE_MAX} reactions");
            return Err(WireError::new(Code::LimitReached, message).at("react.target"));
        }
        let target = react.target;
        let body = Body::ReactionAdded(v1::ReactionAdded {
            target,
            emoji: react.emoji,
        });
        self.mark(
            ticket,
            who,
            now,
            EventKind::ReactionAdded,
            target,
            body,
            Change::Reacted,
        )
    }

    pub(super) fn unreact(
        &mut self,
        ticket: Ticket,
        who: Who,
        unreact: Unreact,
        now: Now,
    ) -> Handled {
        check_emoji(&unreact.emoji, "unreact.emoji")?;
        self.may_post(&who, "unreact.room")?;
        let message = self.message(unreact.target, "unreact.target")?;
        if !message.has_reaction(&unreact.emoji, who.user.as_str()) {
            let since = message.last_mark;
            return self.unchanged(ticket, since);
        }
        let target = unreact.target;
        let body = Body::ReactionRemoved(v1::ReactionRemoved {
            target,
            emoji: unreact.emoji,
        });
        self.mark(
            ticket,
            who,
            now,
            EventKind::ReactionRemoved,
            target,
            body,
            Change::Reacted,
        )
    }

    #[expect(clippy::too_many_arguments, reason = "one place for all marks")]
    fn mark(
        &mut self,
        ticket: Ticket,
        who: Who,
        now: Now,
        kind: EventKind,
        target: u64,
        body: Body,
        change: Change,
    ) -> Handled {
        self.writable()?;
        let offset = self.log.next_offset();
        let target = Offset(target);
        let message = self.messages.get_mut(target).expect("decided on it above");
        message.mark(offset, &body, who.user.as_str());
        let waiter = Waiter {
            ticket,
            answer: Answer::Appended { duplicate: false },
        };
        self.append(
            who,
            now,
            NewEvent {
                kind,
                target,
                body,
                change,
                waiter,
            },
        );
        Ok(None)
    }

    /// Answers that there is nothing to change: once what made it so, up to the message's newest
    /// mark, is durable. Told earlier, it would be an acknowledgement of what may yet be void.
    fn unchanged(&mut self, ticket: Ticket, since: Offset) -> Handled {
        if since > self.log.head() {
            // While the store fails nobody waits: the outcome is not known.
            self.writable()?;
            let answer = Answer::Unchanged;
            let pending = self
                .log
                .pending_mut(since)
                .expect("applied and beyond the head");
            pending.waiters.push(Waiter { ticket, answer });
            return Ok(None);
        }
        Ok(Some(self.unchanged_ack()))
    }

    pub(super) fn unchanged_ack(&self) -> ack::Result {
        ack::Result::Appended(Appended {
            room: self.room.as_str().to_owned(),
            epoch: self.epoch.0,
            ..Appended::default()
        })
    }
}

fn deleted(field: &'static str) -> WireError {
    WireError::new(Code::NotFound, "the message is deleted").at(field)
}

fn check_text(text: &str, field: &'static str) -> Result<(), WireError> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("must have at most {TEXT_BYTES_MAX} bytes");
        return Err(WireError::new(Code::TooLarge, message).at(field));
    }
    if text.chars().all(char::is_whitespace) {
        return Err(WireError::invalid(field, "must not be empty"));
    }
    Ok(())
}

fn check_emoji(emoji: &str, field: &'static str) -> Result<(), WireError> {
    if emoji.is_empty() || emoji.len() > EMOJI_BYTES_MAX {
        let message = format!("must have 1 to {EMOJI_BYTES_MAX} bytes");
        return Err(WireError::invalid(field, message));
    }
    if emoji.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(WireError::invalid(
            field,
            "must not contain spaces or control characters",
        ));
    }
    Ok(())
}
