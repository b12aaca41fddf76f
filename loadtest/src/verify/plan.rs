//! What is verified, with which workload and which faults: a plan, from a TOML file or built in.

mod problems;

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    time::Duration,
};

use fastrand::Rng;
use serde::Deserialize;

use problems::names_key;

use super::kind::Kind;
use crate::{
    client::ServerAddress,
    document::{Document, DocumentError},
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

impl Plan {
    /// Reads a built-in plan by its name, or a file.
    ///
    /// # Errors
    /// See [`DocumentError`]; values that do not go together are told with their lines.
    pub fn load(name: &str) -> Result<Self, DocumentError> {
        let document = Document { kind: "plan", name };
        Self::parse(document, &document.text(&BUILT_IN)?)
    }

    fn parse(document: Document<'_>, text: &str) -> Result<Self, DocumentError> {
        let plan: Self = toml::from_str(text).map_err(|error| document.syntax(&error))?;
        let problems = plan.problems().into_iter().map(|(key, problem)| {
            let line = text.lines().position(|line| names_key(line, key));
            match line {
                Some(line) => format!("line {}: {key}: {problem}", line + 1),
                None => format!("{key}: {problem}"),
            }
        });
        let problems = problems.collect();
        document.checked(plan, problems)
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

#[cfg(test)]
mod tests;
