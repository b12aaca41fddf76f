//! What this crate counts.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

const COMMITS: &str = "rookery_persistence_commits_total";
const ROWS: &str = "rookery_persistence_rows_total";
const FAILURES: &str = "rookery_persistence_commit_failures_total";
const GROUP_WRITES: &str = "rookery_persistence_group_writes";
const COMMIT_SECONDS: &str = "rookery_persistence_commit_seconds";
const WRITES_WAITING: &str = "rookery_persistence_writes_waiting";
const REQUESTS_WAITING: &str = "rookery_persistence_requests_waiting";
const REQUESTS_REPEATED: &str = "rookery_persistence_requests_repeated_total";
const READ_SECONDS: &str = "rookery_persistence_read_seconds";
const WAL_PAGES: &str = "rookery_persistence_wal_pages";

/// Describes the metrics; called once by the binary.
pub fn describe() {
    describe_counter!(COMMITS, "Transactions, or group commits at quorum");
    describe_counter!(ROWS, "Rows written by committed transactions");
    describe_counter!(FAILURES, "Transactions that failed, by outcome");
    describe_histogram!(GROUP_WRITES, "Writes that shared one transaction");
    describe_histogram!(
        COMMIT_SECONDS,
        Unit::Seconds,
        "From the first statement to the disk's answer"
    );
    describe_gauge!(WRITES_WAITING, "Writes waiting for the writer thread");
    describe_gauge!(
        REQUESTS_WAITING,
        "Requests waiting for a place among those in flight to the CQL database"
    );
    describe_counter!(
        REQUESTS_REPEATED,
        "Requests of commits sent again because a replica was slow to answer"
    );
    describe_histogram!(READ_SECONDS, Unit::Seconds, "Reads, without their wait");
    describe_gauge!(WAL_PAGES, "Pages in the write-ahead log");
}

pub(crate) fn committed(writes: usize, rows: usize, took: Duration) {
    counter!(COMMITS).increment(1);
    counter!(ROWS).increment(rows as u64);
    histogram!(GROUP_WRITES).record(writes as f64);
    histogram!(COMMIT_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn commit_failed(outcome: &'static str) {
    counter!(FAILURES, "outcome" => outcome).increment(1);
}

pub(crate) fn writes_waiting(count: usize) {
    gauge!(WRITES_WAITING).set(count as f64);
}

/// Counts one waiting request until it is dropped.
#[cfg(feature = "cql")]
pub(crate) fn request_waiting() -> impl Drop {
    struct Waiting;
    impl Drop for Waiting {
        fn drop(&mut self) {
            gauge!(REQUESTS_WAITING).decrement(1.0);
        }
    }
    gauge!(REQUESTS_WAITING).increment(1.0);
    Waiting
}

#[cfg(feature = "cql")]
pub(crate) fn requests_repeated(count: usize) {
    counter!(REQUESTS_REPEATED).increment(count as u64);
}

pub(crate) fn read_done(took: Duration) {
    histogram!(READ_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn wal_pages(count: u32) {
    gauge!(WAL_PAGES).set(f64::from(count));
}
