//! From a demand (users, rooms, sends) and measured unit costs to processes, cores, memory, and the
//! load on NATS and the database; every number with the formula it comes from.
//!
//! Reading order: [`costs`] is the file of what things cost; [`learn`] fills it from runs;
//! `formula` computes and shows; `lines` holds the formulas; this file has what is asked.
//! Nothing is guessed: a cost that nobody measured is named where it is missing, and the result
//! says "at least".

pub mod costs;
mod formula;
pub mod learn;
mod lines;

use std::fmt::{self, Write as _};

use costs::{Cost, CostKind, Costs};

use crate::shown::{number, quantity};

/// What must be carried.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// Users online, each with a connection.
    pub users: f64,
    /// Rooms.
    pub rooms: f64,
    /// How many are online in the room a send goes to.
    pub audience: Audience,
    /// Messages.
    pub sends: Sends,
    /// Other commands a second that a room answers: reads, history, typing.
    pub commands: f64,
    /// How long a connection lives, minutes.
    pub session_minutes: f64,
    /// Bytes of a message's text.
    pub text_bytes: f64,
    /// Copies of each row in the database.
    pub replicas: f64,
    /// Days that messages are kept.
    pub retention_days: f64,
    /// Share of its cores that a process shall use at most, 0 to 1.
    pub utilisation: f64,
    /// Cores of each gateway and node.
    pub cores_each: f64,
    /// Connections of one gateway at most.
    pub connections_each: f64,
    /// Gateways, and nodes, that may fail while the others carry all.
    pub spare: f64,
}

/// How the number of people a send reaches is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Audience {
    /// As it is.
    Known(f64),
    /// Each user listens to so many rooms, and all rooms are as large.
    Even {
        /// Rooms each listens to.
        rooms_each: f64,
    },
    /// The same with room sizes by Zipf's law.
    Zipf {
        /// Rooms each listens to.
        rooms_each: f64,
        /// How much fewer the next room has.
        exponent: f64,
    },
}

/// How many messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sends {
    /// A second, by all.
    Total(f64),
    /// An hour, by each user online.
    PerUserHour(f64),
}

/// A demand that cannot be.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{}", .0.join("; "))]
pub struct DemandError(pub Vec<String>);

impl Demand {
    /// Checks all values.
    ///
    /// # Errors
    /// Names each flag of `plan` whose value cannot be.
    pub fn check(&self) -> Result<(), DemandError> {
        let mut problems = Vec::new();
        let mut within = |flag: &str, value: f64, least: f64, most: f64| {
            if !(least..=most).contains(&value) {
                let range = format!("{} to {}", number(least), number(most));
                problems.push(format!("{flag} must be {range}, not {value}"));
            }
        };
        within("--users", self.users, 1.0, 1e10);
        within("--rooms", self.rooms, 1.0, 1e12);
        match self.audience {
            Audience::Known(members) => within("--members", members, 1.0, self.users.max(1.0)),
            Audience::Even { rooms_each } => {
                within("--rooms-each", rooms_each, 0.0, self.rooms.max(1.0));
            }
            Audience::Zipf {
                rooms_each,
                exponent,
            } => {
                within("--rooms-each", rooms_each, 0.0, self.rooms.max(1.0));
                within("--zipf", exponent, 0.1, 4.0);
            }
        }
        match self.sends {
            Sends::Total(rate) => within("--rate", rate, 0.0, 1e9),
            Sends::PerUserHour(rate) => within("--rate-per-user", rate, 0.0, 3.6e6),
        }
        within("--commands", self.commands, 0.0, 1e9);
        within("--session-minutes", self.session_minutes, 0.01, 1e6);
        within("--text-bytes", self.text_bytes, 0.0, 65_536.0);
        within("--replicas", self.replicas, 1.0, 9.0);
        within("--retention-days", self.retention_days, 1.0, 36_500.0);
        within("--utilisation", self.utilisation, 0.01, 1.0);
        within("--cores-each", self.cores_each, 1.0, 1_024.0);
        within("--connections-each", self.connections_each, 1.0, 1e7);
        within("--spare", self.spare, 0.0, 100.0);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(DemandError(problems))
        }
    }
}

/// A plan: lines of results, each with its formula, and the costs they used.
#[derive(Debug)]
pub struct Plan {
    /// In the order they build on each other.
    pub lines: Vec<Line>,
    used: Vec<(CostKind, Cost)>,
    missing: Vec<CostKind>,
}

/// One result.
#[derive(Debug)]
pub struct Line {
    /// What it is.
    pub what: &'static str,
    /// Its unit, as [`quantity`] takes it.
    pub unit: &'static str,
    /// The result; `None`: no cost it needs was measured.
    pub value: Option<f64>,
    /// Costs that are missing in it, or in a line it builds on: it is a lower bound.
    pub missing: Vec<CostKind>,
    /// What a reader must know beside the formula; may be empty.
    pub note: &'static str,
    symbols: String,
    numbers: String,
}

impl Line {
    /// The result as it is written; `at least` where a cost is missing.
    #[must_use]
    pub fn shown(&self) -> String {
        let Some(value) = self.value else {
            return "not known".to_owned();
        };
        let value = quantity(value, self.unit);
        if self.missing.is_empty() {
            value
        } else {
            format!("at least {value}")
        }
    }
}

impl fmt::Display for Plan {
    /// Each line as formula, numbers and result; the costs used, with their sources; what is
    /// missing; all results once more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            let what = line.what;
            let blank = " ".repeat(what.chars().count());
            writeln!(f, "{what} = {}", line.symbols)?;
            if line.numbers != line.shown() {
                writeln!(f, "{blank} = {}", line.numbers)?;
            }
            writeln!(f, "{blank} = {}", line.shown())?;
            if !line.missing.is_empty() {
                writeln!(f, "{blank}   missing: {}", names(&line.missing))?;
            }
            if !line.note.is_empty() {
                writeln!(f, "{blank}   {}", line.note)?;
            }
            writeln!(f)?;
        }
        writeln!(f, "costs used:")?;
        for (kind, cost) in &self.used {
            writeln!(f, "  {kind} = {}: {}", number(cost.value), cost.source())?;
        }
        if !self.missing.is_empty() {
            writeln!(f, "costs that nobody measured yet, so not counted:")?;
            for kind in &self.missing {
                writeln!(f, "  {kind}: {}", kind.about())?;
            }
        }
        writeln!(f, "\nresult:")?;
        let width = |line: &Line| line.what.chars().count();
        let width = self.lines.iter().map(width).max().unwrap_or_default();
        for line in &self.lines {
            writeln!(f, "  {:<width$}  {}", line.what, line.shown())?;
        }
        Ok(())
    }
}

fn names(kinds: &[CostKind]) -> String {
    let mut names = String::new();
    for kind in kinds {
        let separator = if names.is_empty() { "" } else { ", " };
        let _ = write!(names, "{separator}{kind}");
    }
    names
}

/// What a demand needs, by these costs.
///
/// # Errors
/// Values that cannot be, each with its flag.
pub fn plan(demand: &Demand, costs: &Costs) -> Result<Plan, DemandError> {
    demand.check()?;
    Ok(lines::plan(demand, costs))
}

#[cfg(test)]
mod tests;
