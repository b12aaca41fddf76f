//! What is verified, with which workload and which faults: a plan, from a TOML file or built in.

use std::{
    collections::BTreeMap,
    fmt,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    path::Path,
    time::Duration,
};

use fastrand::Rng;
use serde::Deserialize;

use super::kind::{Kind, Place};
use crate::{
    client::ServerAddress,
    workload::{Weights, Workload},
};

/// The plans built in, by name.
pub const BUILT_IN: [(&str, &str); 4] = [
    ("embedded", include_str!("../../plans/embedded.toml")),
    ("quiet", include_str!("../../plans/quiet.toml")),
    ("cluster", include_str!("../../plans/cluster.toml")),
    (
        "cluster-of-three",
        include_str!("../../plans/cluster-of-three.toml"),
    ),
];

/// The plan that is used when none is named.
pub const DEFAULT: &str = "embedded";

/// A plan.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Plan {
    /// What it is for, in a sentence.
    pub about: String,
    /// Decides every random choice, unless the command line names another.
    #[serde(default = "one_seed")]
    pub seed: u64,
    /// What is verified.
    pub target: Target,
    /// What clients do.
    #[serde(default)]
    pub workload: Load,
    /// What happens meanwhile.
    #[serde(default)]
    pub faults: Faults,
    /// How much one history holds.
    #[serde(default)]
    pub window: Window,
}

const fn one_seed() -> u64 {
    1
}

/// What is verified.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(
    deny_unknown_fields,
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Target {
    /// One process with everything in it, started by the run.
    Embedded {
        /// Settings, as `--set` takes them.
        #[serde(default)]
        settings: Vec<String>,
    },
    /// A cluster of processes on this machine, started by the run, each wire through a proxy. The
    /// database is one that `scripts/services` has started.
    Cluster {
        /// Nodes for rooms and presence.
        #[serde(default = "nodes")]
        nodes: NonZeroUsize,
        /// Gateways.
        #[serde(default = "gateways")]
        gateways: NonZeroUsize,
        /// NATS servers: 1 or 3.
        #[serde(default = "one")]
        nats_servers: NonZeroUsize,
        /// Nodes of the database.
        #[serde(default = "one")]
        replicas: NonZeroUsize,
        /// Settings of every process, as `--set` takes them.
        #[serde(default)]
        settings: Vec<String>,
    },
    /// A server that runs already; without faults.
    Url {
        /// Its gateways, `http://HOST:PORT`. They must accept development logins by name.
        #[serde(deserialize_with = "addresses")]
        urls: Vec<ServerAddress>,
    },
}

const fn nodes() -> NonZeroUsize {
    NonZeroUsize::new(3).expect("three")
}

const fn gateways() -> NonZeroUsize {
    NonZeroUsize::new(2).expect("two")
}

const fn one() -> NonZeroUsize {
    NonZeroUsize::MIN
}

fn addresses<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<ServerAddress>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let parsed = texts.iter().map(|text| text.parse());
    parsed
        .collect::<Result<_, _>>()
        .map_err(serde::de::Error::custom)
}

/// What clients do.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Load {
    /// Connections.
    pub clients: NonZeroU32,
    /// Users; with fewer than clients some have several devices. Absent: as many.
    pub users: Option<NonZeroU32>,
    /// Rooms, each joined by all clients.
    pub rooms: NonZeroU32,
    /// Commands one client has in flight at most.
    pub in_flight: NonZeroUsize,
    /// Shortest time between two commands of one client, in milliseconds.
    pub pace_ms: u64,
    /// After one in so many commands every other client goes away and comes back; 0: never.
    pub wander_one_in: u32,
    /// How often each command is chosen, relative to the others.
    pub weights: Weights,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            clients: NonZeroU32::new(12).expect("twelve"),
            users: None,
            rooms: NonZeroU32::new(8).expect("eight"),
            in_flight: NonZeroUsize::new(6).expect("six"),
            pace_ms: 100,
            wander_one_in: 100,
            weights: Weights::default(),
        }
    }
}

/// What happens meanwhile: kinds with weights, shuffled by the seed, or a list in its order.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Faults {
    /// Kinds with how many of each are in the deck. The deck is shuffled, played, and shuffled
    /// again when it is empty.
    pub deck: BTreeMap<Kind, NonZeroU32>,
    /// Instead of a deck: these, in this order, and again from the beginning.
    pub list: Vec<Kind>,
    /// How many faults in all. Absent: the deck or the list once.
    pub count: Option<NonZeroUsize>,
}

/// How much one history holds: after that the clients come to rest, everything is judged, and the
/// next window begins with new rooms.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Window {
    /// Faults, where there are any: few enough that a history names its cause.
    pub faults: NonZeroUsize,
    /// It goes on at least until so many commands were invoked.
    pub operations: Option<NonZeroU64>,
    /// It goes on at least for so many seconds.
    pub seconds: Option<NonZeroU64>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            faults: NonZeroUsize::new(6).expect("six"),
            operations: None,
            seconds: None,
        }
    }
}

/// The plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Neither a file nor a name.
    #[error("{0:?} is neither a file nor a built-in plan ({names})", names = Names)]
    Unknown(String),
    /// The file.
    #[error("cannot read plan {path}")]
    Read {
        /// Which file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// No TOML, or a key or value that a plan does not have.
    #[error("plan {name}: {message}")]
    Syntax {
        /// Which plan.
        name: String,
        /// Where and what, with the line.
        message: String,
    },
    /// Values that do not go together.
    #[error("plan {name}: {}", problems.join("; "))]
    Values {
        /// Which plan.
        name: String,
        /// Each with its key and line.
        problems: Vec<String>,
    },
}

struct Names;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        f.write_str(&names.join(", "))
    }
}

impl Plan {
    /// Reads a built-in plan by its name, or a file.
    ///
    /// # Errors
    /// There is none, or it cannot be used: which key, in which line, and why.
    pub fn load(name: &str) -> Result<Self, PlanError> {
        match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            Some((_, text)) => Self::parse(name, text),
            None if !Path::new(name).exists() => Err(PlanError::Unknown(name.to_owned())),
            None => {
                let read = std::fs::read_to_string(name).map_err(|source| PlanError::Read {
                    path: name.to_owned(),
                    source,
                });
                Self::parse(name, &read?)
            }
        }
    }

    /// Reads a plan from its text; `name` is for errors.
    ///
    /// # Errors
    /// As [`Plan::load`].
    pub fn parse(name: &str, text: &str) -> Result<Self, PlanError> {
        let plan: Self = toml::from_str(text).map_err(|error| PlanError::Syntax {
            name: name.to_owned(),
            message: error.to_string(),
        })?;
        let problems = plan.problems();
        if problems.is_empty() {
            return Ok(plan);
        }
        let located = problems.into_iter().map(|(key, problem)| {
            let line = text.lines().position(|line| names_key(line, key));
            match line {
                Some(line) => format!("line {}: {key}: {problem}", line + 1),
                None => format!("{key}: {problem}"),
            }
        });
        Err(PlanError::Values {
            name: name.to_owned(),
            problems: located.collect(),
        })
    }

    /// Values that do not go together, each with its key.
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let faults = &self.faults;
        if !faults.deck.is_empty() && !faults.list.is_empty() {
            problems.push((
                "list",
                "a plan has a deck of faults or a list, not both".to_owned(),
            ));
        }
        if let Target::Url { urls } = &self.target
            && urls.is_empty()
        {
            problems.push(("urls", "at least one".to_owned()));
        }
        if let Target::Cluster { nats_servers, .. } = &self.target
            && ![1, 3].contains(&nats_servers.get())
        {
            problems.push(("nats-servers", "1 or 3".to_owned()));
        }
        let kinds = faults.deck.keys().chain(&faults.list);
        let mut kinds: Vec<Kind> = kinds.copied().collect();
        if kinds.is_empty() {
            if faults.count.is_some() {
                problems.push(("count", "there is neither a deck nor a list".to_owned()));
            }
            if self.window.operations.is_none() && self.window.seconds.is_none() {
                let missing = "without faults it needs operations or seconds, else it never ends";
                problems.push(("window", missing.to_owned()));
            }
        }
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds.into_iter().filter(|kind| !self.allows(kind.place())) {
            problems.push((kind.word(), format!("needs {}", kind.place().needs())));
        }
        if self.workload.weights.total() == 0 {
            problems.push(("weights", "at least one must not be 0".to_owned()));
        }
        if self.workload.weights.send == 0 {
            let silent = "must not be 0: without messages nothing shows that a room works";
            problems.push(("send", silent.to_owned()));
        }
        problems
    }

    fn allows(&self, place: Place) -> bool {
        match &self.target {
            Target::Url { .. } => false,
            Target::Embedded { .. } => place == Place::Server,
            Target::Cluster {
                nodes,
                gateways,
                nats_servers,
                replicas,
                ..
            } => match place {
                Place::Server => false,
                Place::Cluster => true,
                Place::Nodes => nodes.get() >= 2,
                // A fourth comes and goes; the first three stay.
                Place::ThreeNodes => nodes.get() == 3,
                Place::Gateways => gateways.get() >= 2,
                Place::OneNats => nats_servers.get() == 1,
                Place::ThreeNats => nats_servers.get() == 3,
                Place::OneReplica => replicas.get() == 1,
                Place::ThreeReplicas => replicas.get() == 3,
            },
        }
    }

    /// How many faults in all; 0: none happen.
    #[must_use]
    pub fn fault_count(&self) -> usize {
        let once = match self.faults.list.len() {
            0 => self
                .faults
                .deck
                .values()
                .map(|count| count.get() as usize)
                .sum(),
            listed => listed,
        };
        match self.faults.count {
            Some(count) if once > 0 => count.get(),
            _ => once,
        }
    }

    /// The faults, one after the other without end; nothing when there are none.
    pub fn schedule(&self, mut random: Rng) -> impl Iterator<Item = Kind> {
        let faults = self.faults.clone();
        let mut hand: Vec<Kind> = Vec::new();
        std::iter::from_fn(move || {
            if hand.is_empty() {
                if faults.list.is_empty() {
                    for (kind, count) in &faults.deck {
                        hand.extend(std::iter::repeat_n(*kind, count.get() as usize));
                    }
                    random.shuffle(&mut hand);
                } else {
                    hand.extend(faults.list.iter().rev());
                }
            }
            hand.pop()
        })
    }

    /// The workload of one window.
    pub(super) fn workload(
        &self,
        prefix: String,
        seed: u64,
        gateways: &[ServerAddress],
    ) -> Workload {
        let load = &self.workload;
        Workload {
            seed,
            clients: load.clients.get(),
            users: load.users.map_or(0, NonZeroU32::get),
            rooms: load.rooms.get(),
            operations: u64::MAX,
            in_flight_max: load.in_flight.get(),
            weights: load.weights,
            prefix,
            others: gateways[1..].to_vec(),
            pace: Duration::from_millis(load.pace_ms),
            wander_one_in: load.wander_one_in,
            watched: true,
            ..Workload::default()
        }
    }
}

/// Whether a line of TOML, without its comment, holds this key or word.
fn names_key(line: &str, key: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default();
    let mut words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    words.any(|word| word == key)
}

#[cfg(test)]
mod tests;
