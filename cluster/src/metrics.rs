//! What this crate counts.

use metrics::{counter, describe_counter};

const TASK_PANICS: &str = "rookery_cluster_task_panics_total";
const LINK_BATCHES: &str = "rookery_cluster_link_batches_total";
const LINK_DROPPED: &str = "rookery_cluster_link_dropped_total";
const LINK_HOLES: &str = "rookery_cluster_link_holes_total";

/// Describes the metrics; called once by the binary.
pub fn describe() {
    describe_counter!(TASK_PANICS, "Tasks that ended by a panic");
    describe_counter!(LINK_BATCHES, "Batches sent on links");
    describe_counter!(
        LINK_DROPPED,
        "Packets dropped because a link's queue was full"
    );
    describe_counter!(
        LINK_HOLES,
        "Holes seen in the numbering of received batches"
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

pub(crate) fn hole_seen() {
    counter!(LINK_HOLES).increment(1);
}
