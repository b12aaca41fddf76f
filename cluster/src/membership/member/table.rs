//! Its dealings with the table of heartbeats: when it is read and written, and what that shows.

use tokio::time::Instant;

use super::{Effect, Member};
use crate::{
    limits::{ROW_INTERVAL, TABLE_READ_INTERVAL, TABLE_READ_INTERVAL_SUSPECT},
    membership::{beat::Beat, keeper::Mode, standing::Standing},
};

/// Dealings with the table.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) reading: bool,
    pub(super) writing: bool,
    pub(super) read_last: Option<Instant>,
    pub(super) written_last: Option<Instant>,
    pub(super) answered: bool,
    pub(super) failing_since: Option<Instant>,
    /// Begin of the latest read that came back.
    pub(super) read_done: Option<Instant>,
}

impl Table {
    pub(super) fn answered(&mut self, done: bool, now: Instant) {
        if done {
            self.answered = true;
            self.failing_since = None;
        } else {
            self.failing_since.get_or_insert(now);
        }
    }
}

impl Member {
    pub(super) fn table_read(&mut self, started: Instant, rows: Option<Vec<Beat>>, now: Instant) {
        self.table.reading = false;
        self.table.answered(rows.is_some(), now);
        if let Some(rows) = rows {
            self.table.read_done = Some(started);
            let others = rows.into_iter().filter(|row| row.endpoint() != self.me);
            self.news |= self.observer.read(others.collect(), started, now);
        }
    }

    pub(super) fn use_table(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !self.myself.has_table || self.standing == Standing::Fenced {
            return;
        }
        let is_due = |last: Option<Instant>, interval| {
            last.is_none_or(|last| now.duration_since(last) >= interval)
        };
        let writes = self.standing.serves() || self.standing == Standing::Left;
        if writes && !self.table.writing && is_due(self.table.written_last, ROW_INTERVAL) {
            self.table.writing = true;
            self.table.written_last = Some(now);
            let row = self.beat();
            effects.push(Effect::WriteRow(row));
        }
        let is_looking = self.observer.is_looking(now) || self.mode(now) == Mode::Settling;
        let interval = if is_looking {
            TABLE_READ_INTERVAL_SUSPECT
        } else {
            TABLE_READ_INTERVAL
        };
        if !self.table.reading && is_due(self.table.read_last, interval) {
            self.table.reading = true;
            self.table.read_last = Some(now);
            effects.push(Effect::ReadTable);
        }
    }
}
