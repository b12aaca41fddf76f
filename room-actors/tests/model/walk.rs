//! Random schedules: fast, seeded, replayable, and shrunk to what matters when one fails.

use std::fmt;

use super::{
    cluster::Cluster,
    state::{Broken, Epoch, OWNERS_MAX, Owner, Phase, REPLICAS, State},
    step::{Act, Replica, Step, Steps},
};

/// SplitMix64: small enough to be fast without optimisation.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, at most 2^32.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((self.next() >> 32) * bound) >> 32
    }
}

const MOVERS: usize = OWNERS_MAX as usize + REPLICAS;

/// Who is fast and who stalls in one schedule, and which writes are late where.
struct Tempo {
    /// Owners, then replicas.
    weights: [u64; MOVERS],
    /// How much less an owner that has not begun weighs, in powers of two: a short patience stops
    /// its predecessor while it wakes, a long one when it has acknowledged everything.
    patience: [u32; OWNERS_MAX as usize],
    /// Writes that reach a replica late.
    late: [u64; REPLICAS],
    /// Of so many chances to release a shard one is taken, where the owner has rows; 0: none.
    release_one_in: [u64; OWNERS_MAX as usize],
}

impl Tempo {
    fn new(cluster: &Cluster, random: &mut Random) -> Self {
        let mut weights = [0; MOVERS];
        let mut mover = 0;
        while mover < MOVERS {
            let is_replica = mover >= usize::from(OWNERS_MAX);
            if is_replica || mover < usize::from(cluster.owners) {
                weights[mover] = 1 << (10 + random.below(6));
            }
            mover += 1;
        }
        let mut patience = || random.below(12) as u32;
        let patience = [patience(), patience(), patience(), patience()];
        let late = [random.next(), random.next(), random.next()];
        let mut release_one_in = || [0, 2, 16][random.below(3) as usize];
        let release_one_in = [(); OWNERS_MAX as usize].map(|()| release_one_in());
        Self {
            weights,
            patience,
            late,
            release_one_in,
        }
    }
}

/// Runs one schedule to its end or to the first broken promise; tells every step.
pub(crate) fn walk(cluster: &Cluster, seed: u64, mut tell: impl FnMut(Step)) -> State {
    let mut random = Random::new(seed);
    let tempo = Tempo::new(cluster, &mut random);
    let mut state = State::default();
    let mut steps = Steps::new();
    while state.broken == Broken::NOTHING {
        let Some(step) = choose(cluster, &state, &tempo, &mut random, &mut steps) else {
            break;
        };
        cluster.apply(&mut state, step);
        tell(step);
    }
    state
}

fn choose(
    cluster: &Cluster,
    state: &State,
    tempo: &Tempo,
    random: &mut Random,
    steps: &mut Steps,
) -> Option<Step> {
    let mut total = 0;
    let mut weights = tempo.weights;
    let mut all_over = true;
    let mut mover = 0;
    while mover < MOVERS {
        if mover < usize::from(cluster.owners) {
            let owner = mover as Epoch + 1;
            if cluster.is_over(state, owner) {
                if !cluster.may_release(state, owner) {
                    weights[mover] = 0;
                }
            } else {
                all_over = false;
                if state.owners[mover].phase == Phase::Idle {
                    weights[mover] >>= tempo.patience[mover];
                }
            }
        }
        total += weights[mover];
        mover += 1;
    }
    // What still arrives then is seen by nobody.
    while !all_over && total > 0 {
        let mut at = random.below(total);
        let mut mover = 0;
        while at >= weights[mover] {
            at -= weights[mover];
            mover += 1;
        }
        let step = if mover < usize::from(OWNERS_MAX) {
            steps.clear();
            cluster.acts(state, mover as Epoch + 1, steps);
            let one_in = release_one_in(tempo, &state.owners[mover], mover);
            act(steps.as_slice(), one_in, random)
        } else {
            arrival(state, tempo, random, mover - usize::from(OWNERS_MAX))
        };
        if step.is_some() {
            return step;
        }
        total -= weights[mover];
        weights[mover] = 0;
    }
    // Everyone waits for a late write.
    let mut replica = random.below(REPLICAS as u64) as usize;
    for _ in 0..REPLICAS {
        let late = Cluster::late(state, replica);
        if late != 0 && !all_over {
            return Some(arrival_of(late, random, replica));
        }
        replica = (replica + 1) % REPLICAS;
    }
    None
}

/// Of how many chances to release a shard one is taken; 0: none. A release without rows says little.
fn release_one_in(tempo: &Tempo, owner: &Owner, index: usize) -> u64 {
    let without_rows = if owner.appended + owner.adopted == 0 {
        32
    } else {
        1
    };
    tempo.release_one_in[index] * without_rows
}

/// One of what an owner may do; a release only once in so many chances.
fn act(acts: &[Step], release_one_in: u64, random: &mut Random) -> Option<Step> {
    let releases = |step: &Step| {
        matches!(
            step,
            Step::Act {
                act: Act::Release,
                ..
            }
        )
    };
    let Some(release) = acts.iter().find(|step| releases(step)) else {
        let index = random.below(acts.len() as u64) as usize;
        return acts.get(index).copied();
    };
    if release_one_in > 0 && random.below(release_one_in) == 0 {
        return Some(*release);
    }
    let index = random.below(acts.len() as u64 - 1) as usize;
    let mut others = acts.iter().filter(|step| !releases(step));
    others.nth(index).copied()
}

fn arrival(state: &State, tempo: &Tempo, random: &mut Random, replica: usize) -> Option<Step> {
    let writes = Cluster::late(state, replica);
    let in_time = writes & !tempo.late[replica];
    if writes != in_time && random.below(16) == 0 {
        Some(arrival_of(writes, random, replica))
    } else if in_time != 0 {
        Some(arrival_of(in_time, random, replica))
    } else {
        None
    }
}

/// One of these writes reaches the replica.
fn arrival_of(mut writes: u64, random: &mut Random, replica: usize) -> Step {
    let mut skip = random.below(writes.count_ones().into());
    while skip > 0 {
        writes &= writes - 1;
        skip -= 1;
    }
    Step::Arrive {
        bit: writes.trailing_zeros() as u8,
        replica: replica as Replica,
    }
}

/// The seed of the schedule with that number.
pub(crate) fn seed_of(number: u64) -> u64 {
    Random::new(number).next()
}

/// A schedule that breaks a promise.
pub(crate) struct Failure {
    cluster: Cluster,
    seed: u64,
    taken: usize,
    /// The same failure with every step left out that it does not need.
    steps: Vec<Step>,
    pub(crate) broken: Broken,
}

impl Failure {
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Walks this seed again and shrinks what happened; `None` when nothing breaks.
    pub(crate) fn of_seed(cluster: &Cluster, seed: u64) -> Option<Self> {
        let mut steps = Vec::new();
        let end = walk(cluster, seed, |step| steps.push(step));
        if end.broken == Broken::NOTHING {
            return None;
        }
        let taken = steps.len();
        let steps = shrunk(cluster, steps, end.broken);
        Some(Self {
            cluster: *cluster,
            seed,
            taken,
            steps,
            broken: end.broken,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rule, seed, broken) = (self.cluster.rule, self.seed, self.broken);
        writeln!(f, "{broken}, under the rule {rule}, seed {seed:#018x}")?;
        let (taken, left) = (self.taken, self.steps.len());
        writeln!(f, "{left} of its {taken} steps are enough:")?;
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>4}  {step}", index + 1)?;
        }
        write!(
            f,
            "again: ROOKERY_MODEL_RULE={rule} ROOKERY_MODEL_SEED={seed:#x} \
             cargo test -p rookery-room-actors --test model -- --nocapture seed_replayed"
        )
    }
}

/// Leaves out step by step whatever is not needed to break the same promise.
fn shrunk(cluster: &Cluster, mut steps: Vec<Step>, broken: Broken) -> Vec<Step> {
    loop {
        let before = steps.len();
        for index in (0..before).rev() {
            if index >= steps.len() {
                continue;
            }
            let mut fewer = steps.clone();
            fewer.remove(index);
            let (end, taken) = replay(cluster, &fewer);
            if end.broken == broken {
                steps = taken;
            }
        }
        if steps.len() == before {
            return steps;
        }
    }
}

/// Takes those of the steps that are possible, until a promise breaks.
pub(crate) fn replay(cluster: &Cluster, wanted: &[Step]) -> (State, Vec<Step>) {
    let mut state = State::default();
    let mut taken = Vec::with_capacity(wanted.len());
    let mut possible = Steps::new();
    for &step in wanted {
        possible.clear();
        cluster.steps(&state, &mut possible);
        if possible.as_slice().contains(&step) {
            cluster.apply(&mut state, step);
            taken.push(step);
        }
        if state.broken != Broken::NOTHING {
            break;
        }
    }
    (state, taken)
}
