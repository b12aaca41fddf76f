//! The shell over the in-process bus, in paused time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use rookery_proto::{ids::Epoch, shard::Shard};
use tokio::time::Instant;

use crate::{
    bus::InProcessBus,
    endpoint::{EndpointId, Role},
    membership::{
        Duties, Duty, Life, Liveness, LivenessError, LivenessRow, Membership, MembershipConfig,
        MembershipPorts, Standing, Suspended, start,
    },
    placement::{Owners, Placement},
    task::{TaskKind, spawn},
};

#[derive(Default)]
struct Table {
    rows: Mutex<BTreeMap<EndpointId, LivenessRow>>,
    broken: Mutex<bool>,
}

impl Table {
    fn check(&self) -> Result<(), LivenessError> {
        if *self.broken.lock().unwrap() {
            let source = "the database is gone".into();
            return Err(LivenessError { source });
        }
        Ok(())
    }
}

#[async_trait]
impl Liveness for Table {
    async fn write(&self, row: LivenessRow) -> Result<(), LivenessError> {
        self.check()?;
        self.rows.lock().unwrap().insert(row.endpoint.clone(), row);
        Ok(())
    }

    async fn read(&self) -> Result<Vec<LivenessRow>, LivenessError> {
        self.check()?;
        Ok(self.rows.lock().unwrap().values().cloned().collect())
    }
}

/// Takes what it is told to, at once; the database never refuses.
fn obey(membership: Membership, mut duties: Duties, epochs: Arc<Mutex<u64>>) {
    spawn(TaskKind::Passing, "test duties", async move {
        while let Some(duty) = duties.next().await {
            match duty {
                Duty::Take { shard, .. } => {
                    let epoch = {
                        let mut last = epochs.lock().unwrap();
                        *last += 1;
                        Epoch(*last)
                    };
                    membership.taken(shard, epoch).await;
                }
                Duty::StopAdmitting { shard, .. } => membership.finished(shard).await,
                Duty::Release { shard, to, .. } => membership.released(shard, to.is_some()).await,
                Duty::Expect { .. }
                | Duty::Given { .. }
                | Duty::Admit { .. }
                | Duty::Lost { .. } => {}
            }
        }
    });
}

struct Cluster {
    bus: Arc<InProcessBus>,
    table: Arc<Table>,
    epochs: Arc<Mutex<u64>>,
}

impl Cluster {
    fn new() -> Self {
        Self {
            bus: Arc::default(),
            table: Arc::default(),
            epochs: Arc::default(),
        }
    }

    async fn node(&self, role: Role, incarnation: u64) -> Membership {
        let config = MembershipConfig {
            node: format!("node-{incarnation}"),
            role,
            incarnation,
        };
        let table = (role != Role::Gateway).then(|| self.table.clone() as Arc<dyn Liveness>);
        let ports = MembershipPorts {
            bus: self.bus.clone(),
            table,
        };
        let (membership, duties) = start(config, ports).await.unwrap();
        obey(membership.clone(), duties, self.epochs.clone());
        membership
    }
}

async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < until, "not so: {what}");
        tokio::time::advance(Duration::from_millis(10)).await;
    }
}

fn owned(membership: &Membership, by: u64) -> usize {
    let endpoint = EndpointId::new(Role::Rooms, by);
    let placement = membership.placement();
    Shard::all()
        .filter(|shard| placement.owner(Role::Rooms, *shard).as_ref() == Some(&endpoint))
        .count()
}

#[tokio::test(start_paused = true)]
async fn nodes_share_the_shards_and_a_gateway_finds_the_owners() {
    let cluster = Cluster::new();
    let gateway = cluster.node(Role::Gateway, 1).await;
    let one = cluster.node(Role::Rooms, 2).await;
    let two = cluster.node(Role::Rooms, 3).await;
    eventually("all owned", || {
        owned(&gateway, 2) + owned(&gateway, 3) == 512
    })
    .await;
    assert!(owned(&gateway, 2) > 100 && owned(&gateway, 3) > 100);
    let before = owned(&gateway, 2);
    assert_eq!(gateway.nodes().await.len(), 2);
    assert!(
        one.nodes()
            .await
            .iter()
            .all(|node| node.life == Life::Alive)
    );

    two.leave().await;
    let mut standing = two.standing();
    standing
        .wait_for(|standing| *standing == Standing::Left)
        .await
        .unwrap();
    eventually("all with one", || owned(&gateway, 2) == 512).await;
    assert!(before < 512);
}

#[tokio::test(start_paused = true)]
async fn broken_table_suspends_until_it_answers() {
    let cluster = Cluster::new();
    let node = cluster.node(Role::Rooms, 2).await;
    let mut standing = node.standing();
    standing
        .wait_for(|it| *it == Standing::Serving)
        .await
        .unwrap();
    *cluster.table.broken.lock().unwrap() = true;
    let broken = Instant::now();
    standing
        .wait_for(|it| *it == Standing::Suspended(Suspended::Table))
        .await
        .unwrap();
    assert!(
        broken.elapsed() <= Duration::from_secs(4),
        "{:?}",
        broken.elapsed()
    );
    *cluster.table.broken.lock().unwrap() = false;
    standing
        .wait_for(|it| *it == Standing::Serving)
        .await
        .unwrap();
    node.commits_failing(true).await;
    standing
        .wait_for(|it| *it == Standing::Suspended(Suspended::Commits))
        .await
        .unwrap();
    node.commits_failing(false).await;
    standing
        .wait_for(|it| *it == Standing::Serving)
        .await
        .unwrap();
    node.fenced().await;
    standing
        .wait_for(|it| *it == Standing::Fenced)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn fenced_node_claims_nothing_though_a_shard_is_taken_late() {
    let cluster = Cluster::new();
    let node = cluster.node(Role::Rooms, 2).await;
    let mut standing = node.standing();
    let mut owners = node.placement().watch();
    let owns = |owners: &Arc<Owners>| owners.any(Role::Rooms);
    owners.wait_for(owns).await.unwrap();
    node.fenced().await;
    standing
        .wait_for(|it| *it == Standing::Fenced)
        .await
        .unwrap();
    node.taken(Shard::of("general"), Epoch(7)).await;
    // Requests are handled in order: this answer comes after that.
    node.nodes().await;
    assert!(!owns(&owners.borrow_and_update()));
}

#[tokio::test(start_paused = true)]
async fn ended_membership_is_replaced() {
    let cluster = Cluster::new();
    let one = cluster.node(Role::Rooms, 2).await;
    // No duties are performed for this one, so its handle is the only one.
    let config = MembershipConfig {
        node: "node-3".to_owned(),
        role: Role::Rooms,
        incarnation: 3,
    };
    let ports = MembershipPorts {
        bus: cluster.bus.clone(),
        table: Some(cluster.table.clone()),
    };
    let (two, mut duties) = start(config, ports).await.unwrap();
    for _ in 0..50 {
        let Some(Duty::Take { shard, .. }) = duties.next().await else {
            panic!("takes first");
        };
        two.taken(shard, Epoch(1_000)).await;
    }
    eventually("two is seen", || owned(&one, 3) == 50).await;
    drop((two, duties));
    eventually("all with one", || owned(&one, 2) == 512).await;
}
