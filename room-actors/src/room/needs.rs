//! What a command must know that is not in memory, and taking what the store says of it.

use rookery_persistence::{LogRow, MarkRow};
use rookery_proto::{
    errors::{Code, WireError},
    ids::Offset,
    link::room_request::Command,
};

use super::{
    command::{Fact, Need, Now, Who},
    fold,
    messages::{MessageView, folded},
    pages::{canonical_marks, is_message},
    state::RoomState,
};

impl RoomState {
    /// What `command` must know that is not in memory. Call again after [`learn`](Self::learn):
    /// one read may show that another is needed.
    pub(crate) fn needs(&self, command: &Command, who: &Who, now: Now) -> Option<Need> {
        match command {
            Command::CreateRoom(create) => self.needs_create(create, who),
            Command::Join(join) => {
                let refusal = self.needs_refusal(who, join);
                refusal.or_else(|| self.needs_join(who, join.from))
            }
            Command::Send(send) => self.needs_send(send, who, now),
            Command::Edit(edit) => self.needs_message(edit.target, who),
            Command::Delete(delete) => self.needs_message(delete.target, who),
            Command::React(react) => self.needs_message(react.target, who),
            Command::Unreact(unreact) => self.needs_message(unreact.target, who),
            Command::MarkRead(read) => self.needs_count(Offset(read.offset), who),
            Command::History(history) => self.needs_history(history, who),
            Command::Leave(_) | Command::Typing(_) | Command::Summary(_) => None,
        }
    }

    /// Takes what the store said. An error is for the request that waits: the data is not sound.
    pub(crate) fn learn(&mut self, fact: Fact) -> Result<(), WireError> {
        match fact {
            Fact::Message {
                target,
                rows,
                marks,
            } => return self.learn_message(target, rows, marks),
            Fact::Sender { user, rows } => {
                self.sent
                    .learn_sender(&user, rows, &self.epochs, self.log.head());
            }
            Fact::SentId {
                user,
                client_id,
                rows,
            } => {
                let head = self.log.head();
                self.sent
                    .learn_sent_id(user, client_id, rows, &self.epochs, head);
            }
            Fact::Count { offset, rows } => {
                let row = self.canonical(offset, rows).ok_or_else(missing_row)?;
                self.count_learned = Some((offset, row.message_count));
            }
            Fact::Page {
                from,
                to,
                rows,
                marks,
            } => {
                if !self
                    .pages
                    .learn(&self.log, &self.epochs, (from, to), rows, marks)
                {
                    return Err(missing_row());
                }
            }
            Fact::NotFenced => self.fence_read = true,
        }
        Ok(())
    }

    fn canonical(&self, offset: Offset, rows: Vec<LogRow>) -> Option<LogRow> {
        let mut rows = rows.into_iter();
        rows.find(|row| row.offset == offset && self.epochs.is_canonical(offset, row.epoch))
    }

    fn learn_message(
        &mut self,
        target: Offset,
        rows: Vec<LogRow>,
        marks: Vec<MarkRow>,
    ) -> Result<(), WireError> {
        let row = self.canonical(target, rows).ok_or_else(missing_row)?;
        if !is_message(row.kind) {
            self.not_a_message = Some(target);
            return Ok(());
        }
        let marks = canonical_marks(&self.epochs, self.log.head(), marks);
        let marks = marks.iter().map(|(_, mark)| fold::decode(mark));
        let view = MessageView::new(folded(fold::decode(&row.event), marks), Offset::ZERO);
        self.messages.insert(
            target,
            view.expect("its kind says message"),
            self.log.head(),
        );
        Ok(())
    }

    fn needs_message(&self, target: u64, who: &Who) -> Option<Need> {
        let target = Offset(target);
        let known = target == Offset::ZERO
            || target >= self.log.ring_first()
            || self.messages.contains(target)
            || self.not_a_message == Some(target);
        if known || self.may_post(who, "").is_err() {
            None
        } else {
            Some(Need::Message(target))
        }
    }
}

pub(super) fn not_a_message(field: &'static str) -> WireError {
    WireError::invalid(field, "is not a message")
}

/// The log has a hole where there cannot be one, or the shell did not read what it should.
pub(super) fn missing_row() -> WireError {
    WireError::new(Code::Internal, "stored data is not sound")
}
