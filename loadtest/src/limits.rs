//! Every queue, wait and size of the load test: the bound, why, and what happens when full.

use std::time::Duration;

/// Server frames waiting for the test to read them. When full the client stops reading its
/// socket, so the server sees a slow reader: what a real client that lags looks like.
pub(crate) const INCOMING_FRAMES_MAX: usize = 128 * 1024;
/// Client frames waiting for the socket. When full `call` waits.
pub(crate) const OUTGOING_FRAMES_MAX: usize = 4 * 1024;
/// Client frames written before one flush: one system call for a burst, no starving of reads.
pub(crate) const WRITE_BATCH_MAX: usize = 64;
/// Bytes of one server message. A join may answer 512 KiB of events; JSON escapes may double it.
pub(crate) const SERVER_MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes tungstenite allocates per connection for reading. Its default (128 KiB) would make the
/// client, not the server, the largest process of a test with many connections.
pub(crate) const READ_BUFFER_BYTES: usize = 8 * 1024;

/// How long a command may stay unanswered. The server itself gives up after 10 s.
pub const CALL_DEADLINE_DEFAULT: Duration = Duration::from_secs(15);
/// How long TCP, upgrade and `welcome` may take together.
pub const CONNECT_DEADLINE_DEFAULT: Duration = Duration::from_secs(10);
/// The same when there are other gateways to try: one that is paused is passed over.
pub const GATEWAY_DEADLINE: Duration = Duration::from_secs(2);
/// How long clients may take to see the end of every log when nothing is written any more.
pub const SETTLE_DEADLINE: Duration = Duration::from_secs(30);
/// First pause between two attempts to connect.
pub const RECONNECT_BACKOFF_MIN: Duration = Duration::from_millis(20);
/// Longest pause between two attempts: a restarted server is found within half a second.
pub const RECONNECT_BACKOFF_MAX: Duration = Duration::from_millis(500);

/// Bytes of the history file kept in memory before they are written.
pub(crate) const HISTORY_BUFFER_BYTES: usize = 256 * 1024;
/// Bytes of one history line. The largest is a client's whole state of a room, some 150 bytes for each
/// message: this is enough for more than a million. A longer one is told by its number; reading never takes
/// more memory than this for a line.
pub(crate) const HISTORY_LINE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Examples kept for each kind of violation; the rest are counted.
pub const EXAMPLES_MAX: usize = 20;
/// How long a user may be shown online after all their devices ended, or offline while one is
/// connected: as long as the longest fault (15 s), recovering from it (30 s), and presence's own
/// graces for devices and for gateways that announce again (5 s and 10 s) take together.
pub const GHOST_MAX: Duration = Duration::from_secs(60);
/// Offsets that a log or a stream may lack before it is judged no further: a wrong offset must not
/// cost memory for all below it.
pub(crate) const HOLES_MAX: u64 = 100_000;
/// Events asked for in one page when a whole log is read: the most a page may hold.
pub(crate) const PAGE_EVENTS: u32 = rookery_proto::limits::HISTORY_EVENTS_MAX;

/// Bytes a proxy reads at once.
pub(crate) const PROXY_READ_BYTES: usize = 64 * 1024;
/// Reads a proxy keeps while it delays or stalls. When full it stops to read, so the sender's own
/// buffers fill, as on a network that carries nothing.
pub(crate) const PROXY_CHUNKS_MAX: usize = 256;

/// How long a freshly started server may take to write its ready file.
pub const READY_DEADLINE: Duration = Duration::from_secs(20);
/// How long a NATS server may take to serve and to find its peers.
pub(crate) const NATS_READY_DEADLINE: Duration = Duration::from_secs(20);
/// How long a freshly started cluster may take until every process is ready: each node has to
/// hear who is there and to take its shards.
pub const CLUSTER_READY_DEADLINE: Duration = Duration::from_secs(60);
/// How long a question to a server's probes and metrics may take.
pub(crate) const ADMIN_DEADLINE: Duration = Duration::from_secs(2);
/// How long a server may take to end after SIGTERM: its grace period and a little more.
pub const TERMINATE_DEADLINE: Duration = Duration::from_secs(30);
/// Pause between two looks at something only polling can tell.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Connections of a scenario: what 256 light processes hold, more than machines have files for.
pub(crate) const SCENARIO_CONNECTIONS_MAX: u32 = 4_000_000;
/// Rooms of a scenario: each light process keeps some hundred bytes of each.
pub(crate) const SCENARIO_ROOMS_MAX: u32 = 10_000_000;
/// Rooms of one connection: counted in 16 bits.
pub(crate) const SCENARIO_ROOMS_EACH_MAX: u32 = 65_000;
/// Rooms of all connections together: some gigabytes of memory.
pub(crate) const SCENARIO_SEATS_MAX: u64 = 100_000_000;
/// Seconds of a stage, and of its warm-up: a week. Each second is kept for the plots.
pub(crate) const SCENARIO_SECONDS_MAX: u32 = 7 * 24 * 3_600;
const _: () = assert!(SCENARIO_ROOMS_EACH_MAX < u16::MAX as u32);

/// Clients, rooms, and commands of one client under way, of a plan: each client is a task with a
/// replica of each room.
pub(crate) const PLAN_COUNT_MAX: u64 = 10_000;
/// Processes of each kind that a plan starts on one machine.
pub(crate) const PLAN_PROCESSES_MAX: u64 = 64;
/// Faults of a window, and of one kind in a deck: they are laid out before the first.
pub(crate) const PLAN_FAULTS_MAX: u64 = 10_000;
/// Seconds of a window, and milliseconds between two commands of a client: a week, an hour.
pub(crate) const PLAN_SECONDS_MAX: u64 = 7 * 24 * 3_600;
pub(crate) const PLAN_PACE_MS_MAX: u64 = 3_600_000;

/// Connections of one light process: below the 20,000 open files that machines often allow.
pub(crate) const LIGHT_PROCESS_CONNECTIONS_MAX: u32 = 18_000;
/// Open files a process has beside its connections.
pub(crate) const OPEN_FILES_SPARE: u64 = 200;
/// Reports of light processes that a run has not looked at. When full their output waits.
pub(crate) const FLEET_REPORTS_MAX: usize = 1024;
/// How long light processes may take to close and end.
pub(crate) const FLEET_END_DEADLINE: Duration = Duration::from_secs(5);
/// How long anything a light process is told may take beyond the time it needs by the scenario;
/// of what it does piece by piece, how long until the next piece is done.
pub(crate) const FLEET_ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// So many times more rooms than connections, and a run tells what a room costs in memory: with
/// fewer, what connections cost would hide it.
pub(crate) const ROOMS_PER_CONNECTION_MIN: u32 = 10;
/// How long all rooms of a server may take to leave its memory.
pub(crate) const ROOMS_ASLEEP_DEADLINE: Duration = Duration::from_secs(120);
/// Pause between two looks at the processes of a run.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How long a server may take to be quiet after all have joined; longer, and it is measured as it
/// is.
pub(crate) const QUIET_DEADLINE: Duration = Duration::from_secs(5);
/// A server is quiet when it uses less of a processor than this, in percent, between two looks.
pub(crate) const QUIET_CPU_PERCENT: f64 = 3.0;

/// Bytes the floor reads at once: a socket of a sender that is flat out has less.
pub(crate) const FLOOR_READ_BYTES: usize = 64 * 1024;
/// Sockets the floor looks at in one round.
pub(crate) const FLOOR_ROUND_SOCKETS_MAX: usize = 4 * 1024;
/// Bytes of an upgrade request. A larger one is cut off.
pub(crate) const FLOOR_UPGRADE_BYTES_MAX: usize = 16 * 1024;
/// Bytes waiting for one socket of the floor. A listener that lags further is cut off, as Rookery
/// does; more than Rookery allows, so that a flat-out load of the floor ends with its listeners.
pub(crate) const FLOOR_PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Newest events a room of the floor keeps: more than a resume may ask for.
pub(crate) const FLOOR_EVENTS_MAX: usize = 4 * 1024;
/// Events of a resume; with more missing it is a reset, as the protocol's page says of Rookery.
pub(crate) const FLOOR_RESUME_EVENTS_MAX: usize = 1024;
const _: () = assert!(FLOOR_RESUME_EVENTS_MAX < FLOOR_EVENTS_MAX);

const _: () = assert!(RECONNECT_BACKOFF_MIN.as_millis() < RECONNECT_BACKOFF_MAX.as_millis());
const _: () = assert!((SERVER_MESSAGE_BYTES_MAX as u64) < HISTORY_LINE_BYTES_MAX);
const _: () = assert!(WRITE_BATCH_MAX <= OUTGOING_FRAMES_MAX);

/// Before a load is measured: caches fill, connections open.
pub(crate) const LOAD_WARM_UP: Duration = Duration::from_secs(2);
/// Of a load: long enough that a second's hiccup moves a p99 and not a rate.
pub(crate) const LOAD_MEASURED: Duration = Duration::from_secs(10);

/// Bytes of a light client's command id: the wire allows 64.
pub(crate) const LIGHT_TAG_BYTES: usize = 16;
/// Bytes a light client reads at once; one buffer for all its connections.
pub(crate) const LIGHT_READ_BYTES: usize = 64 * 1024;
/// Events of one look at the sockets: what is due in between waits for these, half a millisecond.
pub(crate) const LIGHT_EVENTS_MAX: usize = 256;
/// A light process wakes for what is due at multiples of this, and that counts as latency. A timer of
/// its own for each of twenty thousand sends a second cost more than the sends did.
pub(crate) const LIGHT_ALARM_INTERVAL: Duration = Duration::from_micros(250);
/// Handshakes under way at once in one light process: fewer than a listener's usual backlog.
pub(crate) const LIGHT_HANDSHAKES_MAX: usize = 128;
/// How long a handshake may take before it is tried anew.
pub(crate) const LIGHT_HANDSHAKE_DEADLINE: Duration = Duration::from_secs(20);
/// Attempts of one connection, one after the other, before a run that connects gives up.
pub(crate) const LIGHT_ATTEMPTS_MAX: u32 = 6;
/// Ceiling of the first pause before a light client connects again, and of the longest: anywhere
/// from 0 to it, as the SDK does.
pub(crate) const LIGHT_BACKOFF_MIN: Duration = Duration::from_millis(250);
/// See [`LIGHT_BACKOFF_MIN`]; shorter than the SDK's, for a run is.
pub(crate) const LIGHT_BACKOFF_MAX: Duration = Duration::from_secs(4);
/// Connections from one source address of 127.0.0.0/8: well below a range of ephemeral ports.
pub(crate) const LIGHT_CONNECTIONS_PER_SOURCE: u32 = 10_000;
/// Joins, or rooms to open, that a light connection has under way: fewer than a burst of commands.
pub(crate) const LIGHT_JOINS_MAX: u16 = 8;
/// Connections that open rooms: each may open some tens a second.
pub(crate) const LIGHT_OPENERS_MAX: usize = 64;
/// Bytes a light connection keeps while its socket takes none. When full what it would say counts
/// as failed.
pub(crate) const LIGHT_UNSENT_BYTES_MAX: usize = 256 * 1024;
/// Offsets of all rooms together that are counted from the first listener to the last.
pub(crate) const LIGHT_RINGS_OFFSETS: usize = 256 * 1024;
/// Such offsets of one room, at most.
pub(crate) const LIGHT_RING_OFFSETS_MAX: usize = 4 * 1024;
/// How long answers and deliveries of a stage may take after its end. The server itself gives up
/// after 10 s.
pub(crate) const LIGHT_DRAIN_DEADLINE: Duration = Duration::from_secs(12);
/// How long listeners may take to come to their rooms' heads when nobody sends any more.
pub(crate) const LIGHT_SETTLE_DEADLINE: Duration = Duration::from_secs(10);
/// Pause between two looks at all listeners while a stage drains or settles.
pub(crate) const LIGHT_LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Without an event for so long, a server whose events have no offsets has delivered all.
pub(crate) const LIGHT_QUIET: Duration = Duration::from_millis(200);
/// Pause before a refused command is tried again, where the server asks for none.
pub(crate) const LIGHT_RETRY_PAUSE: Duration = Duration::from_millis(50);

const _: () = assert!(LIGHT_UNSENT_BYTES_MAX > LIGHT_READ_BYTES);
