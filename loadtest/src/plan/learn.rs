//! Costs out of runs: which stages tell what, and only those.
//!
//! A cost is taken from a stage in which little else happened, so that the division is honest;
//! what else did happen is counted into it, so it is rather too high than too low. Of several
//! stages and runs the highest counts; of several rounds of a run their median.

mod told;

use std::path::Path;

use super::costs::{Cost, CostKind, Costs, CostsError};
use crate::{
    outcome::{Outcome, Spread},
    shown::utc,
};
use told::{of_rooms, of_side};

/// The side that is Rookery; others are what it is held against.
const SIDE: &str = "rookery";

/// A cost that a run tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// Of what.
    pub kind: CostKind,
    /// How much, and from where.
    pub cost: Cost,
}

/// What these runs tell: at most one cost of each kind. The names are of their files.
#[must_use]
pub fn learn(runs: &[(String, Outcome)]) -> Vec<Learned> {
    let mut told = Vec::new();
    for (name, run) in runs {
        let mut of_rounds = Vec::new();
        for side in run.rounds_of(SIDE) {
            of_side(&mut of_rounds, &Source { name, run }, side);
        }
        told.extend(medians(of_rounds));
    }
    for (index, (name, run)) in runs.iter().enumerate() {
        for (_, other) in &runs[index + 1..] {
            let mut of_rounds = Vec::new();
            for (one, another) in run.rounds_of(SIDE).zip(other.rounds_of(SIDE)) {
                of_rooms(&mut of_rounds, &Source { name, run }, one, other, another);
            }
            told.extend(medians(of_rounds));
        }
    }
    let mut learned: Vec<Learned> = Vec::new();
    for one in told {
        match learned.iter_mut().find(|known| known.kind == one.kind) {
            Some(known) if known.cost.value < one.cost.value => *known = one,
            Some(_) => (),
            None => learned.push(one),
        }
    }
    learned.sort_by_key(|one| one.kind);
    learned
}

/// What the rounds of a run tell of the same load, as one.
fn medians(told: Vec<Learned>) -> Vec<Learned> {
    let mut medians: Vec<Learned> = Vec::new();
    for one in &told {
        let same = |other: &&Learned| other.kind == one.kind && other.cost.load == one.cost.load;
        if medians.iter().any(|known| same(&known)) {
            continue;
        }
        let values = told.iter().filter(same).map(|of| of.cost.value);
        let median = Spread::of(values.collect()).map_or(one.cost.value, |of| of.median);
        medians.push(Learned {
            kind: one.kind,
            cost: Cost {
                value: median,
                ..one.cost.clone()
            },
        });
    }
    medians
}

/// Puts what these runs tell into a file of costs, made if there is none; costs they do not tell
/// stay as they are. Tells what was learned; where that is nothing, nothing is written.
///
/// # Errors
/// The file is there and cannot be read, or it cannot be written.
pub fn into_file(runs: &[(String, Outcome)], path: &Path) -> Result<Vec<Learned>, CostsError> {
    let mut costs = if path.exists() {
        Costs::read(path)?
    } else {
        Costs::default()
    };
    let learned = learn(runs);
    if learned.is_empty() {
        return Ok(learned);
    }
    for one in &learned {
        costs.set(one.kind, one.cost.clone());
    }
    costs.write(path)?;
    Ok(learned)
}

/// The run that tells.
struct Source<'a> {
    name: &'a str,
    run: &'a Outcome,
}

impl Source<'_> {
    fn cost(&self, value: f64, load: String) -> Cost {
        let machine = &self.run.machine;
        let began = utc(self.run.began_unix_ms);
        let day = began.split(' ').next().unwrap_or_default();
        Cost {
            value,
            from: self.name.to_owned(),
            date: day.to_owned(),
            machine: format!("{}, {} cores", machine.processor, machine.cores),
            load,
        }
    }

    fn load(&self, stage: &str) -> String {
        let people = &self.run.scenario.people;
        format!(
            "{}, {stage}: {} connections, {} rooms, {} bytes of text",
            self.run.scenario.name, people.connections, people.rooms, people.text_bytes
        )
    }
}

#[cfg(test)]
mod tests;
