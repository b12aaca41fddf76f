//! What this crate counts.

use metrics::{counter, describe_counter, describe_gauge, gauge};

use crate::membership::{Duty, Standing, Suspended};

const TASK_PANICS: &str = "rookery_cluster_task_panics_total";
const LINK_BATCHES: &str = "rookery_cluster_link_batches_total";
const LINK_DROPPED: &str = "rookery_cluster_link_dropped_total";
const LINK_REFUSED: &str = "rookery_cluster_link_batches_refused_total";
const LINK_HOLES: &str = "rookery_cluster_link_holes_total";
const BUS_DROPPED: &str = "rookery_cluster_bus_dropped_total";
const NATS_CONNECTED: &str = "rookery_cluster_nats_connected_count";
const NATS_DISCONNECTS: &str = "rookery_cluster_nats_disconnects_total";
const NATS_ERRORS: &str = "rookery_cluster_nats_errors_total";

const MEMBER_DUTIES: &str = "rookery_cluster_member_duties_total";
const MEMBER_SERVES: &str = "rookery_cluster_member_serves_count";
const MEMBER_SUSPENDED: &str = "rookery_cluster_member_suspended_total";
const MEMBER_TABLE_FAILED: &str = "rookery_cluster_member_table_failures_total";
const MEMBER_DROPPED: &str = "rookery_cluster_member_announcements_dropped_total";

/// Describes the metrics; called once by the binary.
pub fn describe() {
    describe_counter!(TASK_PANICS, "Tasks that ended by a panic");
    describe_counter!(LINK_BATCHES, "Batches sent on links");
    describe_counter!(
        LINK_DROPPED,
        "Packets dropped because a link's queue was full"
    );
    describe_counter!(LINK_REFUSED, "Batches the bus did not take");
    describe_counter!(
        LINK_HOLES,
        "Holes seen in the numbering of received batches"
    );
    describe_counter!(
        BUS_DROPPED,
        "Messages lost because a subscription was full, by the buffer that was"
    );
    describe_gauge!(
        NATS_CONNECTED,
        "Whether a connection to NATS stands, by connection"
    );
    describe_counter!(NATS_DISCONNECTS, "Connections to NATS lost, by connection");
    describe_counter!(NATS_ERRORS, "Errors told by NATS, by connection");
    describe_counter!(
        MEMBER_DUTIES,
        "Steps of taking and handing over shards, by step"
    );
    describe_gauge!(MEMBER_SERVES, "Whether this node may serve");
    describe_counter!(
        MEMBER_SUSPENDED,
        "Times this node stopped to serve, by reason"
    );
    describe_counter!(
        MEMBER_TABLE_FAILED,
        "Reads and writes of the table of heartbeats that failed"
    );
    describe_counter!(
        MEMBER_DROPPED,
        "Announcements dropped because the bus took none"
    );
}

pub(crate) fn task_panicked(name: &'static str) {
    counter!(TASK_PANICS, "task" => name).increment(1);
}

pub(crate) fn batch_sent() {
    counter!(LINK_BATCHES).increment(1);
}

pub(crate) fn packet_dropped() {
    counter!(LINK_DROPPED).increment(1);
}

pub(crate) fn batch_refused() {
    counter!(LINK_REFUSED).increment(1);
}

pub(crate) fn hole_seen() {
    counter!(LINK_HOLES).increment(1);
}

/// Which buffer was full.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Overflow {
    /// Our own, of one subscription.
    Inbox,
    /// The NATS client's, before ours. A lower bound: the client may not tell each.
    #[cfg(feature = "nats")]
    Client,
}

pub(crate) fn bus_dropped(overflow: Overflow) {
    let buffer = match overflow {
        Overflow::Inbox => "inbox",
        #[cfg(feature = "nats")]
        Overflow::Client => "client",
    };
    counter!(BUS_DROPPED, "buffer" => buffer).increment(1);
}

#[cfg(feature = "nats")]
pub(crate) fn nats_connected(connection: &'static str, connected: bool) {
    gauge!(NATS_CONNECTED, "connection" => connection).set(f64::from(u8::from(connected)));
    if !connected {
        counter!(NATS_DISCONNECTS, "connection" => connection).increment(1);
    }
}

#[cfg(feature = "nats")]
pub(crate) fn nats_error(connection: &'static str) {
    counter!(NATS_ERRORS, "connection" => connection).increment(1);
}

pub(crate) fn duty(duty: &Duty) {
    let step = match duty {
        Duty::Take { from: None, .. } => "take",
        Duty::Take { from: Some(_), .. } => "take_over",
        Duty::Expect { .. } => "expect",
        Duty::StopAdmitting { .. } => "stop_admitting",
        Duty::Release { to: None, .. } => "release",
        Duty::Release { to: Some(_), .. } => "give",
        Duty::Given { .. } => "given",
        Duty::Admit { .. } => "admit",
        Duty::Lost { .. } => "lost",
    };
    counter!(MEMBER_DUTIES, "step" => step).increment(1);
}

pub(crate) fn standing(standing: Standing) {
    gauge!(MEMBER_SERVES).set(f64::from(u8::from(standing.serves())));
    if let Standing::Suspended(why) = standing {
        let reason = match why {
            Suspended::Deaf => "deaf",
            Suspended::Table => "table",
            Suspended::Commits => "commits",
        };
        counter!(MEMBER_SUSPENDED, "reason" => reason).increment(1);
    }
}

pub(crate) fn table_failed() {
    counter!(MEMBER_TABLE_FAILED).increment(1);
}

pub(crate) fn announcement_dropped() {
    counter!(MEMBER_DROPPED).increment(1);
}
