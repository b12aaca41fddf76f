//! Bounds of rooms and their node: the number, why it is that, what happens when full.

use std::time::Duration;

use rookery_proto::limits::{FRAME_BYTES_MAX, HISTORY_EVENTS_MAX, TEXT_BYTES_MAX};

/// What an installation may change. [`Default`] is documented per field.
#[derive(Clone, Copy, Debug)]
pub struct RoomLimits {
    /// A room without listeners and without requests for this long leaves memory. Default 5 min:
    /// longer than a reconnect, shorter than a coffee.
    pub passivate_after: Duration,
    /// Members of one group. Default 10,000. When full a join is answered `ROOM_FULL`.
    pub members_max: usize,
    /// Rooms in memory. Default 50,000 (some 20 KiB each when quiet). When full the least recently
    /// used idle ones leave, and a request for a sleeping room is answered `OVERLOADED`.
    pub rooms_awake_max: usize,
    /// Requests one room holds, waiting or not yet committed. Default 4,096. When full: `OVERLOADED`.
    pub room_commands_max: usize,
    /// Requests the node holds. Default 65,536. When full: `OVERLOADED`.
    pub node_commands_max: usize,
    /// Bytes of requests the node holds. Default 64 MiB. When full: `OVERLOADED`.
    pub node_bytes_max: usize,
    /// Sends per second of one user in one room. Default 50. Beyond: `RATE_LIMITED`.
    pub sends_per_second: u32,
    /// Sends of one user in one room at once. Default 200.
    pub sends_burst: u32,
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self {
            passivate_after: Duration::from_secs(5 * 60),
            members_max: 10_000,
            rooms_awake_max: 50_000,
            room_commands_max: 4_096,
            node_commands_max: 65_536,
            node_bytes_max: 64 * 1024 * 1024,
            sends_per_second: 50,
            sends_burst: 200,
        }
    }
}

/// Events of one room handed to the store and not yet known to be durable. At 5 ms a commit this
/// is 100,000 events a second in one room. When full, requests wait in the room (and count there).
pub const IN_FLIGHT_EVENTS_MAX: usize = 512;
/// Offsets the log may be beyond an event whose derived rows (the sender's cursor, the sent id) are
/// not durable. When full, requests wait in the room until they are.
pub const DERIVED_BEHIND_MAX: u64 = 1_024;
/// Derived rows are written when the head is this far beyond the oldest of them: often enough that
/// a busy room never comes to [`DERIVED_BEHIND_MAX`], and many enough at once that rows of one user
/// lie side by side.
pub const DERIVED_FLUSH_BEHIND: u64 = 256;
/// Shortest time between two writes of a room's derived rows, unless they are urgent. What comes
/// after a longer silence is written at once.
pub const DERIVED_FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Rooms' timers go off at multiples of this, so that many of them wake the processor once.
pub const TIMERS_INTERVAL: Duration = Duration::from_millis(5);
const _: () = assert!(TIMERS_INTERVAL.as_millis() * 10 <= DERIVED_FLUSH_INTERVAL.as_millis());
/// How long writes that nobody waits for are gathered into one commit. Longer, and that commit
/// would keep others waiting: with a thousand sends a second in as many rooms it has ten rooms' rows.
pub const GATHER_AFTER: Duration = Duration::from_millis(10);
/// Newest offsets read when a room wakes. Covers what an owner may have had in flight (to adopt
/// and to write again), and events whose derived rows may be missing (to derive again).
pub const WAKE_TAIL_OFFSETS: u32 = 1_025;
/// The same for a room that was at rest: for those who come back from a moment ago. Nothing was in
/// flight, and every derived row is written.
pub const WAKE_TAIL_OFFSETS_AT_REST: u32 = 128;
const _: () = assert!(WAKE_TAIL_OFFSETS as usize > 2 * IN_FLIGHT_EVENTS_MAX);
const _: () = assert!(WAKE_TAIL_OFFSETS as u64 > DERIVED_BEHIND_MAX);
// What waits can always be handed over: enough of it is committed.
const _: () = assert!(DERIVED_BEHIND_MAX > IN_FLIGHT_EVENTS_MAX as u64 + DERIVED_FLUSH_BEHIND);

/// Events a returning client gets one by one. Further back: `reset` and a snapshot.
pub const RESUME_EVENTS_MAX: u64 = 1_024;
/// Bytes of events in one answer. A resume beyond it is a `reset`; a page is cut shorter.
pub const ANSWER_BYTES_MAX: usize = 512 * 1024;
const _: () =
    assert!(ANSWER_BYTES_MAX + FRAME_BYTES_MAX < rookery_cluster::limits::PAYLOAD_BYTES_MAX);
const _: () = assert!(
    RESUME_EVENTS_MAX + HISTORY_EVENTS_MAX as u64
        <= rookery_persistence::limits::LOG_READ_OFFSETS_MAX
);
/// Events kept in memory for resume and recent history. The oldest leave first.
pub const RING_EVENTS_MAX: usize = 2_048;
/// Bytes of events kept in memory. The oldest leave first.
pub const RING_BYTES_MAX: usize = 1024 * 1024;
const _: () = assert!(RING_EVENTS_MAX as u64 > RESUME_EVENTS_MAX);
const _: () = assert!(RING_BYTES_MAX >= ANSWER_BYTES_MAX);
/// Pages read from the store that stay for the next who asks the same. The oldest leaves.
pub const PAGES_KEPT_MAX: usize = 8;
/// Events of the snapshot that comes with a `reset`.
pub const SNAPSHOT_EVENTS: u64 = 50;

/// Bounds of one room's memory, in one place so that tests can make them small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) ring_events_max: usize,
    pub(crate) resume_events_max: u64,
    pub(crate) messages_kept_max: usize,
    pub(crate) sent_results_max: usize,
    pub(crate) sent_load_max: u32,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            ring_events_max: RING_EVENTS_MAX,
            resume_events_max: RESUME_EVENTS_MAX,
            messages_kept_max: MESSAGES_KEPT_MAX,
            sent_results_max: SENT_RESULTS_MAX,
            sent_load_max: SENT_LOAD_MAX,
        }
    }
}

/// Messages whose present marks stay in memory. The least recently used leave.
pub const MESSAGES_KEPT_MAX: usize = 1_024;
/// Distinct emoji on one message. Beyond: `LIMIT_REACHED`.
pub const EMOJI_PER_MESSAGE_MAX: usize = 32;
/// Reactions on one message. Beyond: `LIMIT_REACHED`. A folded message still fits one answer.
pub const REACTIONS_PER_MESSAGE_MAX: usize = 2_000;
const _: () = assert!(
    REACTIONS_PER_MESSAGE_MAX * (rookery_proto::limits::USER_ID_BYTES_MAX + 3) + TEXT_BYTES_MAX
        < ANSWER_BYTES_MAX
);

/// Results of sends with a `clientId` kept in memory, a room. The oldest leave; their hashes stay.
pub const SENT_RESULTS_MAX: usize = 8_192;
// What is not saved is never forgotten.
const _: () = assert!(SENT_RESULTS_MAX as u64 > DERIVED_BEHIND_MAX);
/// Hashes of older client ids kept, a room (some 5 MiB): ten sends a second for a day. When full all
/// are forgotten, and the next send of each user reads the store.
pub const SENT_HASHES_MAX: usize = 900_000;
/// Sends of one user, after the room woke, that read one id each. All its ids are read then: for
/// who says one thing and for the first words after a shard moved that would be a long read.
pub const SENT_LOAD_AFTER: usize = 4;
/// Client ids of one user read at once. A user with more reads one id per send.
pub const SENT_LOAD_MAX: u32 = 4_096;

/// Sessions listening to one room on one node. Beyond: `LIMIT_REACHED`.
pub const LISTENERS_MAX: usize = 200_000;
/// Hub workers of one gateway: bits of a lane mask.
pub const LANES_MAX: u32 = 64;
/// Users whose send rate is remembered, a room. Full buckets are forgotten first.
pub const RATES_MAX: usize = 4_096;
/// Shortest time between two roster signals of a room.
pub const ROSTER_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest time between two typing signals of a session; more are dropped.
pub const TYPING_INTERVAL: Duration = Duration::from_secs(1);

/// Longest a room waits for one read of the store; then that request is answered `UNAVAILABLE`.
pub const READ_DEADLINE: Duration = Duration::from_secs(3);
/// Rooms that wake at once. More wait in order.
pub const WAKES_AT_ONCE_MAX: usize = 64;
/// Shortest wait before a room that failed is woken again; doubles up to [`WAKE_BACKOFF_MAX`].
pub const WAKE_BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest such wait.
pub const WAKE_BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A gateway silent for this long is not expected back: its link ends. Earlier, a gateway that was
/// only paused would find the link's numbering begun anew, and its packets taken for repeats.
pub const GATEWAY_FORGET_AFTER: Duration = Duration::from_secs(60);

/// Rows of one group commit. More wait for the next group.
pub const GROUP_ROWS_MAX: usize = 8_192;
/// Bytes of events of one group commit.
pub const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Shortest wait before a failed group is written again; doubles up to [`COMMIT_BACKOFF_MAX`].
pub const COMMIT_BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest such wait.
pub const COMMIT_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What `OVERLOADED` hints: some ten commits later.
pub const OVERLOADED_RETRY: Duration = Duration::from_millis(100);
/// What `UNAVAILABLE` hints: the commit's longest backoff.
pub const UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);
const _: () = assert!(UNAVAILABLE_RETRY.as_millis() >= COMMIT_BACKOFF_MAX.as_millis());

/// How often what is too old is removed from the store.
pub(crate) const UPKEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Rows removed in one step: a few milliseconds of the writer's time.
pub(crate) const UPKEEP_ROWS_MAX: u32 = 1_000;

/// How often the node says how much it does.
pub(crate) const LOAD_INTERVAL: Duration = Duration::from_secs(1);
/// The part of a stop's grace in which shards are handed over; the rest is for rooms that stay.
pub(crate) const LEAVE_SHARE: f32 = 0.75;
