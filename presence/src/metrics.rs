//! What this crate counts.

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use std::time::Duration;

const REQUESTS: &str = "rookery_presence_requests_total";
const REFUSED: &str = "rookery_presence_refused_total";
const UPDATES: &str = "rookery_presence_updates_total";
const NOTICES: &str = "rookery_presence_notices_total";
const PUSHES: &str = "rookery_presence_pushes_total";
const SESSIONS_REFUSED: &str = "rookery_presence_sessions_refused_total";
const SHARD_RESTARTS: &str = "rookery_presence_shard_restarts_total";
const SHARDS: &str = "rookery_presence_shards_count";
const USERS: &str = "rookery_presence_users_count";
const REANNOUNCE: &str = "rookery_presence_reannounce_total";
const STORE_FAILURES: &str = "rookery_presence_store_failures_total";
const STORE_SECONDS: &str = "rookery_presence_store_seconds";

/// Describes the metrics; called once by the binary.
pub fn describe() {
    describe_counter!(REQUESTS, "Requests of sessions, by command");
    describe_counter!(
        REFUSED,
        "Packets refused because a shard was full or restarting"
    );
    describe_counter!(UPDATES, "Sessions told of a change of a user they watch");
    describe_counter!(NOTICES, "Sessions given a notice");
    describe_counter!(
        PUSHES,
        "Push events for users without a session, by outcome"
    );
    describe_counter!(
        SESSIONS_REFUSED,
        "Sessions not tracked because their user has too many"
    );
    describe_counter!(SHARD_RESTARTS, "Shards that ended unasked, by cause");
    describe_gauge!(SHARDS, "Shards with an actor");
    describe_gauge!(USERS, "Users in memory");
    describe_counter!(
        REANNOUNCE,
        "Gateways asked to announce their sessions again, by cause"
    );
    describe_counter!(STORE_FAILURES, "Store operations that failed, by operation");
    describe_histogram!(
        STORE_SECONDS,
        Unit::Seconds,
        "Time of store operations, by operation"
    );
}

pub(crate) fn request(command: &'static str) {
    counter!(REQUESTS, "command" => command).increment(1);
}

pub(crate) fn refused(packet: &'static str) {
    counter!(REFUSED, "packet" => packet).increment(1);
}

pub(crate) fn updates_sent(sessions: usize) {
    counter!(UPDATES).increment(sessions as u64);
}

pub(crate) fn notices_sent(sessions: usize) {
    counter!(NOTICES).increment(sessions as u64);
}

pub(crate) fn pushed(outcome: &'static str) {
    counter!(PUSHES, "outcome" => outcome).increment(1);
}

pub(crate) fn session_refused() {
    counter!(SESSIONS_REFUSED).increment(1);
}

pub(crate) fn shard_restarted(cause: &'static str) {
    counter!(SHARD_RESTARTS, "cause" => cause).increment(1);
}

pub(crate) fn shards(count: usize) {
    gauge!(SHARDS).set(count as f64);
}

pub(crate) fn users(count: usize) {
    gauge!(USERS).set(count as f64);
}

pub(crate) fn reannounce_asked(cause: &'static str) {
    counter!(REANNOUNCE, "cause" => cause).increment(1);
}

pub(crate) fn store_failed(operation: &'static str) {
    counter!(STORE_FAILURES, "operation" => operation).increment(1);
}

pub(crate) fn store_done(operation: &'static str, took: Duration) {
    histogram!(STORE_SECONDS, "operation" => operation).record(took);
}
