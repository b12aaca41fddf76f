//! After a stage: whether every listener came to its room's head.

use super::{Engine, Report};
use crate::{
    light::{
        clock::us,
        connection::Phase,
        wire::{Kind, Refusal, Say, Tag},
    },
    limits::{LIGHT_JOINS_MAX, LIGHT_LOOK_INTERVAL, LIGHT_SETTLE_DEADLINE},
};

/// Questions for the heads of all rooms with listeners here.
#[derive(Debug)]
pub(super) struct Settling {
    deadline_us: u64,
    look_us: u64,
    to_ask: Vec<u32>,
    asked: usize,
}

impl Engine {
    pub(super) fn begin_settling(&mut self, now_us: u64) {
        let rooms = (0..).zip(&self.rooms);
        let heard = rooms.filter(|(_, room)| room.listeners > 0);
        self.settling = Some(Settling {
            deadline_us: now_us + us(LIGHT_SETTLE_DEADLINE),
            look_us: now_us,
            to_ask: heard.map(|(number, _)| number).collect(),
            asked: 0,
        });
    }

    pub(super) fn settling_wakes_us(&self) -> Option<u64> {
        self.settling.as_ref().map(|settling| settling.look_us)
    }

    pub(super) fn run_settling(&mut self, now_us: u64) {
        let Some(mut settling) = self.settling.take_if(|settling| now_us >= settling.look_us)
        else {
            return;
        };
        settling.look_us = now_us + us(LIGHT_LOOK_INTERVAL);
        let rooms = std::mem::take(&mut settling.to_ask);
        for number in rooms {
            let index = self.rooms[number as usize].someone as usize;
            let connection = &self.connections[index];
            let free = connection.unanswered < u32::from(LIGHT_JOINS_MAX);
            if connection.phase != Phase::Whole || !free {
                settling.to_ask.push(number);
                continue;
            }
            let room = self.names.room(number);
            let said = self.put(index, Kind::Head, number.into(), &Say::Head { room: &room });
            settling.asked += usize::from(said);
            self.flush(index, now_us);
        }
        let told = settling.to_ask.is_empty() && settling.asked == 0;
        if (told && self.all_have_seen()) || now_us >= settling.deadline_us {
            self.settled();
        } else {
            self.settling = Some(settling);
        }
    }

    /// A room's head, or why it is not told.
    pub(super) fn on_head(&mut self, tag: Tag, head: Result<u64, Refusal>) {
        let (Some(settling), Ok(number)) = (&mut self.settling, u32::try_from(tag.value)) else {
            return;
        };
        let Some(room) = self.rooms.get_mut(number as usize) else {
            return;
        };
        settling.asked = settling.asked.saturating_sub(1);
        match head {
            Ok(head) => room.seen = room.seen.max(head),
            Err(Refusal::Busy(_) | Refusal::Unavailable) => settling.to_ask.push(number),
            // The newest that was seen stands for it.
            Err(Refusal::Never) => {}
        }
    }

    /// What is missing now is lost. Should it come later it counts as doubled.
    fn settled(&mut self) {
        for seat in &mut self.seats {
            let seen = self.rooms[seat.room as usize].seen;
            if seat.known && seat.last < seen {
                self.tally.counts.lost += seen - seat.last;
                seat.last = seen;
            }
        }
        let counts = self.tally.take_settled();
        self.reports.push(Report::Settled(counts));
    }
}
