//! One room, one client, and what becomes of its owner.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rookery_loadtest::{
    client::{Client, ConnectOptions, command},
    cluster::{Cluster, ClusterOptions, Wire},
    limits::CLUSTER_READY_DEADLINE,
    proxy::Way,
};
use rookery_persistence::{
    Claim, CqlConfig, CqlStore, Incarnation, ShardKind, Store as _, TakeFrom,
};
use rookery_proto::{errors::Code, ids::Epoch, shard::Shard, v1};
use tempfile::TempDir;
use tokio::time::{Instant, interval};

use crate::{ALONE, services::find};

const ROOM: &str = "lab";
/// How long the room may be without an owner. The promise is 5 s after a kill; this is a test on a
/// busy machine.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two tries, or two looks.
const PACE: Duration = Duration::from_millis(20);
/// How late the database answers a node that is to be looked at while it comes back.
const SLOW: Duration = Duration::from_millis(150);

/// A cluster with so many nodes. `None`: something is not here, and that was said.
async fn start(what: &str, nodes: usize) -> Result<Option<(TempDir, Cluster)>> {
    let Some((database, nats_binary)) = find(what, "ROOKERY_TEST_CQL") else {
        return Ok(None);
    };
    let folder = TempDir::new()?;
    let options = ClusterOptions {
        binary: env!("CARGO_BIN_EXE_rookery").into(),
        nats_binary,
        folder: folder.path().to_owned(),
        nats_servers: 1,
        database,
        nodes,
        gateways: 1,
        direct: false,
        settings: Vec::new(),
    };
    Ok(Some((folder, Cluster::start(options).await?)))
}

/// Sends a message, the same again while nobody owns the room.
async fn send(client: &Client, text: &str) -> Result<v1::Appended> {
    let until = Instant::now() + DEADLINE;
    let mut pace = interval(PACE);
    loop {
        pace.tick().await;
        match client.send(ROOM, text, text).await {
            Err(error) if error.code() == Some(Code::Unavailable) && Instant::now() < until => {}
            answer => return Ok(answer?),
        }
    }
}

/// The texts of the room's log.
async fn texts(client: &Client) -> Result<Vec<String>> {
    let log = client.whole_log(ROOM).await?.into_iter();
    let texts = log.filter_map(|event| match event.body {
        Some(v1::event::Body::Message(message)) => Some(message.text),
        _ => None,
    });
    Ok(texts.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn next_send_after_the_owner_is_killed_is_acknowledged_by_the_other_node() -> Result<()> {
    let _alone = ALONE.lock().await;
    let Some((_folder, mut cluster)) = start("kill of an owner", 2).await? else {
        return Ok(());
    };
    let address = cluster.gateways[0].server.address();
    let (ada, _ada) = Client::connect(&ConnectOptions::named(address, "ada")).await?;
    ada.create(command::create_group(ROOM, false, &[], "c"))
        .await?;
    let first = send(&ada, "before").await?;
    let owner = cluster.owner(ROOM).context("some node woke the room")?;
    cluster.nodes[owner].kill9();
    let killed = Instant::now();
    let next = send(&ada, "after").await?;
    let took = killed.elapsed();
    ensure!(took < DEADLINE, "acknowledged {took:?} after the kill");
    ensure!(
        (next.offset, next.duplicate) == (first.offset + 1, false) && next.epoch > first.epoch,
        "{first:?}, then {next:?}"
    );
    ensure!(
        cluster.owner(ROOM) == Some(1 - owner),
        "the other node has it"
    );
    ensure!(texts(&ada).await? == ["before", "after"], "one log");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fenced_node_says_so_and_comes_back_with_what_it_acknowledged() -> Result<()> {
    let _alone = ALONE.lock().await;
    let Some((_folder, cluster)) = start("fence of a node", 1).await? else {
        return Ok(());
    };
    let node = &cluster.nodes[0];
    let address = cluster.gateways[0].server.address();
    let (ada, _ada) = Client::connect(&ConnectOptions::named(address, "ada")).await?;
    ada.create(command::create_group(ROOM, false, &[], "c"))
        .await?;
    let first = send(&ada, "before").await?;
    let pid = node.server.pid();

    // Another node takes one of its shards, as if it were dead, and gives it back.
    let addresses = cluster.database().addresses().iter();
    let addresses = addresses.map(ToString::to_string).collect();
    let store = CqlStore::connect(CqlConfig::new(addresses, cluster.keyspace())).await?;
    let former = owner(&store).await?;
    node.wire(Wire::Database, Way::Delayed(SLOW));
    fence(&store, former).await?;
    let mut pace = interval(PACE);
    let until = Instant::now() + DEADLINE;
    loop {
        let (ready, reasons) = node.server.readiness().await?;
        if reasons.contains("another process has taken the rooms") {
            ensure!(!ready, "{reasons}");
            break;
        }
        ensure!(
            Instant::now() < until,
            "it does not say that it is fenced: {reasons}"
        );
        pace.tick().await;
    }
    node.wire(Wire::Database, Way::Open);

    // The same process serves again, as another incarnation.
    let next = send(&ada, "after").await?;
    ensure!(
        (next.offset, next.duplicate) == (first.offset + 1, false) && next.epoch > first.epoch,
        "{first:?}, then {next:?}"
    );
    ensure!(texts(&ada).await? == ["before", "after"], "one log");
    cluster.ready(CLUSTER_READY_DEADLINE).await?;
    ensure!(node.server.pid() == pid, "it is the same process");
    let now = owner(&store).await?;
    ensure!(now != former, "it owns the room as another incarnation");
    ensure!(store.is_fenced(former).await?, "the former stays fenced");
    ensure!(!store.is_fenced(now).await?, "the new one is not");
    Ok(())
}

/// Who owns the room, by the database.
async fn owner(store: &CqlStore) -> Result<Incarnation> {
    let nobody = Incarnation(1);
    let (kind, shard) = (ShardKind::Rooms, Shard::of(ROOM));
    let asked = store.take_shard(kind, shard, "asks", nobody, TakeFrom::Nobody);
    match asked.await? {
        Claim::Refused { owner, .. } => Ok(owner),
        Claim::Taken(Epoch(epoch)) => bail!("nobody owned the room until epoch {epoch}"),
    }
}

/// Takes another shard than the room's from an incarnation, and gives it back.
async fn fence(store: &CqlStore, former: Incarnation) -> Result<()> {
    let taker = Incarnation(2);
    store.register_node("taker", taker).await?;
    let kind = ShardKind::Rooms;
    let other = Shard::all().find(|shard| *shard != Shard::of(ROOM));
    let other = other.context("there are several shards")?;
    let taken = store.take_shard(kind, other, "taker", taker, TakeFrom::Owner(former));
    let Claim::Taken(epoch) = taken.await? else {
        bail!("the taker gets the shard");
    };
    Ok(store.release_shard(kind, other, taker, epoch).await?)
}
