//! Bounds of bus, links and membership: the number, why it is that, what happens when full.

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
/// Longest a packet waits for others to share its batch.
pub const FLUSH_AFTER_MAX: Duration = Duration::from_millis(1);
/// Messages waiting at one in-process subscription. When full, publishers wait; a listener loses
/// the announcement. Metric: `rookery_cluster_bus_dropped_total`.
pub const SUBSCRIPTION_MESSAGES_MAX: usize = 1_024;
/// Bytes waiting at one subscription of the cluster's bus: as much as one link may queue. When
/// full, messages are dropped, which the links' numbering shows; stopping to read instead would
/// stop every other subscription of the connection. Metric: `rookery_cluster_bus_dropped_total`.
pub const SUBSCRIPTION_BYTES_MAX: usize = LINK_QUEUE_BYTES_MAX;
/// Bytes of one bus message: what NATS allows by default.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// An idle link says so this often.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// A link that says nothing for this long is silent: its peer may be gone.
pub const SILENCE: Duration = Duration::from_secs(3);

/// Messages of one subscription waiting inside the NATS client. The client reads up to 128 times
/// from its socket before others run: room for that many reads of small messages. When full the
/// client drops. Metric: `rookery_cluster_bus_dropped_total`.
pub const NATS_SUBSCRIPTION_MESSAGES_MAX: usize = 64 * 1024;
/// Messages waiting for the NATS client to write them. Few, because a reconnect sends late what
/// waits here. When full, `publish` waits, for [`NATS_PUBLISH_PATIENCE`].
pub const NATS_COMMANDS_MAX: usize = 128;
/// How long a publish waits for room before the bus counts as unreachable.
pub const NATS_PUBLISH_PATIENCE: Duration = Duration::from_secs(2);
/// A NATS connection is asked for a sign of life this often; the third unanswered one ends it.
pub const NATS_PING_INTERVAL: Duration = Duration::from_secs(2);
/// How long one attempt to connect may take.
pub const NATS_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest pause between two attempts to connect again. Every node must be back before the first
/// one that is may hold another for silent.
pub const NATS_RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a message to ourselves may take at start, and when a subscription opens.
pub const NATS_ROUND_TRIP_MAX: Duration = Duration::from_secs(2);

const _: () = assert!(BATCH_BYTES * 2 <= PAYLOAD_BYTES_MAX);
const _: () = assert!(HEARTBEAT_INTERVAL.as_millis() * 2 < SILENCE.as_millis());
const _: () = assert!(PAYLOAD_BYTES_MAX * 16 <= SUBSCRIPTION_BYTES_MAX);

/// A node says that it lives this often.
pub const BEAT_INTERVAL: Duration = Duration::from_millis(500);
/// Heartbeats told at once because something changed are at least this far apart: everybody looks at
/// all shards for each, and while hundreds move, each release is told by itself anyway.
pub const BEAT_SPACING_MIN: Duration = Duration::from_millis(100);
/// A node writes its row this often.
pub const ROW_INTERVAL: Duration = Duration::from_secs(1);
/// First silence: no serving heartbeat on the bus for this long.
pub const BUS_SILENCE: Duration = Duration::from_secs(2);
/// Second silence: the row is the same in two reads this far apart.
pub const ROW_SILENCE: Duration = Duration::from_millis(1_500);
/// A read that showed the row unchanged is evidence for this long.
pub const EVIDENCE_FRESH: Duration = Duration::from_secs(1);
/// A row that changed is a sign of life for this long.
pub const ROW_FRESH: Duration = Duration::from_secs(3);
/// A node is looked for in the table when the bus has been silent about it for this long.
pub const SUSPECT_AFTER: Duration = Duration::from_millis(750);
/// The table is read this often while somebody is looked for.
pub const TABLE_READ_INTERVAL_SUSPECT: Duration = Duration::from_millis(250);
/// The table is read this often otherwise: who is on the other side of a split is found there.
pub const TABLE_READ_INTERVAL: Duration = Duration::from_secs(5);
/// A read or write of the table takes this long at most.
pub const TABLE_TIMEOUT: Duration = Duration::from_secs(1);
/// A node that has not heard itself for this long does not serve.
pub const DEAF_AFTER: Duration = Duration::from_secs(2);
/// A node whose commits or whose uses of the table have failed for this long does not serve.
pub const STORE_FAILING_AFTER: Duration = Duration::from_secs(2);
/// A node that serves takes shards after this long: by then it has heard who is there.
pub const SETTLE_AFTER: Duration = Duration::from_secs(2);
/// A shard moves when another node has been its home for this long.
pub const MOVE_AFTER: Duration = Duration::from_secs(5);
/// Shards of one role of a node that move at once, those that wait for an answer included.
pub const MOVES_MAX: usize = 2;
/// The same for a node that leaves.
pub const MOVES_LEAVING_MAX: usize = 8;
/// Moves of one role of a node begin this far apart. Each costs the database a lightweight
/// transaction, and a busy room that moves waits behind those of all others: with as many under
/// way as the database could take, its pause was three times as long (docs/reliability.md).
pub const MOVE_SPACING: Duration = Duration::from_millis(90);
/// The same for a node that leaves: it has a grace period to keep.
pub const MOVE_SPACING_LEAVING: Duration = Duration::from_millis(20);
/// An offer without answer is repeated this often.
pub const OFFER_REPEAT: Duration = Duration::from_millis(250);
/// An offer without answer is withdrawn after this long.
pub const OFFER_TIMEOUT: Duration = Duration::from_secs(2);
/// Shards of one role that a node lets come at once. With all that are offered together, those of
/// three nodes at the same moment, a busy room waited for the others' transactions and waking.
pub const PROMISED_MAX: usize = 1;
/// Taking or releasing a shard is tried again after this long.
pub const DUTY_RETRY: Duration = Duration::from_millis(500);
/// Who is dead and has no row is remembered this long; without a table, who is silent.
pub const DEAD_KEPT: Duration = Duration::from_secs(60);
/// Nodes known at once. Further ones are not heard, with an error in the log.
pub const NODES_MAX: usize = 1_024;
/// How often time is looked at; by a node that leaves, each [`MOVE_SPACING_LEAVING`].
pub const MEMBERSHIP_TICK: Duration = Duration::from_millis(50);
/// Duties waiting for whoever performs them. Each shard has one unanswered at most, so this
/// cannot be reached by one who answers.
pub const DUTIES_MAX: usize = 4_096;
/// Answers and requests waiting for the membership task. When full, who asks waits.
pub const MEMBERSHIP_INBOX_MAX: usize = 1_024;
/// Announcements waiting for the bus. When full the newest is dropped: it is told again.
pub const ANNOUNCEMENTS_MAX: usize = 256;

/// Calls of the database about shards that one role has under way. More wait in order. Enough to
/// keep the database busy; a node that takes over takes hundreds of shards, and with 64 at once, of
/// two roles on three nodes, each call waited in the database for all the others: on a slow
/// machine past its time-out, to be asked again, without end.
pub const REGISTRY_CALLS_MAX: usize = 16;
/// How long packets wait for a shard that was promised to us: several times what a planned move
/// takes, far less than a client waits.
pub const EXPECTED_FOR: Duration = Duration::from_secs(1);
/// Packets of one role that wait for shards to be taken. When full, requests are answered
/// OVERLOADED and other packets are dropped, as if the link had lost them.
pub const PARKED_PACKETS_MAX: usize = 16_384;

const _: () = assert!(BEAT_INTERVAL.as_millis() * 3 < BUS_SILENCE.as_millis());
const _: () = assert!(ROW_INTERVAL.as_millis() < ROW_SILENCE.as_millis());
const _: () = assert!(ROW_SILENCE.as_millis() < ROW_FRESH.as_millis());
const _: () = assert!(TABLE_READ_INTERVAL_SUSPECT.as_millis() < EVIDENCE_FRESH.as_millis());
const _: () = assert!(NATS_RECONNECT_PAUSE_MAX.as_millis() < BUS_SILENCE.as_millis());
const _: () = assert!(DEAF_AFTER.as_millis() <= BUS_SILENCE.as_millis());
const _: () = assert!(BUS_SILENCE.as_millis() < MOVE_AFTER.as_millis());
