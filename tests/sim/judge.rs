//! What must hold at the end of a run.

use std::fmt;

use rookery_loadtest::{
    checker::{self, Verdict},
    history::{Record, What},
};

use crate::{quorum::Quorum, trace::traces, work::CLIENTS};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By the checker of `loadtest`.
    Wrong(Verdict),
    /// Acknowledged changes of a room whose log was not read.
    Unjudged,
    /// Nothing goes on although nothing is in the way.
    Stuck,
    /// Two different rows under one key.
    Clash,
    /// Something of a voided event is to be seen.
    Trace,
    /// A connected user was said to be offline.
    Offline,
    /// At rest somebody is shown who is not there.
    Ghost,
    /// At rest somebody is not shown as they are.
    Outdated,
    /// Somebody was told of a user more often than they should.
    TooOften,
    /// A shard moved because the bus was in two halves.
    Moved,
    /// The code of a node, or of the simulation, panicked.
    Panic,
}

impl Found {
    pub(crate) fn stuck(what: &str) -> Self {
        Self {
            kind: Kind::Stuck,
            what: what.to_owned(),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Wrong(verdict) => write!(f, "{}: {}", verdict.word(), self.what),
            kind => write!(f, "{kind:?}: {}", self.what),
        }
    }
}

/// Judges a history and what the replicas hold.
pub(crate) fn judge(records: &[Record], quorum: &Quorum) -> Vec<Found> {
    let report = checker::check(records);
    let mut found = Vec::new();
    for verdict in report.verdicts() {
        for example in report.examples(verdict) {
            if known_to_others(verdict)
                && example
                    .client
                    .is_some_and(|client| !is_wrong_alone(records, client, verdict))
            {
                continue;
            }
            found.push(Found {
                kind: Kind::Wrong(verdict),
                what: example.to_string(),
            });
        }
    }
    for room in report.unjudged_rooms {
        found.push(Found {
            kind: Kind::Unjudged,
            what: room,
        });
    }
    quorum.inspect(|replicas| {
        for clash in replicas.iter().flat_map(|replica| &replica.clashes) {
            found.push(Found {
                kind: Kind::Clash,
                what: clash.clone(),
            });
        }
    });
    found.extend(traces(records, quorum));
    found
}

/// Verdicts that hold an answer against what anybody knew. An owner that was replaced and does not
/// know it yet may answer whoever has not heard of its successor either.
fn known_to_others(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Stale | Verdict::UnreadWrong)
}

/// Whether the verdict stands by what this client itself was told.
fn is_wrong_alone(records: &[Record], client: u32, verdict: Verdict) -> bool {
    let judge = CLIENTS;
    let own: Vec<Record> = records
        .iter()
        .filter(|record| {
            !matches!(record.what, What::Received(_))
                || record.client == client
                || record.client == judge
        })
        .cloned()
        .collect();
    let report = checker::check(&own);
    let mut examples = report.examples(verdict).iter();
    examples.any(|example| example.client == Some(client))
}
