//! Bounds of bus and links: the number, why it is that, what happens when full.

use std::time::Duration;

/// Bytes of packets waiting on one link. A gateway that reads nothing for a second at 50 MB/s.
/// When full: `offer` refuses (the caller answers OVERLOADED), `send` drops and the receiver sees
/// a hole. Metric: `rookery_cluster_link_dropped_total`.
pub const LINK_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of packets after which a batch is sent. Large enough that a batch's fixed cost is
/// nothing, small enough that its first packet does not wait for its last.
pub const BATCH_BYTES: usize = 64 * 1024;
/// Packets taken from a link's queue at once.
pub const BATCH_PACKETS_MAX: usize = 1_024;
/// Messages waiting at one in-process subscription. When full, publishers wait.
pub const SUBSCRIPTION_MESSAGES_MAX: usize = 1_024;
/// Bytes of one bus message: what NATS allows by default.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// An idle link says so this often.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// A link that says nothing for this long is silent: its peer may be gone.
pub const SILENCE: Duration = Duration::from_secs(3);

const _: () = assert!(BATCH_BYTES * 2 <= PAYLOAD_BYTES_MAX);
const _: () = assert!(HEARTBEAT_INTERVAL.as_millis() * 2 < SILENCE.as_millis());
