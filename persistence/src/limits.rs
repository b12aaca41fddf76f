//! Bounds of the store: the number, why it is that, what happens when full.

use std::time::Duration;

use rookery_proto::ids::Offset;

/// How long a sent id answers a retry. A client that retries later may double its message.
pub const SENT_ID_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Offsets of one `log_range`: two pages of history. A larger range is a programming error.
pub const LOG_READ_OFFSETS_MAX: u64 = 4_096;
/// Offsets of one storage bucket of a room's log (partition size in CQL: some 2 MiB).
pub const BUCKET_OFFSETS: u64 = 4_096;

/// Writes waiting for SQLite's writer thread: several transactions full of single-room commits.
/// When full, callers wait. Metric: `rookery_persistence_writes_waiting`.
pub const SQLITE_WRITES_WAITING_MAX: usize = 1_024;
/// Reads waiting for SQLite's readers. When full, callers wait.
pub const SQLITE_READS_WAITING_MAX: usize = 256;
/// Reader threads: one slow history page must not stop the others.
pub const SQLITE_READERS: usize = 2;
/// Rows after which no further write joins a transaction: some 20 ms of inserting, so that the
/// first caller does not wait long for the last. One larger write still goes as one transaction.
pub const SQLITE_GROUP_ROWS_MAX: usize = 4_096;
/// Bytes after which no further write joins a transaction, for the same reason.
pub const SQLITE_GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Commits that usefully run at once: one in the disk's hands, and others that come meanwhile and
/// become the next transaction. With two, what came after the second waited for both.
pub const SQLITE_COMMITS_IN_FLIGHT: usize = 16;
/// How long to wait for a lock that some other tool holds on the file. Then: not done.
pub const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a page of a database made from now on; one that is there keeps its own. Most transactions
/// touch many pages a little, and each goes whole into the log: half as large as SQLite's own choice,
/// a transaction takes up to a quarter less time; a quarter as large gained no more.
pub const SQLITE_PAGE_BYTES: u32 = 2_048;
/// Pages in the write-ahead log from which on a second thread copies them into the database.
/// 8 MiB: a page that many transactions change is copied once.
pub const SQLITE_WAL_PAGES: u32 = 4_096;
/// Pages that are still to be copied when the writer thread copies the rest itself, so that the
/// log can begin again: some milliseconds.
pub const SQLITE_WAL_REST_PAGES: u32 = 512;
/// Pages in the log from which on the writer thread copies whatever is there. 64 MiB.
pub const SQLITE_WAL_PAGES_MAX: u32 = 32_768;
/// Cache of the writer's connection, in KiB: the right edges of a hundred thousand rooms do not
/// fit, those of the busy ones do.
pub const SQLITE_WRITER_CACHE_KIB: u32 = 32 * 1024;
/// Cache of each reader's connection, in KiB. The kernel caches the file too.
pub const SQLITE_READER_CACHE_KIB: u32 = 8 * 1024;
/// Problems that a check lists. The rest are counted.
pub const CHECK_PROBLEMS_MAX: usize = 100;

const _: () = assert!(SQLITE_WAL_REST_PAGES < SQLITE_WAL_PAGES);
const _: () = assert!(SQLITE_WAL_PAGES < SQLITE_WAL_PAGES_MAX);
const _: () = assert!(LOG_READ_OFFSETS_MAX <= BUCKET_OFFSETS);

/// Commits that usefully run at once: while one waits for the slowest of its replicas, others
/// fill the coordinators.
pub const CQL_COMMITS_IN_FLIGHT: usize = 16;
/// Requests of all commits that wait for the database at once. More only wait there. When full,
/// callers wait. Metric: `rookery_persistence_requests_waiting`.
pub const CQL_REQUESTS_IN_FLIGHT_MAX: usize = 1_024;
/// Rows of one unlogged batch, all of one partition. Larger ones gained nothing.
pub const CQL_BATCH_ROWS_MAX: usize = 64;
/// Bytes of one batch, as far as events make them: well below what ScyllaDB warns of (128 KiB)
/// and refuses (1 MiB). One larger event goes alone.
pub const CQL_BATCH_BYTES_MAX: usize = 32 * 1024;
/// Rows of a page of a read. What is read is bounded by its caller; a page bounds one answer.
pub const CQL_PAGE_ROWS: i32 = 1_000;
/// How long a replica may keep a request that may be repeated before another is asked as well: a
/// paused replica costs that much, and a merely slow one is rarely asked twice.
pub const CQL_SPECULATIVE_AFTER: Duration = Duration::from_millis(400);
/// How often a commit sends again what is not answered, always to a replica drawn by lot: after
/// three times, a paused one of three is met again once in 27.
pub const CQL_COMMIT_REPETITIONS_MAX: u32 = 3;
/// How often an idle connection asks whether its server lives.
pub const CQL_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// How long that answer may take before the connection is given up.
pub const CQL_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest pause between two tries of a lightweight transaction that others were ahead of.
pub const CQL_CONFLICT_PAUSE_MAX: Duration = Duration::from_millis(100);
/// Fenced incarnations that a store remembers: more nodes than die at once. One that is forgotten
/// is asked for again.
pub const CQL_FENCED_KNOWN_MAX: usize = 64;
/// How often a connecting store tries a lightweight transaction: one may be late on a busy database.
pub const CQL_PROBE_TRIES: u32 = 3;
/// How long a migration may hold its lock before another may begin: longer than creating all
/// tables takes.
pub const CQL_MIGRATION_LOCK: Duration = Duration::from_secs(120);
/// How long a statement of a migration may take, schema agreement apart.
pub const CQL_MIGRATION_TIMEOUT: Duration = Duration::from_secs(60);

const _: () = assert!(
    CQL_BATCH_ROWS_MAX <= u16::MAX as usize,
    "what a batch can hold"
);
const _: () = assert!(CQL_COMMITS_IN_FLIGHT <= CQL_REQUESTS_IN_FLIGHT_MAX);

/// Offsets that a copy reads at once: some 16 MiB when every message is as large as may be.
pub const COPY_PAGE_OFFSETS: u64 = 256;
/// Rows after which a copy writes what it has read, and keeps how far it is: as much is copied
/// again after it was killed.
pub const COPY_GROUP_ROWS: usize = 4_096;
/// Bytes of events after which it does.
pub const COPY_GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Rooms, users or sent ids of one page of a copy.
pub const COPY_PAGE_ROWS: usize = 256;
/// How often a copy tries what the database did not do.
pub const COPY_TRIES: u32 = 5;
/// The pause before the second try; doubles with each.
pub const COPY_PAUSE: Duration = Duration::from_millis(500);
/// How often a comparison says how far it is.
pub const COPY_TELL_INTERVAL: Duration = Duration::from_millis(200);
/// Rooms, users or sent ids that a verification compares at once.
pub const COPY_VERIFIED_AT_ONCE: usize = 16;

const _: () = assert!(COPY_PAGE_OFFSETS <= LOG_READ_OFFSETS_MAX);

/// Every adapter refuses a wider range in the same way.
pub(crate) fn assert_range(from: Offset, to: Offset) {
    assert!(
        to.0.saturating_sub(from.0) < LOG_READ_OFFSETS_MAX,
        "a range spans at most {LOG_READ_OFFSETS_MAX} offsets"
    );
}
