//! What one stage measured: counts, latencies, and both over time.

use std::{collections::BTreeMap, ops::AddAssign};

use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;

/// What one stage measured. Counts and latencies exclude its warm-up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageOutcome {
    /// As in the scenario.
    pub name: String,
    /// When its measuring began, ms after the side's first sample.
    pub began_ms: u64,
    /// How long it was measured, ms.
    pub took_ms: u64,
    /// What happened how often.
    pub counts: Counts,
    /// How long things took.
    pub latency: Latencies,
    /// The same over time, one a second.
    pub ticks: Vec<Tick>,
    /// CPU of each role's processes in the measured time, microseconds.
    pub cpu_us: BTreeMap<String, u64>,
    /// Resident memory of each role's processes at its end, bytes.
    pub memory_bytes: BTreeMap<String, u64>,
    /// What the server's own metrics say was counted in the stage, by metric and labels; only of
    /// servers that tell (store reads, commit batches).
    pub server_counters: BTreeMap<String, f64>,
}

/// How often things happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Sends that were due.
    pub due: u64,
    /// Sends acknowledged.
    pub acked: u64,
    /// Commands refused as too much (OVERLOADED, RATE_LIMITED).
    pub refused: u64,
    /// Commands refused otherwise, or without an answer in time.
    pub failed: u64,
    /// Commands other than sends that were answered.
    pub answered: u64,
    /// Events that reached a listener.
    pub delivered: u64,
    /// Events missing in a listener's dense row of offsets, or behind its last one at the end.
    pub lost: u64,
    /// Events that reached the same listener twice.
    pub doubled: u64,
    /// Bytes that came from the server.
    pub bytes_in: u64,
    /// Connections opened anew.
    pub connected: u64,
    /// Rooms resumed by offset.
    pub resumed: u64,
    /// Rooms that could not be resumed by offset and were read anew.
    pub reset: u64,
    /// Connections that ended without being asked to.
    pub dropped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        // Taken apart, so that a new count cannot be forgotten.
        let Self {
            due,
            acked,
            refused,
            failed,
            answered,
            delivered,
            lost,
            doubled,
            bytes_in,
            connected,
            resumed,
            reset,
            dropped,
        } = more;
        self.due += due;
        self.acked += acked;
        self.refused += refused;
        self.failed += failed;
        self.answered += answered;
        self.delivered += delivered;
        self.lost += lost;
        self.doubled += doubled;
        self.bytes_in += bytes_in;
        self.connected += connected;
        self.resumed += resumed;
        self.reset += reset;
        self.dropped += dropped;
    }
}

/// How long things took, microseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Latencies {
    /// From when a send was due to its acknowledgement.
    pub ack: Histogram,
    /// From when a send was due to each listener that has it.
    pub delivery: Histogram,
    /// From when a send was due to the last listener (of one load process).
    pub all: Histogram,
    /// From opening a connection to its `welcome`.
    pub connect: Histogram,
    /// From being cut to having every room resumed.
    pub whole: Histogram,
    /// From when another command was due to its answer.
    pub command: Histogram,
}

/// A second of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// When it ended, ms after the side's first sample.
    pub at_ms: u64,
    /// Connections that are joined.
    pub connections: u64,
    /// In this second.
    pub due: u64,
    /// In this second.
    pub acked: u64,
    /// In this second.
    pub delivered: u64,
    /// Of this second's acks, microseconds; 0: none.
    pub ack_p50_us: u64,
    /// The same.
    pub ack_p99_us: u64,
    /// Of this second's deliveries, microseconds; 0: none.
    pub delivery_p50_us: u64,
    /// The same.
    pub delivery_p99_us: u64,
}

impl Counts {
    /// Each with its name.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 13] {
        [
            ("due", self.due),
            ("acked", self.acked),
            ("refused", self.refused),
            ("failed", self.failed),
            ("answered", self.answered),
            ("delivered", self.delivered),
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("bytes_in", self.bytes_in),
            ("connected", self.connected),
            ("resumed", self.resumed),
            ("reset", self.reset),
            ("dropped", self.dropped),
        ]
    }
}

impl Latencies {
    /// Adds another's counts.
    pub fn merge(&mut self, more: &Self) {
        let Self {
            ack,
            delivery,
            all,
            connect,
            whole,
            command,
        } = more;
        self.ack.merge(ack);
        self.delivery.merge(delivery);
        self.all.merge(all);
        self.connect.merge(connect);
        self.whole.merge(whole);
        self.command.merge(command);
    }

    /// Each with its name.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, &Histogram); 6] {
        [
            ("ack", &self.ack),
            ("delivery", &self.delivery),
            ("all", &self.all),
            ("connect", &self.connect),
            ("whole", &self.whole),
            ("command", &self.command),
        ]
    }
}
