//! Several nodes over a bus, a table of heartbeats and a table of shards, in virtual time. One
//! seed gives one run. Every takeover is judged by what the taker was really shown.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

use rookery_proto::{
    ids::Epoch,
    shard::{SHARD_COUNT, Shard},
};
use tokio::time::Instant;

use crate::{
    endpoint::{EndpointId, Role},
    limits::{BUS_SILENCE, ROW_SILENCE},
    membership::{
        beat::{Beat, NodeState},
        keeper::Duty,
        member::{Effect, Input, Member, Myself, Told},
        standing::Standing,
    },
};

const TICK_MS: u64 = 100;

/// What goes wrong between nodes. Names are indices of nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Weather {
    /// Which side of the bus each node is on; nodes hear only their own side.
    pub(super) side: BTreeMap<usize, u8>,
    /// Cut off the bus, from themselves too.
    pub(super) deaf: BTreeSet<usize>,
    /// Cut off the database.
    pub(super) no_database: BTreeSet<usize>,
    /// Percent of announcements lost, and of those that come twice.
    pub(super) lossy_percent: u8,
}

struct Node {
    name: String,
    incarnation: u64,
    member: Member,
    /// Its clock is `start + offset + true time * rate`.
    offset: Duration,
    rate: f64,
    alive: bool,
    /// Until then nothing of it runs; what comes waits.
    paused_until: u64,
    seen: BTreeMap<EndpointId, Seen>,
    serving_since: Option<Instant>,
    commits_failing: bool,
}

/// What a node was really shown of another, by its own clock.
#[derive(Default)]
struct Seen {
    heard: Option<Instant>,
    heard_number: u64,
    /// Begin, end and number of the row, of each read since then.
    reads: Vec<(Instant, Instant, Option<u64>)>,
}

#[derive(Debug)]
enum Event {
    Tick,
    Give(Input),
    /// The table's state as a read sees it.
    ReadAt(Instant),
    ReadDone(Instant, Vec<Beat>),
    WriteAt(Box<Beat>),
    Perform(Duty),
    /// The fence is looked at, as commits do.
    Commit,
}

pub(super) struct World {
    pub(super) now_ms: u64,
    start: Instant,
    random: fastrand::Rng,
    nodes: Vec<Node>,
    next_incarnation: u64,
    events: BinaryHeap<Reverse<(u64, u64, usize, u64)>>,
    /// What happens, to which incarnation.
    bodies: BTreeMap<u64, (u64, Event)>,
    sequence: u64,
    pub(super) weather: Weather,
    rows: BTreeMap<EndpointId, Beat>,
    owners: BTreeMap<Shard, (Option<u64>, Epoch)>,
    fenced: BTreeSet<u64>,
    /// Duties performed, by kind: takes of free shards, takeovers, releases.
    pub(super) taken: usize,
    pub(super) taken_over: usize,
    pub(super) released: usize,
    /// Takes of what another incarnation had.
    pub(super) refused: usize,
    /// Incarnations that something happened to; only they may be taken from.
    pub(super) blamed: BTreeSet<u64>,
}

impl World {
    pub(super) fn new(seed: u64, nodes: usize) -> Self {
        let mut world = Self {
            now_ms: 0,
            start: Instant::now() + Duration::from_secs(3_600),
            random: fastrand::Rng::with_seed(seed),
            nodes: Vec::new(),
            next_incarnation: 1,
            events: BinaryHeap::new(),
            bodies: BTreeMap::new(),
            sequence: 0,
            weather: Weather::default(),
            rows: BTreeMap::new(),
            owners: BTreeMap::new(),
            fenced: BTreeSet::new(),
            taken: 0,
            taken_over: 0,
            released: 0,
            refused: 0,
            blamed: BTreeSet::new(),
        };
        for _ in 0..nodes {
            world.join();
        }
        world
    }

    // ---- what a test does ----------------------------------------------------------------------

    /// A new node; returns its index.
    pub(super) fn join(&mut self) -> usize {
        let at = self.nodes.len();
        let offset = Duration::from_millis(self.random.u64(0..100_000));
        let rate = 0.98 + 0.04 * self.random.f64();
        let name = format!("node-{at}");
        let incarnation = self.incarnation();
        let member = self.member(&name, incarnation, offset, rate);
        self.nodes.push(Node {
            name,
            incarnation,
            member,
            offset,
            rate,
            alive: true,
            paused_until: 0,
            seen: BTreeMap::new(),
            serving_since: None,
            commits_failing: false,
        });
        self.schedule(0, at, Event::Tick);
        self.schedule(0, at, Event::Commit);
        at
    }

    pub(super) fn kill(&mut self, at: usize) {
        self.blamed.insert(self.nodes[at].incarnation);
        self.nodes[at].alive = false;
    }

    /// Starts again, as a new incarnation.
    pub(super) fn restart(&mut self, at: usize) {
        self.blamed.insert(self.nodes[at].incarnation);
        let incarnation = self.incarnation();
        let (name, offset, rate) = {
            let node = &self.nodes[at];
            (node.name.clone(), node.offset, node.rate)
        };
        let member = self.member(&name, incarnation, offset, rate);
        let node = &mut self.nodes[at];
        node.incarnation = incarnation;
        node.member = member;
        node.seen.clear();
        node.serving_since = None;
        node.commits_failing = false;
        node.paused_until = 0;
        node.alive = true;
        self.schedule(0, at, Event::Tick);
        self.schedule(0, at, Event::Commit);
    }

    pub(super) fn pause(&mut self, at: usize, ms: u64) {
        self.blamed.insert(self.nodes[at].incarnation);
        self.nodes[at].paused_until = self.now_ms + ms;
    }

    pub(super) fn leave(&mut self, at: usize) {
        self.schedule(0, at, Event::Give(Input::Leave));
    }

    /// Cut-off nodes may be taken from.
    pub(super) fn blame(&mut self, at: usize) {
        self.blamed.insert(self.nodes[at].incarnation);
    }

    pub(super) fn run(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while let Some(Reverse((due, _, at, id))) = self.events.peek().copied() {
            if due > until {
                break;
            }
            self.events.pop();
            let (run, event) = self.bodies.remove(&id).expect("scheduled");
            self.now_ms = due;
            let node = &self.nodes[at];
            if !node.alive || node.incarnation != run {
                // What it asked of the database may still happen.
                if let Event::Perform(duty) = event {
                    self.database(at, run, duty);
                }
                continue;
            }
            if node.paused_until > due {
                let wait = node.paused_until - due;
                self.schedule(wait, at, event);
                continue;
            }
            self.happen(at, event);
        }
        self.now_ms = until;
    }

    pub(super) fn standing(&self, at: usize) -> Standing {
        self.nodes[at].member.standing()
    }

    /// The owner of each shard by the database, as index of a node.
    pub(super) fn owners(&self) -> BTreeMap<Shard, usize> {
        let index = |run: u64| {
            let is_it = |node: &Node| node.alive && node.incarnation == run;
            self.nodes.iter().position(is_it)
        };
        self.owners
            .iter()
            .filter_map(|(shard, (owner, _))| Some((*shard, index((*owner)?)?)))
            .collect()
    }

    /// Every shard has one live owner that knows it, everybody else knows it too, and it is where
    /// it belongs among these nodes.
    pub(super) fn check_settled(&self, nodes: &[usize]) {
        let owners = self.owners();
        assert_eq!(
            owners.len(),
            usize::from(SHARD_COUNT),
            "every shard is owned"
        );
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for at in nodes {
            names.insert(&self.nodes[*at].name, *at);
        }
        for (shard, owner) in &owners {
            let home = crate::placement::rendezvous::home(*shard, names.keys().copied());
            assert_eq!(names[home.expect("nodes")], *owner, "home of {shard}");
            let node = &self.nodes[*owner];
            let (_, epoch) = self.owners[shard];
            assert_eq!(node.member.claims().get(shard), Some(&epoch), "{shard}");
            let endpoint = EndpointId::new(Role::Rooms, node.incarnation);
            for other in self.nodes.iter().filter(|it| it.alive) {
                let known = other.member.owners().owner(Role::Rooms, *shard);
                assert_eq!(known, Some(&endpoint), "{} on {shard}", other.name);
            }
        }
        let claimed: usize = self
            .nodes
            .iter()
            .filter(|node| node.alive)
            .map(|node| node.member.claims().len())
            .sum();
        assert_eq!(claimed, owners.len(), "nobody else claims any");
    }

    // ---- the machinery -------------------------------------------------------------------------

    fn incarnation(&mut self) -> u64 {
        self.next_incarnation += 1;
        self.next_incarnation
    }

    fn member(&self, name: &str, incarnation: u64, offset: Duration, rate: f64) -> Member {
        let myself = Myself {
            node: name.to_owned(),
            role: Role::Rooms,
            incarnation,
            has_table: true,
        };
        Member::new(myself, clock(self.start, self.now_ms, offset, rate))
    }

    fn clock(&self, at: usize) -> Instant {
        let node = &self.nodes[at];
        clock(self.start, self.now_ms, node.offset, node.rate)
    }

    fn schedule(&mut self, after_ms: u64, at: usize, event: Event) {
        self.sequence += 1;
        let due = self.now_ms + after_ms;
        let run = self.nodes[at].incarnation;
        self.bodies.insert(self.sequence, (run, event));
        self.events
            .push(Reverse((due, self.sequence, at, self.sequence)));
    }

    fn happen(&mut self, at: usize, event: Event) {
        let cut = self.weather.no_database.contains(&at);
        let run = self.nodes[at].incarnation;
        match event {
            Event::Tick => {
                self.schedule(TICK_MS, at, Event::Tick);
                self.give(at, Input::Tick);
            }
            Event::Give(input) => self.give(at, input),
            Event::ReadAt(started) => {
                let wait = self.random.u64(1..15);
                let rows = self.rows.values().cloned().collect();
                self.schedule(wait, at, Event::ReadDone(started, rows));
            }
            Event::ReadDone(started, rows) => {
                self.shown(at, started, &rows);
                let rows = Some(rows);
                self.give(at, Input::TableRead { started, rows });
            }
            Event::WriteAt(beat) => {
                if beat.incarnation == run {
                    self.rows.insert(beat.endpoint(), *beat);
                }
                let wait = self.random.u64(1..10);
                self.schedule(wait, at, Event::Give(Input::RowWritten { done: true }));
            }
            Event::Perform(duty) => self.perform(at, run, duty),
            Event::Commit => {
                let wait = self.random.u64(100..300);
                self.schedule(wait, at, Event::Commit);
                if self.nodes[at].commits_failing != cut {
                    self.nodes[at].commits_failing = cut;
                    let since = cut.then(|| self.clock(at));
                    self.give(at, Input::CommitsFailing(since));
                }
                if !cut && self.fenced.contains(&run) {
                    self.give(at, Input::Fenced);
                    assert!(self.nodes[at].member.claims().is_empty());
                    self.restart(at);
                }
            }
        }
    }

    /// Keeps what the node is shown, for the judgement of its takeovers.
    fn shown(&mut self, at: usize, started: Instant, rows: &[Beat]) {
        let now = self.clock(at);
        let numbers: BTreeMap<_, _> = rows.iter().map(|it| (it.endpoint(), it.number)).collect();
        let seen = &mut self.nodes[at].seen;
        for endpoint in numbers.keys() {
            seen.entry(endpoint.clone()).or_default();
        }
        for (endpoint, seen) in seen {
            let number = numbers.get(endpoint).copied();
            seen.reads.push((started, now, number));
        }
    }

    fn give(&mut self, at: usize, input: Input) {
        let now = self.clock(at);
        if let Input::Heard(Told::Beat(beat)) = &input
            && matches!(beat.state, NodeState::Serving | NodeState::Leaving)
        {
            let seen = self.nodes[at].seen.entry(beat.endpoint()).or_default();
            if beat.number > seen.heard_number {
                seen.heard_number = beat.number;
                seen.heard = Some(now);
                seen.reads.clear();
            }
        }
        let effects = self.nodes[at].member.handle(input, now);
        for effect in effects {
            self.effect(at, effect, now);
        }
    }

    fn effect(&mut self, at: usize, effect: Effect, now: Instant) {
        let cut = self.weather.no_database.contains(&at);
        match effect {
            Effect::Say(told) => self.say(at, &told),
            Effect::WriteRow(_) if cut => {
                self.schedule(900, at, Event::Give(Input::RowWritten { done: false }));
            }
            Effect::WriteRow(beat) => {
                let wait = self.random.u64(1..15);
                self.schedule(wait, at, Event::WriteAt(Box::new(beat)));
            }
            Effect::ReadTable if cut => {
                let (started, rows) = (now, None);
                let failed = Event::Give(Input::TableRead { started, rows });
                self.schedule(900, at, failed);
            }
            Effect::ReadTable => {
                let wait = self.random.u64(1..15);
                self.schedule(wait, at, Event::ReadAt(now));
            }
            Effect::Duty(duty) => {
                if let Duty::Take {
                    from: Some(run), ..
                } = &duty
                {
                    self.judge_takeover(at, *run, now);
                }
                let wait = self.random.u64(1..20);
                self.schedule(wait, at, Event::Perform(duty));
            }
            Effect::Standing(standing) => {
                let node = &mut self.nodes[at];
                node.serving_since = standing.serves().then_some(now);
            }
            Effect::Owners(_) => {}
        }
    }

    fn say(&mut self, at: usize, told: &Told) {
        if self.weather.deaf.contains(&at) {
            return;
        }
        let side = |at: &usize| self.weather.side.get(at).copied().unwrap_or(0);
        let hearers: Vec<usize> = (0..self.nodes.len())
            .filter(|to| side(to) == side(&at) && !self.weather.deaf.contains(to))
            .collect();
        for to in hearers {
            let lossy = self.weather.lossy_percent;
            let copies = match self.random.u8(0..100) {
                it if it < lossy => 0,
                it if it < lossy * 2 => 2,
                _ => 1,
            };
            for _ in 0..copies {
                let wait = self.random.u64(1..20);
                self.schedule(wait, to, Event::Give(Input::Heard(told.clone())));
            }
        }
    }

    /// Both silences must have been shown to the taker, while it served.
    fn judge_takeover(&self, at: usize, run: u64, now: Instant) {
        let node = &self.nodes[at];
        let victim = EndpointId::new(Role::Rooms, run);
        let serving_since = node.serving_since.expect("only who serves takes");
        let seen = node.seen.get(&victim).expect("shown at least by reads");
        let quiet_since = seen.heard.map_or(serving_since, |at| at.max(serving_since));
        assert!(
            now.duration_since(quiet_since) >= BUS_SILENCE,
            "{} takes from {victim} after {:?} of silence on the bus",
            node.name,
            now.duration_since(quiet_since)
        );
        let reads = || seen.reads.iter();
        let still = reads().any(|(_, end, first)| {
            *end >= quiet_since
                && reads().any(|(begin, _, second)| {
                    first == second && *begin >= *end && begin.duration_since(*end) >= ROW_SILENCE
                })
        });
        assert!(still, "{} takes from {victim} whose row moves", node.name);
        assert!(
            self.blamed.contains(&run),
            "{} takes from {victim}, which nothing happened to",
            node.name
        );
    }

    fn perform(&mut self, at: usize, run: u64, duty: Duty) {
        if let Some(answer) = self.database(at, run, duty) {
            let wait = self.random.u64(1..20);
            self.schedule(wait, at, Event::Give(answer));
        }
    }

    /// Takes or releases, and says what is answered.
    fn database(&mut self, at: usize, run: u64, duty: Duty) -> Option<Input> {
        let cut = self.weather.no_database.contains(&at);
        Some(match duty {
            Duty::Take { shard, .. } if cut => Input::TakeFailed { shard },
            Duty::Take { shard, from, .. } => {
                let (owner, epoch) = self.owners.entry(shard).or_insert((None, Epoch(0)));
                match *owner {
                    _ if self.fenced.contains(&run) => Input::TakeFailed { shard },
                    Some(owner) if from != Some(owner) && owner != run => {
                        self.refused += 1;
                        let epoch = *epoch;
                        Input::TakeRefused {
                            shard,
                            owner,
                            epoch,
                        }
                    }
                    former => {
                        if let Some(former) = former.filter(|it| *it != run) {
                            self.fenced.insert(former);
                            self.taken_over += 1;
                        }
                        self.taken += 1;
                        *owner = Some(run);
                        epoch.0 += 1;
                        let epoch = *epoch;
                        Input::Taken { shard, epoch }
                    }
                }
            }
            Duty::StopAdmitting { shard, .. } => Input::Finished { shard },
            Duty::Release { shard, .. } if cut => Input::ReleaseFailed { shard },
            Duty::Release { shard, epoch, to } => {
                let entry = self.owners.get_mut(&shard).expect("was taken");
                let next = to.map(|next| (Some(next.incarnation), Epoch(epoch.0 + 1)));
                if *entry == (Some(run), epoch) {
                    *entry = next.unwrap_or((None, epoch));
                    self.released += 1;
                }
                let given = Some(*entry) == next;
                Input::Released { shard, given }
            }
            Duty::Expect { .. } | Duty::Given { .. } | Duty::Admit { .. } | Duty::Lost { .. } => {
                return None;
            }
        })
    }
}

fn clock(start: Instant, now_ms: u64, offset: Duration, rate: f64) -> Instant {
    start + offset + Duration::from_millis(now_ms).mul_f64(rate)
}
