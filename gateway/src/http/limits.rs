//! Bounds of the HTTP side.

use std::time::Duration;

/// Connections the system keeps for us between two accepts: a reconnect storm after a restart.
/// When full the client's system retries after a second. The system may allow fewer
/// (`net.core.somaxconn`).
pub(super) const BACKLOG: i32 = 4096;

/// For a request's header, from when the connection is ready for it; also how long an idle
/// keep-alive connection lives. After that it is closed.
pub(super) const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a connection's HTTP buffers: a request line with the longest token, and other headers.
/// A larger header is answered 431.
pub(super) const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Header lines of one request; more are answered 431.
pub(super) const HEADERS_MAX: usize = 64;

/// Pause after a failed accept (most likely: no file descriptor left), doubled up to the second.
pub(super) const ACCEPT_BACKOFF_MIN: Duration = Duration::from_millis(5);
/// Longest pause after a failed accept.
pub(super) const ACCEPT_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Connections being told at the same time that the server is full. Beyond this they are closed
/// without a word, counted as `refused`.
pub(super) const REFUSING_MAX: usize = 64;

/// For a client to read its last answer and close, before we do.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// Seconds after which a refused client may come back.
pub(super) const RETRY_AFTER_S: u32 = 5;

const _: () = assert!(
    HEADER_BYTES_MAX > crate::auth::TOKEN_BYTES_MAX + 4096,
    "a token fits a request line"
);
