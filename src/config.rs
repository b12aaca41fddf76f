//! The configuration of the process: flags over environment over file over defaults.
//!
//! [`settings`] is the one table of what can be set. [`layers`] read the three places, [`value`]
//! understands and bounds what is found there, and [`load`] puts them together, adds the rules
//! between settings and reports **all** problems at once. Only this crate reads the environment;
//! the others get plain typed values.

mod auth_key;
mod duration;
mod layers;
mod print;
mod problem;
mod reference;
mod settings;
mod suggest;
mod value;

use std::{collections::BTreeMap, ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

pub(crate) use auth_key::{AuthKey, algorithm};
pub(crate) use duration::parse as parse_duration;
pub(crate) use layers::FlagValue;
pub(crate) use print::effective;
pub(crate) use problem::{ConfigError, Problem, Source};
pub(crate) use reference::page as reference_page;

use layers::Found;
use settings::SETTINGS;
use value::Value;

/// What is in effect. Every value is in its bounds and they go together.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Folder of the embedded database.
    pub(crate) data: PathBuf,
    /// A name is enough to log in.
    pub(crate) dev: bool,
    /// Where clients connect.
    pub(crate) listen: SocketAddr,
    /// Where probes and metrics answer.
    pub(crate) admin_listen: SocketAddr,
    pub(crate) auth: Auth,
    pub(crate) gateway: Gateway,
    pub(crate) log: Log,
    /// The whole of a graceful stop.
    pub(crate) grace: Duration,
}

/// How tokens are checked.
#[derive(Clone, Debug)]
pub(crate) struct Auth {
    pub(crate) keys: Vec<AuthKey>,
    /// `None`: not checked.
    pub(crate) audience: Option<String>,
    /// `None`: not checked.
    pub(crate) issuer: Option<String>,
    pub(crate) leeway: Duration,
}

/// What the gateway is told.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) heartbeat_interval: Duration,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// Directives of `tracing_subscriber::EnvFilter`.
    pub(crate) filter: String,
    pub(crate) json: bool,
}

/// Every setting with its value and where that comes from.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    values: BTreeMap<&'static str, (Value, Source)>,
}

/// What a configuration is loaded from.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The file named on the command line.
    pub(crate) file: Option<PathBuf>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) flags: Vec<FlagValue>,
}

/// Reads all layers.
///
/// # Errors
/// Everything that is wrong, in one error.
pub(crate) fn load(sources: Sources) -> Result<(Config, Resolved), ConfigError> {
    let mut problems = Vec::new();
    let mut layers = layers::file(sources.file.as_deref(), &mut problems);
    layers.extend(layers::environment(
        sources.environment.into_iter(),
        &mut problems,
    ));
    layers.extend(layers::flags(sources.flags, &mut problems));
    resolve(layers, problems)
}

/// Understands what was found, the last of each key winning.
fn resolve(
    layers: Vec<Found>,
    mut problems: Vec<Problem>,
) -> Result<(Config, Resolved), ConfigError> {
    let defaults = SETTINGS
        .iter()
        .map(|setting| (setting.key, (setting.default_value(), Source::Default)));
    let mut resolved = Resolved {
        values: defaults.collect(),
    };
    let mut unread = Vec::new();
    for found in layers {
        let setting = settings::find(found.key).expect("layers yield keys of the table");
        match setting.kind.read(&found.raw) {
            Ok(value) => {
                resolved.values.insert(found.key, (value, found.source));
            }
            Err(flaws) => {
                unread.push(found.key);
                problems.extend(flaws.into_iter().map(|flaw| Problem {
                    key: format!("{}{}", found.key, flaw.part),
                    message: flaw.message,
                    source: Some(found.source.clone()),
                }));
            }
        }
    }
    // A rule between settings is judged only on values that could be read.
    let dev_known = ["dev", "auth.keys", "server.listen"]
        .iter()
        .all(|key| !unread.contains(key));
    let dev = match dev_known.then(|| resolved.dev_mode()) {
        Some(Ok(dev)) => dev,
        Some(Err(problem)) => {
            problems.push(problem);
            false
        }
        None => false,
    };
    problems.extend(resolved.check_addresses());
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    if dev && resolved.get("shutdown.grace").1 == Source::Default {
        let grace = (Value::Span(settings::GRACE_DEV), Source::DevDefault);
        resolved.values.insert("shutdown.grace", grace);
    }
    Ok((resolved.config(dev), resolved))
}

impl Resolved {
    /// A setting's value and source. Panics when the key is not in the table.
    pub(crate) fn get(&self, key: &str) -> &(Value, Source) {
        self.values
            .get(key)
            .expect("a key of the table of settings")
    }

    fn text(&self, key: &str) -> String {
        match &self.get(key).0 {
            Value::Text(text) => text.clone(),
            other => unreachable!("{key} is a text, not {other:?}"),
        }
    }

    fn optional(&self, key: &str) -> Option<String> {
        Some(self.text(key)).filter(|text| !text.is_empty())
    }

    fn address(&self, key: &str) -> SocketAddr {
        match &self.get(key).0 {
            Value::Address(address) => *address,
            other => unreachable!("{key} is an address, not {other:?}"),
        }
    }

    fn span(&self, key: &str) -> Duration {
        match &self.get(key).0 {
            Value::Span(span) => *span,
            other => unreachable!("{key} is a duration, not {other:?}"),
        }
    }

    fn texts(&self, key: &str) -> Vec<String> {
        match &self.get(key).0 {
            Value::Texts(texts) => texts.clone(),
            other => unreachable!("{key} is a list, not {other:?}"),
        }
    }

    fn keys(&self) -> &[AuthKey] {
        match &self.get("auth.keys").0 {
            Value::Keys(keys) => keys,
            other => unreachable!("auth.keys is a list of keys, not {other:?}"),
        }
    }

    /// Whether a name is enough to log in; the table of `docs/configuration.md`.
    fn dev_mode(&self) -> Result<bool, Problem> {
        let listen = self.address("server.listen");
        let (dev, source) = self.get("dev");
        let asked = match dev {
            Value::Switch(asked) => *asked,
            other => unreachable!("dev is a switch, not {other:?}"),
        };
        let keys = !self.keys().is_empty();
        let refuse = |message: String| {
            Err(Problem {
                key: "dev".to_owned(),
                message,
                source: Some(source.clone()),
            })
        };
        match (asked, keys, listen.ip().is_loopback()) {
            (None | Some(true), false, true) => Ok(true),
            (None | Some(false), true, _) => Ok(false),
            (Some(true), true, _) => refuse(
                "development mode lets anyone in by name, and auth.keys is set; leave one out"
                    .to_owned(),
            ),
            (Some(true), false, false) => refuse(format!(
                "development mode lets anyone in by name, and server.listen = \"{listen}\" is \
                 not a loopback address; listen on 127.0.0.1, or set auth.keys instead"
            )),
            (None, false, false) => refuse(format!(
                "server.listen = \"{listen}\" is not a loopback address and auth.keys is empty, so \
                 nobody could be told from anybody; set auth.keys (see docs/configuration.md), or \
                 listen on 127.0.0.1 for development"
            )),
            (Some(false), false, _) => refuse(
                "development mode is off and auth.keys is empty, so nobody could log in; set \
                 auth.keys (see docs/configuration.md)"
                    .to_owned(),
            ),
        }
    }

    /// Two listeners cannot share a port.
    fn check_addresses(&self) -> Option<Problem> {
        let server = self.address("server.listen");
        let admin = self.address("admin.listen");
        let same = server == admin && server.port() != 0;
        same.then(|| Problem {
            key: "admin.listen".to_owned(),
            message: format!("\"{admin}\" is server.listen too"),
            source: Some(self.get("admin.listen").1.clone()),
        })
    }

    fn config(&self, dev: bool) -> Config {
        Config {
            data: PathBuf::from(self.text("data")),
            dev,
            listen: self.address("server.listen"),
            admin_listen: self.address("admin.listen"),
            auth: Auth {
                keys: self.keys().to_vec(),
                audience: self.optional("auth.audience"),
                issuer: self.optional("auth.issuer"),
                leeway: self.span("auth.leeway"),
            },
            gateway: Gateway {
                allowed_origins: self.texts("gateway.allowed_origins"),
                heartbeat_interval: self.span("gateway.heartbeat_interval"),
            },
            log: Log {
                filter: self.text("log.level"),
                json: self.text("log.format") == "json",
            },
            grace: self.span("shutdown.grace"),
        }
    }
}

#[cfg(test)]
mod tests;
