//! What a connection heard.

use super::{Engine, What};
use crate::light::{
    connection::{Phase, SeatState, Watching},
    wire::{Heard, Kind, Refusal, Say, Tag, due_of},
};

impl Engine {
    #[inline]
    pub(super) fn on_heard(&mut self, index: usize, heard: Heard<'_>, now_us: u64) {
        match heard {
            Heard::Event { room, offset, text } => self.on_event(index, room, offset, text, now_us),
            Heard::Answered { tag, offset } => self.on_answer(index, tag, offset, now_us),
            Heard::Refused {
                tag,
                refusal,
                message,
            } => self.on_refusal(index, tag, refusal, message, now_us),
            Heard::Joined { room, head, reset } => {
                let number = self.names.room_number(room);
                self.on_joined(index, number, head, reset, now_us);
            }
            Heard::Resume { room } => self.resume(index, room),
            Heard::Hello => self.log_in(index),
            Heard::Session(session) => {
                let session = String::from_utf8_lossy(session);
                self.sessions.insert(index, session.into());
            }
            Heard::Welcome => self.welcomed(index, now_us),
            Heard::Ping => {
                self.put(index, Kind::Login, 0, &Say::Pong);
            }
            Heard::Other => {}
        }
    }

    /// Where a connection sits in a room.
    #[inline]
    fn slot(&self, index: usize, room: &[u8]) -> Option<usize> {
        self.slot_of(index, self.names.room_number(room)?)
    }

    #[inline]
    fn slot_of(&self, index: usize, number: u32) -> Option<usize> {
        let first = index * self.seats_each;
        let seats = &self.seats[first..first + self.seats_each];
        let slot = match seats {
            [only] => (only.room == number).then_some(0)?,
            seats => seats.binary_search_by_key(&number, |seat| seat.room).ok()?,
        };
        Some(first + slot)
    }

    /// The hot path: everything a listener hears goes through here.
    #[inline]
    fn on_event(&mut self, index: usize, room: &[u8], offset: u64, text: &[u8], now_us: u64) {
        let Some(slot) = self.slot(index, room) else {
            return;
        };
        let seat = &mut self.seats[slot];
        if seat.state != SeatState::Joined {
            // It comes again with the answer to the join.
            return;
        }
        let room = &mut self.rooms[seat.room as usize];
        let mut last_of_all = false;
        if offset > 0 {
            if offset <= seat.last {
                self.tally.counts.doubled += 1;
                return;
            }
            self.tally.counts.lost += offset - seat.last - 1;
            seat.last = offset;
            room.seen = room.seen.max(offset);
            let places = self.ring_offsets_max;
            last_of_all = room.ring.reached(offset, room.listeners, places);
        } else {
            self.unnumbered_us = now_us;
        }
        match due_of(text).filter(|due_us| *due_us <= now_us) {
            Some(due_us) => {
                self.tally.delivered(due_us, now_us);
                if last_of_all {
                    self.tally.all(due_us, now_us);
                }
                if !self.unheard.is_empty()
                    && let Some(sender) = self.unheard.remove(&due_us)
                {
                    self.after(now_us, sender, What::Send);
                }
            }
            None => self.tally.told(),
        }
    }

    fn on_answer(&mut self, index: usize, tag: Tag, offset: u64, now_us: u64) {
        match tag.kind {
            Kind::Login => {}
            // Of a protocol that says nothing of events before: it begins here.
            Kind::Join => {
                let number = u32::try_from(tag.value).ok();
                self.on_joined(index, number, offset, true, now_us);
            }
            Kind::Watch => {
                self.connections[index].watching = Watching::Yes;
                self.whole_if_so(index, now_us);
            }
            Kind::Send => {
                if self.was_unanswered(index) {
                    self.tally.acked(tag.value, now_us);
                    self.again += u32::from(self.sends_in_turn(index));
                }
            }
            Kind::Typing | Kind::Read | Kind::History | Kind::Presence => {
                if self.was_unanswered(index) {
                    self.tally.answered(tag.value, now_us);
                }
            }
            Kind::Open => {
                self.was_unanswered(index);
                self.opened(1);
                self.open_next_rooms(index);
            }
            Kind::Head => {
                self.was_unanswered(index);
                self.on_head(tag, Ok(offset));
            }
        }
    }

    /// Whether this answer was waited for; one that comes after it was given up counts no more.
    fn was_unanswered(&mut self, index: usize) -> bool {
        let unanswered = &mut self.connections[index].unanswered;
        let one = *unanswered > 0;
        *unanswered -= u32::from(one);
        one
    }

    fn on_refusal(
        &mut self,
        index: usize,
        tag: Option<Tag>,
        refusal: Refusal,
        message: &[u8],
        now_us: u64,
    ) {
        let said = || String::from_utf8_lossy(message).into_owned();
        let after_ms = match refusal {
            Refusal::Busy(after_ms) => after_ms,
            Refusal::Unavailable | Refusal::Never => 0,
        };
        let later_us = Self::later_us(now_us, after_ms);
        if self.connections[index].phase == Phase::Greeting {
            if refusal == Refusal::Never {
                self.fail(format!("the login was refused: {}", said()));
            }
            self.ends = Some(format!("the login was refused: {}", said()));
            return;
        }
        let Some(tag) = tag else {
            if refusal == Refusal::Never && self.connections[index].phase == Phase::Joining {
                // It can only be a room's, and would be waited for in vain.
                self.fail(format!("joining was refused: {}", said()));
            }
            self.count_refusal(refusal);
            return;
        };
        let never = refusal == Refusal::Never;
        match tag.kind {
            Kind::Login => {}
            Kind::Join | Kind::Watch | Kind::Open if never => {
                let what = match tag.kind {
                    Kind::Watch => "watching presence".to_owned(),
                    kind => {
                        let verb = if kind == Kind::Join {
                            "joining"
                        } else {
                            "opening"
                        };
                        let room = u32::try_from(tag.value).unwrap_or_default();
                        format!("{verb} room {}", self.names.room(room))
                    }
                };
                self.fail(format!("{what} was refused: {}", said()));
            }
            Kind::Join => self.join_again(index, tag, later_us),
            Kind::Watch => {
                self.connections[index].watching = Watching::No;
                self.after(later_us, index, What::Join);
            }
            Kind::Open => {
                self.was_unanswered(index);
                let room = u32::try_from(tag.value).unwrap_or_default();
                self.open_again(index, room, later_us);
            }
            Kind::Head => {
                self.was_unanswered(index);
                self.on_head(tag, Err(refusal));
            }
            Kind::Send | Kind::Typing | Kind::Read | Kind::History | Kind::Presence => {
                if self.was_unanswered(index) {
                    self.count_refusal(refusal);
                    if tag.kind == Kind::Send && self.sends_in_turn(index) {
                        self.after(later_us, index, What::Send);
                    }
                }
            }
        }
    }

    fn count_refusal(&mut self, refusal: Refusal) {
        if self.tally.measuring() {
            match refusal {
                Refusal::Busy(_) => self.tally.counts.refused += 1,
                Refusal::Unavailable | Refusal::Never => self.tally.counts.failed += 1,
            }
        }
    }

    fn join_again(&mut self, index: usize, tag: Tag, later_us: u64) {
        let seats = self.seats_of(index);
        let room = u32::try_from(tag.value).unwrap_or_default();
        let Ok(slot) = seats.binary_search_by_key(&room, |seat| seat.room) else {
            return;
        };
        if seats[slot].state != SeatState::Asked {
            return;
        }
        seats[slot].state = SeatState::Away;
        let connection = &mut self.connections[index];
        connection.joins_open -= 1;
        let slot = u16::try_from(slot).unwrap_or(u16::MAX);
        connection.joins_from = connection.joins_from.min(slot);
        self.after(later_us, index, What::Join);
    }

    fn on_joined(&mut self, index: usize, room: Option<u32>, head: u64, reset: bool, now_us: u64) {
        let Some(slot) = room.and_then(|number| self.slot_of(index, number)) else {
            return;
        };
        let seat = &mut self.seats[slot];
        if seat.state != SeatState::Asked {
            return;
        }
        seat.state = SeatState::Joined;
        let resumed = std::mem::replace(&mut seat.known, true);
        if resumed && !reset {
            self.tally.counts.resumed += u64::from(self.tally.measuring());
        } else {
            self.tally.counts.reset += u64::from(resumed && self.tally.measuring());
            seat.last = head;
        }
        let room = &mut self.rooms[seat.room as usize];
        room.seen = room.seen.max(head);
        self.connections[index].joins_open -= 1;
        // Who joins again is no progress: a server that drops everybody makes none.
        if !self.joined && !resumed {
            self.counting.add(1);
        }
        self.join_more(index);
        self.whole_if_so(index, now_us);
    }

    /// The server could not keep the room's stream whole.
    fn resume(&mut self, index: usize, room: &[u8]) {
        let Some(slot) = self.slot(index, room) else {
            return;
        };
        if self.seats[slot].state == SeatState::Joined {
            self.seats[slot].state = SeatState::Away;
            let slot = u16::try_from(slot - index * self.seats_each).unwrap_or(u16::MAX);
            let connection = &mut self.connections[index];
            connection.joins_from = connection.joins_from.min(slot);
            self.join_more(index);
        }
    }
}
