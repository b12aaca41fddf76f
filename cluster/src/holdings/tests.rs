//! Nodes with holdings over one bus, one table and one register of shards, in paused time.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::{advance, timeout};

use super::*;
use crate::{
    bus::InProcessBus,
    endpoint::Role,
    membership::{
        Liveness, LivenessError, LivenessRow, MembershipConfig, MembershipPorts, Successor, start,
    },
};

/// Longer than anything here takes, in paused time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the database keeps: who has each shard, and the last epoch.
#[derive(Default)]
struct Register {
    owners: Mutex<BTreeMap<Shard, (u64, Option<u64>)>>,
    fenced: Mutex<Vec<u64>>,
    broken: AtomicBool,
}

struct Registrar {
    register: Arc<Register>,
    incarnation: u64,
}

#[async_trait]
impl ShardRegistry for Registrar {
    async fn take(&self, shard: Shard, from: TakenFrom) -> Taking {
        if self.register.broken.load(Ordering::Relaxed) {
            return Taking::Failed;
        }
        let mut owners = self.register.owners.lock().unwrap();
        let (epoch, owner) = owners.entry(shard).or_default();
        let allowed = match (*owner, from) {
            (None, _) | (_, TakenFrom::Anyone) => true,
            (Some(owner), TakenFrom::Dead(dead)) if owner == dead => true,
            (Some(owner), _) => owner == self.incarnation,
        };
        if let (Some(owner), false) = (*owner, allowed) {
            let epoch = Epoch(*epoch);
            return Taking::Refused { owner, epoch };
        }
        if let Some(former) = owner.filter(|it| *it != self.incarnation) {
            self.register.fenced.lock().unwrap().push(former);
        }
        *epoch += 1;
        *owner = Some(self.incarnation);
        Taking::Taken(Epoch(*epoch))
    }

    async fn release(&self, shard: Shard, epoch: Epoch, to: Option<Successor>) -> Releasing {
        let mut owners = self.register.owners.lock().unwrap();
        let (held, owner) = owners.entry(shard).or_default();
        if (*held, *owner) != (epoch.0, Some(self.incarnation)) {
            return Releasing::NotOurs;
        }
        *owner = to.as_ref().map(|next| next.incarnation);
        match to {
            Some(_) => {
                *held += 1;
                Releasing::Given
            }
            None => Releasing::Released,
        }
    }

    async fn is_fenced(&self) -> bool {
        let fenced = self.register.fenced.lock().unwrap();
        fenced.contains(&self.incarnation)
    }
}

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

#[derive(Default)]
struct Cluster {
    bus: Arc<InProcessBus>,
    table: Arc<Table>,
    register: Arc<Register>,
}

impl Cluster {
    fn registrar(&self, incarnation: u64) -> Arc<Registrar> {
        Arc::new(Registrar {
            register: Arc::clone(&self.register),
            incarnation,
        })
    }

    async fn node(&self, incarnation: u64) -> Holdings {
        let config = MembershipConfig {
            node: format!("node-{incarnation}"),
            role: Role::Rooms,
            incarnation,
        };
        let ports = MembershipPorts {
            bus: Arc::clone(&self.bus) as _,
            table: Some(Arc::clone(&self.table) as _),
        };
        let (membership, duties) = start(config, ports).await.unwrap();
        let ownership = Ownership::Cluster { membership, duties };
        Holdings::new(ownership, self.registrar(incarnation))
    }

    fn owned_by(&self, incarnation: u64) -> usize {
        let owners = self.register.owners.lock().unwrap();
        let owned = owners.values().filter(|(_, it)| *it == Some(incarnation));
        owned.count()
    }
}

/// Performs what is wanted, as a host without contents does, until the condition holds.
async fn run(nodes: &mut [Holdings], what: &str, mut done: impl FnMut(&mut [Holdings]) -> bool) {
    let all = async {
        while !done(nodes) {
            for node in nodes.iter_mut() {
                while let Ok(change) = timeout(Duration::ZERO, node.next()).await {
                    if let Change::Close(shard) = change {
                        node.closed(shard);
                    }
                }
            }
            advance(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, all).await.expect(what);
}

fn held(node: &Holdings) -> usize {
    Shard::all().filter(|it| node.held(*it).is_some()).count()
}

fn here(epoch: u64) -> Place {
    Place::Here(Held {
        epoch: Epoch(epoch),
        after_release: false,
    })
}

fn a_shard(node: &Holdings) -> Shard {
    Shard::all().find(|it| node.held(*it).is_some()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn alone_a_shard_is_taken_at_its_first_use_and_renewed_above_its_epoch() {
    let cluster = Cluster::default();
    let mut alone = Holdings::new(Ownership::Alone, cluster.registrar(1));
    let shard = Shard::of("general");
    let now = Instant::now();
    assert_eq!(alone.place(shard, now), Place::Soon);
    assert_eq!(alone.next().await, Change::Taken(shard));
    assert_eq!(alone.place(shard, now), here(1));
    alone.renew(shard);
    assert_eq!(alone.place(shard, now), Place::Soon);
    assert_eq!(alone.next().await, Change::Taken(shard));
    assert_eq!(alone.place(shard, now), here(2));
    assert_eq!(held(&alone), 1);
}

#[tokio::test(start_paused = true)]
async fn alone_a_failed_renewal_does_not_leave_the_old_epoch_in_use() {
    let cluster = Cluster::default();
    let mut alone = Holdings::new(Ownership::Alone, cluster.registrar(1));
    let shard = Shard::of("general");
    alone.place(shard, Instant::now());
    assert_eq!(alone.next().await, Change::Taken(shard));
    cluster.register.broken.store(true, Ordering::Relaxed);
    alone.renew(shard);
    assert_eq!(alone.next().await, Change::NotTaken(shard));
    assert_eq!(alone.held(shard), None);
    cluster.register.broken.store(false, Ordering::Relaxed);
    assert_eq!(alone.place(shard, Instant::now()), Place::Soon);
    assert_eq!(alone.next().await, Change::Taken(shard));
    assert_eq!(alone.place(shard, Instant::now()), here(2));
}

#[tokio::test(start_paused = true)]
async fn second_node_is_handed_its_share_and_nobody_is_fenced() {
    let cluster = Cluster::default();
    let mut nodes = vec![cluster.node(1).await];
    run(&mut nodes, "all with one", |nodes| held(&nodes[0]) == 512).await;
    nodes.push(cluster.node(2).await);
    run(&mut nodes, "shared", |nodes| {
        let (one, two) = (held(&nodes[0]), held(&nodes[1]));
        one + two == 512 && two > 200
    })
    .await;
    assert!(cluster.register.fenced.lock().unwrap().is_empty());
    for shard in Shard::all() {
        if let Some(held) = nodes[1].held(shard) {
            assert!(held.after_release && held.epoch == Epoch(2), "{held:?}");
        }
        let epochs = nodes.iter().filter_map(|node| node.held(shard));
        assert_eq!(epochs.count(), 1, "{shard} has one owner");
    }
}

#[tokio::test(start_paused = true)]
async fn shard_that_closes_is_said_to_be_at_its_next_owner_which_expects_it() {
    let cluster = Cluster::default();
    let mut nodes = vec![cluster.node(1).await];
    run(&mut nodes, "all with one", |nodes| held(&nodes[0]) == 512).await;
    nodes.push(cluster.node(2).await);
    let me = EndpointId::new(Role::Rooms, 2);
    let mut seen = false;
    // The giver's contents never end: its shards stay where they are.
    let all = async {
        while !seen {
            for node in &mut nodes {
                while timeout(Duration::ZERO, node.next()).await.is_ok() {}
            }
            let now = Instant::now();
            for shard in Shard::all() {
                if let Place::Elsewhere { to: Some(to), .. } = nodes[0].place(shard, now) {
                    assert_eq!(to, me);
                    assert_eq!(nodes[1].place(shard, now), Place::Soon);
                    seen = true;
                }
            }
            advance(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, all).await.expect("a shard closes");
    assert_eq!((held(&nodes[0]), held(&nodes[1])), (512, 0));
}

#[tokio::test(start_paused = true)]
async fn promise_that_is_not_kept_ends_the_wait() {
    let cluster = Cluster::default();
    let mut node = cluster.node(1).await;
    let shard = Shard::of("general");
    node.handle(Event::Duty(Duty::Expect { shard }));
    assert_eq!(node.place(shard, Instant::now()), Place::Soon);
    let next = async {
        loop {
            match node.next().await {
                Change::Standing(_) => {}
                change => return change,
            }
        }
    };
    let change = timeout(EXPECTED_FOR * 2, next).await.unwrap();
    assert_eq!(change, Change::NotTaken(shard));
    let elsewhere = Place::Elsewhere {
        epoch: Epoch(0),
        to: None,
    };
    assert_eq!(node.place(shard, Instant::now()), elsewhere);
}

#[tokio::test(start_paused = true)]
async fn node_that_died_is_fenced_and_its_shards_are_taken() {
    let cluster = Cluster::default();
    let mut nodes = vec![cluster.node(1).await, cluster.node(2).await];
    run(&mut nodes, "shared", |nodes| {
        held(&nodes[0]) + held(&nodes[1]) == 512
    })
    .await;
    let dead = nodes.remove(0);
    drop(dead);
    run(&mut nodes, "taken over", |nodes| held(&nodes[0]) == 512).await;
    let taken = Shard::all().filter(|it| !nodes[0].held(*it).unwrap().after_release);
    assert!(
        taken.count() > 200,
        "what was taken from the dead was not released"
    );
    assert!(cluster.register.fenced.lock().unwrap().contains(&1));
    assert_eq!(cluster.owned_by(2), 512);
}

#[tokio::test(start_paused = true)]
async fn node_that_loses_a_shard_to_another_reads_its_fence_and_stands_fenced() {
    let cluster = Cluster::default();
    let mut nodes = vec![cluster.node(1).await];
    run(&mut nodes, "all with one", |nodes| held(&nodes[0]) == 512).await;
    let shard = a_shard(&nodes[0]);
    // Another took it, as from a dead one.
    let taken = cluster.registrar(7).take(shard, TakenFrom::Dead(1)).await;
    assert!(matches!(taken, Taking::Taken(_)));
    // A room of the shard failed: the renewal shows that it is another's.
    nodes[0].renew(shard);
    run(&mut nodes, "fenced", |nodes| {
        let standing = nodes[0].standing.as_ref().unwrap();
        *standing.borrow() == Standing::Fenced && held(&nodes[0]) == 0
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn shard_that_another_took_before_it_was_given_is_lost_and_the_fence_read() {
    let cluster = Cluster::default();
    let mut nodes = vec![cluster.node(1).await];
    run(&mut nodes, "all with one", |nodes| held(&nodes[0]) == 512).await;
    let shard = a_shard(&nodes[0]);
    let epoch = nodes[0].held(shard).unwrap().epoch;
    let taken = cluster.registrar(7).take(shard, TakenFrom::Dead(1)).await;
    assert!(matches!(taken, Taking::Taken(_)));
    let releasing = cluster.registrar(1).release(shard, epoch, None).await;
    let change = nodes[0].handle(Event::Ended(Ended::Release { shard, releasing }));
    assert_eq!(change, Some(Change::Lost(shard)));
    assert_eq!(nodes[0].held(shard), None);
    run(&mut nodes, "fenced", |nodes| {
        *nodes[0].standing.as_ref().unwrap().borrow() == Standing::Fenced
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn shard_renewed_while_it_is_offered_moves_under_the_larger_epoch() {
    let cluster = Cluster::default();
    let mut nodes = vec![cluster.node(1).await];
    run(&mut nodes, "all with one", |nodes| held(&nodes[0]) == 512).await;
    nodes.push(cluster.node(2).await);
    // Every shard that the other will have is renewed again and again.
    let all: Vec<_> = Shard::all().collect();
    let mut renewals = all.into_iter().cycle();
    run(&mut nodes, "shared", |nodes| {
        nodes[0].renew(renewals.next().unwrap());
        let all = cluster.owned_by(1) + cluster.owned_by(2);
        all == 512 && held(&nodes[1]) > 200 && held(&nodes[0]) + held(&nodes[1]) == 512
    })
    .await;
    assert!(cluster.register.fenced.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn take_of_which_nothing_is_known_is_asked_again_and_nobody_waits_for_it() {
    let cluster = Cluster::default();
    cluster.register.broken.store(true, Ordering::Relaxed);
    let mut nodes = vec![cluster.node(1).await];
    let shard = Shard::of("general");
    let elsewhere = Place::Elsewhere {
        epoch: Epoch(0),
        to: None,
    };
    let mut asked = false;
    run(&mut nodes, "asked in vain", |nodes| {
        let slot = &nodes[0].slots[usize::from(shard.number())];
        asked |= slot.troubled;
        asked && nodes[0].place(shard, Instant::now()) == elsewhere
    })
    .await;
    assert_eq!(held(&nodes[0]), 0);
    cluster.register.broken.store(false, Ordering::Relaxed);
    run(&mut nodes, "taken", |nodes| held(&nodes[0]) == 512).await;
}

#[tokio::test(start_paused = true)]
async fn node_that_leaves_hands_over_all_and_has_left() {
    let cluster = Cluster::default();
    let mut nodes = vec![cluster.node(1).await, cluster.node(2).await];
    run(&mut nodes, "shared", |nodes| {
        held(&nodes[0]) + held(&nodes[1]) == 512
    })
    .await;
    assert!(nodes[0].leave());
    run(&mut nodes, "left", |nodes| nodes[0].has_left()).await;
    run(&mut nodes, "all with two", |nodes| held(&nodes[1]) == 512).await;
    assert!(cluster.register.fenced.lock().unwrap().is_empty());
    assert!(nodes[1].leave());
    run(&mut nodes, "both left", |nodes| nodes[1].has_left()).await;
    assert_eq!(cluster.owned_by(2), 0, "released to nobody");
}
