//! What a run measured: the file that `run` writes and that reports, `compare` and `plan` read.
//!
//! Plain data; its JSON is the format, numbered by [`FORMAT`]. A run has a side for each server
//! the same load was put on (`rookery`, `floor`, …), and all of them again in each further round;
//! whoever compares servers compares sides of one run, round by round.
//!
//! Reading order: this file is the run and its sides; `stage` is what one stage measured; `figures`
//! are the numbers people speak of, taken from it; `rounds` makes one number of several rounds;
//! `file` reads and writes.

mod figures;
mod file;
mod rounds;
mod stage;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::scenario::Scenario;
pub use figures::{Better, Figure};
pub use file::OutcomeError;
pub use rounds::{RunFigures, Spread};
pub use stage::{Counts, Latencies, StageOutcome, Tick};

/// Version of the file's format; another is refused.
pub const FORMAT: u32 = 1;

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of the tool.
    pub tool: String,
    /// When it began, milliseconds since 1970.
    pub began_unix_ms: u64,
    /// What was put on, after all changes.
    pub scenario: Scenario,
    /// Where.
    pub machine: Machine,
    /// What was measured, one server after the other, round after round.
    pub sides: Vec<Side>,
    /// The scenario's bounds, judged.
    pub bounds: Vec<Judged>,
    /// Why it is not whole: it failed, or was interrupted. What was measured until then is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<String>,
}

/// The machine a run was made on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// As the kernel calls the processor.
    pub processor: String,
    /// Processors this process may use.
    pub cores: u32,
    /// Memory of the machine, in bytes.
    pub memory_bytes: u64,
    /// Kernel and its version.
    pub kernel: String,
    /// Files a process may open.
    pub open_files_max: u64,
    /// Load average of the last minute when the run began: others on the machine.
    pub load_average: String,
}

/// The role of the load's own processes.
pub const LOAD: &str = "load";

/// One server under the load, in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Side {
    /// `rookery`, `floor`, or a peer's name.
    pub name: String,
    /// Which repetition of the whole load this is, from 1.
    #[serde(default = "first_round")]
    pub round: u32,
    /// How it was started or where it was.
    pub server: String,
    /// Seconds until all connections were joined.
    pub connect_s: f64,
    /// Stage by stage.
    pub stages: Vec<StageOutcome>,
    /// Its processes, and those of the load itself (role `load`).
    pub processes: Vec<ProcessSeries>,
    /// What each connection cost in memory of the processes, by their role, bytes, once all were
    /// joined and quiet; beside the server's, all that the load has. Empty: none could be read.
    pub bytes_per_connection: BTreeMap<String, f64>,
    /// What it cost in the kernel's own memory, both ends of it.
    #[serde(default)]
    pub kernel_bytes_per_connection: Option<f64>,
    /// What each room cost in memory of the server since it was empty, by the figure's whole name;
    /// only where there are many more rooms than connections.
    #[serde(default)]
    pub bytes_per_room: BTreeMap<String, f64>,
}

const fn first_round() -> u32 {
    1
}

/// A process over time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessSeries {
    /// `server`, `gateway`, `node`, `nats`, `database`, `load`.
    pub role: String,
    /// Its id.
    pub pid: u32,
    /// Looked at some times a second.
    pub samples: Vec<Sample>,
}

/// A look at a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When, ms after the side's first sample.
    pub at_ms: u64,
    /// CPU since its start, user and system, microseconds.
    pub cpu_us: u64,
    /// Resident memory, bytes.
    pub memory_bytes: u64,
}

/// A bound of the scenario and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The bound in words: `50-a-second/cpu_us_per_delivery of rookery at most 1.2 × floor`.
    pub bound: String,
    /// What was measured: the value or the ratio, of several rounds as [`Figure`] says; `None`:
    /// could not be checked.
    pub measured: Option<f64>,
    /// The least and the most of several rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<[f64; 2]>,
    /// Whether it holds; what could not be checked does not.
    pub holds: bool,
    /// Why nobody looked: the side that it is a ratio to was not part of this run, or the run ended
    /// before. It neither holds nor breaks then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_checked: Option<String>,
}

impl Outcome {
    /// The sides of that name, one of each round.
    pub fn rounds_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Side> {
        self.sides.iter().filter(move |side| side.name == name)
    }

    /// The names of the sides, in the order of the first round.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for side in &self.sides {
            if !names.contains(&&*side.name) {
                names.push(&side.name);
            }
        }
        names
    }

    /// The rounds there are, each with its sides in the order of [`Outcome::names`].
    #[must_use]
    pub fn rounds(&self) -> Vec<(u32, Vec<&Side>)> {
        let mut rounds: BTreeMap<u32, Vec<&Side>> = BTreeMap::new();
        for name in self.names() {
            for side in self.rounds_of(name) {
                rounds.entry(side.round).or_default().push(side);
            }
        }
        rounds.into_iter().collect()
    }

    /// All figures, of one round or of several.
    #[must_use]
    pub fn figures(&self) -> RunFigures<'_> {
        RunFigures::new(self)
    }

    /// Where a figure stands in a list for people: by stage in the scenario's order, a latency's
    /// percentiles from low to high.
    #[must_use]
    pub fn place(&self, figure: &str) -> (usize, String) {
        let (stage, name) = figure.split_once('/').unwrap_or(("", figure));
        let stages = &self.scenario.stages;
        let stage = stages.iter().position(|known| known.name == stage);
        let name = name.replace("_p999_", "_p99~").replace("_max_", "_~");
        (stage.map_or(0, |index| index + 1), name)
    }
}

#[cfg(test)]
pub(crate) mod synthetic;
