//! Bounds of the store: the number, why it is that, what happens when full.

use std::time::Duration;

/// How long a sent id answers a retry. A client that retries later may double its message.
pub const SENT_ID_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Offsets of one `log_range`: two pages of history. A larger range is a programming error.
pub const LOG_READ_OFFSETS_MAX: u64 = 4_096;
/// Offsets of one storage bucket of a room's log (partition size in CQL: some 2 MiB).
pub const BUCKET_OFFSETS: u64 = 4_096;
