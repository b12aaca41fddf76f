//! Two runs of the same scenario held against each other: every figure as a ratio, and which of
//! them went past its bound. Of several rounds the medians are judged, and their spread is told.

mod table;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    outcome::{Better, Figure, Outcome},
    scenario::Scenario,
};

pub use table::Colour;

/// How much worse a figure may be before it is a regression.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// For every steady figure: a ratio, at least 1.
    pub all: f64,
    /// For figures of these names (`STAGE/FIGURE`, or `FIGURE` for every stage's), steady or not;
    /// the last that fits counts.
    pub single: Vec<(String, f64)>,
}

/// Two runs held against each other.
#[derive(Debug)]
pub struct Comparison {
    /// What a reader must know before the ratios: another machine, sides that only one has.
    pub notes: Vec<String>,
    /// Every figure of the sides that both have: by side, then by stage.
    pub rows: Vec<Row>,
}

/// One figure of one side in both runs.
#[derive(Debug)]
pub struct Row {
    /// The side.
    pub side: String,
    /// `STAGE/FIGURE`.
    pub name: String,
    /// In the first run; `None`: nothing of the kind happened.
    pub before: Option<Figure>,
    /// In the second.
    pub after: Option<Figure>,
    /// What is said of it.
    pub verdict: Verdict,
}

/// What is said of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Within its bound.
    Within,
    /// Better by more than the bound allows it to be worse.
    Improved,
    /// Worse than this ratio allows.
    Past(f64),
    /// It was 0 and is not any more: no ratio says how much worse that is.
    NoLongerZero,
    /// The first run has it and the second has not: what it counts no longer happens.
    Gone,
    /// Shown only: too few values, or a maximum, or nothing to hold it against.
    NotJudged,
}

impl Verdict {
    /// Whether it fails the comparison.
    #[must_use]
    pub const fn is_regression(self) -> bool {
        match self {
            Self::Past(_) | Self::NoLongerZero | Self::Gone => true,
            Self::Within | Self::Improved | Self::NotJudged => false,
        }
    }
}

/// Two runs cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// Not the same load.
    #[error("the runs are of different scenarios ({}); --force compares them all the same", .0.join("; "))]
    Scenarios(Vec<String>),
    /// Nothing to hold against each other.
    #[error("no side is in both runs: the first has {before}, the second {after}")]
    Sides {
        /// Sides of the first.
        before: String,
        /// Sides of the second.
        after: String,
    },
    /// A bound for what is not there would never fail.
    #[error("--figure {0}: neither run has a figure of that name")]
    NoSuchFigure(String),
}

impl Comparison {
    /// Holds `after` against `before`.
    ///
    /// # Errors
    /// See [`CompareError`]. With `force`, runs of different scenarios are compared, and what only
    /// one of them has is not judged.
    pub fn new(
        before: &Outcome,
        after: &Outcome,
        bounds: &Bounds,
        force: bool,
    ) -> Result<Self, CompareError> {
        let differing = differences(&before.scenario, &after.scenario);
        if !differing.is_empty() && !force {
            return Err(CompareError::Scenarios(differing));
        }
        let (sides, others) = (before.names(), after.names());
        let common: Vec<&str> = sides
            .iter()
            .copied()
            .filter(|name| others.contains(name))
            .collect();
        if common.is_empty() {
            return Err(CompareError::Sides {
                before: sides.join(", "),
                after: others.join(", "),
            });
        }
        let (one, other) = (before.figures(), after.figures());
        let mut rows = Vec::new();
        for side in common {
            let (one_has, other_has) = (one.of(side), other.of(side));
            let mut names: Vec<&String> = one_has
                .keys()
                .chain(other_has.keys())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect();
            names.sort_by_cached_key(|name| before.place(name));
            for name in names {
                let (before, after) = (one_has.get(name), other_has.get(name));
                let mut verdict = bounds.judge(name, before, after);
                if verdict == Verdict::Gone && !differing.is_empty() {
                    verdict = Verdict::NotJudged;
                }
                rows.push(Row {
                    side: side.to_owned(),
                    name: name.clone(),
                    before: before.copied(),
                    after: after.copied(),
                    verdict,
                });
            }
        }
        let unknown = bounds.single.iter().find(|(single, _)| {
            let fits = |row: &Row| is_named(&row.name, single);
            !rows.iter().any(fits)
        });
        if let Some((single, _)) = unknown {
            return Err(CompareError::NoSuchFigure(single.clone()));
        }
        Ok(Self {
            notes: notes(before, after, &differing),
            rows,
        })
    }

    /// The figures past their bounds.
    pub fn regressions(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.verdict.is_regression())
    }
}

impl Row {
    /// Second by first; `None` when one is not there, or the first is 0.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        let (before, after) = (self.before?.value, self.after?.value);
        (before != 0.0).then(|| after / before)
    }

    /// Whether some round of one run was as good as some round of the other: more rounds might
    /// judge otherwise. Of single rounds nothing is known.
    #[must_use]
    pub fn rounds_overlap(&self) -> bool {
        let (Some(one), Some(other)) = (self.before, self.after) else {
            return false;
        };
        let spread = one.least < one.most || other.least < other.most;
        spread && one.least <= other.most && other.least <= one.most
    }
}

impl Bounds {
    fn judge(&self, name: &str, before: Option<&Figure>, after: Option<&Figure>) -> Verdict {
        let asked = self.single.iter().rev().find(|(of, _)| is_named(name, of));
        let (before, after) = match (before, after) {
            (Some(before), Some(after)) => (before, after),
            (Some(before), None) if asked.is_some() || before.steady => return Verdict::Gone,
            _ => return Verdict::NotJudged,
        };
        let steady = before.steady && after.steady;
        let bound = match asked {
            Some((_, bound)) => *bound,
            None if steady => self.all,
            None => return Verdict::NotJudged,
        };
        if before.value == 0.0 {
            return match before.better {
                _ if after.value == 0.0 => Verdict::Within,
                Better::Less => Verdict::NoLongerZero,
                Better::More => Verdict::Improved,
            };
        }
        // How many times worse.
        let worse = match before.better {
            Better::Less => after.value / before.value,
            Better::More => before.value / after.value,
        };
        if worse > bound {
            Verdict::Past(bound)
        } else if worse < 1.0 / bound {
            Verdict::Improved
        } else {
            Verdict::Within
        }
    }
}

/// Whether a figure (`STAGE/FIGURE`) is meant by a name with or without its stage.
fn is_named(figure: &str, name: &str) -> bool {
    figure == name
        || figure
            .rsplit_once('/')
            .is_some_and(|(_, bare)| bare == name)
}

fn notes(before: &Outcome, after: &Outcome, differing: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    if !differing.is_empty() {
        notes.push(format!("other scenario: {}", differing.join("; ")));
    }
    let machine = |outcome: &Outcome| {
        let mut value = serde_json::to_value(&outcome.machine).unwrap_or_default();
        // It differs always; it has a line of its own.
        if let Some(fields) = value.as_object_mut() {
            fields.remove("load_average");
        }
        value
    };
    let differing = changes("", &machine(before), &machine(after));
    if !differing.is_empty() {
        notes.push(format!("other machine: {}", differing.join("; ")));
    }
    if before.tool != after.tool {
        notes.push(format!("other tool: {} → {}", before.tool, after.tool));
    }
    let rounds = (before.rounds().len(), after.rounds().len());
    if rounds.0 != rounds.1 {
        notes.push(format!(
            "other number of rounds: {} → {}",
            rounds.0, rounds.1
        ));
    }
    for (one, other, which) in [(before, after, "first"), (after, before, "second")] {
        if let Some(why) = &one.ended_early {
            notes.push(format!("the {which} run is not whole: {why}"));
        }
        let others = other.names();
        for side in one.names().iter().filter(|side| !others.contains(side)) {
            notes.push(format!("side {side} is in the {which} run alone"));
        }
    }
    notes
}

/// What makes two scenarios different loads, key by key. Words and bounds do not.
fn differences(before: &Scenario, after: &Scenario) -> Vec<String> {
    let load = |scenario: &Scenario| {
        let load = Scenario {
            about: String::new(),
            bounds: Vec::new(),
            ..scenario.clone()
        };
        serde_json::to_value(load).unwrap_or_default()
    };
    changes("", &load(before), &load(after))
}

/// `KEY BEFORE → AFTER` for each leaf that differs; `–` where there is none.
fn changes(key: &str, before: &Value, after: &Value) -> Vec<String> {
    if before == after {
        return Vec::new();
    }
    let children = |value: &Value| -> Option<BTreeMap<String, Value>> {
        match value {
            Value::Object(fields) => Some(fields.clone().into_iter().collect()),
            Value::Array(list) => {
                let numbered = list.iter().enumerate();
                Some(numbered.map(|(n, v)| (n.to_string(), v.clone())).collect())
            }
            _ => None,
        }
    };
    let (Some(one), Some(other)) = (children(before), children(after)) else {
        let shown = |value: &Value| match value {
            Value::Null => "–".to_owned(),
            value => value.to_string(),
        };
        return vec![format!("{key} {} → {}", shown(before), shown(after))];
    };
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let mut found = Vec::new();
    for part in keys {
        let key = if key.is_empty() {
            part.clone()
        } else {
            format!("{key}.{part}")
        };
        let child = |of: &BTreeMap<String, Value>| of.get(part).cloned().unwrap_or_default();
        found.extend(changes(&key, &child(&one), &child(&other)));
    }
    found
}

#[cfg(test)]
mod tests;
