//! Bounds of the gateway: the number, why it is that, what happens when full, and the metric.
//!
//! What operators may change is in [`crate::config`]; its defaults stand on these numbers too.

use std::time::Duration;

use rookery_proto::limits::{
    DEVICE_BYTES_MAX, FRAME_BYTES_MAX, NAME_BYTES_MAX, TEXT_BYTES_MAX, USER_ID_BYTES_MAX,
};

/// Inputs waiting for one lane. A lane handles a million a second, so this is a few milliseconds
/// of work. When full, readers wait (and so do their clients, by TCP), and so does the inbox.
/// Metric: `rookery_gateway_lane_inputs`.
pub const LANE_INPUTS_MAX: usize = 4_096;
/// Inputs a lane takes before it writes to sockets: enough that a busy room's events share a
/// write, few enough that the first of them does not wait long for the last.
pub const LANE_BATCH_INPUTS_MAX: usize = 256;

/// Listeners of a room whose sessions a lane looks up before it writes to the first of them: as many
/// as a processor has fetches from memory under way.
pub const LISTENERS_AHEAD: usize = 16;

/// Bytes a reader takes from a socket at once, in a buffer shared by all connections of a thread.
pub const READ_BYTES: usize = 64 * 1024;

/// Requests of one session without an answer. A client that sends faster than rooms answer is
/// refused with OVERLOADED.
pub const SESSION_REQUESTS_MAX: u16 = 256;
/// Requests of one lane without an answer; the next is refused with OVERLOADED.
/// Metric: `rookery_gateway_requests_waiting`.
pub const LANE_REQUESTS_MAX: usize = 65_536;
/// Bytes of the requests kept by a lane for a second try at another owner; over it, OVERLOADED.
pub const LANE_REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a refused client is told to wait.
pub const OVERLOADED_RETRY: Duration = Duration::from_millis(250);

/// A request without a reply is answered with UNAVAILABLE after this time.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// What a client is told to wait after UNAVAILABLE.
pub const UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);
/// One line of `rooms` may take this long; the page then says `unavailable` for it. Shorter than
/// [`REQUEST_DEADLINE`] so that one lost owner does not cost the client the whole page.
pub const SUMMARY_DEADLINE: Duration = Duration::from_secs(4);
/// Between two tries of a request whose owner was not the owner, or that has none. Doubles up to
/// [`OWNER_RETRY_MAX`]; a change of owner ends it.
pub const OWNER_RETRY: Duration = Duration::from_millis(50);
/// Longest such pause.
pub const OWNER_RETRY_MAX: Duration = Duration::from_millis(400);
/// How long the answer of a lost owner is waited for, where asking another could do a thing twice.
/// Much longer than an answer takes that is on its way: an owner that hands its shard over has
/// finished what was in flight, and answers though it owns nothing any more. Then UNAVAILABLE.
/// Metric: `rookery_gateway_requests_abandoned_total`.
pub const DOUBT_GRACE: Duration = Duration::from_secs(1);

/// A resync without an answer is sent again after this time, which doubles up to
/// [`RESYNC_RETRY_MAX`]. Longer than a room takes to wake.
pub const RESYNC_RETRY: Duration = Duration::from_millis(300);
/// Longest time between two resyncs of a room that nobody answers.
pub const RESYNC_RETRY_MAX: Duration = Duration::from_secs(2);
/// Sessions named in one packet of a resync: with the longest names still half of what the bus
/// carries. More follow in further packets.
pub const RESYNC_SESSIONS_MAX: usize = 1_024;
/// Watched users asked for at once after their shard moved; the rest wait. A tenth of what a lane
/// may have waiting. Metric: `rookery_gateway_requests_waiting`.
pub const REWATCHES_MAX: usize = 4_096;
/// Pause before watched users are asked for again whose owner refused or did not answer: as long as
/// a client is told to wait.
pub const REWATCH_PAUSE: Duration = UNAVAILABLE_RETRY;
/// Peers whose silence is remembered, and whose links a lane has at hand. Over it all are forgotten.
pub const PEERS_REMEMBERED_MAX: usize = 1_024;
/// Events of one room kept behind a hole until the resync is answered. Over it the newest is
/// dropped, which the next resync fetches.
pub const RESYNC_HELD_EVENTS_MAX: usize = 1_024;

/// Bytes of answers to a session's own commands that do not count as falling behind: two of the
/// largest pages the link carries, escaped. So a replay alone never looks like a slow reader.
pub const QUEUE_ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Slices of one vectored write: what fits one system call without a cost of its own.
pub const WRITE_SLICES_MAX: usize = 64;

/// Frames in a row that are not valid commands, before the connection is closed with
/// `TooManyErrors`: a client under development makes a few, a broken one makes only such.
pub const INVALID_FRAMES_MAX: u16 = 100;
/// Commands in a row refused for their rate, before the connection is closed with `TooManyErrors`.
pub const RATE_LIMITED_FRAMES_MAX: u16 = 1_000;

/// Refused commands a lane writes to the log in a second, and in a burst: enough to find any one
/// client's, few enough that a broken fleet does not fill the disk. Over it they are counted, and
/// the log says how many.
pub const REFUSALS_LOGGED_PER_SECOND: u32 = 50;
/// See [`REFUSALS_LOGGED_PER_SECOND`].
pub const REFUSALS_LOGGED_BURST: u32 = 500;

/// A closed session's socket stays open this long for the client's half of the handshake.
pub const CLOSE_LINGER: Duration = Duration::from_secs(1);
/// A slow reader's socket stays open this long: its buffers are full, and it must read what is in
/// them before it comes to the close code that tells it to resume. It holds one piece meanwhile.
pub const SLOW_CLOSE_LINGER: Duration = Duration::from_secs(30);
/// How long before its token expires a client is told; at half the remaining life when shorter.
pub const TOKEN_NOTICE: Duration = Duration::from_secs(60);

/// Resolution of all timers of a lane.
pub const TIMER_TICK: Duration = Duration::from_millis(50);
/// Slots of a lane's timing wheel: a bit more than one default heartbeat interval a turn.
pub const TIMER_SLOTS: usize = 1_024;

const _: () = assert!(LANE_BATCH_INPUTS_MAX <= LANE_INPUTS_MAX);
const _: () = assert!(READ_BYTES >= FRAME_BYTES_MAX);
const _: () = assert!(LANE_REQUEST_BYTES_MAX >= 1_000 * TEXT_BYTES_MAX);
const _: () = assert!(SUMMARY_DEADLINE.as_millis() * 2 < REQUEST_DEADLINE.as_millis());
const _: () = assert!(OWNER_RETRY.as_millis() >= TIMER_TICK.as_millis());
const _: () = assert!(OWNER_RETRY_MAX.as_millis() * 10 < REQUEST_DEADLINE.as_millis());
const _: () = assert!(DOUBT_GRACE.as_millis() * 4 < REQUEST_DEADLINE.as_millis());
const _: () = assert!(REWATCHES_MAX * 10 <= LANE_REQUESTS_MAX);
const _: () = assert!(
    RESYNC_SESSIONS_MAX * (USER_ID_BYTES_MAX + NAME_BYTES_MAX + DEVICE_BYTES_MAX + 64)
        < rookery_cluster::limits::PAYLOAD_BYTES_MAX
);
const _: () = assert!(TIMER_SLOTS.is_power_of_two());
