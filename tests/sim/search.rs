//! Many seeds, on all cores; and what is said about one that fails.

use std::{
    fmt::Display,
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use crate::{
    judge::{Found, Kind},
    mutation::Mutation,
    profile::Profile,
    run::{Outcome, run},
};

/// A setting of the search, from the environment: `cargo test` has no arguments of our own.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing is configured here, only how long to search and what to show again"
)]
pub(crate) fn setting<T>(name: &str) -> Option<T>
where
    T: FromStr<Err: Display>,
{
    let value = std::env::var(name).ok()?;
    match value.parse() {
        Ok(value) => Some(value),
        Err(error) => panic!("{name}={value}: {error}"),
    }
}

/// What `ROOKERY_SIM_PROFILE` names.
fn named_profile() -> Option<Profile> {
    let name = setting::<String>("ROOKERY_SIM_PROFILE")?;
    let named = Profile::ALL
        .into_iter()
        .find(|it| format!("{it:?}") == name);
    Some(named.expect("ROOKERY_SIM_PROFILE: a profile"))
}

/// The profile of a seed, or that under which a broken rule is searched for.
fn profile(seed: u64, mutation: Option<Mutation>) -> Profile {
    let of_seed = || named_profile().unwrap_or_else(|| Profile::of_seed(seed));
    mutation.map_or_else(of_seed, Mutation::profile)
}

/// Runs a seed; a panic in it is a finding, too.
pub(crate) fn outcome(seed: u64, mutation: Option<Mutation>, traced: bool) -> Outcome {
    outcome_under(profile(seed, mutation), seed, mutation, traced)
}

/// The same under a certain profile.
pub(crate) fn outcome_under(
    profile: Profile,
    seed: u64,
    mutation: Option<Mutation>,
    traced: bool,
) -> Outcome {
    let run = || run(seed, profile, mutation, traced);
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Outcome {
            found: vec![Found {
                kind: Kind::Panic,
                what: what.unwrap_or("without words").to_owned(),
            }],
            ..Outcome::default()
        }
    })
}

/// What a search saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) seeds: u64,
    pub(crate) records: u64,
    pub(crate) at_rest: u64,
    /// The first seeds with something wrong, ascending.
    pub(crate) wrong: Vec<(u64, Vec<Found>)>,
}

/// Runs seeds `first..first + count`, until one of them is as `enough` says.
pub(crate) fn search(
    first: u64,
    count: u64,
    mutation: Option<Mutation>,
    enough: impl Fn(&[Found]) -> bool + Sync,
) -> Seen {
    let next = AtomicU64::new(first);
    let seen = Mutex::new(Seen::default());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let outcome = outcome(seed, mutation, false);
                    let mut seen = seen.lock().expect("no panic while held");
                    seen.seeds += 1;
                    seen.records += outcome.records.len() as u64;
                    seen.at_rest += outcome.at_rest;
                    if outcome.found.is_empty() {
                        continue;
                    }
                    if enough(&outcome.found) {
                        next.store(first + count, Ordering::Relaxed);
                    }
                    seen.wrong.push((seed, outcome.found));
                }
            });
        }
    });
    let mut seen = seen.into_inner().expect("no panic while held");
    seen.wrong.sort_by_key(|(seed, _)| *seed);
    seen
}
