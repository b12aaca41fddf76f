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
