//! What this crate counts.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

const EVENTS: &str = "rookery_room_actors_events_total";
const REFUSED: &str = "rookery_room_actors_requests_refused_total";
const REQUESTS: &str = "rookery_room_actors_requests_total";
const ROOMS: &str = "rookery_room_actors_rooms_awake_count";
const WAKES: &str = "rookery_room_actors_wakes_total";
const WAKE_SECONDS: &str = "rookery_room_actors_wake_seconds";
const FAILURES: &str = "rookery_room_actors_room_failures_total";
const GROUPS: &str = "rookery_room_actors_commit_groups_total";
const GROUP_ROWS: &str = "rookery_room_actors_commit_group_rows_count";
const GROUP_SECONDS: &str = "rookery_room_actors_commit_seconds";
const COMMIT_FAILURES: &str = "rookery_room_actors_commit_failures_total";
const READS: &str = "rookery_room_actors_store_reads_total";

/// Describes the metrics; called once by the binary.
pub fn describe() {
    describe_counter!(EVENTS, "Events committed");
    describe_counter!(REQUESTS, "Requests taken from gateways");
    describe_counter!(
        REFUSED,
        "Requests refused before a room saw them, by reason"
    );
    describe_gauge!(ROOMS, "Rooms in memory");
    describe_counter!(WAKES, "Rooms woken");
    describe_histogram!(WAKE_SECONDS, Unit::Seconds, "Time a room took to wake");
    describe_counter!(FAILURES, "Room actors that ended by an error or a panic");
    describe_counter!(GROUPS, "Group commits done");
    describe_histogram!(GROUP_ROWS, "Rows of a group commit");
    describe_histogram!(
        GROUP_SECONDS,
        Unit::Seconds,
        "Time of a group commit with its fence read"
    );
    describe_counter!(COMMIT_FAILURES, "Tries of a group commit that failed");
    describe_counter!(READS, "Reads a room had to wait for, by what was read");
}

pub(crate) fn events_committed(count: u64) {
    counter!(EVENTS).increment(count);
}

pub(crate) fn requests_taken(count: u64) {
    counter!(REQUESTS).increment(count);
}

pub(crate) fn request_refused(reason: &'static str) {
    counter!(REFUSED, "reason" => reason).increment(1);
}

pub(crate) fn rooms_awake(count: usize) {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge of at most some thousand rooms"
    )]
    gauge!(ROOMS).set(count as f64);
}

pub(crate) fn room_woken(took: Duration) {
    counter!(WAKES).increment(1);
    histogram!(WAKE_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn room_failed() {
    counter!(FAILURES).increment(1);
}

pub(crate) fn group_committed(rows: usize, took: Duration) {
    counter!(GROUPS).increment(1);
    #[expect(clippy::cast_precision_loss, reason = "a bounded count of rows")]
    histogram!(GROUP_ROWS).record(rows as f64);
    histogram!(GROUP_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn commit_failed() {
    counter!(COMMIT_FAILURES).increment(1);
}

pub(crate) fn store_read(what: &'static str) {
    counter!(READS, "what" => what).increment(1);
}
