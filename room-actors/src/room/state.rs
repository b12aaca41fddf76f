//! The room as a synchronous machine: no I/O, no clock, no channel.
//!
//! Two views of one log. **Applied**: every event that got an offset; it decides permissions and
//! duplicates. **Committed**: the prefix known to be durable; only it is ever shown. Applied state
//! is never undone: an event that is not known to be durable is written again until it is, or this
//! owner ends.

use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message as _;
use rookery_persistence::{EpochList, EventKind, LogRow, RoomWrite};
use rookery_proto::{
    errors::{Code, WireError},
    ids::{Epoch, Offset, RoomId},
    link::room_request::Command,
    v1::{self, ack, event::Body, room::Kind},
};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::{
    command::{Now, Ticket, Who},
    cursors::{self, Cursor, Cursors},
    derived::Behind,
    effects::Effects,
    fold,
    listeners::Listeners,
    log::{Change, Entry, Log, Pending, Waiter},
    members::Members,
    messages::{MessageView, Messages, folded},
    needs::{missing_row, not_a_message},
    pages::{Pages, is_message},
    rates::Rates,
    sent::SentIds,
    woken::{Recalled, Settings, Woken},
};
use crate::limits::{IN_FLIGHT_EVENTS_MAX, Memory, RoomLimits};

/// What a command comes to: an answer now, or `None` when it is given later.
pub(super) type Handled = Result<Option<ack::Result>, WireError>;

/// A cursor on its way to the store.
#[derive(Debug)]
pub(super) struct ReadMove {
    pub(super) who: Who,
    pub(super) to: Cursor,
    /// Taken when the request was answered early.
    pub(super) ticket: Option<Ticket>,
}

/// What was handed to the store under one number.
#[derive(Debug)]
struct Batch {
    seq: u64,
    last: Offset,
    reads: Vec<ReadMove>,
}

/// One room.
#[derive(Debug)]
pub(crate) struct RoomState {
    pub(super) room: RoomId,
    pub(super) epoch: Epoch,
    pub(super) epochs: EpochList,
    pub(super) limits: RoomLimits,
    pub(super) memory: Memory,
    pub(super) settings: Option<Settings>,
    pub(super) members: Members,
    pub(super) log: Log,
    pub(super) cursors: Cursors,
    pub(super) sent: SentIds,
    pub(super) messages: Messages,
    pub(super) pages: Pages,
    pub(super) listeners: Listeners,
    pub(super) rates: Rates,
    pub(super) draft: RoomWrite,
    pub(super) draft_reads: Vec<ReadMove>,
    batches: VecDeque<Batch>,
    next_seq: u64,
    /// Rows derived from events, to be written behind them.
    pub(super) behind: Behind,
    /// Why nothing new is taken now.
    refusal: Option<WireError>,
    // Facts for the command that is about to be applied.
    pub(super) fence_read: bool,
    pub(super) count_learned: Option<(Offset, u64)>,
    pub(super) not_a_message: Option<Offset>,
}

impl RoomState {
    /// The room as its store and its adopted tail say.
    pub(crate) fn new(woken: Woken, limits: RoomLimits, memory: Memory) -> Self {
        let Recalled {
            room,
            epoch,
            epochs,
            tail,
            settings,
            members,
            cursors,
        } = woken.recall();
        let head = tail.last().map_or(Offset::ZERO, |row| row.offset);
        let mut log = Log::new(tail, memory.ring_events_max);
        log.redact_where(|message| cursors.is_deleted(message));
        let mut state = Self {
            draft: RoomWrite::new(room.clone()),
            room,
            epoch,
            epochs,
            limits,
            memory,
            settings,
            members,
            log,
            cursors,
            sent: SentIds::new(head == Offset::ZERO, memory),
            messages: Messages::new(memory.messages_kept_max),
            pages: Pages::default(),
            listeners: Listeners::default(),
            rates: Rates::default(),
            draft_reads: Vec::new(),
            batches: VecDeque::new(),
            next_seq: 1,
            behind: Behind::default(),
            refusal: None,
            fence_read: false,
            count_learned: None,
            not_a_message: None,
        };
        state.note_saved();
        state
    }

    /// Applies a command. It is answered now or when its event commits.
    pub(crate) fn apply(
        &mut self,
        ticket: Ticket,
        who: Who,
        command: Command,
        now: Now,
        fx: &mut Effects,
    ) {
        let handled = match command {
            Command::CreateRoom(create) => self.create(ticket, who, create, now),
            Command::Join(join) => self.join(ticket, who, &join, now),
            Command::Leave(leave) => self.leave(ticket, who, &leave, now, fx),
            Command::Send(send) => self.send(ticket, who, send, now),
            Command::Edit(edit) => self.edit(ticket, who, edit, now),
            Command::Delete(delete) => self.delete(ticket, who, &delete, now),
            Command::React(react) => self.react(ticket, who, react, now),
            Command::Unreact(unreact) => self.unreact(ticket, who, unreact, now),
            Command::MarkRead(read) => self.mark_read(ticket, who, &read),
            Command::Typing(typing) => self.typing(&who, &typing, now, fx),
            Command::History(history) => self.history(&who, &history),
            Command::Summary(_) => self.summary(&who),
        };
        self.fence_read = false;
        self.count_learned = None;
        self.not_a_message = None;
        match handled {
            Ok(None) => {}
            Ok(Some(result)) => fx.reply(ticket, Ok(result)),
            Err(error) => fx.reply(ticket, Err(error)),
        }
    }

    // ---- the shell's side ------------------------------------------------------------------

    /// Whether another event could be too many in flight, or too far ahead of derived rows: later
    /// requests wait.
    pub(crate) fn is_full(&self) -> bool {
        self.log.in_flight() >= IN_FLIGHT_EVENTS_MAX || self.is_far_ahead()
    }

    /// Whether everything applied is durable and written, derived rows too.
    pub(crate) fn is_settled(&self) -> bool {
        self.batches.is_empty()
            && self.draft.log.is_empty()
            && self.draft_reads.is_empty()
            && self.is_derived()
    }

    /// Gives back the memory of queues that are empty once [settled](Self::is_settled).
    pub(crate) fn release_buffers(&mut self) {
        self.batches.shrink_to_fit();
        self.log.release_pending();
        self.release_behind();
    }

    pub(crate) const fn head(&self) -> Offset {
        self.log.head()
    }

    /// The list under which this room is served.
    pub(crate) const fn epochs(&self) -> &EpochList {
        &self.epochs
    }

    /// Whether there is such a room, as applied.
    pub(crate) const fn exists(&self) -> bool {
        self.settings.is_some()
    }

    pub(crate) const fn listener_count(&self) -> usize {
        self.listeners.count()
    }

    /// From now on nothing new is taken, for this reason; `None`: all is well again.
    pub(crate) fn refuse_writes(&mut self, refusal: Option<WireError>) {
        self.refusal = refusal;
    }

    /// When [`tick`](Self::tick) is next of use.
    pub(crate) fn timer_due(&self, now: Instant) -> Option<Instant> {
        let due = [self.listeners.roster_due(now), self.derived_due(now)];
        due.into_iter().flatten().min()
    }

    /// Sends the roster signal when it is due. Rows that are due come with `take_derived`.
    pub(crate) fn tick(&mut self, now: Instant, fx: &mut Effects) {
        if self.listeners.roster_due(now).is_some_and(|due| due <= now) {
            self.listeners.signal_roster(&self.room, now, fx);
        }
    }

    /// What is to be written now, under its number.
    pub(crate) fn take_write(&mut self) -> Option<(u64, RoomWrite)> {
        if self.draft.log.is_empty() && self.draft_reads.is_empty() {
            return None;
        }
        let reads = std::mem::take(&mut self.draft_reads);
        let mut moved: FxHashMap<_, Cursor> = FxHashMap::default();
        for read in &reads {
            let cursor = moved.entry(read.who.user.clone()).or_insert(read.to);
            if cursor.offset < read.to.offset {
                *cursor = read.to;
            }
        }
        let mut write = std::mem::replace(&mut self.draft, RoomWrite::new(self.room.clone()));
        write.cursors = cursors::rows(moved);
        let last = Offset(self.log.next_offset().0 - 1);
        let seq = self.next_seq;
        self.next_seq += 1;
        self.batches.push_back(Batch { seq, last, reads });
        Some((seq, write))
    }

    /// All writes up to that number are durable, and this node still owned the room afterwards.
    pub(crate) fn committed(&mut self, seq: u64, fx: &mut Effects) {
        while self.batches.front().is_some_and(|batch| batch.seq <= seq) {
            let batch = self.batches.pop_front().expect("looked at above");
            while self.log.head() < batch.last {
                self.settle_next(fx);
            }
            for read in batch.reads {
                self.settle_read(read, fx);
            }
        }
        self.note_saved();
    }

    /// The store fails: whoever waits is told that the outcome is not known.
    pub(crate) fn answer_waiting(&mut self, error: &WireError, fx: &mut Effects) {
        for pending in self.log.pending_all_mut() {
            for waiter in pending.waiters.drain(..) {
                fx.reply(waiter.ticket, Err(error.clone()));
            }
        }
        let handed = self.batches.iter_mut().flat_map(|batch| &mut batch.reads);
        for read in handed.chain(&mut self.draft_reads) {
            if let Some(ticket) = read.ticket.take() {
                fx.reply(ticket, Err(error.clone()));
            }
        }
    }

    // ---- for the nouns' files --------------------------------------------------------------

    /// Whether something new may be written now.
    pub(super) fn writable(&self) -> Result<(), WireError> {
        self.refusal.clone().map_or(Ok(()), Err)
    }

    pub(super) fn settings(&self, field: &'static str) -> Result<&Settings, WireError> {
        let settings = self.settings.as_ref();
        settings.ok_or_else(|| WireError::new(Code::NotFound, "no such room").at(field))
    }

    /// Gives an event the next offset, puts it into the draft and keeps who waits for it.
    pub(super) fn append(&mut self, who: Who, now: Now, new: NewEvent) -> Offset {
        let offset = self.log.next_offset();
        let message_count = self.log.applied_count() + u64::from(is_message(new.kind));
        let event = v1::Event {
            room: self.room.as_str().to_owned(),
            epoch: self.epoch.0,
            offset: offset.0,
            time_ms: now.ms,
            actor: Some(v1::User {
                id: who.user.as_str().to_owned(),
                name: who.name,
            }),
            body: Some(new.body),
        };
        let event = Bytes::from(event.encode_to_vec());
        self.draft.log.push(LogRow {
            offset,
            epoch: self.epoch,
            kind: new.kind,
            message_count,
            target: new.target,
            event: event.clone(),
        });
        self.log.append(Pending {
            entry: Entry {
                offset,
                kind: new.kind,
                target: new.target,
                message_count,
                event,
            },
            actor: who.user,
            origin: (who.gateway, who.session),
            time_ms: now.ms,
            change: new.change,
            waiters: vec![new.waiter],
        });
        offset
    }

    /// The message at `target` for a decision. [`needs`](Self::needs) made sure it can be found.
    pub(super) fn message(
        &mut self,
        target: u64,
        field: &'static str,
    ) -> Result<&mut MessageView, WireError> {
        let target = Offset(target);
        let head = self.log.head();
        if target == Offset::ZERO || target > head {
            return Err(WireError::new(Code::NotFound, "no such message").at(field));
        }
        if !self.messages.contains(target) {
            let Some(entry) = self.log.get(target) else {
                return Err(if self.not_a_message == Some(target) {
                    not_a_message(field)
                } else {
                    missing_row()
                });
            };
            if !is_message(entry.kind) {
                return Err(not_a_message(field));
            }
            let committed = self.log.from(target.next());
            let in_flight = self.log.pending().map(|pending| &pending.entry);
            let marks = committed
                .chain(in_flight)
                .filter(|entry| entry.target == target);
            let mut last_mark = Offset::ZERO;
            let marks = marks.map(|mark| {
                last_mark = mark.offset;
                fold::decode(&mark.event)
            });
            let message = folded(fold::decode(&entry.event), marks);
            let view = MessageView::new(message, last_mark);
            self.messages
                .insert(target, view.expect("its kind says message"), head);
        }
        Ok(self.messages.get_mut(target).expect("put there above"))
    }

    /// The room as it is shown.
    pub(super) fn describe(&self, settings: &Settings) -> v1::Room {
        let direct = settings.kind == Kind::Direct;
        v1::Room {
            id: self.room.as_str().to_owned(),
            kind: settings.kind.into(),
            name: settings.name.clone(),
            public: settings.public,
            member_count: self.members.visible_count(),
            direct_users: if direct {
                self.members.sorted_users()
            } else {
                Vec::new()
            },
        }
    }
}

/// What an append needs to know of its event.
pub(super) struct NewEvent {
    pub(super) kind: EventKind,
    pub(super) target: Offset,
    pub(super) body: Body,
    pub(super) change: Change,
    pub(super) waiter: Waiter,
}
