//! One run: a cluster, its clients, and the misfortunes that the seed chooses.

use std::{collections::BTreeMap, sync::Arc};

use fastrand::Rng;
use rookery_cluster::task::{TaskKind, spawn};
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

use crate::{
    client::Client,
    cluster::{Cluster, Moving},
    judge::{self, Found},
    mutation::Mutation,
    net::Weather,
    node::Node,
    quorum::{REPLICAS, Trouble},
    replica::{Cell, Value},
    work::{CLIENTS, Phase, ROOMS, Stage, user_name},
};

const NODES: usize = 3;
/// How often the driver looks around.
const TURN: Duration = Duration::from_millis(25);
/// How long misfortunes go on.
const WORK: Duration = Duration::from_secs(9);
/// The same where nodes find out by themselves that others are gone.
const WORK_REAL: Duration = Duration::from_secs(25);
/// One seed of so many has real membership.
const REAL_EVERY: u64 = 20;
/// How long anything may take when all is well again.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a run left.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) records: Vec<Record>,
    pub(crate) found: Vec<Found>,
}

/// Runs a seed on this thread.
pub(crate) fn run(seed: u64, mutation: Option<Mutation>, traced: bool) -> Outcome {
    // Correlation ids of errors come from here.
    fastrand::seed(seed);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let outcome = runtime.block_on(Driver::run(seed, mutation, traced));
    // Tasks of dead processes wait for ever.
    runtime.shutdown_background();
    outcome
}

struct Driver {
    cluster: Arc<Cluster>,
    dice: Rng,
    nodes: Vec<Slot>,
    /// What happens later.
    later: BTreeMap<(Instant, u64), Later>,
}

/// A machine, and the node that runs on it.
struct Slot {
    node: Option<Node>,
}

#[derive(Debug)]
enum Later {
    Start(usize),
    GoOn(usize),
    ReachStore(usize),
    ReplicaUp(usize),
    /// The shards of a node that is gone find others.
    Reassign(usize),
    Fair,
    Calm,
    Heal,
}

impl Driver {
    async fn run(seed: u64, mutation: Option<Mutation>, traced: bool) -> Outcome {
        let moving = if seed.is_multiple_of(REAL_EVERY) {
            Moving::Real
        } else {
            Moving::Driven
        };
        let cluster = Cluster::new(seed, moving, traced, mutation);
        let dice = cluster.world.own_dice();
        let mut driver = Self {
            nodes: (0..NODES).map(|_| Slot { node: None }).collect(),
            cluster,
            dice,
            later: BTreeMap::new(),
        };
        for index in 0..NODES {
            driver.start(index);
        }
        driver.place_all();
        let stage = Arc::new(Stage::default());
        for number in 0..CLIENTS {
            let user = user_name(number);
            let client = Client::new(&driver.cluster, number, user, Purpose::Take).await;
            spawn(TaskKind::Passing, "client", client.run(Arc::clone(&stage)));
        }
        let mut found = driver.misfortunes().await;
        found.extend(driver.end(&stage).await);
        let records = driver.cluster.take_history();
        found.extend(judge::judge(&records, &driver.cluster.quorum));
        Outcome { records, found }
    }

    async fn misfortunes(&mut self) -> Vec<Found> {
        // The rooms begin in peace.
        let real = self.cluster.moving == Moving::Real;
        let peace = if real { 3_000 } else { 20 };
        sleep(Duration::from_millis(peace + self.dice.u64(0..400))).await;
        let until = Instant::now() + if real { WORK_REAL } else { WORK };
        let mut next = Instant::now();
        while Instant::now() < until {
            let now = Instant::now();
            self.look_after(now);
            if now >= next {
                next = now + Duration::from_millis(self.dice.u64(20..700));
                self.misfortune(now);
            }
            sleep(TURN).await;
        }
        Vec::new()
    }

    /// Brings all to rest, then has every room read by a node that was never there before.
    async fn end(&mut self, stage: &Stage) -> Vec<Found> {
        self.all_well();
        stage.begin(Phase::Drain);
        if !self.wait(|| stage.all_ready()).await {
            return vec![Found::stuck("clients do not get answers")];
        }
        let last = self.nodes.len();
        self.nodes.push(Slot { node: None });
        self.start(last);
        match self.cluster.moving {
            Moving::Driven => {
                for room in ROOMS {
                    self.assign(Shard::of(room), last);
                }
                sleep(Duration::from_secs(1)).await;
            }
            Moving::Real => {
                sleep(Duration::from_secs(3)).await;
                for slot in &mut self.nodes[..last] {
                    if let Some(node) = slot.node.take() {
                        node.process.kill();
                    }
                }
                sleep(Duration::from_secs(8)).await;
            }
        }
        let Some(heads) = self.read_all().await else {
            return vec![Found::stuck("the rooms cannot be read")];
        };
        stage.come_to(heads);
        if !self.wait(|| stage.all_ready()).await {
            return vec![Found::stuck("clients do not come to the rooms' heads")];
        }
        stage.begin(Phase::Done);
        sleep(Duration::from_millis(100)).await;
        Vec::new()
    }

    async fn wait(&mut self, ready: impl Fn() -> bool) -> bool {
        let until = Instant::now() + PATIENCE;
        while !ready() {
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
        for room in ROOMS {
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

    // ---- what happens --------------------------------------------------------------------------

    fn misfortune(&mut self, now: Instant) {
        let index = self.dice.usize(0..NODES);
        let soon = |dice: &mut Rng, max| now + Duration::from_millis(dice.u64(10..max));
        match self.dice.u8(0..20) {
            0..=2 => self.kill(index, now),
            3..=6 => {
                // It stands, and others take what it had before it goes on.
                if let Some(node) = &self.nodes[index].node {
                    node.process.stand();
                    let at = soon(&mut self.dice, 2_500);
                    self.at(at, Later::GoOn(index));
                    let at = soon(&mut self.dice, 600);
                    self.at(at, Later::Reassign(index));
                }
            }
            7..=9 => {
                // A false alarm: another takes a shard from a node that lives.
                let shard = Shard::of(ROOMS[self.dice.usize(0..ROOMS.len())]);
                self.assign(shard, index);
            }
            10 => {
                if let Some(node) = &self.nodes[index].node {
                    node.process.cut_from_store(true);
                    let at = soon(&mut self.dice, 2_000);
                    self.at(at, Later::ReachStore(index));
                }
            }
            11 | 12 => {
                let replica = self.dice.usize(0..REPLICAS);
                self.cluster.quorum.down(replica, true);
                let at = soon(&mut self.dice, 2_000);
                self.at(at, Later::ReplicaUp(replica));
            }
            13 | 14 => {
                let weather = Weather {
                    lost: self.dice.u32(0..200),
                    doubled: self.dice.u32(0..200),
                    overtaken: self.dice.u32(0..100),
                    delay_ms_max: self.dice.u64(2..300),
                };
                self.cluster.net.weather(weather);
                let at = soon(&mut self.dice, 3_000);
                self.at(at, Later::Fair);
            }
            15..=17 => {
                let trouble = Trouble {
                    lost: self.dice.u32(0..250),
                    late: self.dice.u32(0..300),
                    late_ms_max: self.dice.u64(10..6_000),
                    delay_ms_max: self.dice.u64(4..400),
                    stalled: self.dice.u32(0..150),
                    stall_ms_max: self.dice.u64(10..2_000),
                };
                self.cluster.quorum.trouble(trouble);
                let at = soon(&mut self.dice, 3_000);
                self.at(at, Later::Calm);
            }
            18 => {
                let other = self.dice.usize(0..NODES);
                if let (Some(one), Some(other)) = (&self.nodes[index].node, &self.nodes[other].node)
                {
                    self.cluster.net.cut(&one.process, &other.process);
                    let at = soon(&mut self.dice, 2_000);
                    self.at(at, Later::Heal);
                }
            }
            _ => {
                if let Some(node) = &self.nodes[index].node {
                    let off = self.dice.i64(-5_000..5_000);
                    node.process.step_clock(off);
                }
            }
        }
    }

    fn kill(&mut self, index: usize, now: Instant) {
        let Some(node) = self.nodes[index].node.take() else {
            return;
        };
        if self.dice.u8(0..4) == 0 {
            node.stop();
        } else {
            node.process.kill();
        }
        let back = now + Duration::from_millis(self.dice.u64(10..1_500));
        self.at(back, Later::Start(index));
        let found = now + Duration::from_millis(self.dice.u64(10..800));
        self.at(found, Later::Reassign(index));
    }

    fn at(&mut self, when: Instant, what: Later) {
        self.later.insert((when, self.cluster.world.number()), what);
    }

    /// Does what is due, and replaces nodes that were fenced.
    fn look_after(&mut self, now: Instant) {
        while let Some(((when, _), _)) = self.later.first_key_value()
            && *when <= now
        {
            let (_, what) = self.later.pop_first().expect("looked at above");
            self.happens(what);
        }
        for index in 0..self.nodes.len() {
            let fenced = self.nodes[index].node.as_ref().is_some_and(Node::is_fenced);
            if fenced {
                self.cluster
                    .world
                    .say(|| format!("machine {index}: fenced"));
                self.kill(index, now);
            }
        }
        if self.dice.u8(0..20) == 0 {
            self.place_lost();
        }
    }

    fn happens(&mut self, what: Later) {
        match what {
            Later::Start(index) => self.start(index),
            Later::GoOn(index) => self.with(index, |node| node.process.go_on()),
            Later::ReachStore(index) => self.with(index, |it| it.process.cut_from_store(false)),
            Later::ReplicaUp(replica) => self.cluster.quorum.down(replica, false),
            Later::Reassign(index) => self.reassign(index),
            Later::Fair => self.cluster.net.weather(Weather::FAIR),
            Later::Calm => self.cluster.quorum.trouble(Trouble::NONE),
            Later::Heal => self.cluster.net.heal(),
        }
    }

    fn with(&self, index: usize, act: impl FnOnce(&Node)) {
        if let Some(node) = &self.nodes[index].node {
            act(node);
        }
    }

    fn start(&mut self, index: usize) {
        if self.nodes[index].node.is_none() {
            let node = Node::start(&self.cluster, &format!("node-{index}"));
            self.nodes[index].node = Some(node);
            self.place_lost();
        }
    }

    /// Every shard of a room goes to some node.
    fn place_all(&mut self) {
        for room in ROOMS {
            let index = self.dice.usize(0..NODES);
            self.assign(Shard::of(room), index);
        }
    }

    /// A node that was fenced owns nothing again: whoever knows a larger epoch never asks it.
    fn assign(&self, shard: Shard, index: usize) {
        if let Some(node) = &self.nodes[index].node
            && !self.is_fenced(node)
        {
            self.cluster.assign(shard, &node.rooms);
        }
    }

    fn is_fenced(&self, node: &Node) -> bool {
        let cell = Cell::Node(node.process.incarnation);
        let fenced = Value::Node { fenced: true };
        self.cluster.quorum.inspect(|replicas| {
            let mut known = replicas.iter().filter_map(|it| it.cell(cell));
            known.any(|(_, (value, _))| value == fenced)
        })
    }

    /// Shards whose owner is gone find others.
    fn place_lost(&mut self) {
        for room in ROOMS {
            let shard = Shard::of(room);
            let owner = self.cluster.owner(shard);
            let lives = self
                .nodes
                .iter()
                .filter_map(|slot| slot.node.as_ref())
                .any(|node| Some(&node.rooms) == owner.as_ref() && !self.is_fenced(node));
            if !lives {
                self.move_on(shard);
            }
        }
    }

    fn reassign(&mut self, index: usize) {
        let Some(node) = &self.nodes[index].node else {
            return self.place_lost();
        };
        let rooms = node.rooms.clone();
        for room in ROOMS {
            let shard = Shard::of(room);
            if self.cluster.owner(shard).as_ref() == Some(&rooms) {
                self.move_on(shard);
            }
        }
    }

    fn move_on(&mut self, shard: Shard) {
        let first = self.dice.usize(0..self.nodes.len());
        for step in 0..self.nodes.len() {
            let index = (first + step) % self.nodes.len();
            let other = self.nodes[index].node.as_ref();
            if other.is_some_and(|it| {
                Some(&it.rooms) != self.cluster.owner(shard).as_ref() && !self.is_fenced(it)
            }) {
                return self.assign(shard, index);
            }
        }
    }

    fn all_well(&mut self) {
        self.later.clear();
        self.cluster.net.weather(Weather::FAIR);
        self.cluster.net.heal();
        self.cluster.quorum.trouble(Trouble::NONE);
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
