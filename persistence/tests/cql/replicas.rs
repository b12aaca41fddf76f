//! Three replicas, one of which dies or stops.

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;
use rookery_persistence::{
    Claim, ShardKind, Store, TakeFrom,
    contract::fixture::{incarnation, log_write, message, room},
};
use rookery_proto::shard::Shard;
use tokio::task::JoinHandle;

use crate::{database::Database, trial};

/// Commits after each of its changes.
const COMMITS: u64 = 150;
/// A commit and its fence read, on a machine that starts a database beside them. A coordinator that
/// does not know yet that a replica is paused waits for its answer to a read.
const SLOWEST_MAX: Duration = Duration::from_secs(5);

pub(crate) fn trials(database: &Arc<Database>) -> Vec<Trial> {
    vec![trial(
        database,
        "killed_or_paused_replica_is_not_noticed",
        killed_or_paused_replica_is_not_noticed,
    )]
}

fn services(command: &str, server: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
    let output = Command::new(script).args([command, server]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{command} {server}: {output:?}");
}

async fn killed_or_paused_replica_is_not_noticed(database: Arc<Database>) {
    let store = Arc::new(database.store().await);
    assert!(
        store.durability().contains("factor 3"),
        "{}",
        store.durability()
    );
    let (shard, mut owner) = (Shard::of("replicas"), incarnation());
    store.register_node("node-a", owner).await.unwrap();
    let room = room();
    let mut head = 0;
    let mut slowest = Duration::ZERO;
    for (command, server) in [
        ("kill", "cql-2"),
        ("restart", "cql-2"),
        ("pause", "cql-3"),
        ("resume", "cql-3"),
    ] {
        // In the middle of the commits.
        let doing: JoinHandle<()> = tokio::task::spawn_blocking(move || services(command, server));
        for _ in 0..COMMITS {
            head += 1;
            let began = Instant::now();
            let group = [log_write(&room, vec![message(head, 1)])];
            store.commit(&group).await.unwrap();
            assert!(!store.is_fenced(owner).await.unwrap());
            slowest = slowest.max(began.elapsed());
        }
        doing.await.unwrap();
        let next = incarnation();
        store.register_node("node-b", next).await.unwrap();
        let from = TakeFrom::Owner(owner);
        let claim = store
            .take_shard(ShardKind::Rooms, shard, "node-b", next, from)
            .await;
        assert!(matches!(claim, Ok(Claim::Taken(_))), "{claim:?}");
        owner = next;
    }
    assert!(slowest < SLOWEST_MAX, "a commit took {slowest:?}");
    let rows: Vec<_> = (1..=head).map(|offset| message(offset, 1)).collect();
    assert_eq!(store.log_tail(&room, 10_000).await.unwrap(), rows);
    store.close().await;
}
