//! What happens when an event is known to be durable, in the order of offsets.

use rookery_proto::{
    ids::Offset,
    v1::{self, Appended, ack, notice, signal},
};

use super::{
    cursors::Cursor,
    effects::{Effects, Output},
    log::{Answer, Change, Pending},
    state::{ReadMove, RoomState},
};

impl RoomState {
    /// Moves the head over the next event: readers see it from here on.
    pub(super) fn settle_next(&mut self, fx: &mut Effects) {
        let pending = self
            .log
            .commit_next()
            .expect("the batch says that there is one");
        let entry = &pending.entry;
        let cursor = Cursor {
            offset: entry.offset,
            message_count: entry.message_count,
        };
        match &pending.change {
            Change::Opened { members, .. } => {
                self.members.became_visible(members.len());
                for user in members {
                    self.cursors.moved_by_event(user, cursor);
                }
            }
            Change::Message => {
                self.cursors.moved_by_event(&pending.actor, cursor);
            }
            Change::Joined { .. } => {
                self.members.became_visible(1);
                self.cursors.moved_by_event(&pending.actor, cursor);
            }
            Change::Left => self.members.became_gone(),
            Change::Deleted => {
                self.cursors.message_deleted(entry.target);
                self.log.redact(entry.target);
            }
            Change::Edited | Change::Reacted => {}
        }
        let Offset(offset) = entry.offset;
        self.listeners.broadcast(
            &self.room,
            self.epoch.0,
            offset,
            &entry.event,
            &pending.origin,
            fx,
        );
        self.notify(&pending, fx);
        self.answer(pending, fx);
    }

    /// Tells people, wherever they are, what became of their membership.
    fn notify(&mut self, pending: &Pending, fx: &mut Effects) {
        let except = pending.origin.1;
        match &pending.change {
            Change::Opened { members, by } => {
                for user in members {
                    let added = self.added_to_room(by);
                    fx.tell_user(user, added, except);
                }
            }
            Change::Joined { by } => {
                let added = self.added_to_room(by);
                fx.tell_user(&pending.actor, added, except);
            }
            Change::Left => {
                self.listeners.detach_user(&pending.actor);
                let room = self.room.as_str().to_owned();
                fx.tell_user(
                    &pending.actor,
                    notice::Body::LeftRoom(v1::LeftRoom {
                        room,
                        offset: pending.entry.offset.0,
                    }),
                    except,
                );
            }
            Change::Message | Change::Edited | Change::Deleted | Change::Reacted => {}
        }
    }

    fn added_to_room(&self, by: &v1::User) -> notice::Body {
        let room = self
            .settings
            .as_ref()
            .map(|settings| self.describe(settings));
        notice::Body::AddedToRoom(v1::AddedToRoom {
            room,
            by: Some(by.clone()),
        })
    }

    fn answer(&mut self, pending: Pending, fx: &mut Effects) {
        for waiter in pending.waiters {
            let result = match waiter.answer {
                Answer::Appended { duplicate } => ack::Result::Appended(Appended {
                    room: self.room.as_str().to_owned(),
                    offset: pending.entry.offset.0,
                    epoch: self.epoch.0,
                    time_ms: pending.time_ms,
                    duplicate,
                }),
                Answer::Unchanged => self.unchanged_ack(),
                Answer::Created => {
                    self.created(self.settings.as_ref().expect("its opening just committed"))
                }
                Answer::Joined { who, from } => {
                    fx.outputs.push(Output::FinishJoin {
                        ticket: waiter.ticket,
                        who,
                        from,
                    });
                    continue;
                }
                Answer::Left => ack::Result::Done(v1::Done {}),
            };
            fx.reply(waiter.ticket, Ok(result));
        }
    }

    /// A cursor is durable: it is visible from here on.
    pub(super) fn settle_read(&mut self, read: ReadMove, fx: &mut Effects) {
        let ReadMove { who, to, ticket } = read;
        if self.cursors.advance(&who.user, to) {
            let user = who.user.as_str().to_owned();
            let signal = v1::ReadSignal {
                user,
                offset: to.offset.0,
            };
            self.listeners
                .signal(&self.room, signal::Body::Read(signal), who.session, fx);
            fx.tell_user(
                &who.user,
                notice::Body::CursorMoved(self.cursor(&who)),
                who.session,
            );
        }
        if let Some(ticket) = ticket {
            fx.reply(ticket, Ok(self.cursor_ack(&who)));
        }
    }
}
