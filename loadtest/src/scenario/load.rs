//! Reading a scenario: built in or a file, with changes on top.

use std::{fmt, path::Path};

use super::{BUILT_IN, Scenario};

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

    pub(super) fn parse(name: &str, text: &str, changes: &[String]) -> Result<Self, ScenarioError> {
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
