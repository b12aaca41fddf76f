//! Judges a history: did the server keep its word?
//!
//! Linear in the length of the history, in two passes. The first (`facts`) gathers what was asked
//! for and how it ended, and each room's final log as the judging session read it; `writes` then
//! holds the two against each other. The second pass (`streams`, `reads`) holds everything any
//! client was told against the final logs.
//!
//! A room whose log is already judged wrong (lost, duplicate, phantom, gap or conflict among its
//! events) is not judged further by what follows from its state (unread, replicas, folded pages):
//! those would only repeat the cause in other words.
//!
//! What counts as what is documented on [`Verdict`].

mod content;
mod facts;
mod log;
mod reads;
mod report;
mod streams;
mod writes;

use std::path::Path;

use crate::history::{HistoryError, HistoryReader, Record};
use facts::Facts;
pub use report::{Report, Totals, Verdict, Violation};

/// Judges a history kept in memory. Records must be in time order.
#[must_use]
pub fn check(records: &[Record]) -> Report {
    let mut report = Report::default();
    let mut facts = Facts::default();
    for record in records {
        facts.gather(record);
    }
    let judged = writes::judge(facts, &mut report);
    let mut second = SecondPass::new(&judged);
    for record in records {
        second.judge(record, &mut report);
    }
    second.finish(&mut report);
    report
}

/// Judges a history file, reading it twice.
///
/// # Errors
/// The file cannot be read or is no history.
pub fn check_file(path: &Path) -> Result<Report, HistoryError> {
    let mut report = Report::default();
    let mut facts = Facts::default();
    let mut reader = HistoryReader::open(path)?;
    for record in reader.by_ref() {
        facts.gather(&record?);
    }
    report.torn = reader.torn();
    let judged = writes::judge(facts, &mut report);
    let mut second = SecondPass::new(&judged);
    for record in HistoryReader::open(path)? {
        second.judge(&record?, &mut report);
    }
    second.finish(&mut report);
    Ok(report)
}

struct SecondPass<'a> {
    streams: streams::Streams<'a>,
    reads: reads::Reads<'a>,
}

impl<'a> SecondPass<'a> {
    fn new(judged: &'a writes::Judged) -> Self {
        Self {
            streams: streams::Streams::new(judged),
            reads: reads::Reads::new(judged),
        }
    }

    fn judge(&mut self, record: &Record, report: &mut Report) {
        report.totals.records += 1;
        self.streams.judge(record, report);
        self.reads.judge(record, report);
    }

    fn finish(self, report: &mut Report) {
        self.streams.finish(report);
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
