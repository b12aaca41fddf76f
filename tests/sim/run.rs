//! One run: a cluster, its clients, and the misfortunes that the seed chooses.

mod misfortune;
mod place;
mod presence;

use std::{collections::BTreeMap, sync::Arc};

use fastrand::Rng;
use rookery_cluster::{
    Role,
    task::{TaskKind, spawn},
};
use rookery_loadtest::{
    client::command,
    history::{Purpose, Record},
};
use rookery_proto::{
    limits::HISTORY_EVENTS_MAX,
    shard::Shard,
    v1::{ack, server_frame::Frame},
};
use tokio::{
    runtime::Builder,
    time::{Duration, Instant, sleep},
};

use self::misfortune::Later;
use crate::{
    client::Client,
    cluster::{Cluster, Moving},
    judge::{self, Found},
    mutation::Mutation,
    net::Weather,
    node::Node,
    presence::{self as people, Fact, People},
    profile::{Plan, Profile},
    quorum::{REPLICAS, Traps, Trouble},
    work::{CLIENTS, Phase, Stage, user_name},
};

/// How often the driver looks around.
const TURN: Duration = Duration::from_millis(25);
/// How long anything may take when all is well again.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a run left.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) records: Vec<Record>,
    /// What concerns presence, and when, in microseconds.
    pub(crate) facts: Vec<(u64, Fact)>,
    pub(crate) found: Vec<Found>,
    /// Rooms that were claimed without being written again.
    pub(crate) at_rest: u64,
}

/// Runs a seed on this thread.
pub(crate) fn run(
    seed: u64,
    profile: Profile,
    mutation: Option<Mutation>,
    traced: bool,
) -> Outcome {
    // Correlation ids of errors come from here.
    fastrand::seed(seed);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let outcome = runtime.block_on(Driver::run(seed, profile, mutation, traced));
    // Tasks of dead processes wait for ever.
    runtime.shutdown_background();
    outcome
}

struct Driver {
    cluster: Arc<Cluster>,
    dice: Rng,
    nodes: Vec<Slot>,
    people: Option<People>,
    /// What happens later.
    later: BTreeMap<(Instant, u64), Later>,
}

/// A machine, and the node that runs on it.
struct Slot {
    node: Option<Node>,
}

impl Driver {
    async fn run(seed: u64, profile: Profile, mutation: Option<Mutation>, traced: bool) -> Outcome {
        let cluster = Cluster::new(seed, profile, traced, mutation);
        let plan = cluster.plan;
        let dice = cluster.world.own_dice();
        let mut driver = Self {
            nodes: (0..plan.nodes).map(|_| Slot { node: None }).collect(),
            cluster,
            dice,
            people: None,
            later: BTreeMap::new(),
        };
        for index in 0..plan.nodes {
            driver.start(index);
        }
        driver.place_all();
        let stage = Arc::new(Stage::default());
        for number in 0..CLIENTS {
            let user = user_name(number);
            let client = Client::new(&driver.cluster, number, user, Purpose::Take).await;
            spawn(TaskKind::Passing, "client", client.run(Arc::clone(&stage)));
        }
        if plan.has_people {
            driver.people = Some(People::new(&driver.cluster));
        }
        let mut found = driver.misfortunes().await;
        found.extend(driver.end(&stage).await);
        let records = driver.cluster.take_history();
        found.extend(judge::judge(&records, &driver.cluster.quorum));
        let facts = driver.cluster.world.facts(<[_]>::to_vec);
        if plan.has_people {
            found.extend(people::judge(&facts));
        }
        Outcome {
            records,
            facts,
            found,
            at_rest: driver.cluster.world.rests(),
        }
    }

    async fn misfortunes(&mut self) -> Vec<Found> {
        let real = self.cluster.moving == Moving::Real;
        // The rooms begin in peace.
        if real && !self.wait(Self::all_serve).await {
            return vec![Found::stuck("the first nodes do not join")];
        }
        if real && self.people.is_some() && self.dice.bool() {
            return self.split_in_peace().await;
        }
        for round in 0..self.plan().rounds {
            if round > 0 {
                self.all_well();
                if let Some(stuck) = self.rest().await {
                    return vec![stuck];
                }
            }
            self.round().await;
        }
        Vec::new()
    }

    async fn round(&mut self) {
        let plan = self.plan();
        self.cluster.quorum.traps(plan.traps);
        let until = Instant::now() + plan.work;
        let mut next = Instant::now() + Duration::from_millis(self.dice.u64(20..420));
        while Instant::now() < until {
            let now = Instant::now();
            self.look_after(now);
            if now >= next {
                next = now + Duration::from_millis(self.dice.u64(20..plan.misfortune_ms_max));
                self.misfortune(now);
            }
            if let Some(people) = &mut self.people {
                people.act(now);
            }
            sleep(TURN).await;
        }
    }

    fn plan(&self) -> &'static Plan {
        self.cluster.plan
    }

    /// Brings all to rest, then has every room read by a node that was never there before.
    async fn end(&mut self, stage: &Stage) -> Vec<Found> {
        self.all_well();
        stage.begin(Phase::Drain);
        if !self.wait(|_| stage.all_ready()).await {
            return vec![Found::stuck("clients do not get answers")];
        }
        if let Some(stuck) = self.rest().await {
            return vec![stuck];
        }
        let last = self.nodes.len();
        self.nodes.push(Slot { node: None });
        self.start(last);
        match self.cluster.moving {
            Moving::Driven | Moving::Planned => {
                for room in self.plan().rooms.iter().copied() {
                    self.assign((Role::Rooms, Shard::of(room)), last);
                }
            }
            Moving::Real => {
                if !self.wait(|driver| driver.serves(last)).await {
                    return vec![Found::stuck("the last node does not join")];
                }
                for slot in &mut self.nodes[..last] {
                    if let Some(node) = slot.node.take() {
                        node.process.kill();
                    }
                }
            }
        }
        // What was decided before it took the rooms may come to clients only now.
        if !self
            .wait(|driver| driver.owns_all(last) && stage.all_ready())
            .await
        {
            return vec![Found::stuck("the last node does not take every room")];
        }
        let Some(heads) = self.read_all().await else {
            return vec![Found::stuck("the rooms cannot be read")];
        };
        stage.come_to(heads);
        if !self.wait(|_| stage.all_ready()).await {
            return vec![Found::stuck("clients do not come to the rooms' heads")];
        }
        stage.begin(Phase::Done);
        if !self.wait(|_| stage.all_ready()).await {
            return vec![Found::stuck("clients do not end")];
        }
        Vec::new()
    }

    async fn wait(&mut self, ready: impl Fn(&Self) -> bool) -> bool {
        let until = Instant::now() + PATIENCE;
        while !ready(self) {
            if Instant::now() > until {
                return false;
            }
            self.look_after(Instant::now());
            sleep(TURN).await;
        }
        true
    }

    /// What the rest is judged by; the head of each room.
    async fn read_all(&mut self) -> Option<BTreeMap<String, u64>> {
        let mut judge = Client::new(&self.cluster, CLIENTS, user_name(0), Purpose::Judge).await;
        let mut heads = BTreeMap::new();
        for room in self.plan().rooms.iter().copied() {
            let mut after = 0;
            loop {
                let page = command::history_after(room, after, HISTORY_EVENTS_MAX);
                match judge.insist(&page).await? {
                    Frame::Ack(ack) => {
                        let Some(ack::Result::History(page)) = ack.result else {
                            return None;
                        };
                        after = page.events.last().map_or(page.head, |event| event.offset);
                        heads.insert(room.to_owned(), page.head);
                        if after >= page.head {
                            break;
                        }
                    }
                    // Nobody ever created it.
                    _ => break,
                }
            }
        }
        for (room, head) in &heads {
            judge.insist(&command::join_after(room, *head)).await?;
        }
        judge.finish();
        Some(heads)
    }

    fn all_well(&mut self) {
        self.later.clear();
        if let Some(people) = &mut self.people {
            people.all_well();
        }
        self.cluster.net.weather(Weather::FAIR);
        self.cluster.net.heal();
        self.cluster.quorum.trouble(Trouble::NONE);
        self.cluster.quorum.traps(Traps::NONE);
        for replica in 0..REPLICAS {
            self.cluster.quorum.down(replica, false);
        }
        for index in 0..self.nodes.len() {
            self.with(index, |node| {
                node.process.go_on();
                node.process.cut_from_store(false);
            });
            self.start(index);
        }
        self.place_lost();
    }
}
