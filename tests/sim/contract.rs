//! The simulated database passes the same suite of cases as SQLite and Cassandra.

use std::sync::Arc;

use rookery_proto::shard::Shard;

use crate::{
    quorum::Quorum,
    store::NodeStore,
    world::{Process, World},
};

async fn store() -> (Arc<NodeStore>, ()) {
    let world = World::new(1, false);
    let quorum = Quorum::new(&world, None, Shard::all());
    let process = Process::new(&world, "contract");
    let store = NodeStore::new(&quorum, &process, None, Box::new(|_, _| {}));
    (Arc::new(store), ())
}

rookery_persistence::store_contract!(store);
