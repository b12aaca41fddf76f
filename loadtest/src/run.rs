//! A run: the load of a scenario, put on one server after the other, and what was measured.
//!
//! ```text
//! for each round,
//! for each side:  servers ─┐
//!                 fleet ───┼─► side: open, connect, (stage, settle)… ─► Side ─┐
//!                 samples ─┘      │ a picture four times a second              ├─► Outcome, judged
//!                                 └─► progress                          machine ┘
//! ```
//!
//! Reading order: `checks` is what must hold before; `servers` starts or attaches to what is
//! loaded; `fleet` are the light processes; `processes` and `memory` look at CPU and memory; `merge`
//! adds the parts of several processes up; `side` does all of it in order; `judge` and
//! `summary` are what is said at the end.
//!
//! Everything started here ends with its value, by its process id.

mod checks;
mod counters;
mod fleet;
mod judge;
mod machine;
mod memory;
mod merge;
mod picture;
mod processes;
mod servers;
mod side;
mod summary;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};

use crate::{
    client::ServerAddress,
    cluster::Database,
    light::orders::Wire,
    outcome::{FORMAT, Judged, Outcome, Side},
    scenario::Scenario,
};
pub use checks::CannotRun;
pub use picture::Picture;
pub use summary::Summary;

/// The side that is the bare write loop.
pub const FLOOR: &str = "floor";

/// What to run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The load.
    pub scenario: Scenario,
    /// What it is put on.
    pub subject: Subject,
    /// Which servers, in this order: the subject's name and [`FLOOR`]. Empty: the subject alone.
    pub sides: Vec<String>,
    /// How often all of them are measured. Every other round goes through them backwards: a machine
    /// that gets slower meanwhile favours none.
    pub rounds: NonZeroU32,
    /// Light processes; `None`: as many as the connections need.
    pub processes: Option<u32>,
    /// This program: light processes and the floor are its subcommands.
    pub tool: PathBuf,
}

/// The server that is measured.
#[derive(Clone, Debug)]
pub enum Subject {
    /// It runs already.
    Attached {
        /// Its gateways.
        urls: Vec<ServerAddress>,
        /// What it speaks.
        wire: Wire,
        /// Its processes by role, to look at.
        processes: Vec<(String, u32)>,
        /// Where its `/metrics` are.
        admins: Vec<ServerAddress>,
    },
    /// One process of `rookery serve --dev` in a temporary folder.
    Embedded {
        /// The program.
        rookery: PathBuf,
    },
    /// A whole cluster in a temporary folder.
    Cluster {
        /// The program.
        rookery: PathBuf,
        /// The program `nats-server`.
        nats_server: PathBuf,
        /// The database.
        database: Database,
        /// Gateways.
        gateways: usize,
        /// Nodes for rooms and presence.
        nodes: usize,
    },
}

impl Subject {
    /// The name of its side: `rookery`, or what it speaks.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Embedded { .. } | Self::Cluster { .. } => "rookery",
            Self::Attached { wire, .. } => match wire {
                Wire::Rookery => "rookery",
                Wire::SocketIo => "socket-io",
                Wire::Pusher => "pusher",
                Wire::Centrifuge => "centrifuge",
            },
        }
    }
}

impl Run {
    /// The sides in their order.
    #[must_use]
    pub fn sides(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let subject = [self.subject.name().to_owned()];
        let wanted = if self.sides.is_empty() {
            &subject[..]
        } else {
            &self.sides[..]
        };
        let once = wanted.iter().filter(|side| seen.insert(*side));
        once.cloned().collect()
    }

    /// Whether it can be run here; see [`CannotRun`].
    ///
    /// # Errors
    /// The first thing that is missing, by the flag that sets it.
    pub fn check(&self) -> Result<(), CannotRun> {
        checks::check(self, &machine::here())
    }

    /// Runs all sides, one after the other, in all rounds, and judges the bounds. What was measured until
    /// something failed, or until `interrupted` is there, is in the outcome all the same; the error
    /// says why it is not whole.
    ///
    /// `show` is called some times a second.
    pub async fn run(
        &self,
        show: &mut dyn FnMut(&Picture),
        interrupted: impl Future<Output = ()>,
    ) -> (Outcome, Result<()>) {
        let mut outcome = Outcome {
            format: FORMAT,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            began_unix_ms: now_unix_ms(),
            scenario: self.scenario.clone(),
            machine: machine::here(),
            sides: Vec::new(),
            bounds: Vec::new(),
            ended_early: None,
        };
        // Dropping the work ends every process that it started.
        let ended = tokio::select! {
            ended = self.all_sides(&mut outcome.sides, show) => ended,
            () = interrupted => Err(Interrupted.into()),
        };
        outcome.ended_early = ended.as_ref().err().map(|error| format!("{error:#}"));
        outcome.bounds = judge::judge(&outcome);
        (outcome, ended)
    }

    async fn all_sides(&self, sides: &mut Vec<Side>, show: &mut dyn FnMut(&Picture)) -> Result<()> {
        let rounds = self.rounds.get();
        for round in 1..=rounds {
            let mut names = self.sides();
            if round % 2 == 0 {
                names.reverse();
            }
            for name in names {
                sides.push(Side {
                    name: name.clone(),
                    round,
                    server: String::new(),
                    connect_s: 0.0,
                    stages: Vec::new(),
                    processes: Vec::new(),
                    bytes_per_connection: BTreeMap::new(),
                    kernel_bytes_per_connection: None,
                    bytes_per_room: BTreeMap::new(),
                });
                let side = sides.last_mut().context("one was pushed")?;
                let measured = side::measure(self, side, show).await;
                measured.with_context(|| match rounds {
                    1 => format!("the side {name} failed"),
                    _ => format!("the side {name} failed in round {round}"),
                })?;
            }
        }
        Ok(())
    }

    /// Light processes of a side with so many connections.
    fn light_processes(&self) -> u32 {
        self.processes
            .unwrap_or_else(|| checks::processes_for(self.scenario.people.connections))
            .clamp(1, self.scenario.people.connections)
    }
}

fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.map_or(0, |since| since.as_millis());
    u64::try_from(ms).unwrap_or(u64::MAX)
}

/// The run was told to end before it was whole.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Whether the run is whole, every bound that was checked holds, and no server lost or doubled
/// anything.
#[must_use]
pub fn is_good(outcome: &Outcome) -> bool {
    let sound = |side: &Side| {
        let mut stages = side.stages.iter();
        stages.all(|stage| stage.counts.lost == 0 && stage.counts.doubled == 0)
    };
    let kept = |bound: &Judged| bound.holds || bound.not_checked.is_some();
    let whole = outcome.ended_early.is_none();
    whole && outcome.bounds.iter().all(kept) && outcome.sides.iter().all(sound)
}

#[cfg(test)]
mod tests;
