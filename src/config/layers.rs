//! Where values come from: the file, the environment, the flags. Each layer is a list of what it
//! sets; what it cannot mean is a problem, collected rather than returned.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use toml::de::{DeArray, DeTable, DeValue};

use super::{
    problem::{Problem, Source},
    settings::{SETTINGS, find},
    suggest,
    value::{Raw, quoted},
};

/// Read when it exists and no other file is named.
pub(crate) const FILE_DEFAULT: &str = "rookery.toml";
/// Opens the name of every variable that sets something.
const PREFIX: &str = "ROOKERY_";
/// Beginnings of variables of our scripts and tests: never settings.
const NOT_SETTINGS_PREFIXES: [&str; 5] = ["FAULT", "MODEL_", "SERVICES_", "SIM_", "TEST_"];
/// Other variables of our scripts and tests.
const NOT_SETTINGS: [&str; 7] = [
    "BIN",
    "COMMITLOG_SYNC",
    "NATS",
    "REGENERATE",
    "REQUIRE_SERVICES",
    "SCREENSHOT",
    "SEEDS",
];

/// Names a database for our scripts, and for `rookery` where nothing else does: the same as
/// `ROOKERY_CQL__NODES`, but it makes no cluster by itself.
pub(crate) const CQL_VARIABLE: &str = "ROOKERY_CQL";

/// One value in one layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// A key of the table of settings.
    pub(crate) key: &'static str,
    pub(crate) raw: Raw,
    pub(crate) source: Source,
}

/// What the command line says: `(flag as written, key, text)`.
pub(crate) type FlagValue = (String, String, String);

/// Reads the file. A missing one is a problem only when it was asked for by name.
pub(crate) fn file(asked: Option<&Path>, problems: &mut Vec<Problem>) -> Vec<Found> {
    let path = asked.unwrap_or(Path::new(FILE_DEFAULT));
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if asked.is_none() && error.kind() == io::ErrorKind::NotFound => {
            return Vec::new();
        }
        Err(error) => {
            problems.push(Problem {
                key: path.display().to_string(),
                message: format!("cannot read the configuration file: {error}"),
                source: None,
            });
            return Vec::new();
        }
    };
    toml_text(path, &text, problems)
}

/// Reads the text of a file.
pub(crate) fn toml_text(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Vec<Found> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines { path, text };
    problems.extend(errors.iter().map(|error| Problem {
        key: path.display().to_string(),
        message: format!("not TOML: {}", error.message()),
        source: error.span().map(|span| lines.source(span.start)),
    }));
    let mut found = Vec::new();
    walk(table.get_ref(), "", &lines, &mut found, problems);
    found
}

/// Turns offsets into lines.
struct Lines<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Lines<'_> {
    fn source(&self, offset: usize) -> Source {
        let before = self.text.as_bytes().iter().take(offset);
        Source::File {
            path: PathBuf::from(self.path),
            line: 1 + before.filter(|byte| **byte == b'\n').count(),
        }
    }
}

/// Takes the settings out of a table and the tables in it.
fn walk(
    table: &DeTable<'_>,
    prefix: &str,
    lines: &Lines<'_>,
    found: &mut Vec<Found>,
    problems: &mut Vec<Problem>,
) {
    for (name, value) in table {
        let key = match prefix {
            "" => name.get_ref().to_string(),
            _ => format!("{prefix}.{}", name.get_ref()),
        };
        let source = lines.source(name.span().start);
        if let Some(setting) = find(&key) {
            found.push(Found {
                key: setting.key,
                raw: Raw::Toml(owned(value.get_ref())),
                source,
            });
        } else if let DeValue::Table(inner) = value.get_ref()
            && is_section(&key)
        {
            walk(inner, &key, lines, found, problems);
        } else {
            problems.push(unknown(&key, source));
        }
    }
}

fn is_section(key: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.section() == key)
}

fn owned(value: &DeValue<'_>) -> toml::Value {
    match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => toml::Value::Integer(number),
            Err(_) => toml::Value::String(number.to_string()),
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => toml::Value::Float(number),
            Err(_) => toml::Value::String(number.to_string()),
        },
        DeValue::Boolean(on) => toml::Value::Boolean(*on),
        DeValue::Datetime(time) => toml::Value::Datetime(*time),
        DeValue::Array(items) => toml::Value::Array(owned_items(items)),
        DeValue::Table(table) => toml::Value::Table(
            table
                .iter()
                .map(|(name, value)| (name.get_ref().to_string(), owned(value.get_ref())))
                .collect(),
        ),
    }
}

fn owned_items(items: &DeArray<'_>) -> Vec<toml::Value> {
    items.iter().map(|item| owned(item.get_ref())).collect()
}

/// Reads `ROOKERY_…` variables; `__` stands for the dot.
pub(crate) fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> Vec<Found> {
    let mut found = Vec::new();
    for (variable, value) in variables {
        let Some(variable) = variable.to_str().map(str::to_owned) else {
            continue;
        };
        let Some(name) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        let is_prefixed = NOT_SETTINGS_PREFIXES.iter().any(|it| name.starts_with(it));
        if is_prefixed || NOT_SETTINGS.contains(&name) || is_of_kubernetes(name) {
            continue;
        }
        let key = match variable.as_str() {
            CQL_VARIABLE => "cql.nodes".to_owned(),
            _ => name.to_lowercase().replace("__", "."),
        };
        let source = Source::Env {
            variable: variable.clone(),
        };
        match (find(&key), value.into_string()) {
            (Some(setting), Ok(text)) => found.push(Found {
                key: setting.key,
                raw: Raw::Text(text),
                source,
            }),
            (Some(_), Err(_)) => problems.push(Problem {
                key,
                message: "is not UTF-8".to_owned(),
                source: Some(source),
            }),
            (None, _) => problems.push(unknown(&key, source)),
        }
    }
    // The order of the environment is not ours to rely on. The last of a key wins.
    let short =
        |one: &Found| matches!(&one.source, Source::Env { variable } if variable == CQL_VARIABLE);
    found.sort_by_key(|one| (one.key, !short(one)));
    found
}

/// Kubernetes gives every container `NAME_SERVICE_HOST`, `NAME_PORT` and `NAME_PORT_80_TCP…` of
/// every service, also of one that is called `rookery`.
fn is_of_kubernetes(name: &str) -> bool {
    let whole = format!("_{name}");
    !name.contains("__")
        && (whole.contains("_SERVICE_HOST")
            || whole.contains("_SERVICE_PORT")
            || whole.contains("_PORT_")
            || whole.ends_with("_PORT"))
}

/// Reads flags.
pub(crate) fn flags(flags: Vec<FlagValue>, problems: &mut Vec<Problem>) -> Vec<Found> {
    let mut found = Vec::new();
    for (flag, key, text) in flags {
        let source = Source::Flag { flag };
        match find(&key) {
            Some(setting) => found.push(Found {
                key: setting.key,
                raw: Raw::Text(text),
                source,
            }),
            None => problems.push(unknown(&key, source)),
        }
    }
    found
}

fn unknown(key: &str, source: Source) -> Problem {
    let known = SETTINGS.iter().map(|setting| setting.key);
    // A name without its section is as common a slip as a letter.
    let same_name = SETTINGS.iter().find(|setting| setting.name() == key);
    let meant = same_name
        .map(|setting| setting.key)
        .or_else(|| suggest::nearest(key, known));
    Problem {
        key: key.to_owned(),
        message: match meant {
            Some(meant) => format!("no such setting; did you mean {}?", quoted(meant)),
            None => "no such setting".to_owned(),
        },
        source: Some(source),
    }
}
