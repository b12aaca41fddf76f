//! Who may do what, joining and leaving.

use rookery_cluster::EndpointId;
use rookery_persistence::{EventKind, MemberRow};
use rookery_proto::{
    errors::{Code, WireError},
    ids::{Offset, UserId},
    limits::HISTORY_EVENTS_MAX,
    link::Grant,
    v1::{self, Join, Leave, ack, event::Body, join::From, member::Role, room::Kind},
};

use super::{
    command::{Need, Now, Ticket, Who},
    effects::Effects,
    log::{Answer, Change, Pending, Waiter},
    reading::Plan,
    state::{Handled, NewEvent, RoomState},
};
use crate::limits::{LISTENERS_MAX, UNAVAILABLE_RETRY};

impl RoomState {
    /// Whether the user may change something here, as applied.
    pub(super) fn may_post(&self, who: &Who, field: &'static str) -> Result<(), WireError> {
        if self.settings(field)?.kind == Kind::Channel {
            return granted(who, Grant::Write, field);
        }
        match self.members.get(&who.user) {
            Some(_) => Ok(()),
            None => Err(not_member(field)),
        }
    }

    /// Whether the user may see the room, as committed.
    pub(super) fn may_read(&self, who: &Who, field: &'static str) -> Result<(), WireError> {
        let settings = self.settings(field)?;
        if self.log.head() == Offset::ZERO {
            return Err(WireError::new(Code::NotFound, "no such room").at(field));
        }
        if settings.kind == Kind::Channel {
            return granted(who, Grant::Read, field);
        }
        match self.members.get(&who.user) {
            Some(member) if member.since <= self.log.head() => Ok(()),
            _ => Err(not_member(field)),
        }
    }

    /// Whether the session may go on listening, as committed: who is leaving is still in.
    pub(super) fn may_listen(&self, who: &Who) -> bool {
        self.may_read(who, "").is_ok() || self.leaves_at(&who.user).is_some()
    }

    /// Where a member leaves by an event that is not durable yet.
    fn leaves_at(&self, user: &UserId) -> Option<Offset> {
        let of_member = |it: &&Pending| match it.change {
            Change::Joined { .. } | Change::Left => it.actor == *user,
            Change::Opened { .. }
            | Change::Message
            | Change::Edited
            | Change::Deleted
            | Change::Reacted => false,
        };
        let first = self.log.pending().find(of_member)?;
        matches!(first.change, Change::Left).then_some(first.entry.offset)
    }

    /// What must be read before a resume is refused. Who resumes from beyond the head may be a
    /// member where a newer owner is.
    pub(super) fn needs_refusal(&self, who: &Who, join: &Join) -> Option<Need> {
        let head = self.log.head();
        let beyond = matches!(join.from, Some(From::AfterOffset(after)) if Offset(after) > head);
        let refused = join.resume && beyond && !self.may_listen(who);
        (refused && !self.fence_read).then_some(Need::Fence)
    }

    /// What must be read before the join of someone who may read can be answered.
    pub(crate) fn needs_join(&self, who: &Who, from: Option<From>) -> Option<Need> {
        self.may_read(who, "").ok()?;
        match self.plan_join(from) {
            Plan::Read(from, to) => Some(Need::Page(from, to)),
            Plan::ReadFence => Some(Need::Fence),
            Plan::Nothing | Plan::Raw(..) | Plan::Folded(..) | Plan::Reset(..) => None,
        }
    }

    pub(super) fn join(&mut self, ticket: Ticket, who: Who, join: &Join, now: Now) -> Handled {
        let from = join.from;
        if let Some(From::Last(last)) = from
            && last > HISTORY_EVENTS_MAX
        {
            let message = format!("must be at most {HISTORY_EVENTS_MAX}");
            return Err(WireError::invalid("join.last", message));
        }
        let (kind, public) = {
            let settings = self.settings("join.room")?;
            (settings.kind, settings.public)
        };
        if self.listeners.count() >= LISTENERS_MAX {
            return Err(
                WireError::new(Code::LimitReached, "too many sessions listen").at("join.room"),
            );
        }
        let decided_at = match (kind, self.members.get(&who.user)) {
            (Kind::Channel, _) => {
                granted(&who, Grant::Read, "join.room")?;
                Offset(1)
            }
            (_, Some(member)) => member.since,
            (Kind::Group, None) if public && !join.resume => {
                return self.become_member(ticket, who, from, now);
            }
            // Told only once it is durable: who is told so drops the room.
            (_, None) => self
                .leaves_at(&who.user)
                .ok_or_else(|| not_member("join.room"))?,
        };
        if decided_at > self.log.head() {
            let answer = Answer::Joined {
                who: Box::new(who),
                from,
            };
            let pending = self
                .log
                .pending_mut(decided_at)
                .expect("applied and beyond the head");
            pending.waiters.push(Waiter { ticket, answer });
            return Ok(None);
        }
        self.listen(&who, from).map(Some)
    }

    fn become_member(&mut self, ticket: Ticket, who: Who, from: Option<From>, now: Now) -> Handled {
        if self.members.len() >= self.limits.members_max {
            let message = format!("the room has {} members", self.limits.members_max);
            return Err(WireError::new(Code::RoomFull, message).at("join.room"));
        }
        self.writable()?;
        let offset = self.log.next_offset();
        let user = v1::User {
            id: who.user.as_str().to_owned(),
            name: who.name.clone(),
        };
        self.members.add(who.user.clone(), Role::Member, offset);
        self.draft.members.push(MemberRow {
            user: who.user.clone(),
            name: who.name.clone(),
            offset,
            epoch: self.epoch,
            role: Some(Role::Member),
        });
        let member = v1::Member {
            user: Some(user.clone()),
            role: Role::Member.into(),
        };
        let answer = Answer::Joined {
            who: Box::new(who.clone()),
            from,
        };
        self.append(
            who,
            now,
            NewEvent {
                kind: EventKind::MemberJoined,
                target: Offset::ZERO,
                body: Body::MemberJoined(v1::MemberJoined {
                    member: Some(member),
                }),
                change: Change::Joined { by: user },
                waiter: Waiter { ticket, answer },
            },
        );
        Ok(None)
    }

    /// The membership a join waited for is committed: the session listens from here on, unless
    /// its user has left (again).
    pub(crate) fn finish_join(
        &mut self,
        ticket: Ticket,
        who: &Who,
        from: Option<From>,
        fx: &mut Effects,
    ) {
        let result = self
            .may_read(who, "join.room")
            .and_then(|()| self.listen(who, from));
        self.fence_read = false;
        fx.reply(ticket, result);
    }

    fn listen(&mut self, who: &Who, from: Option<From>) -> Result<ack::Result, WireError> {
        let (reset, events) = self.join_events(from)?;
        self.listeners.attach(who);
        let (here_count, here) = self.listeners.here();
        let role = self
            .members
            .get(&who.user)
            .map_or(Role::Unspecified, |member| member.role);
        Ok(ack::Result::Joined(v1::Joined {
            room: Some(self.describe(self.settings("join.room")?)),
            head: self.log.head().0,
            epoch: self.epoch.0,
            reset,
            events,
            cursor: self.cursors.get(&who.user).offset.0,
            unread: self.cursors.unread(&who.user, self.log.head_count()),
            here,
            here_count,
            role: role.into(),
        }))
    }

    pub(super) fn leave(
        &mut self,
        ticket: Ticket,
        who: Who,
        leave: &Leave,
        now: Now,
        fx: &mut Effects,
    ) -> Handled {
        let kind = self.settings("leave.room")?.kind;
        if leave.session_only || kind == Kind::Channel {
            self.detach(&who.gateway, who.session, fx);
            return Ok(Some(ack::Result::Done(v1::Done {})));
        }
        if kind == Kind::Direct {
            let message = "a direct room can only be left in one session";
            return Err(WireError::invalid("leave.sessionOnly", message));
        }
        if self.members.get(&who.user).is_none() {
            return Err(not_member("leave.room"));
        }
        self.writable()?;
        let offset = self.log.next_offset();
        self.members.remove(&who.user);
        self.draft.members.push(MemberRow {
            user: who.user.clone(),
            name: who.name.clone(),
            offset,
            epoch: self.epoch,
            role: None,
        });
        let user = v1::User {
            id: who.user.as_str().to_owned(),
            name: who.name.clone(),
        };
        self.append(
            who,
            now,
            NewEvent {
                kind: EventKind::MemberLeft,
                target: Offset::ZERO,
                body: Body::MemberLeft(v1::MemberLeft { user: Some(user) }),
                change: Change::Left,
                waiter: Waiter {
                    ticket,
                    answer: Answer::Left,
                },
            },
        );
        Ok(None)
    }

    /// A session no longer listens, nor waits to.
    pub(crate) fn detach(&mut self, gateway: &EndpointId, session: u64, fx: &mut Effects) {
        self.listeners.detach(gateway, session);
        self.cancel_joins(fx, |who| who.session == session && who.gateway == *gateway);
    }

    /// A gateway is gone, or its stream to us has a hole: it announces its sessions again.
    pub(crate) fn detach_gateway(&mut self, gateway: &EndpointId, fx: &mut Effects) {
        self.listeners.detach_gateway(gateway, None);
        self.cancel_joins(fx, |who| who.gateway == *gateway);
    }

    fn cancel_joins(&mut self, fx: &mut Effects, gone: impl Fn(&Who) -> bool) {
        for pending in self.log.pending_all_mut() {
            pending.waiters.retain(|waiter| {
                let cancelled = matches!(&waiter.answer, Answer::Joined { who, .. } if gone(who));
                if cancelled {
                    let error = WireError::new(Code::Unavailable, "left before the join was done");
                    fx.reply(waiter.ticket, Err(error.retry_after(UNAVAILABLE_RETRY)));
                }
                !cancelled
            });
        }
    }
}

fn granted(who: &Who, least: Grant, field: &'static str) -> Result<(), WireError> {
    if who.grant >= least {
        return Ok(());
    }
    Err(WireError::new(Code::Forbidden, "the token does not grant this").at(field))
}

fn not_member(field: &'static str) -> WireError {
    WireError::new(Code::NotMember, "not a member of this room").at(field)
}
