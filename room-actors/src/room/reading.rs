//! What is read: joins, history, resync, cursors, summaries; and typing.

use rookery_cluster::EndpointId;
use rookery_proto::{
    errors::{Code, WireError},
    ids::Offset,
    limits::{HISTORY_EVENTS_DEFAULT, HISTORY_EVENTS_MAX},
    link::{self, packet},
    v1::{self, History, MarkRead, Typing, ack, history, join},
};

use super::{
    command::{Need, Now, ResyncAsk, Ticket, Who},
    cursors::Cursor,
    effects::Effects,
    pages::Keep,
    state::{Handled, ReadMove, RoomState},
};
use crate::limits::{ANSWER_BYTES_MAX, SNAPSHOT_EVENTS};

/// How a join or a resync gets its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// None were asked for.
    Nothing,
    /// These, one by one.
    Raw(Offset, Offset),
    /// These, folded.
    Folded(Offset, Offset),
    /// Too far back: a folded snapshot of these.
    Reset(Offset, Offset),
    /// These rows must be read first.
    Read(Offset, Offset),
    /// Someone knows more than we do: do we still own the room?
    ReadFence,
}

impl RoomState {
    pub(super) fn plan_join(&self, from: Option<join::From>) -> Plan {
        match from {
            None | Some(join::From::Last(0)) => Plan::Nothing,
            Some(join::From::AfterOffset(after)) => self.plan_resume(Offset(after)),
            Some(join::From::Last(last)) => {
                let (from, to) = self.last_messages(u64::from(last));
                if self.pages.has(&self.log, from, to) {
                    Plan::Folded(from, to)
                } else {
                    Plan::Read(from, to)
                }
            }
        }
    }

    fn plan_resume(&self, after: Offset) -> Plan {
        let head = self.log.head();
        if after > head {
            return if self.fence_read {
                self.plan_reset()
            } else {
                Plan::ReadFence
            };
        }
        if head.0 - after.0 > self.memory.resume_events_max {
            return self.plan_reset();
        }
        let from = after.next();
        if !self.pages.has(&self.log, from, head) {
            return Plan::Read(from, head);
        }
        if self.pages.bytes(&self.log, from, head) > ANSWER_BYTES_MAX {
            return self.plan_reset();
        }
        Plan::Raw(from, head)
    }

    fn plan_reset(&self) -> Plan {
        let head = self.log.head();
        let from = Offset(head.0.saturating_sub(SNAPSHOT_EVENTS) + 1);
        if self.pages.has(&self.log, from, head) {
            Plan::Reset(from, head)
        } else {
            Plan::Read(from, head)
        }
    }

    /// The newest range with `count` messages, as far as memory tells; else the longest page.
    fn last_messages(&self, count: u64) -> (Offset, Offset) {
        let head = self.log.head();
        let longest = Offset(head.0.saturating_sub(u64::from(HISTORY_EVENTS_MAX)) + 1);
        if longest < self.log.ring_first() || count > self.log.head_count() {
            return (longest, head);
        }
        let before = self.log.head_count().saturating_sub(count);
        let first = self
            .log
            .from(longest)
            .find(|entry| entry.message_count > before);
        (first.map_or(longest, |entry| entry.offset), head)
    }

    /// (reset, events) for a join that may be answered.
    pub(super) fn join_events(
        &self,
        from: Option<join::From>,
    ) -> Result<(bool, Vec<v1::Event>), WireError> {
        Ok(match self.plan_join(from) {
            Plan::Nothing => (false, Vec::new()),
            Plan::Raw(from, to) => (false, self.pages.raw(&self.log, &self.cursors, from, to)),
            Plan::Folded(first, to) => {
                let mut events =
                    self.pages
                        .folded(&self.log, &self.cursors, (first, to), Keep::Newest);
                if let Some(join::From::Last(last)) = from {
                    keep_messages(&mut events, last as usize);
                }
                (false, events)
            }
            Plan::Reset(from, to) => (
                true,
                self.pages
                    .folded(&self.log, &self.cursors, (from, to), Keep::Newest),
            ),
            Plan::Read(..) | Plan::ReadFence => return Err(not_read()),
        })
    }

    // ---- resync --------------------------------------------------------------------------------

    /// What must be read before a resync can be answered.
    pub(crate) fn needs_resync(&self, ask: ResyncAsk, sessions: &[Who]) -> Option<Need> {
        let need = ask.after.and_then(|after| match self.plan_resume(after) {
            Plan::ReadFence => Some(Need::Fence),
            // A snapshot is not sent, so nothing is read for it.
            Plan::Read(from, to) if from == after.next() => Some(Need::Page(from, to)),
            _ => None,
        });
        // Clients drop a room they are refused: only its owner may say so.
        let refuses = || sessions.iter().any(|who| !self.may_listen(who));
        need.or_else(|| (!self.fence_read && refuses()).then_some(Need::Fence))
    }

    /// Replaces the sessions of one lane and sends what came after its last offset. Makes nobody a
    /// member: sessions of who is none are named, the others listen.
    pub(crate) fn resync(
        &mut self,
        gateway: &EndpointId,
        ask: ResyncAsk,
        sessions: &[Who],
        fx: &mut Effects,
    ) {
        let plan = ask.after.map(|after| self.plan_resume(after));
        let (theirs, refused): (Vec<_>, Vec<_>) =
            sessions.iter().partition(|who| self.may_listen(who));
        // Else the fence could not be read: all join again and learn by that what is the matter.
        let sure = refused.is_empty() || self.fence_read;
        self.fence_read = false;
        if plan.is_some() {
            self.listeners.detach_gateway(gateway, Some(ask.lane));
        }
        if sure && !refused.is_empty() {
            let body = link::RoomRefused {
                room: self.room.as_str().to_owned(),
                lane: ask.lane,
                epoch: self.epoch.0,
                number: ask.number,
                sessions: refused.iter().map(|who| who.session).collect(),
            };
            fx.send_to_gateway(gateway, packet::Body::RoomRefused(body));
        }
        let events = match plan {
            None if sure => Some(Vec::new()),
            Some(Plan::Raw(from, to)) if sure => Some(self.encoded(from, to)),
            _ => None,
        };
        let reset = events.is_none();
        if !reset {
            for who in theirs {
                self.listeners.attach(who);
            }
        }
        if plan.is_some() || reset {
            let body = link::RoomEvents {
                room: self.room.as_str().to_owned(),
                lane: ask.lane,
                epoch: self.epoch.0,
                head: self.log.head().0,
                reset,
                events: events.unwrap_or_default(),
                number: ask.number,
                not_owner: None,
            };
            fx.send_to_gateway(gateway, packet::Body::RoomEvents(body));
        }
    }

    /// A raw range, encoded. What is in memory is in its final bytes already.
    fn encoded(&self, from: Offset, to: Offset) -> Vec<bytes::Bytes> {
        if from >= self.log.ring_first() {
            return self
                .log
                .from(from)
                .map(|entry| entry.event.clone())
                .collect();
        }
        let events = self.pages.raw(&self.log, &self.cursors, from, to);
        events
            .iter()
            .map(|event| prost::Message::encode_to_vec(event).into())
            .collect()
    }

    // ---- history -------------------------------------------------------------------------------

    pub(super) fn needs_history(&self, history: &History, who: &Who) -> Option<Need> {
        self.may_read(who, "").ok()?;
        let (from, to, _) = self.history_range(history).ok()?;
        (!self.pages.has(&self.log, from, to)).then_some(Need::Page(from, to))
    }

    pub(super) fn history(&mut self, who: &Who, history: &History) -> Handled {
        let (from, to, keep) = self.history_range(history)?;
        self.may_read(who, "history.room")?;
        if !self.pages.has(&self.log, from, to) {
            return Err(not_read());
        }
        let events = if from > to {
            Vec::new()
        } else {
            self.pages
                .folded(&self.log, &self.cursors, (from, to), keep)
        };
        Ok(Some(ack::Result::History(v1::HistoryPage {
            room: self.room.as_str().to_owned(),
            events,
            head: self.log.head().0,
        })))
    }

    /// The range asked for; empty when its start is behind its end.
    fn history_range(&self, history: &History) -> Result<(Offset, Offset, Keep), WireError> {
        let limit = match history.limit {
            0 => u64::from(HISTORY_EVENTS_DEFAULT),
            limit if limit <= HISTORY_EVENTS_MAX => u64::from(limit),
            _ => {
                let message = format!("must be at most {HISTORY_EVENTS_MAX}");
                return Err(WireError::invalid("history.limit", message));
            }
        };
        let head = self.log.head().0;
        let newest_up_to = |to: u64| {
            (
                Offset(to.saturating_sub(limit) + 1),
                Offset(to),
                Keep::Newest,
            )
        };
        Ok(match history.from {
            None => newest_up_to(head),
            Some(history::From::BeforeOffset(before)) => {
                newest_up_to(before.saturating_sub(1).min(head))
            }
            Some(history::From::AfterOffset(after)) => {
                let after = after.min(head);
                (
                    Offset(after + 1),
                    Offset((after + limit).min(head)),
                    Keep::Oldest,
                )
            }
        })
    }

    // ---- cursors -------------------------------------------------------------------------------

    pub(super) fn needs_count(&self, offset: Offset, who: &Who) -> Option<Need> {
        let needed = offset > self.cursors.get(&who.user).offset
            && offset < self.log.ring_first()
            && self
                .count_learned
                .is_none_or(|(learned, _)| learned != offset)
            && self.may_read(who, "").is_ok();
        needed.then_some(Need::Count(offset))
    }

    pub(super) fn mark_read(&mut self, ticket: Ticket, who: Who, read: &MarkRead) -> Handled {
        self.may_read(&who, "markRead.room")?;
        let offset = Offset(read.offset);
        if offset > self.log.head() {
            let message = format!("must be at most {}", self.log.head());
            return Err(WireError::invalid("markRead.offset", message));
        }
        if offset <= self.cursors.get(&who.user).offset {
            return Ok(Some(self.cursor_ack(&who)));
        }
        self.writable()?;
        let message_count = match (self.log.get(offset), self.count_learned) {
            (Some(entry), _) => entry.message_count,
            (None, Some((learned, count))) if learned == offset => count,
            (None, _) => return Err(not_read()),
        };
        let to = Cursor {
            offset,
            message_count,
        };
        self.draft_reads.push(ReadMove {
            who,
            to,
            ticket: Some(ticket),
        });
        Ok(None)
    }

    pub(super) fn cursor_ack(&self, who: &Who) -> ack::Result {
        ack::Result::Cursor(self.cursor(who))
    }

    pub(super) fn cursor(&self, who: &Who) -> v1::Cursor {
        v1::Cursor {
            room: self.room.as_str().to_owned(),
            offset: self.cursors.get(&who.user).offset.0,
            unread: self.cursors.unread(&who.user, self.log.head_count()),
        }
    }

    pub(super) fn summary(&self, who: &Who) -> Handled {
        self.may_read(who, "rooms")?;
        let settings = self.settings("rooms")?;
        let summary = v1::RoomSummary {
            room: Some(self.describe(settings)),
            head: self.log.head().0,
            cursor: self.cursors.get(&who.user).offset.0,
            unread: self.cursors.unread(&who.user, self.log.head_count()),
            unavailable: false,
        };
        Ok(Some(ack::Result::Rooms(v1::RoomPage {
            rooms: vec![summary],
            next: String::new(),
        })))
    }

    // ---- typing --------------------------------------------------------------------------------

    pub(super) fn typing(
        &mut self,
        who: &Who,
        typing: &Typing,
        now: Now,
        fx: &mut Effects,
    ) -> Handled {
        self.may_post(who, "typing.room")?;
        if self.listeners.may_type(who, typing.active, now.at) {
            let user = v1::User {
                id: who.user.as_str().to_owned(),
                name: who.name.clone(),
            };
            let signal = v1::TypingSignal {
                user: Some(user),
                active: typing.active,
            };
            let body = v1::signal::Body::Typing(signal);
            self.listeners.signal(&self.room, body, who.session, fx);
        }
        Ok(Some(ack::Result::Done(v1::Done {})))
    }
}

/// Drops what stands before the newest `count` messages.
fn keep_messages(events: &mut Vec<v1::Event>, count: usize) {
    let mut messages = 0;
    let start = events.iter().rposition(|event| {
        messages += usize::from(matches!(event.body, Some(v1::event::Body::Message(_))));
        messages == count
    });
    if let Some(start) = start {
        events.drain(..start);
    }
}

/// The shell applies a command only when it needs nothing more.
fn not_read() -> WireError {
    WireError::new(Code::Internal, "the room was not read")
}
