//! Rooms learn of their events in the order they handed them over, whatever ends first.

use std::collections::VecDeque;

use ractor::ActorRef;
use rustc_hash::FxHashMap;

use super::{RoomKey, Submission};
use crate::room::actor::RoomMsg;

struct Outstanding {
    room: ActorRef<RoomMsg>,
    writes: Writes,
}

/// One room's writes that it was not told of, oldest first, and whether they are durable.
#[derive(Debug, Default)]
struct Writes(VecDeque<(u64, bool)>);

impl Writes {
    /// Notes that one is durable; the newest one the room may be told of now.
    fn done(&mut self, seq: u64) -> Option<u64> {
        if let Some(write) = self.0.iter_mut().find(|write| write.0 == seq) {
            write.1 = true;
        }
        let mut told = None;
        while let Some((seq, true)) = self.0.front() {
            told = Some(*seq);
            self.0.pop_front();
        }
        told
    }
}

/// Writes that are not durable yet, or wait for an earlier one of their room.
#[derive(Default)]
pub(super) struct Order {
    rooms: FxHashMap<RoomKey, Outstanding>,
}

impl Order {
    pub(super) fn submitted(&mut self, submission: &Submission, seq: u64) {
        let outstanding = self
            .rooms
            .entry(submission.key)
            .or_insert_with(|| Outstanding {
                room: submission.room.clone(),
                writes: Writes::default(),
            });
        outstanding.writes.0.push_back((seq, false));
    }

    /// One write is durable: the newest the room may be told of now, when that moved.
    pub(super) fn done(&mut self, key: RoomKey, seq: u64) -> Option<(ActorRef<RoomMsg>, u64)> {
        let outstanding = self.rooms.get_mut(&key)?;
        let told = outstanding.writes.done(seq)?;
        let room = outstanding.room.clone();
        if outstanding.writes.0.is_empty() {
            self.rooms.remove(&key);
        }
        Some((room, told))
    }

    /// Rooms with writes on their way.
    pub(super) fn rooms(&self) -> impl Iterator<Item = &ActorRef<RoomMsg>> {
        self.rooms.values().map(|outstanding| &outstanding.room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_order(ends: &[u64], told: &[Option<u64>]) {
        let mut writes = Writes((1..=ends.len() as u64).map(|seq| (seq, false)).collect());
        let got: Vec<_> = ends.iter().map(|&seq| writes.done(seq)).collect();
        assert_eq!(got, told, "writes end as {ends:?}");
        assert!(writes.0.is_empty());
    }

    #[test]
    fn room_is_told_in_order_whatever_ends_first() {
        check_order(&[1, 2, 3], &[Some(1), Some(2), Some(3)]);
        check_order(&[3, 2, 1], &[None, None, Some(3)]);
        check_order(&[2, 1, 3], &[None, Some(2), Some(3)]);
    }
}
