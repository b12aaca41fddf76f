//! Two nodes that share the shards of users.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use rookery_cluster::{
    Bus, ClusterPlacement, EndpointId, InProcessBus, Links, Liveness, LivenessError, LivenessRow,
    MembershipConfig, MembershipPorts, Ownership, Placement as _, Role, SystemClock, membership,
    placement::rendezvous,
};
use rookery_persistence::{Incarnation, Store};
use rookery_presence::{PresenceConfig, PresenceNode, PresencePorts, start};
use rookery_proto::{
    link::{WatchUser, packet::Body, reply, user_request::Command},
    shard::Shard,
    v1::{self, presence::Status},
};

use super::support::{Gateway, TestStore, caller, eventually, pass, status_of};

#[derive(Default)]
struct Table(Mutex<BTreeMap<EndpointId, LivenessRow>>);

#[async_trait]
impl Liveness for Table {
    async fn write(&self, row: LivenessRow) -> Result<(), LivenessError> {
        self.0.lock().unwrap().insert(row.endpoint.clone(), row);
        Ok(())
    }

    async fn read(&self) -> Result<Vec<LivenessRow>, LivenessError> {
        Ok(self.0.lock().unwrap().values().cloned().collect())
    }
}

struct Cluster {
    bus: Arc<InProcessBus>,
    table: Arc<Table>,
    store: Arc<dyn Store>,
    _folder: tempfile::TempDir,
}

impl Cluster {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            bus: Arc::default(),
            table: Arc::default(),
            store: Arc::new(TestStore::open(folder.path())),
            _folder: folder,
        }
    }

    fn bus(&self) -> Arc<dyn Bus> {
        self.bus.clone()
    }

    async fn node(&self, incarnation: u64) -> (PresenceNode, ClusterPlacement) {
        let config = MembershipConfig {
            node: format!("node-{incarnation}"),
            role: Role::Presence,
            incarnation,
        };
        let ports = MembershipPorts {
            bus: self.bus.clone(),
            table: Some(self.table.clone()),
        };
        let (membership, duties) = membership::start(config, ports).await.unwrap();
        let placement = membership.placement();
        let endpoint = EndpointId::new(Role::Presence, incarnation);
        let ports = PresencePorts {
            bus: self.bus(),
            links: Links::new(self.bus(), endpoint, incarnation),
            placement: Arc::new(placement.clone()),
            ownership: Ownership::Cluster { membership, duties },
            store: Arc::clone(&self.store),
            clock: Arc::new(SystemClock),
        };
        let config = PresenceConfig {
            incarnation: Incarnation(incarnation),
            node: format!("node-{incarnation}"),
            ..PresenceConfig::default()
        };
        (start(config, ports).await.unwrap(), placement)
    }
}

/// A user whose shard is the second node's when two share all.
fn user_of_the_second() -> String {
    let users = (0..).map(|number| format!("user-{number}"));
    let prefers = |user: &String| {
        let shard = Shard::of(user);
        rendezvous::weight("node-2", shard) > rendezvous::weight("node-1", shard)
    };
    users.into_iter().find(prefers).unwrap()
}

async fn owned_by(placement: &ClusterPlacement, user: &str, node: &EndpointId) {
    let shard = Shard::of(user);
    eventually("it owns the user", async || {
        placement.owner(Role::Presence, shard).as_ref() == Some(node)
    })
    .await;
}

/// The next answer. A node that took shards may ask for announcements at any time before it.
async fn answer(gateway: &mut Gateway) -> reply::Result {
    loop {
        match gateway.next().await {
            Body::Reply(reply) => return reply.result.unwrap(),
            Body::Reannounce(_) => {}
            other => panic!("no reply but {other:?}"),
        }
    }
}

/// What the answer to a watcher shows.
fn shown(answer: reply::Result) -> Status {
    match answer {
        reply::Result::Ack(v1::Ack {
            result: Some(v1::ack::Result::Presence(list)),
            ..
        }) => list.users[0].status(),
        other => panic!("no presence but {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn user_whose_shard_moves_is_never_offline_and_is_announced_again() {
    let cluster = Cluster::new();
    let (one, placement) = cluster.node(1).await;
    let user = user_of_the_second();
    owned_by(&placement, &user, one.endpoint()).await;
    let mut gateway = Gateway::on(&cluster.bus(), 7, one.endpoint().clone()).await;
    gateway.open(10, &user, "phone");
    pass(100).await;
    let watch = || Some(Command::Watch(WatchUser {}));
    gateway.request(20, caller(20, "watcher", ""), &user, watch());
    assert_eq!(shown(answer(&mut gateway).await), Status::Online);

    let (two, _) = cluster.node(2).await;
    owned_by(&placement, &user, two.endpoint()).await;
    // The first one sends on who asks it.
    gateway.turn_to(one.endpoint());
    gateway.request(21, caller(21, "watcher", ""), &user, watch());
    let elsewhere = match answer(&mut gateway).await {
        reply::Result::NotOwner(elsewhere) => elsewhere,
        other => panic!("not sent on: {other:?}"),
    };
    assert_eq!(elsewhere.owner, two.endpoint().as_str());

    // The second knows nothing of the user yet, and says nothing of being offline.
    gateway.turn_to(two.endpoint());
    gateway.request(22, caller(22, "watcher", ""), &user, watch());
    pass(3_000).await;
    gateway.open(10, &user, "phone");
    let mut seen = Vec::new();
    let told = tokio::time::timeout(Duration::from_secs(30), async {
        while seen.last() != Some(&Status::Online) {
            match gateway.next().await {
                Body::Reply(reply) => seen.push(shown(reply.result.unwrap())),
                Body::Reannounce(_) => {}
                Body::UserDelivery(delivery) => seen.push(status_of(&delivery)),
                other => panic!("unexpected {other:?}"),
            }
        }
    });
    told.await.expect("online again");
    assert!(!seen.contains(&Status::Offline), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn stopping_node_hands_its_users_over_before_it_ends() {
    let cluster = Cluster::new();
    let (one, seen_by_one) = cluster.node(1).await;
    let (two, _) = cluster.node(2).await;
    let user = user_of_the_second();
    owned_by(&seen_by_one, &user, two.endpoint()).await;
    let report = two.stop(Duration::from_secs(25)).await;
    assert!(report.in_time, "{report:?}");
    owned_by(&seen_by_one, &user, one.endpoint()).await;
}
