//! The one table of settings. The reference page, the unknown-key check and every reader use it.

use std::time::Duration;

use super::value::{Kind, Value};

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Section and name: `gateway.heartbeat_interval`.
    pub(crate) key: &'static str,
    /// What it takes.
    pub(crate) kind: Kind,
    /// What it is when nobody sets it.
    pub(crate) default: Preset,
    /// What it does, in one or two sentences.
    pub(crate) about: &'static str,
}

/// A default.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Preset {
    /// Read like a flag.
    Text(&'static str),
    /// A duration.
    Span(Duration),
    /// A number or a number of bytes.
    Count(u64),
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Grace of a stop when nobody sets it: a load balancer and every client have moved on by then.
pub(crate) const GRACE: Duration = secs(25);
/// Grace of a stop in development mode: Ctrl-C should feel immediate.
pub(crate) const GRACE_DEV: Duration = secs(3);

/// All settings, by section.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        key: "data",
        kind: Kind::Path,
        default: Preset::Text("./rookery-data"),
        about: "Folder of the embedded database. Created when missing; one process at a time.",
    },
    Setting {
        key: "dev",
        kind: Kind::Switch,
        default: Preset::Text("auto"),
        about: "Development mode: a name is enough to log in. `\"auto\"` turns it on when no key is \
                configured and `server.listen` is a loopback address. With keys, or on any other \
                address, it is refused.",
    },
    Setting {
        key: "server.listen",
        kind: Kind::Address,
        default: Preset::Text("127.0.0.1:8080"),
        about: "Where clients connect: the page, `/v1/ws`.",
    },
    Setting {
        key: "admin.listen",
        kind: Kind::Address,
        default: Preset::Text("127.0.0.1:9090"),
        about: "Where `/healthz`, `/readyz` and `/metrics` answer. Not for the public.",
    },
    Setting {
        key: "auth.keys",
        kind: Kind::Keys,
        default: Preset::Text(""),
        about: "Keys that tokens are checked with. Several serve at once, so a key can be \
                replaced without a gap.",
    },
    Setting {
        key: "auth.audience",
        kind: Kind::Text,
        default: Preset::Text(""),
        about: "What a token's `aud` must name. Empty: not checked.",
    },
    Setting {
        key: "auth.issuer",
        kind: Kind::Text,
        default: Preset::Text(""),
        about: "What a token's `iss` must be. Empty: not checked.",
    },
    Setting {
        key: "auth.leeway",
        kind: Kind::Span {
            min: secs(0),
            max: secs(300),
        },
        default: Preset::Span(secs(5)),
        about: "How far the clock of whoever signs tokens may be off.",
    },
    Setting {
        key: "gateway.allowed_origins",
        kind: Kind::Texts,
        default: Preset::Text(""),
        about: "Origins of pages that may connect, as `https://chat.example.com`; `*` is any. \
                Empty: only the page this server serves. Clients that are not browsers send no \
                origin and are not held by it.",
    },
    Setting {
        key: "gateway.heartbeat_interval",
        kind: Kind::Span {
            min: secs(1),
            max: secs(300),
        },
        default: Preset::Span(secs(25)),
        about: "How often a silent connection is asked whether it lives. A dead one is gone within \
                two intervals.",
    },
    Setting {
        key: "log.level",
        kind: Kind::LogFilter,
        default: Preset::Text("info"),
        about: "What is logged to standard error.",
    },
    Setting {
        key: "log.format",
        kind: Kind::Choice(&["text", "json"]),
        default: Preset::Text("text"),
        about: "For people or for collectors: one JSON object a line.",
    },
    Setting {
        key: "shutdown.grace",
        kind: Kind::Span {
            min: secs(1),
            max: secs(3600),
        },
        default: Preset::Span(GRACE),
        about: "How long a stop may take in all: clients move to another gateway, rooms finish \
                what is in flight, the store closes. What ends the process afterwards must wait \
                longer. In development mode the default is 3s.",
    },
];

/// What the sections hold, for the reference page. A key without a dot is in section "".
pub(crate) const SECTIONS: &[(&str, &str)] = &[
    ("", "The process"),
    ("server", "Clients"),
    ("admin", "Probes and metrics"),
    ("auth", "Who may log in"),
    ("gateway", "Connections"),
    ("log", "Logging"),
    ("shutdown", "Stopping"),
];

impl Setting {
    /// The part before the dot; empty for the process's own.
    pub(crate) fn section(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(section, _)| section)
    }

    /// The part after the dot.
    pub(crate) fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }

    /// The environment variable that sets it.
    pub(crate) fn variable(&self) -> String {
        format!("ROOKERY_{}", self.key.replace('.', "__").to_uppercase())
    }

    /// What it is when nobody sets it.
    pub(crate) fn default_value(&self) -> Value {
        match self.default {
            Preset::Span(span) => Value::Span(span),
            Preset::Count(count) => Value::Count(count),
            Preset::Text(text) => self
                .kind
                .read(&super::value::Raw::Text(text.to_owned()))
                .expect("a test reads every default"),
        }
    }
}

/// The setting of that key.
pub(crate) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_that_could_be_set() {
        for setting in SETTINGS {
            let value = setting.default_value();
            let printed = setting.kind.print(&value);
            let table: toml::Table = format!("v = {printed}").parse().expect(setting.key);
            let raw = super::super::value::Raw::Toml(table["v"].clone());
            assert_eq!(setting.kind.read(&raw), Ok(value), "{}", setting.key);
        }
    }

    #[test]
    fn every_key_is_there_once_and_in_a_described_section() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            assert!(
                SETTINGS[..index]
                    .iter()
                    .all(|other| other.key != setting.key),
                "{}",
                setting.key
            );
            assert!(
                SECTIONS.iter().any(|(name, _)| *name == setting.section()),
                "{}",
                setting.key
            );
        }
    }
}
