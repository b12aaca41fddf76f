//! The database: three replicas, and requests that reach each of them late, twice, or never.

mod serial;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use fastrand::Rng;
use rookery_cluster::task::{TaskKind, spawn};
use rookery_persistence::ShardKind;
use rookery_proto::shard::Shard;
use tokio::{
    sync::{Notify, mpsc},
    time::{Duration, Instant, sleep, timeout_at},
};

pub(crate) use self::serial::Fate;
use crate::{
    mutation::Mutation,
    replica::{Batch, Cell, Key, Partition, Replica, Row, Rows, Value},
    world::{Process, World, mostly_short},
};

pub(crate) const REPLICAS: usize = 3;
pub(crate) const QUORUM: usize = 2;
/// How long a request waits for its quorum; then its outcome is unknown.
const TIMEOUT: Duration = Duration::from_millis(600);

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

/// Where an owner may lose time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// Before a commit's rows are sent.
    Commit,
    /// Before adopted rows are sent again.
    Rewrite,
    /// Before a room's new list is sent.
    List,
    /// Before the own fence is read.
    Fence,
    Other,
}

/// How often something is slow, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slow {
    /// Thousandths.
    pub(crate) often: u32,
    pub(crate) ms_max: u64,
}

impl Slow {
    pub(crate) const NEVER: Self = Self {
        often: 0,
        ms_max: 0,
    };

    fn throw(self, dice: &mut Rng) -> Option<Duration> {
        let slow = self.often > 0 && dice.u32(0..1_000) < self.often;
        slow.then(|| Duration::from_millis(dice.u64(0..=self.ms_max)))
    }
}

/// Where a run loses time on purpose, beside all [`Trouble`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traps {
    pub(crate) commit: Slow,
    pub(crate) rewrite: Slow,
    pub(crate) list: Slow,
    pub(crate) fence: Slow,
    /// Writes that come to one replica in time and to the others so much later.
    pub(crate) torn: Slow,
}

impl Traps {
    pub(crate) const NONE: Self = Self {
        commit: Slow::NEVER,
        rewrite: Slow::NEVER,
        list: Slow::NEVER,
        fence: Slow::NEVER,
        torn: Slow::NEVER,
    };
}

/// Too few replicas answered in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0} of {QUORUM} replicas answered in time")]
pub(crate) struct NoQuorum(usize);

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
    traps: Traps,
    /// Shards without rooms: nothing rests on how they are kept, so that costs next to nothing.
    cheap: BTreeMap<Cell, Value>,
    /// Cells that proposers met at: told when one of them has committed.
    contended: BTreeMap<Cell, Arc<Notify>>,
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
                replicas: std::array::from_fn(|index| Replica::new(index, mutation)),
                down: [false; REPLICAS],
                trouble: Trouble::NONE,
                traps: Traps::NONE,
                cheap: BTreeMap::new(),
                contended: BTreeMap::new(),
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

    pub(crate) fn traps(&self, traps: Traps) {
        self.state().traps = traps;
    }

    /// How long an owner that is there does not go on.
    pub(crate) fn stall(&self, point: Point) -> Option<Duration> {
        let state = &mut *self.state();
        let trap = match point {
            Point::Commit => state.traps.commit,
            Point::Rewrite => state.traps.rewrite,
            Point::List => state.traps.list,
            Point::Fence => state.traps.fence,
            Point::Other => Slow::NEVER,
        };
        let trouble = Slow {
            often: state.trouble.stalled,
            ms_max: state.trouble.stall_ms_max,
        };
        let trapped = trap.throw(&mut state.dice);
        trapped.or_else(|| trouble.throw(&mut state.dice))
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

    /// Who owns which shard.
    pub(crate) fn owned(&self) -> BTreeMap<Cell, Value> {
        let state = self.state();
        let mut owned = state.cheap.clone();
        for shard in &self.dear {
            for cell in ShardKind::ALL.map(|kind| Cell::Shard(kind as u8, *shard)) {
                let known = state.replicas.iter().filter_map(|it| it.cell(cell));
                if let Some((_, (value, _))) = known.max_by_key(|(ballot, _)| *ballot) {
                    owned.insert(cell, value);
                }
            }
        }
        owned
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
        self.ask_later(from, need, [Duration::ZERO; REPLICAS], visit)
    }

    /// The same, so much later at each replica.
    fn ask_later<T, F>(
        self: &Arc<Self>,
        from: &Process,
        need: usize,
        later: [Duration; REPLICAS],
        visit: F,
    ) -> impl Future<Output = Result<Vec<T>, NoQuorum>> + use<T, F>
    where
        T: Send + 'static,
        F: Fn(&mut Replica) -> T + Send + Sync + 'static,
    {
        let (answers, mut answered) = mpsc::channel(REPLICAS);
        let visit = Arc::new(visit);
        for (replica, later) in later.into_iter().enumerate() {
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
            let mut there = later + mostly_short(dice, delay_ms_max);
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

    /// How much later a write comes to each replica.
    fn torn(&self) -> [Duration; REPLICAS] {
        let state = &mut *self.state();
        let mut later = [Duration::ZERO; REPLICAS];
        if let Some(late) = state.traps.torn.throw(&mut state.dice) {
            let first = state.dice.usize(0..REPLICAS);
            for (replica, later) in later.iter_mut().enumerate() {
                *later = if replica == first {
                    Duration::ZERO
                } else {
                    late + Duration::from_millis(state.dice.u64(0..300))
                };
            }
        }
        later
    }

    pub(crate) async fn write(
        self: &Arc<Self>,
        from: &Process,
        batches: Vec<Batch>,
        need: usize,
    ) -> Result<(), NoQuorum> {
        let mut sent = Vec::with_capacity(batches.len());
        for batch in batches {
            let later = self.torn();
            sent.push(self.ask_later(from, need, later, move |it| it.write(&batch)));
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
        let asked = partition.clone();
        let answers = self
            .ask(from, need, move |replica| {
                (replica.index, replica.read(&asked))
            })
            .await?;
        let mut merged = Rows::new();
        for (key, row) in answers.iter().flat_map(|(_, rows)| rows) {
            let row = match merged.remove(key) {
                Some(known) => Row::newer(known, row.clone()),
                None => row.clone(),
            };
            merged.insert(key.clone(), row);
        }
        if need >= QUORUM {
            self.repair(&partition, &merged, &answers);
        }
        Ok(merged)
    }

    /// Both databases write what a quorum read found different to those who answered, before they
    /// answer. Rooms rely on it for cursors, which nobody writes again; other rows are left as they
    /// are, so that what rooms must do themselves is seen.
    fn repair(&self, partition: &Partition, merged: &Rows, answers: &[(usize, Rows)]) {
        let mut state = self.state();
        for (replica, rows) in answers {
            let behind = |(key, row): &(&Key, &Row)| {
                matches!(key, Key::Cursor(_)) && rows.get(*key) != Some(*row)
            };
            let behind = merged.iter().filter(behind);
            let rows: Vec<_> = behind
                .map(|(key, row)| (key.clone(), row.clone()))
                .collect();
            if !rows.is_empty() && !state.down[*replica] {
                state.replicas[*replica].write(&(partition.clone(), rows));
            }
        }
    }
}
