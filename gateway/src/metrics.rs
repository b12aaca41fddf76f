//! What this crate counts.
//!
//! Workers count in plain fields and hand the sums over once a batch: nothing here is on the path
//! of a single delivery.

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use rookery_proto::errors::Code;

const SESSIONS: &str = "rookery_gateway_sessions";
const OPENED: &str = "rookery_gateway_sessions_opened_total";
const CLOSED: &str = "rookery_gateway_sessions_closed_total";
const FRAMES_IN: &str = "rookery_gateway_frames_received_total";
const FRAMES_OUT: &str = "rookery_gateway_frames_sent_total";
const BYTES_OUT: &str = "rookery_gateway_sent_bytes_total";
const WRITES: &str = "rookery_gateway_writes_total";
const EVENTS: &str = "rookery_gateway_events_total";
const RESYNCS: &str = "rookery_gateway_resyncs_total";
const ROOMS_MOVED: &str = "rookery_gateway_rooms_moved_total";
const OWNERS_CHANGED: &str = "rookery_gateway_owners_changed_total";
const RETRIED: &str = "rookery_gateway_requests_retried_total";
const ABANDONED: &str = "rookery_gateway_requests_abandoned_total";
const SLOW_READERS: &str = "rookery_gateway_slow_readers_closed_total";
const DEAD_PEERS: &str = "rookery_gateway_dead_peers_closed_total";
const UNANSWERED: &str = "rookery_gateway_requests_unanswered_total";
const ERRORS: &str = "rookery_gateway_errors_total";
const LANE_INPUTS: &str = "rookery_gateway_lane_inputs";
const REQUESTS_WAITING: &str = "rookery_gateway_requests_waiting";
const SHARDS_HELD: &str = "rookery_gateway_shards_held";
const BATCH_INPUTS: &str = "rookery_gateway_batch_inputs";

/// Describes the metrics; called once by the binary.
pub fn describe() {
    describe_gauge!(SESSIONS, "Sessions of a lane");
    describe_counter!(OPENED, "Connections upgraded");
    describe_counter!(CLOSED, "Sessions ended");
    describe_counter!(FRAMES_IN, "Messages received from clients");
    describe_counter!(FRAMES_OUT, "Frames queued for clients");
    describe_counter!(BYTES_OUT, "Bytes written to sockets");
    describe_counter!(WRITES, "System calls that wrote to sockets");
    describe_counter!(EVENTS, "Room events taken, once per lane");
    describe_counter!(RESYNCS, "Times a lane asked for a room's missing events");
    describe_counter!(
        ROOMS_MOVED,
        "Rooms with listeners whose owner changed, once per lane"
    );
    describe_counter!(OWNERS_CHANGED, "Shards whose owner or epoch changed");
    describe_counter!(
        RETRIED,
        "Requests sent again, to another owner or after a loss"
    );
    describe_counter!(
        ABANDONED,
        "Requests of unknown outcome that could not be sent again"
    );
    describe_gauge!(
        SHARDS_HELD,
        "Shards of a lane whose requests wait for an owner"
    );
    describe_counter!(SLOW_READERS, "Sessions closed because their queue was full");
    describe_counter!(DEAD_PEERS, "Sessions closed because nothing came from them");
    describe_counter!(UNANSWERED, "Requests whose owner did not answer in time");
    describe_counter!(ERRORS, "Error frames sent, by code");
    describe_gauge!(LANE_INPUTS, "Inputs waiting for a lane");
    describe_gauge!(REQUESTS_WAITING, "Requests of a lane without an answer");
    describe_histogram!(BATCH_INPUTS, "Inputs a lane handled between two flushes");
    crate::http::metrics::describe();
}

/// Shards changed owners.
pub(crate) fn owners_changed(shards: usize) {
    counter!(OWNERS_CHANGED).increment(shards as u64);
}

/// Codes of the wire's error table, as labels.
const CODES: usize = 16;

/// What a worker counts between two reports.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) frames_in: u64,
    pub(crate) frames_out: u64,
    pub(crate) bytes_out: u64,
    pub(crate) writes: u64,
    pub(crate) events: u64,
    pub(crate) resyncs: u64,
    pub(crate) slow_readers: u64,
    pub(crate) dead_peers: u64,
    pub(crate) unanswered: u64,
    pub(crate) rooms_moved: u64,
    pub(crate) retried: u64,
    pub(crate) abandoned: u64,
    errors: [u32; CODES],
}

impl Counts {
    /// Counts an error frame.
    pub(crate) fn error(&mut self, code: Code) {
        let at = usize::try_from(i32::from(code)).unwrap_or(0);
        self.errors[at.min(CODES - 1)] += 1;
    }
}

/// The handles of one lane.
pub(crate) struct LaneMetrics {
    sessions: Gauge,
    inputs: Gauge,
    requests: Gauge,
    held: Gauge,
    batch: Histogram,
    counters: [Counter; 14],
}

impl LaneMetrics {
    pub(crate) fn new(lane: u32) -> Self {
        let lane = lane.to_string();
        Self {
            sessions: gauge!(SESSIONS, "lane" => lane.clone()),
            inputs: gauge!(LANE_INPUTS, "lane" => lane.clone()),
            requests: gauge!(REQUESTS_WAITING, "lane" => lane.clone()),
            held: gauge!(SHARDS_HELD, "lane" => lane),
            batch: histogram!(BATCH_INPUTS),
            counters: [
                OPENED,
                CLOSED,
                FRAMES_IN,
                FRAMES_OUT,
                BYTES_OUT,
                WRITES,
                EVENTS,
                RESYNCS,
                SLOW_READERS,
                DEAD_PEERS,
                UNANSWERED,
                ROOMS_MOVED,
                RETRIED,
                ABANDONED,
            ]
            .map(|name| counter!(name)),
        }
    }

    /// Hands over what was counted in a batch.
    pub(crate) fn report(&self, counts: &mut Counts, state: LaneState) {
        let counts = std::mem::take(counts);
        let values = [
            counts.opened,
            counts.closed,
            counts.frames_in,
            counts.frames_out,
            counts.bytes_out,
            counts.writes,
            counts.events,
            counts.resyncs,
            counts.slow_readers,
            counts.dead_peers,
            counts.unanswered,
            counts.rooms_moved,
            counts.retried,
            counts.abandoned,
        ];
        for (counter, value) in self.counters.iter().zip(values) {
            if value > 0 {
                counter.increment(value);
            }
        }
        for (code, &count) in (0..).zip(&counts.errors) {
            if count > 0 {
                let code = Code::try_from(code).unwrap_or_default();
                counter!(ERRORS, "code" => code.as_str_name()).increment(u64::from(count));
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
        {
            self.sessions.set(state.sessions as f64);
            self.inputs.set(state.inputs_waiting as f64);
            self.requests.set(state.requests_waiting as f64);
            self.held.set(state.shards_held as f64);
            if state.batch_inputs > 0 {
                self.batch.record(state.batch_inputs as f64);
            }
        }
    }
}

/// A lane after a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneState {
    pub(crate) sessions: usize,
    pub(crate) inputs_waiting: usize,
    pub(crate) requests_waiting: usize,
    pub(crate) shards_held: usize,
    pub(crate) batch_inputs: usize,
}
