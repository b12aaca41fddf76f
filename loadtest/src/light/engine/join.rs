//! From greeted to whole: rooms are opened, joined and resumed.

use super::{Engine, Report, What};
use crate::{
    light::{
        connection::{Phase, SeatState, Watching},
        wire::{Kind, Say},
    },
    limits::{LIGHT_JOINS_MAX, LIGHT_OPENERS_MAX},
};

/// Rooms on their way to be there.
#[derive(Debug, Default)]
pub(super) struct Opening {
    next: u32,
    /// Refused for now.
    again: Vec<u32>,
    opened: u32,
}

impl Engine {
    /// Rooms are created over some of the connections: one alone may do only some tens a second.
    pub(super) fn open_rooms(&mut self) {
        if self.connections.is_empty() {
            self.fail("a process without connections cannot open rooms".to_owned());
        }
        self.opening = Some(Opening::default());
        let openers = self.connections.len().min(LIGHT_OPENERS_MAX);
        for index in 0..openers {
            self.to_open.push_back(index);
        }
    }

    pub(super) fn open_next_rooms(&mut self, index: usize) {
        let rooms = self.scenario.people.rooms;
        let kind = self.scenario.people.kind;
        while let Some(opening) = &mut self.opening {
            let connection = &self.connections[index];
            let free = connection.unanswered < u32::from(LIGHT_JOINS_MAX);
            if !free
                || !matches!(
                    connection.phase,
                    Phase::Greeted | Phase::Joining | Phase::Whole
                )
            {
                return;
            }
            let number = opening.again.pop().unwrap_or_else(|| {
                opening.next += 1;
                opening.next - 1
            });
            if number >= rooms {
                return;
            }
            let room = self.names.room(number);
            let said = self.put(
                index,
                Kind::Open,
                number.into(),
                &Say::Open { room: &room, kind },
            );
            if !said {
                // This wire's rooms need no opening.
                self.opened(rooms);
            }
        }
    }

    /// So many rooms more are there.
    pub(super) fn opened(&mut self, count: u32) {
        let Some(opening) = &mut self.opening else {
            return;
        };
        opening.opened += count;
        self.counting.add(count.into());
        if opening.opened >= self.scenario.people.rooms {
            self.opening = None;
            self.counting.restart();
            self.reports.push(Report::Opened);
        }
    }

    /// A room is to be opened again, a little later.
    pub(super) fn open_again(&mut self, index: usize, room: u32, at_us: u64) {
        if let Some(opening) = &mut self.opening {
            opening.again.push(room);
            self.after(at_us, index, What::Join);
        }
    }

    pub(super) fn begin_to_join(&mut self, index: usize, now_us: u64) {
        self.connections[index].phase = Phase::Joining;
        self.watch(index);
        self.join_more(index);
        self.whole_if_so(index, now_us);
    }

    pub(super) fn watch(&mut self, index: usize) {
        let people = &self.scenario.people;
        let connection = &mut self.connections[index];
        if connection.phase != Phase::Joining || connection.watching != Watching::No {
            return;
        }
        connection.watching = Watching::Yes;
        if people.watched_each == 0 {
            return;
        }
        let (all, each) = (people.connections, people.watched_each);
        let number = self.number(index);
        let users: Vec<String> = (1..=each.min(all - 1))
            .map(|next| self.names.user((number + next) % all))
            .collect();
        if self.put(index, Kind::Watch, 0, &Say::Watch { users: &users }) {
            self.connections[index].watching = Watching::Asked;
        }
    }

    /// Asks for rooms, so many at once.
    pub(super) fn join_more(&mut self, index: usize) {
        if !matches!(self.connections[index].phase, Phase::Joining | Phase::Whole) {
            return;
        }
        while self.connections[index].joins_open < LIGHT_JOINS_MAX {
            let from = usize::from(self.connections[index].joins_from);
            let seats = self.seats_of(index);
            let Some(slot) = seats[from..]
                .iter()
                .position(|seat| seat.state == SeatState::Away)
            else {
                return;
            };
            let seat = &mut seats[from + slot];
            seat.state = SeatState::Asked;
            let after = seat.known.then_some(seat.last);
            let number = seat.room;
            let connection = &mut self.connections[index];
            connection.joins_open += 1;
            connection.joins_from = u16::try_from(from + slot + 1).unwrap_or(u16::MAX);
            let room = self.names.room(number);
            let session = self.sessions.get(&index).cloned().unwrap_or_default();
            let say = Say::Join {
                room: &room,
                after,
                session: &session,
            };
            self.put(index, Kind::Join, number.into(), &say);
        }
    }

    pub(super) fn whole_if_so(&mut self, index: usize, now_us: u64) {
        let all = self.seats_each;
        let connection = &mut self.connections[index];
        let done = connection.phase == Phase::Joining
            && connection.joins_open == 0
            && usize::from(connection.joins_from) >= all
            && connection.watching == Watching::Yes;
        if !done
            || self
                .seats_of(index)
                .iter()
                .any(|seat| seat.state != SeatState::Joined)
        {
            return;
        }
        let connection = &mut self.connections[index];
        connection.phase = Phase::Whole;
        connection.attempts = 0;
        let cut_us = std::mem::take(&mut connection.cut_us);
        self.whole += 1;
        if index < self.active {
            self.whole_active += 1;
        }
        if cut_us > 0 {
            self.cut_open -= 1;
            self.tally
                .latency
                .whole
                .record(now_us.saturating_sub(cut_us));
        }
        if self.joining && !self.joined && self.whole == self.connections.len() {
            self.joined = true;
            self.counting.restart();
            self.reports.push(Report::Joined);
        }
        self.send_in_flight(index, now_us);
    }
}
