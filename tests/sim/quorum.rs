//! The database: three replicas, and requests that reach each of them late, twice, or never.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use fastrand::Rng;
use rookery_cluster::task::{TaskKind, spawn};
use rookery_proto::shard::Shard;
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep, timeout_at},
};

use crate::{
    mutation::Mutation,
    replica::{Ballot, Batch, Cell, Partition, Proposed, Replica, Row, Rows, Value},
    world::{Process, World, mostly_short},
};

/// A transaction on a cell that nobody contends for.
const CHEAP_TRANSACTION: Duration = Duration::from_millis(3);
pub(crate) const REPLICAS: usize = 3;
pub(crate) const QUORUM: usize = 2;
/// How long a request waits for its quorum; then its outcome is unknown.
const TIMEOUT: Duration = Duration::from_millis(600);
/// How long a lightweight transaction is tried.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(3);

/// How bad the way to each replica is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble {
    /// Thousandths of requests and of answers that are lost.
    pub(crate) lost: u32,
    /// Thousandths of requests that arrive seconds later, whatever became of their sender.
    pub(crate) late: u32,
    pub(crate) late_ms_max: u64,
    pub(crate) delay_ms_max: u64,
    /// Thousandths of operations that begin up to so much later.
    pub(crate) stalled: u32,
    pub(crate) stall_ms_max: u64,
}

impl Trouble {
    pub(crate) const NONE: Self = Self {
        lost: 0,
        late: 0,
        late_ms_max: 1,
        delay_ms_max: 4,
        stalled: 0,
        stall_ms_max: 1,
    };
}

/// Too few replicas answered in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0} of {QUORUM} replicas answered in time")]
pub(crate) struct NoQuorum(usize);

/// What became of a lightweight transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Applied,
    Refused,
    Unknown(NoQuorum),
}

/// The database of a cluster.
pub(crate) struct Quorum {
    pub(crate) world: Arc<World>,
    /// Shards that have rooms.
    dear: BTreeSet<u16>,
    state: Mutex<State>,
}

struct State {
    dice: Rng,
    replicas: [Replica; REPLICAS],
    down: [bool; REPLICAS],
    trouble: Trouble,
    /// Shards without rooms: nothing rests on how they are kept, so that costs next to nothing.
    cheap: BTreeMap<Cell, Value>,
}

impl Quorum {
    pub(crate) fn new(
        world: &Arc<World>,
        mutation: Option<Mutation>,
        dear: impl IntoIterator<Item = Shard>,
    ) -> Arc<Self> {
        Arc::new(Self {
            dear: dear.into_iter().map(Shard::number).collect(),
            world: Arc::clone(world),
            state: Mutex::new(State {
                dice: world.own_dice(),
                replicas: std::array::from_fn(|_| Replica::new(mutation)),
                down: [false; REPLICAS],
                trouble: Trouble::NONE,
                cheap: BTreeMap::new(),
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }

    pub(crate) fn trouble(&self, trouble: Trouble) {
        self.world.say(|| format!("database {trouble:?}"));
        self.state().trouble = trouble;
    }

    /// How long the next operation does not begin, where it stalls.
    pub(crate) fn stall(&self) -> Option<Duration> {
        let mut state = self.state();
        let Trouble {
            stalled,
            stall_ms_max,
            ..
        } = state.trouble;
        let stalls = state.dice.u32(0..1_000) < stalled;
        stalls.then(|| Duration::from_millis(state.dice.u64(0..=stall_ms_max)))
    }

    /// A replica stops, or comes back with what it had.
    pub(crate) fn down(&self, replica: usize, down: bool) {
        self.world.say(|| format!("replica {replica} down: {down}"));
        self.state().down[replica] = down;
    }

    /// Whether nothing that is looked at rests on this cell.
    pub(crate) fn is_cheap(&self, cell: Cell) -> bool {
        matches!(cell, Cell::Shard(_, shard) if !self.dear.contains(&shard))
    }

    /// Removes sent ids that are too old, as a time to live does.
    pub(crate) fn expire(&self, before_ms: u64, limit: u32) -> u64 {
        let mut state = self.state();
        let removed = state
            .replicas
            .iter_mut()
            .map(|replica| replica.expire(before_ms, limit));
        removed.max().unwrap_or(0)
    }

    /// Looks at all replicas, as nobody inside can.
    pub(crate) fn inspect<T>(&self, look: impl FnOnce(&[Replica; REPLICAS]) -> T) -> T {
        look(&self.state().replicas)
    }

    /// Sends a request to every replica and waits for the first `need` answers.
    pub(crate) fn ask<T, F>(
        self: &Arc<Self>,
        from: &Process,
        need: usize,
        visit: F,
    ) -> impl Future<Output = Result<Vec<T>, NoQuorum>> + use<T, F>
    where
        T: Send + 'static,
        F: Fn(&mut Replica) -> T + Send + Sync + 'static,
    {
        let (answers, mut answered) = mpsc::channel(REPLICAS);
        let visit = Arc::new(visit);
        for replica in 0..REPLICAS {
            let mut state = self.state();
            let Trouble {
                lost,
                late,
                late_ms_max,
                delay_ms_max,
                ..
            } = state.trouble;
            let dice = &mut state.dice;
            let is_lost = dice.u32(0..1_000) < lost || !from.reaches_store();
            let answer_lost = dice.u32(0..1_000) < lost;
            let is_late = dice.u32(0..1_000) < late;
            let mut there = mostly_short(dice, delay_ms_max);
            if is_late {
                there += Duration::from_millis(dice.u64(0..=late_ms_max));
            }
            let back = mostly_short(dice, delay_ms_max);
            if is_lost {
                continue;
            }
            let (quorum, visit, answers) = (Arc::clone(self), Arc::clone(&visit), answers.clone());
            spawn(TaskKind::Passing, "replica request", async move {
                sleep(there).await;
                let answer = {
                    let mut state = quorum.state();
                    if state.down[replica] {
                        return;
                    }
                    visit(&mut state.replicas[replica])
                };
                sleep(back).await;
                if !answer_lost {
                    // Whoever asked may have given up.
                    let _ = answers.try_send(answer);
                }
            });
        }
        drop(answers);
        let until = Instant::now() + TIMEOUT;
        async move {
            let mut all = Vec::with_capacity(need);
            while all.len() < need {
                match timeout_at(until, answered.recv()).await {
                    Ok(Some(answer)) => all.push(answer),
                    // Nobody else will answer; a client learns of it by its timeout only.
                    Ok(None) => {
                        tokio::time::sleep_until(until).await;
                        return Err(NoQuorum(all.len()));
                    }
                    Err(_) => return Err(NoQuorum(all.len())),
                }
            }
            Ok(all)
        }
    }

    pub(crate) async fn write(
        self: &Arc<Self>,
        from: &Process,
        batches: Vec<Batch>,
        need: usize,
    ) -> Result<(), NoQuorum> {
        let mut sent = Vec::with_capacity(batches.len());
        for batch in batches {
            sent.push(self.ask(from, need, move |replica| replica.write(&batch)));
        }
        let mut result = Ok(());
        for answer in sent {
            if let Err(error) = answer.await {
                result = Err(error);
            }
        }
        result
    }

    pub(crate) async fn read(
        self: &Arc<Self>,
        from: &Process,
        need: usize,
        partition: Partition,
    ) -> Result<Rows, NoQuorum> {
        let answers = self
            .ask(from, need, move |replica| replica.read(&partition))
            .await?;
        let mut merged = Rows::new();
        for (key, row) in answers.into_iter().flatten() {
            let row = match merged.remove(&key) {
                Some(known) => Row::newer(known, row),
                None => row,
            };
            merged.insert(key, row);
        }
        Ok(merged)
    }

    // ---- lightweight transactions --------------------------------------------------------------

    /// Changes a cell if `decide` says to what. With `learned` it returns only when a quorum has
    /// learned of it.
    pub(crate) async fn transact(
        self: &Arc<Self>,
        from: &Process,
        cell: Cell,
        learned: bool,
        decide: impl Fn(Option<Value>) -> Option<Value> + Send,
    ) -> Fate {
        if self.is_cheap(cell) {
            // Simulated time: what three phases on a quiet day take.
            sleep(CHEAP_TRANSACTION).await;
            let cheap = &mut self.state().cheap;
            let Some(value) = decide(cheap.get(&cell).copied()) else {
                return Fate::Refused;
            };
            cheap.insert(cell, value);
            return Fate::Applied;
        }
        let until = Instant::now() + TRANSACTION_TIMEOUT;
        let origin = self.world.number();
        let (ballot, value) = loop {
            let (ballot, current) = match self.prepared(from, cell, until).await {
                Ok(prepared) => prepared,
                Err(error) => return Fate::Unknown(error),
            };
            if current.is_some_and(|(_, by)| by == origin) {
                // Another has finished it for us.
                return Fate::Applied;
            }
            let Some(value) = decide(current.map(|(value, _)| value)) else {
                return Fate::Refused;
            };
            let value = (value, origin);
            match self.accepted(from, cell, ballot, value).await {
                Ok(true) => break (ballot, value),
                // Another was ahead, and may finish what some replica accepted.
                Ok(false) => {}
                Err(error) => return Fate::Unknown(error),
            }
        };
        if learned {
            let commit = self.ask(from, QUORUM, move |it| it.commit(cell, ballot, value));
            return match commit.await {
                Ok(_) => Fate::Applied,
                Err(error) => Fate::Unknown(error),
            };
        }
        let later = Duration::from_millis(self.state().dice.u64(0..3_000));
        let quorum = Arc::clone(self);
        let learn = async move {
            sleep(later).await;
            for replica in &mut quorum.state().replicas {
                replica.commit(cell, ballot, value);
            }
        };
        spawn(TaskKind::Passing, "learned later", learn);
        Fate::Applied
    }

    /// A serial read: settles what earlier transactions did.
    pub(crate) async fn read_serially(
        self: &Arc<Self>,
        from: &Process,
        cell: Cell,
    ) -> Result<Option<Value>, NoQuorum> {
        if self.is_cheap(cell) {
            return Ok(self.state().cheap.get(&cell).copied());
        }
        let until = Instant::now() + TRANSACTION_TIMEOUT;
        let (_, value) = self.prepared(from, cell, until).await?;
        Ok(value.map(|(value, _)| value))
    }

    /// A read at quorum of what was learned.
    pub(crate) async fn read_cell(
        self: &Arc<Self>,
        from: &Process,
        cell: Cell,
    ) -> Result<Option<Value>, NoQuorum> {
        let answers = self
            .ask(from, QUORUM, move |replica| replica.cell(cell))
            .await?;
        Ok(newest(answers))
    }

    /// A ballot that a quorum promised to, and the value that is committed before it.
    async fn prepared(
        self: &Arc<Self>,
        from: &Process,
        cell: Cell,
        until: Instant,
    ) -> Result<(Ballot, Option<Proposed>), NoQuorum> {
        loop {
            let ballot = self.world.number();
            let answers = self
                .ask(from, QUORUM, move |it| it.prepare(cell, ballot))
                .await?;
            if Instant::now() >= until {
                return Err(NoQuorum(0));
            }
            if answers.iter().any(|(promised, _)| !promised) {
                let pause = self.state().dice.u64(1..=20);
                sleep(Duration::from_millis(pause)).await;
                continue;
            }
            let committed = answers.iter().filter_map(|(_, it)| it.committed);
            let committed = committed.max_by_key(|(ballot, _)| *ballot);
            let done = committed.map_or(0, |(ballot, _)| ballot);
            let accepted = answers.iter().filter_map(|(_, it)| it.accepted);
            let open = accepted
                .filter(|(ballot, _)| *ballot > done)
                .max_by_key(|(ballot, _)| *ballot);
            if let Some((_, value)) = open {
                // Somebody's transaction is under way: it is finished first.
                if self.accepted(from, cell, ballot, value).await? {
                    self.ask(from, QUORUM, move |it| it.commit(cell, ballot, value))
                        .await?;
                }
                continue;
            }
            if let Some((ballot, value)) = committed
                && answers
                    .iter()
                    .any(|(_, it)| it.committed.is_none_or(|(known, _)| known < ballot))
            {
                self.ask(from, QUORUM, move |it| it.commit(cell, ballot, value))
                    .await?;
            }
            return Ok((ballot, committed.map(|(_, value)| value)));
        }
    }

    async fn accepted(
        self: &Arc<Self>,
        from: &Process,
        cell: Cell,
        ballot: Ballot,
        value: Proposed,
    ) -> Result<bool, NoQuorum> {
        let answers = self
            .ask(from, QUORUM, move |it| it.propose(cell, ballot, value))
            .await?;
        Ok(answers.into_iter().all(|accepted| accepted))
    }
}

fn newest(answers: Vec<Option<(Ballot, Proposed)>>) -> Option<Value> {
    let known = answers.into_iter().flatten();
    known
        .max_by_key(|(ballot, _)| *ballot)
        .map(|(_, (value, _))| value)
}
