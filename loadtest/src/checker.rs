//! Judges a history: did the server keep its word?
//!
//! Linear in the length of the history, in two passes. The first (`facts`) gathers what was asked
//! for and how it ended, and each room's final log as the judging session read it; `writes` then
//! holds the two against each other. The second pass (`streams`, `reads`, `members`, `presence`) holds
//! everything any client was told against the final logs.
//!
//! A room whose log is already judged wrong (lost, duplicate, phantom, gap or conflict among its
//! events) is not judged further by what follows from its state (unread, replicas, folded pages):
//! those would only repeat the cause in other words.
//!
//! What counts as what is documented on [`Verdict`].

mod content;
mod deleted;
mod facts;
mod judged;
mod log;
mod members;
mod names;
mod presence;
mod reads;
mod report;
mod state;
mod streams;
mod timeline;
mod writes;

use std::path::Path;

use crate::history::{HistoryError, HistoryReader, Record};
use facts::Facts;
pub use report::{Report, Totals, Verdict, Violation};

/// Judges a history kept in memory. Records must be in time order.
#[must_use]
pub fn check(records: &[Record]) -> Report {
    check_each(|judge| records.iter().for_each(judge))
}

/// Judges a history that need not be kept: `tell` is called twice, and gives each record to its
/// argument, the same both times, in time order.
pub fn check_each(mut tell: impl FnMut(&mut dyn FnMut(&Record))) -> Report {
    let mut report = Report::default();
    let mut facts = Facts::default();
    tell(&mut |record| facts.gather(record));
    let judged = writes::judge(facts, &mut report);
    let mut second = SecondPass::new(&judged);
    tell(&mut |record| second.judge(record, &mut report));
    second.finish(&mut report);
    report
}

/// Judges a history file, reading it twice.
///
/// # Errors
/// The file cannot be read or is no history.
pub fn check_file(path: &Path) -> Result<Report, HistoryError> {
    let mut failed = None;
    let mut torn = false;
    let mut read = |judge: &mut dyn FnMut(&Record)| -> Result<(), HistoryError> {
        let mut reader = HistoryReader::open(path)?;
        for record in reader.by_ref() {
            judge(&record?);
        }
        torn = reader.torn();
        Ok(())
    };
    let mut report = check_each(|judge| {
        if failed.is_none() {
            failed = read(judge).err();
        }
    });
    report.torn = torn;
    match failed {
        Some(error) => Err(error),
        None => Ok(report),
    }
}

struct SecondPass<'a> {
    streams: streams::Streams<'a>,
    reads: reads::Reads<'a>,
    members: members::Memberships<'a>,
    presences: presence::Presences<'a>,
}

impl<'a> SecondPass<'a> {
    fn new(judged: &'a judged::Judged) -> Self {
        Self {
            streams: streams::Streams::new(judged),
            reads: reads::Reads::new(judged),
            members: members::Memberships::new(judged),
            presences: presence::Presences::new(judged),
        }
    }

    fn judge(&mut self, record: &Record, report: &mut Report) {
        report.totals.records += 1;
        self.streams.judge(record, report);
        self.reads.judge(record, report);
        self.members.judge(record, report);
        self.presences.judge(record, report);
    }

    fn finish(self, report: &mut Report) {
        self.streams.finish(report);
        self.presences.finish(report);
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
