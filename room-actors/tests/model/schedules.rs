//! Random schedules of a larger cluster: the designed rule must survive them all.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    cluster::Cluster,
    rule::Rule,
    setting,
    state::{Broken, Owner, State},
    walk::{Failure, replay, seed_of, walk},
};

/// 3 replicas, 4 owners one after the other, 4 offsets, all of them on their way at once.
pub(crate) const LARGE: Cluster = Cluster {
    owners: 4,
    offsets: 4,
    in_flight_max: 4,
    rule: Rule::AsDesigned,
};

/// How many schedules the designed rule survives in each run of the tests: seconds without
/// optimisation, a minute on a busy machine.
const SCHEDULES: u64 = 200_000;

/// What was reached: a search that reaches nothing finds nothing.
#[derive(Debug, Default)]
struct Tally {
    schedules: u64,
    steps: u64,
    /// Something was acknowledged.
    acked: u64,
    /// Two owners or more acknowledged.
    acked_by_several: u64,
    /// Three owners or more served.
    served_by_three: u64,
    /// A row that was sent is void.
    voided: u64,
    /// An owner served rows of a room at rest.
    at_rest: u64,
}

impl Tally {
    fn count(&mut self, end: &State) {
        let acking = (1..=4).filter(|owner| end.acked & (0x1111 << (owner - 1)) != 0);
        let serving = end.owners.iter().filter(|owner| owner.served);
        self.schedules += 1;
        self.acked += u64::from(end.acked != 0);
        self.acked_by_several += u64::from(acking.count() >= 2);
        self.served_by_three += u64::from(serving.count() >= 3);
        self.voided += u64::from(end.sent & end.void != 0);
        let at_rest = |owner: &Owner| owner.at_rest && owner.served && owner.adopted > 0;
        self.at_rest += u64::from(end.owners.iter().any(at_rest));
    }

    fn add(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.steps += other.steps;
        self.acked += other.acked;
        self.acked_by_several += other.acked_by_several;
        self.served_by_three += other.served_by_three;
        self.voided += other.voided;
        self.at_rest += other.at_rest;
    }
}

/// Walks the schedules of these numbers, until one breaks a promise here or elsewhere.
fn search(
    cluster: &Cluster,
    numbers: impl Iterator<Item = u64>,
    found: &AtomicBool,
) -> (Tally, Option<u64>) {
    let mut tally = Tally::default();
    for number in numbers {
        let seed = seed_of(number);
        let end = walk(cluster, seed, |_| tally.steps += 1);
        tally.count(&end);
        if end.broken != Broken::NOTHING {
            found.store(true, Ordering::Relaxed);
            return (tally, Some(seed));
        }
        if found.load(Ordering::Relaxed) {
            break;
        }
    }
    (tally, None)
}

#[expect(clippy::print_stdout, reason = "what a search visited is its result")]
fn check_survives(rule: Rule, schedules: u64) {
    let cluster = Cluster { rule, ..LARGE };
    let began = std::time::Instant::now();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let found = AtomicBool::new(false);
    let mut tally = Tally::default();
    let mut failed = None;
    std::thread::scope(|scope| {
        let searches: Vec<_> = (0..workers)
            .map(|worker| {
                let numbers = (worker as u64..schedules).step_by(workers);
                scope.spawn(|| search(&cluster, numbers, &found))
            })
            .collect();
        for search in searches {
            let (part, seed) = search.join().expect("a search does not panic");
            tally.add(&part);
            failed = failed.or(seed);
        }
    });
    println!("{rule}: {tally:?} in {:.1?}", began.elapsed());
    if let Some(seed) = failed {
        let failure = Failure::of_seed(&cluster, seed);
        panic!("{}", failure.expect("the same seed fails again"));
    }
    // Tempos are drawn evenly, so these shares do not depend on luck.
    let twentieth = tally.schedules / 20;
    assert!(tally.acked > 10 * twentieth, "{tally:?}");
    assert!(tally.acked_by_several > twentieth, "{tally:?}");
    assert!(tally.served_by_three > 3 * twentieth, "{tally:?}");
    assert!(tally.voided > 3 * twentieth, "{tally:?}");
    assert!(tally.at_rest > twentieth, "{tally:?}");
}

fn schedules() -> u64 {
    setting("ROOKERY_MODEL_SCHEDULES").unwrap_or(SCHEDULES)
}

#[test]
fn designed_rule_survives_random_schedules() {
    check_survives(Rule::AsDesigned, schedules());
}

#[test]
fn room_claimed_by_its_first_event_survives_random_schedules() {
    check_survives(Rule::FirstEventClaims, schedules() / 4);
}

#[test]
fn same_seed_gives_the_same_schedule_and_steps_alone_repeat_it() {
    for seed in [1, 2, 3] {
        let mut once = Vec::new();
        let mut twice = Vec::new();
        let end = walk(&LARGE, seed, |step| once.push(step));
        let again = walk(&LARGE, seed, |step| twice.push(step));
        assert_eq!((end, &once), (again, &twice));
        assert_eq!(replay(&LARGE, &once), (end, once));
    }
}

/// Prints the schedule that `ROOKERY_MODEL_SEED` and `ROOKERY_MODEL_RULE` name: all steps of one
/// that breaks nothing, the needed ones of one that does. Without them, the first one there is.
#[test]
fn seed_replayed_tells_its_steps() {
    let named: Option<String> = setting("ROOKERY_MODEL_SEED");
    let seed = named.map_or(seed_of(0), |seed| {
        let digits = seed.trim_start_matches("0x");
        let base = if digits.len() == seed.len() { 10 } else { 16 };
        u64::from_str_radix(digits, base).unwrap()
    });
    let rule = setting("ROOKERY_MODEL_RULE").unwrap_or(Rule::AsDesigned);
    let cluster = Cluster { rule, ..LARGE };
    if let Some(failure) = Failure::of_seed(&cluster, seed) {
        println!("{failure}");
        assert_ne!(rule, Rule::AsDesigned, "the designed rule broke a promise");
        return;
    }
    let mut steps = 0;
    let end = walk(&cluster, seed, |step| {
        steps += 1;
        println!("{steps:>4}  {step}");
    });
    println!(
        "{} by {steps} steps, rule {rule}, seed {seed:#x}",
        end.broken
    );
    assert!(steps > 0);
}
