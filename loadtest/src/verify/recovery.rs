//! Whether every room works, by what clients were acknowledged.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail};
use tokio::time::{Instant, interval};

use crate::workload::{Progress, RoomProgress};

/// How long a room may be without an ack after a fault is over. The promise is 5 s after a kill;
/// this is a test on a busy machine of two cores, and what is measured is in docs/reliability.md.
const RECOVERY_MAX: Duration = Duration::from_secs(30);
/// Acks a room must give to count as working.
const ACKS: u64 = 2;
const LOOK: Duration = Duration::from_millis(10);

/// What clients had seen at some moment.
pub(super) struct Mark {
    rooms: BTreeMap<String, RoomProgress>,
    at: Instant,
    pub(super) unavailable: u64,
    pub(super) unknown: u64,
    pub(super) cut_off: u64,
}

impl Mark {
    pub(super) fn of(progress: &Progress) -> Self {
        Self {
            rooms: progress.rooms(),
            at: Instant::now(),
            unavailable: progress.unavailable(),
            unknown: progress.unknown(),
            cut_off: progress.cut_off(),
        }
    }

    /// Waits until every room has acknowledged since; gives how long that took.
    pub(super) async fn all_rooms_work(
        &self,
        rooms: &[String],
        progress: &Progress,
    ) -> Result<Duration> {
        let mut look = interval(LOOK);
        loop {
            look.tick().await;
            let now = progress.rooms();
            let acked = |room: &String, of: &BTreeMap<String, RoomProgress>| {
                of.get(room).map_or(0, |room| room.appended)
            };
            let dumb: Vec<&String> = rooms
                .iter()
                .filter(|room| acked(room, &now) < acked(room, &self.rooms) + ACKS)
                .collect();
            if dumb.is_empty() {
                return Ok(self.at.elapsed());
            }
            if self.at.elapsed() > RECOVERY_MAX {
                bail!("no ack within {RECOVERY_MAX:?} in {dumb:?} ({progress})");
            }
        }
    }

    /// Rooms whose ownership is another than it was.
    pub(super) fn moved(&self, progress: &Progress) -> Vec<String> {
        let now = progress.rooms();
        let before = self
            .rooms
            .iter()
            .filter(|(room, was)| now.get(*room).is_some_and(|is| is.epoch != was.epoch));
        before
            .map(|(room, was)| format!("{room}: epoch {} then {}", was.epoch, now[room].epoch))
            .collect()
    }
}
