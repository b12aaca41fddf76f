//! The simulated database passes the same suite of cases as SQLite and Cassandra.

use std::sync::Arc;

use rookery_persistence::contract::ownership;
use rookery_proto::shard::Shard;

use crate::{
    quorum::Quorum,
    store::NodeStore,
    world::{Process, World},
};

async fn store() -> (Arc<NodeStore>, ()) {
    (store_of(1), ())
}

fn store_of(seed: u64) -> Arc<NodeStore> {
    let world = World::new(seed, false);
    let quorum = Quorum::new(&world, None, Shard::all());
    let process = Process::new(&world, "contract");
    Arc::new(NodeStore::new(&quorum, &process, None, Box::new(|_, _| {})))
}

rookery_persistence::store_contract!(store);

/// Proposers meet in other ways under each seed.
#[tokio::test(start_paused = true)]
async fn many_nodes_at_one_shard_leave_only_its_owner_unfenced_whatever_the_order() {
    for seed in 1..=300 {
        let store = store_of(seed);
        let case = ownership::many_nodes_at_one_shard_leave_only_its_owner_unfenced(store);
        case.await
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}
