//! What can be wrong with a plan.

use std::num::NonZeroU64;

use super::{Plan, Target};
use crate::{
    limits::{
        PLAN_COUNT_MAX, PLAN_FAULTS_MAX, PLAN_PACE_MS_MAX, PLAN_PROCESSES_MAX, PLAN_SECONDS_MAX,
    },
    verify::kind::{Kind, Place},
};

impl Plan {
    /// Values that do not go together, each with its key.
    pub(super) fn problems(&self) -> Vec<(&'static str, String)> {
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
        for (key, number, max) in self.bounded() {
            if number > max {
                problems.push((key, format!("must be at most {max}")));
            }
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

    /// Numbers that must not be larger than these.
    fn bounded(&self) -> Vec<(&'static str, u64, u64)> {
        let load = &self.workload;
        let mut bounded = vec![
            ("clients", load.clients.get().into(), PLAN_COUNT_MAX),
            ("rooms", load.rooms.get().into(), PLAN_COUNT_MAX),
            ("in-flight", load.in_flight.get() as u64, PLAN_COUNT_MAX),
            ("pace-ms", load.pace_ms, PLAN_PACE_MS_MAX),
            ("faults", self.window.faults.get() as u64, PLAN_FAULTS_MAX),
        ];
        let seconds = self.window.seconds.map(NonZeroU64::get);
        bounded.extend(seconds.map(|seconds| ("seconds", seconds, PLAN_SECONDS_MAX)));
        let deck = self.faults.deck.iter();
        bounded
            .extend(deck.map(|(kind, count)| (kind.word(), count.get().into(), PLAN_FAULTS_MAX)));
        if let Target::Cluster {
            nodes, gateways, ..
        } = &self.target
        {
            bounded.push(("nodes", nodes.get() as u64, PLAN_PROCESSES_MAX));
            bounded.push(("gateways", gateways.get() as u64, PLAN_PROCESSES_MAX));
        }
        bounded
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
}

/// Whether a line of TOML, without its comment, holds this key or word.
pub(super) fn names_key(line: &str, key: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default();
    let mut words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    words.any(|word| word == key)
}
