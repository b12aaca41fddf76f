//! The kinds of values settings have: how each is read, bounded and printed.

use std::{fmt, net::SocketAddr, time::Duration};

use rookery_gateway::auth::KeyConfig;

use super::{auth_key, duration};

/// What a setting takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A file or folder.
    Path,
    /// IP address and port.
    Address,
    /// A duration within bounds, both included.
    Span {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// A whole number within bounds, both included.
    Count {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A number of bytes within bounds, both included; written as `65536` or `"64KiB"`.
    Bytes {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `"auto"`, `true` or `false`.
    Switch,
    /// A text of at most so many bytes; may be empty.
    Text {
        /// The most bytes.
        bytes_max: usize,
    },
    /// A text that is never shown.
    Secret,
    /// A list of texts.
    Texts,
    /// A list of some of these words, at least one.
    Words(&'static [&'static str]),
    /// Directives for what is logged.
    LogFilter,
    /// The keys that tokens are checked with.
    Keys,
}

/// A value that was read and is in bounds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Secret(Secret),
    Address(SocketAddr),
    Span(Duration),
    Count(u64),
    /// `None` is `"auto"`.
    Switch(Option<bool>),
    Texts(Vec<String>),
    Keys(Vec<KeyConfig>),
}

/// A text that is not shown, not even for debugging.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What was found in a layer, before it is understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Raw {
    /// From the environment or a flag.
    Text(String),
    /// From the file.
    Toml(toml::Value),
}

/// Why a value is refused. `part` names the place inside the setting (`[1].secret`), or is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) part: String,
    pub(crate) message: String,
}

impl Flaw {
    /// A flaw of the value as a whole.
    pub(crate) fn whole(message: impl Into<String>) -> Self {
        Self::of(String::new(), message)
    }

    /// A flaw of one part of it.
    pub(crate) fn of(part: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            part: part.into(),
            message: message.into(),
        }
    }
}

const BYTE_UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("", 1),
];

impl Kind {
    /// Reads a value.
    ///
    /// # Errors
    /// All flaws found.
    pub(crate) fn read(self, raw: &Raw) -> Result<Value, Vec<Flaw>> {
        let flaw = |message: String| vec![Flaw::whole(message)];
        match self {
            Self::Path => text(raw).map(Value::Text).map_err(flaw),
            Self::Address => address(raw).map(Value::Address).map_err(flaw),
            Self::Span { min, max } => span(raw, min, max).map(Value::Span).map_err(flaw),
            Self::Count { min, max } => {
                let read = number(raw).ok_or_else(|| format!("{raw} is not a whole number"));
                read.and_then(|n| {
                    within(
                        n,
                        min,
                        max,
                        &n.to_string(),
                        &min.to_string(),
                        &max.to_string(),
                    )
                })
                .map(Value::Count)
                .map_err(flaw)
            }
            Self::Bytes { min, max } => bytes(raw, min, max).map(Value::Count).map_err(flaw),
            Self::Choice(words) => choice(raw, words).map(Value::Text).map_err(flaw),
            Self::Switch => switch(raw).map(Value::Switch).map_err(flaw),
            Self::Text { bytes_max } => short(raw, bytes_max).map(Value::Text).map_err(flaw),
            Self::Secret => match text(raw) {
                Ok(text) => Ok(Value::Secret(Secret(text))),
                // What was given may be the secret all the same.
                Err(_) => Err(flaw("is not a text".to_owned())),
            },
            Self::Texts => texts(raw).map(Value::Texts).map_err(flaw),
            Self::Words(words) => some_of(raw, words).map(Value::Texts).map_err(flaw),
            Self::LogFilter => log_filter(raw).map(Value::Text).map_err(flaw),
            Self::Keys => auth_key::read(raw).map(Value::Keys),
        }
    }

    /// What it takes, for people: part of the reference page.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Path => "path".to_owned(),
            Self::Address => "IP address and port; port 0 takes a free one".to_owned(),
            Self::Span { min, max } => format!(
                "duration, {} to {}",
                duration::format(min),
                duration::format(max)
            ),
            Self::Count { min, max } => format!("whole number, {min} to {max}"),
            Self::Bytes { min, max } => {
                format!("bytes, {} to {}", format_bytes(min), format_bytes(max))
            }
            Self::Choice(words) => words
                .iter()
                .map(|word| format!("`\"{word}\"`"))
                .collect::<Vec<_>>()
                .join(" or "),
            Self::Switch => "`\"auto\"`, `true` or `false`".to_owned(),
            Self::Text { bytes_max } => format!("text, at most {bytes_max} bytes"),
            Self::Secret => "text, never shown".to_owned(),
            Self::Words(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
                format!(
                    "list of {}; in the environment separated by commas",
                    words.join(", ")
                )
            }
            Self::Texts => "list of texts; in the environment separated by commas".to_owned(),
            Self::LogFilter => "level, or directives as in `info,rookery_gateway=debug`".to_owned(),
            Self::Keys => "list of tables, see below".to_owned(),
        }
    }

    /// A value of this kind as TOML. Secrets are masked.
    pub(crate) fn print(self, value: &Value) -> String {
        match value {
            Value::Text(text) => quoted(text),
            Value::Secret(Secret(text)) if text.is_empty() => quoted(""),
            Value::Secret(_) => quoted("***"),
            Value::Address(address) => quoted(&address.to_string()),
            Value::Span(span) => quoted(&duration::format(*span)),
            Value::Count(count) if matches!(self, Self::Bytes { .. }) && *count > 0 => {
                quoted(&format_bytes(*count))
            }
            Value::Count(count) => count.to_string(),
            Value::Switch(None) => quoted("auto"),
            Value::Switch(Some(on)) => on.to_string(),
            Value::Texts(texts) => {
                let quoted: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
                format!("[{}]", quoted.join(", "))
            }
            Value::Keys(keys) => auth_key::print(keys),
        }
    }
}

/// A TOML string.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Toml(value) => write!(f, "{value}"),
        }
    }
}

fn text(raw: &Raw) -> Result<String, String> {
    match raw {
        Raw::Text(text) | Raw::Toml(toml::Value::String(text)) => Ok(text.clone()),
        Raw::Toml(other) => Err(format!("{other} is not a text")),
    }
}

fn short(raw: &Raw, bytes_max: usize) -> Result<String, String> {
    let text = text(raw)?;
    match text.len() {
        bytes if bytes > bytes_max => Err(format!(
            "has {bytes} bytes; it must have at most {bytes_max}"
        )),
        _ => Ok(text),
    }
}

/// In the order of `words`, each once.
fn some_of(raw: &Raw, words: &[&str]) -> Result<Vec<String>, String> {
    let given = texts(raw)?;
    let unknown = given.iter().find(|word| !words.contains(&word.as_str()));
    if let Some(unknown) = unknown {
        choice(&Raw::Text(unknown.clone()), words)?;
    }
    if given.is_empty() {
        return Err("names none; leave it out for all".to_owned());
    }
    let named = words
        .iter()
        .filter(|word| given.iter().any(|one| one == *word));
    Ok(named.map(|word| (*word).to_owned()).collect())
}

fn address(raw: &Raw) -> Result<SocketAddr, String> {
    let text = text(raw).map_err(|_| format!("{raw} is not an address"))?;
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text,
    };
    numeric
        .parse()
        .map_err(|_| format!("{raw} is not an address; write it like \"127.0.0.1:8080\""))
}

fn span(raw: &Raw, min: Duration, max: Duration) -> Result<Duration, String> {
    let no = || format!("{raw} is not a duration; write it like \"30s\" (units: ms, s, m, h, d)");
    let text = text(raw).map_err(|_| no())?;
    let span = duration::parse(&text).ok_or_else(no)?;
    let [shown, low, high] = [span, min, max].map(duration::format);
    within(span, min, max, &shown, &low, &high)
}

fn number(raw: &Raw) -> Option<u64> {
    match raw {
        Raw::Text(text) => text.trim().replace('_', "").parse().ok(),
        Raw::Toml(toml::Value::Integer(number)) => u64::try_from(*number).ok(),
        Raw::Toml(_) => None,
    }
}

fn bytes(raw: &Raw, min: u64, max: u64) -> Result<u64, String> {
    let parsed = number(raw).or_else(|| {
        let text = text(raw).ok()?;
        let (digits, unit) = BYTE_UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.trim().strip_suffix(name)?, *unit)))?;
        digits.trim().parse::<u64>().ok()?.checked_mul(unit)
    });
    let count =
        parsed.ok_or_else(|| format!("{raw} is not a size; write it like 65536 or \"64KiB\""))?;
    let [shown, low, high] = [count, min, max].map(format_bytes);
    within(count, min, max, &shown, &low, &high)
}

fn format_bytes(count: u64) -> String {
    let exact = BYTE_UNITS
        .iter()
        .find(|(_, unit)| count >= *unit && count.is_multiple_of(*unit));
    match exact {
        Some((name, unit)) => format!("{}{name}", count / unit),
        None => count.to_string(),
    }
}

fn within<T: PartialOrd>(
    value: T,
    min: T,
    max: T,
    shown: &str,
    low: &str,
    high: &str,
) -> Result<T, String> {
    if value < min {
        Err(format!("{shown} is too small; it must be {low} to {high}"))
    } else if value > max {
        Err(format!("{shown} is too large; it must be {low} to {high}"))
    } else {
        Ok(value)
    }
}

fn choice(raw: &Raw, words: &[&str]) -> Result<String, String> {
    let known = || {
        let quoted: Vec<_> = words.iter().map(|word| quoted(word)).collect();
        format!("{raw} is not one of {}", quoted.join(", "))
    };
    let text = text(raw).map_err(|_| known())?;
    if words.contains(&text.as_str()) {
        Ok(text)
    } else {
        Err(known())
    }
}

fn switch(raw: &Raw) -> Result<Option<bool>, String> {
    let word = match raw {
        Raw::Toml(toml::Value::Boolean(on)) => return Ok(Some(*on)),
        Raw::Toml(toml::Value::String(word)) | Raw::Text(word) => word.as_str(),
        Raw::Toml(_) => "",
    };
    match word {
        "auto" => Ok(None),
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => Err(format!("{raw} is not \"auto\", true or false")),
    }
}

fn texts(raw: &Raw) -> Result<Vec<String>, String> {
    let no = || format!("{raw} is not a list of texts");
    let list = match raw {
        Raw::Text(text) if !text.trim_start().starts_with('[') => {
            let items = text.split(',').map(str::trim);
            return Ok(items
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect());
        }
        Raw::Text(text) => inline(text).ok_or_else(no)?,
        Raw::Toml(toml::Value::String(one)) => return Ok(vec![one.clone()]),
        Raw::Toml(value) => value.clone(),
    };
    let items = list.as_array().ok_or_else(no)?;
    items
        .iter()
        .map(|item| item.as_str().map(str::to_owned).ok_or_else(no))
        .collect()
}

/// Reads one TOML value given as text.
pub(super) fn inline(text: &str) -> Option<toml::Value> {
    let mut table: toml::Table = format!("value = {text}").parse().ok()?;
    table.remove("value")
}

fn log_filter(raw: &Raw) -> Result<String, String> {
    let text = text(raw)?;
    match tracing_subscriber::EnvFilter::builder().parse(&text) {
        Ok(_) if !text.trim().is_empty() => Ok(text),
        _ => Err(format!(
            "{raw} is not a log filter; write it like \"info\" or \"info,rookery_gateway=debug\""
        )),
    }
}

#[cfg(test)]
mod tests;
