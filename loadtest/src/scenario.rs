//! What load a run puts on: a scenario, from a TOML file or one of those built in.
//!
//! A scenario is people (connections, rooms, who is in which) and stages, one after the other, each
//! with rates of what those people do. The built-in scenarios are files of `scenarios/`; nothing
//! they do is written elsewhere.

use std::{collections::BTreeMap, fmt, path::Path};

use serde::{Deserialize, Serialize};

/// The scenarios built in, by name, in the order of the help.
pub const BUILT_IN: [(&str, &str); 8] = [
    ("fanout", include_str!("../scenarios/fanout.toml")),
    ("idle", include_str!("../scenarios/idle.toml")),
    ("chat", include_str!("../scenarios/chat.toml")),
    ("storm", include_str!("../scenarios/storm.toml")),
    ("churn", include_str!("../scenarios/churn.toml")),
    ("dm", include_str!("../scenarios/dm.toml")),
    ("hot-room", include_str!("../scenarios/hot-room.toml")),
    ("mixed", include_str!("../scenarios/mixed.toml")),
];

/// A load, stage by stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name: in reports and figures.
    pub name: String,
    /// What it is for, in a sentence.
    pub about: String,
    /// Settings the server is started with, as its `--set` takes them, where the run starts it.
    #[serde(default)]
    pub settings: Vec<String>,
    /// Who is there.
    pub people: People,
    /// What happens, in this order; at least one.
    #[serde(rename = "stage")]
    pub stages: Vec<Stage>,
    /// What the figures must keep to, checked at the end of the run.
    #[serde(rename = "bound", default, skip_serializing_if = "Vec::is_empty")]
    pub bounds: Vec<Bound>,
}

/// Connections and the rooms they listen to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct People {
    /// Connections, each of a user of its own.
    pub connections: u32,
    /// Rooms.
    pub rooms: u32,
    /// What kind of rooms.
    #[serde(default)]
    pub kind: RoomKind,
    /// Rooms each connection listens to.
    #[serde(default = "one")]
    pub rooms_each: u32,
    /// Which rooms those are.
    #[serde(default)]
    pub popularity: Popularity,
    /// Connections that do what the rates say, the first ones; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<u32>,
    /// Share of the connections that speak JSON, 0 to 1; the others speak protobuf.
    #[serde(default)]
    pub json: f64,
    /// Users whose presence each connection watches.
    #[serde(default)]
    pub watched_each: u32,
    /// Bytes of each message's text, at least 32: it begins with when it was due.
    #[serde(default = "text_bytes")]
    pub text_bytes: u32,
    /// Whether the rooms, once opened, are left alone until the server has put them all to sleep:
    /// the first who joins one wakes it from the store.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rooms_asleep: bool,
    /// Connections opened a second before the first stage.
    #[serde(default = "connects_per_second")]
    pub connects_per_second: u32,
}

const fn one() -> u32 {
    1
}

const fn text_bytes() -> u32 {
    64
}

const fn connects_per_second() -> u32 {
    2_000
}

/// Kinds of rooms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoomKind {
    /// No member rows: a large audience joins without an event for each.
    #[default]
    Channel,
    /// Public groups: each connection's user becomes a member.
    Group,
}

/// Which rooms a connection listens to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Popularity {
    /// In turn: every room has the same audience.
    #[default]
    Even,
    /// The first in turn, the others by Zipf's law with this exponent: few rooms are large.
    Zipf(f64),
}

/// A part of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Its name: in reports and figures.
    pub name: String,
    /// How long it is measured.
    pub seconds: u32,
    /// Before that, under the same load, not measured.
    #[serde(default)]
    pub warm_up_seconds: u32,
    /// Things done a second by all connections together, each when it is due, whether or not the
    /// ones before it were answered: latency counts from when it was due.
    #[serde(default, skip_serializing_if = "Rates::is_none")]
    pub rates: Rates,
    /// Instead of a rate of sends: each active connection has this many under way, the next when
    /// one is acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sends_in_flight: Option<u32>,
    /// Share of the connections cut at the stage's beginning, 0 to 1. They connect again and
    /// resume each room by its last offset; the stage ends early when all are whole again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut: f64,
}

/// Things done a second, by all connections together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// Messages.
    pub sends: f64,
    /// Typing signals.
    pub typing: f64,
    /// Cursors moved to the newest message.
    pub reads: f64,
    /// Newest pages of history.
    pub history: f64,
    /// Changes of one's status.
    pub presence: f64,
    /// Connections closed in order and opened anew, with their rooms resumed.
    pub reconnects: f64,
}

impl Rates {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Each with its name.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, f64); 6] {
        [
            ("sends", self.sends),
            ("typing", self.typing),
            ("reads", self.reads),
            ("history", self.history),
            ("presence", self.presence),
            ("reconnects", self.reconnects),
        ]
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What a figure must keep to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The figure, without its side: `STAGE/NAME`, see [`crate::outcome::Side::figures`].
    pub figure: String,
    /// At most this; where `over` names a side, this many times that side's same figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// At least this, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The side it is a ratio to, measured in the same run: `floor`, say. When that side was not
    /// run, the bound is said to be not checked, and nothing fails for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<String>,
}

/// A scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Neither built in nor a file.
    #[error("no scenario `{0}`: built in are {list}, or give a path to a TOML file", list = Names)]
    Unknown(String),
    /// The file.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Its syntax, an unknown key, or a value of the wrong type; the message has line and key.
    #[error("{name}: {message}")]
    Syntax {
        /// The scenario.
        name: String,
        /// What toml says.
        message: String,
    },
    /// A value that cannot be.
    #[error("{name}: {problems}", problems = .problems.join("; "))]
    Values {
        /// The scenario.
        name: String,
        /// Each names its key.
        problems: Vec<String>,
    },
}

/// The names of the built-in scenarios.
struct Names;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BUILT_IN.map(|(name, _)| name).join(", "))
    }
}

impl Scenario {
    /// One that is built in, or the one in a file, with `KEY=VALUE` changes on top
    /// (`people.connections=15000`, `stage.0.seconds=3`).
    ///
    /// # Errors
    /// See [`ScenarioError`]; all values that cannot be are told at once.
    pub fn load(name: &str, changes: &[String]) -> Result<Self, ScenarioError> {
        let text = match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            Some((_, text)) => (*text).to_owned(),
            None if !Path::new(name).exists() => {
                return Err(ScenarioError::Unknown(name.to_owned()));
            }
            None => std::fs::read_to_string(name).map_err(|source| ScenarioError::Read {
                path: name.to_owned(),
                source,
            })?,
        };
        Self::parse(name, &text, changes)
    }

    fn parse(name: &str, text: &str, changes: &[String]) -> Result<Self, ScenarioError> {
        let syntax = |message: String| ScenarioError::Syntax {
            name: name.to_owned(),
            message,
        };
        let scenario: Self = if changes.is_empty() {
            toml::from_str(text).map_err(|error| syntax(error.to_string()))?
        } else {
            let mut table: toml::Table =
                toml::from_str(text).map_err(|error| syntax(error.to_string()))?;
            for change in changes {
                apply(&mut table, change).map_err(syntax)?;
            }
            table
                .try_into()
                .map_err(|error: toml::de::Error| syntax(error.to_string()))?
        };
        let problems = scenario.problems();
        if problems.is_empty() {
            Ok(scenario)
        } else {
            Err(ScenarioError::Values {
                name: name.to_owned(),
                problems,
            })
        }
    }

    /// Values that cannot be, each with its key.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut must = |holds: bool, problem: &str| {
            if !holds {
                problems.push(problem.to_owned());
            }
        };
        let people = &self.people;
        must(
            people.connections > 0,
            "people.connections must be at least 1",
        );
        must(people.rooms > 0, "people.rooms must be at least 1");
        must(
            (1..=people.rooms).contains(&people.rooms_each),
            "people.rooms_each must be 1 to people.rooms",
        );
        must(
            people
                .active
                .is_none_or(|active| (1..=people.connections).contains(&active)),
            "people.active must be 1 to people.connections",
        );
        must(
            (0.0..=1.0).contains(&people.json),
            "people.json must be 0 to 1",
        );
        must(
            people.text_bytes >= 32,
            "people.text_bytes must be at least 32",
        );
        must(
            people.connects_per_second > 0,
            "people.connects_per_second must be at least 1",
        );
        if let Popularity::Zipf(exponent) = people.popularity {
            must(
                exponent.is_finite() && exponent > 0.0,
                "people.popularity.zipf must be above 0",
            );
        }
        must(
            !self.stages.is_empty(),
            "there must be at least one [[stage]]",
        );
        let mut names = BTreeMap::new();
        for (index, stage) in self.stages.iter().enumerate() {
            let key = format!("stage.{index}");
            must(
                names.insert(&stage.name, index).is_none() && !stage.name.contains('/'),
                &format!("{key}.name must be its own, and without `/`"),
            );
            must(
                stage.seconds > 0,
                &format!("{key}.seconds must be at least 1"),
            );
            must(
                (0.0..=1.0).contains(&stage.cut),
                &format!("{key}.cut must be 0 to 1"),
            );
            must(
                stage.sends_in_flight != Some(0),
                &format!("{key}.sends_in_flight must be at least 1"),
            );
            must(
                stage.sends_in_flight.is_none() || stage.rates.sends == 0.0,
                &format!("{key}: sends_in_flight and rates.sends exclude each other"),
            );
            for (name, rate) in stage.rates.named() {
                must(
                    (0.0..=1e7).contains(&rate),
                    &format!("{key}.rates.{name} must be 0 to 10000000 a second"),
                );
            }
        }
        for (index, bound) in self.bounds.iter().enumerate() {
            must(
                bound.max.is_some() || bound.min.is_some(),
                &format!("bound.{index}: max or min is needed"),
            );
        }
        problems
    }
}

/// Puts one `KEY=VALUE` into a table; keys as in the file, lists by number.
fn apply(table: &mut toml::Table, change: &str) -> Result<(), String> {
    let wrong = || format!("`{change}` is not KEY=VALUE with a key of the scenario");
    let (path, value) = change.split_once('=').ok_or_else(wrong)?;
    // What is no TOML value is a string.
    let value: toml::Value = format!("v={value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut keys: Vec<&str> = path.split('.').collect();
    let last = keys.pop().ok_or_else(wrong)?;
    let mut at = table;
    let mut keys = keys.into_iter();
    while let Some(key) = keys.next() {
        let next = at
            .entry(key)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = match next {
            toml::Value::Table(inner) => inner,
            toml::Value::Array(list) => keys
                .next()
                .and_then(|index| list.get_mut(index.parse::<usize>().ok()?))
                .and_then(toml::Value::as_table_mut)
                .ok_or_else(wrong)?,
            _ => return Err(wrong()),
        };
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_can_be_used_and_bears_its_name() {
        for (name, _) in BUILT_IN {
            let scenario = Scenario::load(name, &[]).unwrap();
            assert_eq!(scenario.name, name);
        }
    }

    #[test]
    fn scenarios_beside_the_built_in_can_be_used() {
        for name in ["commands", "idle-100k", "room-memory", "rooms", "sends"] {
            let path = format!("scenarios/more/{name}.toml");
            assert_eq!(Scenario::load(&path, &[]).unwrap().name, name);
        }
    }

    #[test]
    fn changes_reach_tables_and_lists() {
        let changes = ["people.connections=7", "stage.0.rates.sends=3", "about=x y"];
        let scenario = Scenario::load("fanout", &changes.map(str::to_owned)).unwrap();
        assert_eq!(scenario.people.connections, 7);
        assert!((scenario.stages[0].rates.sends - 3.0).abs() < f64::EPSILON);
        assert_eq!(scenario.about, "x y");
    }

    #[test]
    fn a_scenario_written_as_toml_reads_as_the_same() {
        for (name, _) in BUILT_IN {
            let scenario = Scenario::load(name, &[]).unwrap();
            let text = toml::to_string(&scenario).unwrap();
            assert_eq!(Scenario::parse(name, &text, &[]).unwrap(), scenario);
        }
    }

    #[test]
    fn problems_name_their_keys() {
        for (change, named) in [
            ("people.connection=1", "connection"),
            ("people.connections=0", "people.connections"),
            ("people.connections=many", "connections"),
            ("people.rooms_each=9", "people.rooms_each"),
            ("stage.0.seconds=0", "stage.0.seconds"),
            ("stage.0.rates.sends=-1", "stage.0.rates.sends"),
            ("stage.9.seconds=1", "stage.9.seconds=1"),
            ("people", "people"),
        ] {
            let error = Scenario::load("fanout", &[change.to_owned()]).unwrap_err();
            assert!(error.to_string().contains(named), "{change}: {error}");
        }
        let error = Scenario::load("fan-out", &[]).unwrap_err().to_string();
        assert!(error.contains("fanout, idle, chat"), "{error}");
    }
}
