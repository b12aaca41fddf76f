//! Waiting for a condition, for tests: never a sleep of a guessed length.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::limits::POLL_INTERVAL;

/// Looks every few milliseconds until `condition` holds.
///
/// # Panics
/// It does not hold within that time; the message names `what`.
pub async fn eventually(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        sleep(POLL_INTERVAL).await;
    }
}

/// As [`eventually`], for tests without a runtime.
///
/// # Panics
/// As [`eventually`].
pub fn eventually_blocking(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + within;
    while !condition() {
        let now = std::time::Instant::now();
        assert!(now < deadline, "{what}: not within {within:?}");
        std::thread::park_timeout(POLL_INTERVAL);
    }
}
