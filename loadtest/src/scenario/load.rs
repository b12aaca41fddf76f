//! Reading a scenario: built in or a file, with changes on top.

use super::{BUILT_IN, Scenario};
use crate::document::{Document, DocumentError};

impl Scenario {
    /// One that is built in, or the one in a file, with `KEY=VALUE` changes on top
    /// (`people.connections=15000`, `stage.0.seconds=3`).
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub fn load(name: &str, changes: &[String]) -> Result<Self, DocumentError> {
        let document = Document {
            kind: "scenario",
            name,
        };
        Self::parse(document, &document.text(&BUILT_IN)?, changes)
    }

    pub(super) fn parse(
        document: Document<'_>,
        text: &str,
        changes: &[String],
    ) -> Result<Self, DocumentError> {
        let syntax = |error: toml::de::Error| document.syntax(&error);
        let scenario: Self = if changes.is_empty() {
            toml::from_str(text).map_err(syntax)?
        } else {
            let mut table: toml::Table = toml::from_str(text).map_err(syntax)?;
            for change in changes {
                apply(&mut table, change).map_err(|message| document.syntax(&message))?;
            }
            table.try_into().map_err(syntax)?
        };
        let problems = scenario.problems();
        document.checked(scenario, problems)
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
