//! What is due, done by one of the active connections.

use super::{Engine, stage::Progress};
use crate::light::{
    connection::Phase,
    frames::{OPCODE_CLOSE, push_masked},
    schedule::Activity,
    wire::{Kind, Say},
};

/// Status code 1000, which says that nothing is wrong.
const CLOSE_NORMAL: [u8; 2] = 1000_u16.to_be_bytes();
/// Connections looked at by chance before all are looked through.
const PICKS_MAX: usize = 8;

impl Engine {
    pub(super) fn act(&mut self, activity: Activity, due_us: u64, now_us: u64) {
        let Some(index) = self.pick(activity) else {
            return;
        };
        match activity {
            Activity::Send => self.send(index, due_us),
            Activity::Reconnect => self.close(index),
            Activity::Typing | Activity::Read | Activity::History | Activity::Presence => {
                self.do_other(index, activity, due_us);
            }
        }
        self.flush(index, now_us);
    }

    /// One of those that are there, each as likely.
    fn pick(&mut self, activity: Activity) -> Option<usize> {
        for _ in 0..PICKS_MAX {
            let index = self.random.usize(..self.active);
            if self.can(index, activity) {
                return Some(index);
            }
        }
        let from = self.random.usize(..self.active);
        (from..self.active)
            .chain(0..from)
            .find(|index| self.can(*index, activity))
    }

    fn can(&self, index: usize, activity: Activity) -> bool {
        let connection = &self.connections[index];
        // Who closes waits for its answers first.
        connection.phase == Phase::Whole
            && (activity != Activity::Reconnect || connection.unanswered == 0)
    }

    fn any_room(&mut self, index: usize) -> (String, u64) {
        let slot = self.random.usize(..self.seats_each);
        let seat = &self.seats[index * self.seats_each + slot];
        (self.names.room(seat.room), seat.last)
    }

    fn send(&mut self, index: usize, due_us: u64) {
        // Its tag and text are its own.
        let due_us = due_us.max(self.last_due_us + 1);
        self.last_due_us = due_us;
        let (room, _) = self.any_room(index);
        let text = format!("{due_us:016x}{}", self.padding);
        self.tally.due(due_us);
        let send = Say::Send {
            room: &room,
            text: &text,
        };
        self.put(index, Kind::Send, due_us, &send);
    }

    fn do_other(&mut self, index: usize, activity: Activity, due_us: u64) {
        let (room, offset) = self.any_room(index);
        let room = &room;
        let (kind, say) = match activity {
            Activity::Typing => (Kind::Typing, Say::Typing { room }),
            Activity::History => (Kind::History, Say::History { room }),
            Activity::Presence => {
                let away = self.random.bool();
                (Kind::Presence, Say::Presence { away })
            }
            // There is nothing to have read in an empty room.
            Activity::Read if offset > 0 => (Kind::Read, Say::Read { room, offset }),
            Activity::Read | Activity::Send | Activity::Reconnect => return,
        };
        self.put(index, kind, due_us, &say);
    }

    /// Closes in order; the server ends the connection, then it is opened anew.
    fn close(&mut self, index: usize) {
        self.put(index, Kind::Login, 0, &Say::Bye);
        push_masked(&mut self.out, OPCODE_CLOSE, &CLOSE_NORMAL);
        self.connections[index].phase = Phase::Closing;
        self.whole -= 1;
        self.whole_active -= 1;
    }

    // ---- in turn: each active connection so many at once ---------------------------------------

    /// Whether a connection sends again when one of its sends is answered; where sends are not
    /// answered, when the first listener of this process has heard it.
    pub(super) fn sends_in_turn(&self, index: usize) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| running.in_flight > 0 && !running.progress.draining())
            && index < self.active
            && self.connections[index].phase == Phase::Whole
    }

    pub(super) fn send_in_turn(&mut self, index: usize, now_us: u64) {
        if self.sends_in_turn(index) {
            self.send(index, now_us);
            if !self.connections[index].dialect.answers(Kind::Send) {
                self.unheard.insert(self.last_due_us, index);
            }
        }
    }

    /// As many as it should have under way.
    pub(super) fn send_in_flight(&mut self, index: usize, now_us: u64) {
        let in_flight = self.running.as_ref().map_or(0, |running| running.in_flight);
        for _ in 0..in_flight {
            self.send_in_turn(index, now_us);
        }
    }
}

impl Progress {
    pub(super) const fn draining(self) -> bool {
        matches!(self, Self::Draining { .. })
    }
}
