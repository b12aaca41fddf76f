//! The bus over NATS: the contract, what is wrong at start, and links through faults.
//!
//! The contract runs over the server named by `ROOKERY_TEST_NATS`, else over one of the tests' own.
//! Faults need servers of their own: the binary named by `ROOKERY_NATS_SERVER`, the one that
//! `scripts/services` has built, or `nats-server` on the PATH. Where there is none the tests are
//! skipped and say so; with `ROOKERY_REQUIRE_SERVICES=1` that is a failure.

#![expect(clippy::unwrap_used, reason = "tests")]

mod contract;
mod faults;
mod proxy;
mod startup;

use std::time::Duration;

use rookery_cluster::{NatsBus, NatsConfig};

/// Settings for a server, with subjects that no other test uses.
fn config(url: &str) -> NatsConfig {
    NatsConfig {
        servers: vec![url.to_owned()],
        prefix: format!("test-{:016x}", fastrand::u64(..)),
        discover_servers: false,
        connect_patience: Duration::ZERO,
        ..NatsConfig::default()
    }
}

async fn connect(config: NatsConfig) -> NatsBus {
    NatsBus::connect(config).await.unwrap()
}

/// Waits until it is so.
async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let check = async {
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        while !is() {
            pace.tick().await;
        }
    };
    let limit = Duration::from_secs(30);
    if tokio::time::timeout(limit, check).await.is_err() {
        panic!("not so within {limit:?}: {what}");
    }
}
