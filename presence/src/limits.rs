//! Bounds of presence: the number, why it is that, what happens when full.

use std::time::Duration;

/// How long a device whose last session closed still counts: a page reload with a slow network.
/// Also how long a silent gateway's sessions still count.
pub const GRACE: Duration = Duration::from_secs(5);
/// Least time between two updates about one user: people do not read faster, and a flapping client
/// costs its watchers no more than this.
pub const THROTTLE: Duration = Duration::from_secs(2);
/// How long gateways have to announce their sessions to a new shard, or again after a loss.
pub const REANNOUNCE_GRACE: Duration = Duration::from_secs(10);

/// Watchers of one user: everyone in a large company. When full: `LIMIT_REACHED`.
pub const WATCHERS_MAX: usize = 10_000;
/// Watches of one user that wait for one read of the store. When full: `OVERLOADED`.
pub const WATCHES_WAITING_MAX: usize = WATCHERS_MAX;
/// Sessions of one user. When full, further sessions are not tracked: they get no notices.
/// Metric: `rookery_presence_sessions_refused_total`.
pub const SESSIONS_MAX: usize = 10_000;

/// Requests and notices waiting at one shard: a second of work at the rate one actor reaches. When
/// full: requests are answered `OVERLOADED`, notices are dropped.
/// Metric: `rookery_presence_refused_total`.
pub const SHARD_REQUESTS_MAX: usize = 4_096;
/// The same for session packets, which may not be refused: all sessions of two full gateways at one
/// shard. When full, the packet is treated as lost and its gateway is asked to announce again.
pub const SHARD_SESSION_PACKETS_MAX: usize = 65_536;
/// Store operations of one node that run at once; the others wait as tasks, at most one read and
/// one write a user in memory and one an admitted request.
pub const STORE_OPERATIONS_MAX: usize = 64;
/// A store operation that takes longer counts as failed.
pub const STORE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before a failed read or write of `last_seen` is tried again.
pub const STORE_RETRY: Duration = Duration::from_secs(1);
/// The hint that goes with `OVERLOADED`: a full shard has drained by then.
pub const OVERLOADED_RETRY_AFTER: Duration = Duration::from_millis(500);
/// The hint that goes with `UNAVAILABLE`.
pub const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Rows of `user_rooms` one `rooms` request reads; with more rooms left than that the page is
/// shorter and says where to go on.
pub const ROOM_ROWS_SCANNED_MAX: usize = 2_000;

/// Precision of every deadline: one timer per node, not one per user.
pub const TICK: Duration = Duration::from_millis(100);
/// A shard without users for this long is put away.
pub const PASSIVATE_AFTER: Duration = Duration::from_secs(60);
/// Pause before a failed shard starts again; doubles with each failure in a row.
pub const RESTART_BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest such pause.
pub const RESTART_BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A shard that ran this long is sound again: the next failure starts at the shortest pause.
pub const RESTART_FORGIVEN_AFTER: Duration = Duration::from_secs(60);
/// Failures in a row after which the log asks for a person.
pub const RESTARTS_MAX: u32 = 8;

/// Sessions named in one delivery: keeps it far below what the bus carries.
pub const DELIVERY_SESSIONS_MAX: usize = 4_096;

/// After shards were taken gateways are asked to announce, once for all taken meanwhile.
pub const ANNOUNCE_AFTER: Duration = Duration::from_millis(200);
/// The part of a stop's grace in which shards are handed over; the rest is to store what is left.
pub const LEAVE_SHARE: f32 = 0.75;

const _: () = assert!(SHARD_REQUESTS_MAX < SHARD_SESSION_PACKETS_MAX);
const _: () = assert!(TICK.as_millis() * 10 <= THROTTLE.as_millis());
const _: () = assert!(
    GRACE.as_millis() < REANNOUNCE_GRACE.as_millis(),
    "a device that is gone is gone before the shard may say so"
);
const _: () = assert!(DELIVERY_SESSIONS_MAX * 10 * 4 < rookery_cluster::limits::PAYLOAD_BYTES_MAX);
const _: () = assert!(ROOM_ROWS_SCANNED_MAX > rookery_proto::limits::ROOM_PAGE_MAX as usize);
