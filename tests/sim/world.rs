//! What one run of the simulation shares: its seed's dice, its clock, and the processes, which run,
//! stand still or are dead.

use std::{
    fmt,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use fastrand::Rng;
use rookery_cluster::Clock;
use tokio::{
    sync::Notify,
    time::{Duration, Instant},
};

use crate::presence::Fact;

/// What the wall clocks say when a run begins.
const BEGAN_MS: u64 = 1_700_000_000_000;

/// One run.
pub(crate) struct World {
    dice: Mutex<Rng>,
    began: Instant,
    /// Print what happens.
    traced: bool,
    numbers: AtomicU64,
    rests: AtomicU64,
    facts: Mutex<Vec<(u64, Fact)>>,
}

impl World {
    pub(crate) fn new(seed: u64, traced: bool) -> Arc<Self> {
        Arc::new(Self {
            dice: Mutex::new(Rng::with_seed(seed)),
            began: Instant::now(),
            traced,
            numbers: AtomicU64::new(1),
            rests: AtomicU64::new(0),
            facts: Mutex::default(),
        })
    }

    /// Dice of their own for one part, so that its throws do not depend on the others'.
    pub(crate) fn own_dice(&self) -> Rng {
        self.dice.lock().expect("no panic while held").fork()
    }

    /// Throws the dice.
    pub(crate) fn throw<T>(&self, throw: impl FnOnce(&mut Rng) -> T) -> T {
        throw(&mut self.dice.lock().expect("no panic while held"))
    }

    /// A number never given before in this run, in ascending order.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// A room that has events was claimed without being written again.
    pub(crate) fn was_at_rest(&self) {
        self.rests.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were.
    pub(crate) fn rests(&self) -> u64 {
        self.rests.load(Ordering::Relaxed)
    }

    /// Notes what the judge of presence goes by.
    pub(crate) fn note(&self, fact: Fact) {
        self.say(|| format!("{fact:?}"));
        let at = self.micros();
        self.facts
            .lock()
            .expect("no panic while held")
            .push((at, fact));
    }

    /// Looks at what was noted so far, with its times.
    pub(crate) fn facts<T>(&self, look: impl FnOnce(&[(u64, Fact)]) -> T) -> T {
        look(&self.facts.lock().expect("no panic while held"))
    }

    /// Microseconds since the run began.
    pub(crate) fn micros(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).expect("a short run")
    }

    /// Prints one line of a replayed run.
    #[expect(clippy::print_stdout, reason = "it is what was asked for")]
    pub(crate) fn say(&self, line: impl FnOnce() -> String) {
        if self.traced {
            println!("[{:>9.3}] {}", self.began.elapsed().as_secs_f64(), line());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Runs,
    Stands,
    Dead,
}

/// One process: a node or a gateway with its client. All its ports pass here, so one that stands
/// or is dead neither hears nor says anything; what it sent before goes its way.
pub(crate) struct Process {
    pub(crate) name: String,
    /// Which run of it.
    pub(crate) incarnation: u64,
    world: Arc<World>,
    state: Mutex<State>,
    resumed: Notify,
    /// How far its wall clock is wrong.
    clock_off_ms: AtomicI64,
    /// It does not reach the database.
    without_store: Mutex<bool>,
}

impl Process {
    /// Starts one, whose name says also which run of it this is.
    pub(crate) fn new(world: &Arc<World>, name: &str) -> Arc<Self> {
        let incarnation = world.number();
        Arc::new(Self {
            name: format!("{name}.{incarnation}"),
            incarnation,
            world: Arc::clone(world),
            state: Mutex::new(State::Runs),
            resumed: Notify::new(),
            clock_off_ms: AtomicI64::new(0),
            without_store: Mutex::new(false),
        })
    }

    /// Goes on at once in a process that runs, later in one that stands, never in a dead one.
    pub(crate) async fn pass(&self) {
        loop {
            let resumed = self.resumed.notified();
            let state = *self.state.lock().expect("no panic while held");
            match state {
                State::Runs => return,
                State::Stands => resumed.await,
                State::Dead => pending().await,
            }
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        *self.state.lock().expect("no panic while held") == State::Dead
    }

    /// SIGSTOP.
    pub(crate) fn stand(&self) {
        self.change(State::Stands);
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        self.change(State::Runs);
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        self.change(State::Dead);
    }

    fn change(&self, to: State) {
        let mut state = self.state.lock().expect("no panic while held");
        if *state == State::Dead || *state == to {
            return;
        }
        self.world.say(|| format!("{} {to:?}", self.name));
        self.world.note(match to {
            State::Runs => Fact::GoesOn(self.incarnation),
            State::Stands => Fact::Stands(self.incarnation),
            State::Dead => Fact::Died(self.incarnation),
        });
        *state = to;
        self.resumed.notify_waiters();
    }

    pub(crate) fn cut_from_store(&self, cut: bool) {
        *self.without_store.lock().expect("no panic while held") = cut;
    }

    pub(crate) fn reaches_store(&self) -> bool {
        !*self.without_store.lock().expect("no panic while held")
    }

    pub(crate) fn step_clock(&self, by_ms: i64) {
        self.clock_off_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for Process {
    fn now_ms(&self) -> u64 {
        let right = BEGAN_MS + self.world.micros() / 1_000;
        right.saturating_add_signed(self.clock_off_ms.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A random time of up to `max` milliseconds, mostly short.
pub(crate) fn mostly_short(dice: &mut Rng, max: u64) -> Duration {
    let ms = match dice.u8(0..20) {
        0 => dice.u64(0..=max),
        1..=4 => dice.u64(0..=max / 10),
        _ => dice.u64(0..=3.min(max)),
    };
    Duration::from_millis(ms)
}
