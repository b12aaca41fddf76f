//! What a run measured: the file that `run` writes and that reports, `compare` and `plan` read.
//!
//! Plain data; its JSON is the format, numbered by [`FORMAT`]. A run has a side for each server
//! the same load was put on (`rookery`, `floor`, …); whoever compares servers compares sides of one run.

use std::{collections::BTreeMap, ops::AddAssign, path::Path};

use serde::{Deserialize, Serialize};

use crate::{histogram::Histogram, scenario::Scenario};

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
    /// What was measured, one server after the other.
    pub sides: Vec<Side>,
    /// The scenario's bounds, judged.
    pub bounds: Vec<Judged>,
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

/// One server under the load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Side {
    /// `rookery`, `floor`, or a peer's name.
    pub name: String,
    /// How it was started or where it was.
    pub server: String,
    /// Seconds until all connections were joined.
    pub connect_s: f64,
    /// Stage by stage.
    pub stages: Vec<StageOutcome>,
    /// Its processes, and those of the load itself (role `load`).
    pub processes: Vec<ProcessSeries>,
    /// What each connection cost in memory of the server's processes, by their role, bytes, once
    /// all were joined and quiet; empty: no process of the server could be read.
    pub bytes_per_connection: BTreeMap<String, f64>,
}

/// What one stage measured. Counts and latencies exclude its warm-up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageOutcome {
    /// As in the scenario.
    pub name: String,
    /// When its measuring began, ms after the side's first sample.
    pub began_ms: u64,
    /// How long it was measured, ms.
    pub took_ms: u64,
    /// What happened how often.
    pub counts: Counts,
    /// How long things took.
    pub latency: Latencies,
    /// The same over time, one a second.
    pub ticks: Vec<Tick>,
    /// CPU of each role's processes in the measured time, microseconds.
    pub cpu_us: BTreeMap<String, u64>,
    /// Resident memory of each role's processes at its end, bytes.
    pub memory_bytes: BTreeMap<String, u64>,
    /// What the server's own metrics say was counted in the stage, by metric and labels; only of
    /// servers that tell (store reads, commit batches).
    pub server_counters: BTreeMap<String, f64>,
}

/// How often things happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Sends that were due.
    pub due: u64,
    /// Sends acknowledged.
    pub acked: u64,
    /// Commands refused as too much (OVERLOADED, RATE_LIMITED).
    pub refused: u64,
    /// Commands refused otherwise, or without an answer in time.
    pub failed: u64,
    /// Commands other than sends that were answered.
    pub answered: u64,
    /// Events that reached a listener.
    pub delivered: u64,
    /// Events missing in a listener's dense row of offsets, or behind its last one at the end.
    pub lost: u64,
    /// Events that reached the same listener twice.
    pub doubled: u64,
    /// Bytes that came from the server.
    pub bytes_in: u64,
    /// Connections opened anew.
    pub connected: u64,
    /// Rooms resumed by offset.
    pub resumed: u64,
    /// Rooms that could not be resumed by offset and were read anew.
    pub reset: u64,
    /// Connections that ended without being asked to.
    pub dropped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        // Taken apart, so that a new count cannot be forgotten.
        let Self {
            due,
            acked,
            refused,
            failed,
            answered,
            delivered,
            lost,
            doubled,
            bytes_in,
            connected,
            resumed,
            reset,
            dropped,
        } = more;
        self.due += due;
        self.acked += acked;
        self.refused += refused;
        self.failed += failed;
        self.answered += answered;
        self.delivered += delivered;
        self.lost += lost;
        self.doubled += doubled;
        self.bytes_in += bytes_in;
        self.connected += connected;
        self.resumed += resumed;
        self.reset += reset;
        self.dropped += dropped;
    }
}

/// How long things took, microseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Latencies {
    /// From when a send was due to its acknowledgement.
    pub ack: Histogram,
    /// From when a send was due to each listener that has it.
    pub delivery: Histogram,
    /// From when a send was due to the last listener (of one load process).
    pub all: Histogram,
    /// From opening a connection to its `welcome`.
    pub connect: Histogram,
    /// From being cut to having every room resumed.
    pub whole: Histogram,
    /// From when another command was due to its answer.
    pub command: Histogram,
}

/// A second of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// When it ended, ms after the side's first sample.
    pub at_ms: u64,
    /// Connections that are joined.
    pub connections: u64,
    /// In this second.
    pub due: u64,
    /// In this second.
    pub acked: u64,
    /// In this second.
    pub delivered: u64,
    /// Of this second's acks, microseconds; 0: none.
    pub ack_p50_us: u64,
    /// The same.
    pub ack_p99_us: u64,
    /// Of this second's deliveries, microseconds; 0: none.
    pub delivery_p50_us: u64,
    /// The same.
    pub delivery_p99_us: u64,
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
    /// What was measured: the value or the ratio; `None`: could not be checked.
    pub measured: Option<f64>,
    /// Whether it holds; what could not be checked does not.
    pub holds: bool,
}

/// A measured number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The number.
    pub value: f64,
    /// `µs`, `bytes`, `/s`, `s` or empty for counts.
    pub unit: &'static str,
    /// Which direction is good.
    pub better: Better,
    /// Whether enough was counted that two runs of the same can be held against each other: at
    /// least ten values lie past a percentile; never a maximum.
    pub steady: bool,
}

/// Which direction of a figure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less of it.
    Less,
    /// More of it.
    More,
}

impl Side {
    /// The side's figures, named `STAGE/FIGURE` (and `connect/…` for what is of no stage):
    /// what bounds, `compare` and `plan` speak of. Absent where nothing of the kind happened.
    #[must_use]
    pub fn figures(&self) -> BTreeMap<String, Figure> {
        let mut figures = BTreeMap::new();
        let mut put = |name: String, value: f64, unit, better| {
            let figure = Figure {
                value,
                unit,
                better,
                steady: true,
            };
            figures.insert(name, figure);
        };
        put(
            "connect/seconds".to_owned(),
            self.connect_s,
            "s",
            Better::Less,
        );
        let roles = &self.bytes_per_connection;
        if !roles.is_empty() {
            let name = "connect/bytes_per_connection".to_owned();
            put(name, roles.values().sum(), "bytes", Better::Less);
        }
        for (role, bytes) in roles.iter().filter(|_| roles.len() > 1) {
            let name = format!("connect/bytes_per_connection_{role}");
            put(name, *bytes, "bytes", Better::Less);
        }
        for stage in &self.stages {
            stage.figures(&mut |name, value, unit, better| {
                put(format!("{}/{name}", stage.name), value, unit, better);
            });
        }
        for stage in &self.stages {
            for (name, times) in stage.latency.named() {
                for (part, figure) in times_figures(times) {
                    figures.insert(format!("{}/{name}_{part}_us", stage.name), figure);
                }
            }
        }
        figures
    }
}

/// The percentiles that are figures.
const PERCENTILES: [(&str, f64); 3] = [("p50", 50.0), ("p99", 99.0), ("p999", 99.9)];
/// Values past a percentile from which on it is steady.
const PAST_MIN: f64 = 10.0;

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn times_figures(times: &Histogram) -> Vec<(&'static str, Figure)> {
    if times.count() == 0 {
        return Vec::new();
    }
    let figure = |value: u64, steady| Figure {
        value: value as f64,
        unit: "µs",
        better: Better::Less,
        steady,
    };
    let percentile = |(part, percent): (&'static str, f64)| {
        let past = times.count() as f64 * (100.0 - percent) / 100.0;
        // Rounded: 0.1 % of 10,000 is no round number of a float.
        let steady = past.round() >= PAST_MIN;
        (part, figure(times.percentile(percent), steady))
    };
    let mut figures: Vec<_> = PERCENTILES.into_iter().map(percentile).collect();
    figures.push(("max", figure(times.max(), false)));
    figures
}

impl Counts {
    /// Each with its name.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 13] {
        [
            ("due", self.due),
            ("acked", self.acked),
            ("refused", self.refused),
            ("failed", self.failed),
            ("answered", self.answered),
            ("delivered", self.delivered),
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("bytes_in", self.bytes_in),
            ("connected", self.connected),
            ("resumed", self.resumed),
            ("reset", self.reset),
            ("dropped", self.dropped),
        ]
    }
}

impl Latencies {
    /// Adds another's counts.
    pub fn merge(&mut self, more: &Self) {
        let Self {
            ack,
            delivery,
            all,
            connect,
            whole,
            command,
        } = more;
        self.ack.merge(ack);
        self.delivery.merge(delivery);
        self.all.merge(all);
        self.connect.merge(connect);
        self.whole.merge(whole);
        self.command.merge(command);
    }

    /// Each with its name.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, &Histogram); 6] {
        [
            ("ack", &self.ack),
            ("delivery", &self.delivery),
            ("all", &self.all),
            ("connect", &self.connect),
            ("whole", &self.whole),
            ("command", &self.command),
        ]
    }
}

impl StageOutcome {
    /// CPU of the server's processes, all but the load's.
    #[must_use]
    pub fn server_cpu_us(&self) -> u64 {
        let servers = self.cpu_us.iter().filter(|(role, _)| *role != "load");
        servers.map(|(_, cpu_us)| cpu_us).sum()
    }

    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn figures(&self, put: &mut dyn FnMut(&str, f64, &'static str, Better)) {
        use Better::{Less, More};
        let counts = &self.counts;
        let seconds = (self.took_ms as f64 / 1_000.0).max(f64::MIN_POSITIVE);
        let cpu_us = self.server_cpu_us() as f64;
        put("lost", counts.lost as f64, "", Less);
        put("doubled", counts.doubled as f64, "", Less);
        put("refused", counts.refused as f64, "", Less);
        put("failed", counts.failed as f64, "", Less);
        put("dropped", counts.dropped as f64, "", Less);
        put("reset", counts.reset as f64, "", Less);
        if counts.acked > 0 {
            put("acks_per_second", counts.acked as f64 / seconds, "/s", More);
            put("cpu_us_per_send", cpu_us / counts.acked as f64, "µs", Less);
        }
        if counts.delivered > 0 {
            let delivered = counts.delivered as f64;
            put("deliveries_per_second", delivered / seconds, "/s", More);
            put("cpu_us_per_delivery", cpu_us / delivered, "µs", Less);
        }
        if counts.connected > 0 {
            let each = cpu_us / counts.connected as f64;
            put("cpu_us_per_connect", each, "µs", Less);
        }
    }
}

/// A result file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum OutcomeError {
    /// The file.
    #[error("cannot {what} {path}")]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// Which.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// No result of a run.
    #[error("{path} is not a result of `run`")]
    Json {
        /// Which.
        path: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Of another version of the tool.
    #[error("{path} has format {found}; this tool reads format {FORMAT}")]
    Format {
        /// Which.
        path: String,
        /// Its format.
        found: u32,
    },
}

impl Outcome {
    /// Reads a result file.
    ///
    /// # Errors
    /// See [`OutcomeError`].
    pub fn read(path: &Path) -> Result<Self, OutcomeError> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let shown = || path.display().to_string();
        let text = std::fs::read(path).map_err(|source| OutcomeError::Io {
            what: "read",
            path: shown(),
            source,
        })?;
        let json = |source| OutcomeError::Json {
            path: shown(),
            source,
        };
        let Versioned { format } = serde_json::from_slice(&text).map_err(json)?;
        if format != FORMAT {
            return Err(OutcomeError::Format {
                path: shown(),
                found: format,
            });
        }
        serde_json::from_slice(&text).map_err(json)
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), OutcomeError> {
        let failed = |source| OutcomeError::Io {
            what: "write",
            path: path.display().to_string(),
            source,
        };
        let text = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        let beside = path.with_extension("json.part");
        std::fs::write(&beside, text).map_err(failed)?;
        std::fs::rename(&beside, path).map_err(failed)
    }

    /// The side of that name.
    #[must_use]
    pub fn side(&self, name: &str) -> Option<&Side> {
        self.sides.iter().find(|side| side.name == name)
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
