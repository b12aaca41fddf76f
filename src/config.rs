//! The configuration of the process: flags over environment over file over defaults.
//!
//! [`settings`] is the one table of what can be set. [`layers`] read the three places, [`value`]
//! understands and bounds what is found there, and [`load`] puts them together, adds the rules
//! between settings and reports **all** problems at once. Only this crate reads the environment;
//! the others get plain typed values.

mod auth_key;
mod cluster;
mod duration;
mod layers;
mod print;
mod problem;
mod reference;
mod settings;
mod suggest;
mod value;

use std::{collections::BTreeMap, ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

pub(crate) use auth_key::{algorithm, without_line_break};
pub(crate) use cluster::{Cluster, Installation, Roles};
pub(crate) use duration::parse as parse_duration;
pub(crate) use layers::FlagValue;
pub(crate) use print::effective;
pub(crate) use problem::{ConfigError, Problem, Source};
pub(crate) use reference::page as reference_page;

use rookery_gateway::{
    GatewayConfig,
    auth::{AuthConfig, KeyConfig},
    config::CONNECTIONS_MAX_DEFAULT,
};
use rookery_persistence::CqlConfig;
use rookery_room_actors::limits::RoomLimits;

use layers::Found;
use settings::SETTINGS;
use value::Value;

/// What is in effect. Every value is in its bounds and they go together.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// What this process is a part of.
    pub(crate) installation: Installation,
    /// The database of a cluster, if one is named: also beside an embedded installation, for
    /// what is done to it from outside.
    pub(crate) cql: Option<CqlConfig>,
    /// Folder of the embedded database.
    pub(crate) data: PathBuf,
    /// Bytes the database may have; `None`: as many as the disk holds.
    pub(crate) store_bytes_max: Option<u64>,
    /// Where probes and metrics answer.
    pub(crate) admin_listen: SocketAddr,
    /// The bound on connections is what the bound on open files allows.
    pub(crate) connections_by_files: bool,
    /// Where clients connect, who may, and what they may do.
    pub(crate) gateway: GatewayConfig,
    pub(crate) rooms: RoomLimits,
    pub(crate) presence: Presence,
    pub(crate) log: Log,
    /// The whole of a graceful stop.
    pub(crate) grace: Duration,
}

/// What presence is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presence {
    pub(crate) grace: Duration,
    pub(crate) throttle: Duration,
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

/// What a configuration is for: some rules hold only there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To serve, or to look at what that would use.
    Serve,
    /// To work on the database of a cluster, where nobody logs in and nothing is carried.
    Database,
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
pub(crate) fn load(sources: Sources, purpose: Purpose) -> Result<(Config, Resolved), ConfigError> {
    let mut problems = Vec::new();
    let mut layers = layers::file(sources.file.as_deref(), &mut problems);
    layers.extend(layers::environment(
        sources.environment.into_iter(),
        &mut problems,
    ));
    layers.extend(layers::flags(sources.flags, &mut problems));
    resolve(layers, problems, purpose)
}

/// Understands what was found, the last of each key winning.
fn resolve(
    layers: Vec<Found>,
    mut problems: Vec<Problem>,
    purpose: Purpose,
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
    let known = |keys: &[&str]| !keys.iter().any(|key| unread.contains(key));
    problems.extend(resolved.check_cql());
    let mut dev = false;
    match purpose {
        Purpose::Serve => {
            if known(&["roles", "nats.servers", "cql.nodes"]) {
                problems.extend(resolved.check_pieces());
            }
            // Without a gateway nobody logs in here.
            let clients = resolved.roles().gateway;
            if clients && known(&["dev", "auth.keys", "server.listen"]) {
                match resolved.dev_mode() {
                    Ok(on) => dev = on,
                    Err(problem) => problems.push(problem),
                }
            }
            problems.extend(resolved.check_addresses().filter(|_| clients));
        }
        Purpose::Database => {
            if known(&["cql.nodes"]) {
                problems.extend(resolved.check_database());
            }
        }
    }
    let gateway = resolved.gateway(dev);
    if purpose == Purpose::Serve {
        problems.extend(resolved.check_gateway(&gateway));
    }
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    if dev && resolved.get("shutdown.grace").1 == Source::Default {
        let grace = (Value::Span(settings::GRACE_DEV), Source::DevDefault);
        resolved.values.insert("shutdown.grace", grace);
    }
    Ok((resolved.config(gateway), resolved))
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

    fn count(&self, key: &str) -> u64 {
        match &self.get(key).0 {
            Value::Count(count) => *count,
            other => unreachable!("{key} is a number, not {other:?}"),
        }
    }

    /// A number of things in memory; its upper bound in the table fits.
    fn size(&self, key: &str) -> usize {
        usize::try_from(self.count(key)).unwrap_or(usize::MAX)
    }

    /// A number with an upper bound in the table that fits.
    fn small(&self, key: &str) -> u32 {
        u32::try_from(self.count(key)).unwrap_or(u32::MAX)
    }

    fn texts(&self, key: &str) -> Vec<String> {
        match &self.get(key).0 {
            Value::Texts(texts) => texts.clone(),
            other => unreachable!("{key} is a list, not {other:?}"),
        }
    }

    fn keys(&self) -> &[KeyConfig] {
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

    /// What the gateway finds wrong, in the words of the table of settings.
    fn check_gateway(&self, gateway: &GatewayConfig) -> Vec<Problem> {
        let found = gateway.validate().into_iter();
        // Who may log in where is judged by `dev_mode`, which knows what was asked for.
        let ours = found.filter(|problem| problem.key != "dev" && problem.key != "auth.keys");
        ours.map(|problem| {
            let key = match problem.key.starts_with("auth.") {
                true => problem.key,
                false => format!("gateway.{}", problem.key),
            };
            let setting = key.split('[').next().unwrap_or(&key);
            Problem {
                message: problem.problem,
                source: self.values.get(setting).map(|(_, source)| source.clone()),
                key,
            }
        })
        .collect()
    }

    fn gateway(&self, dev: bool) -> GatewayConfig {
        GatewayConfig {
            listen: self.address("server.listen"),
            lanes: self.size("gateway.lanes"),
            auth: AuthConfig {
                keys: self.keys().to_vec(),
                audiences: self.texts("auth.audience"),
                issuers: self.texts("auth.issuer"),
                leeway: self.span("auth.leeway"),
            },
            dev,
            allowed_origins: self.texts("gateway.allowed_origins"),
            connections_max: match self.size("gateway.connections_max") {
                0 => CONNECTIONS_MAX_DEFAULT,
                given => given,
            },
            heartbeat_interval: self.span("gateway.heartbeat_interval"),
            authenticate_timeout: self.span("gateway.authenticate_timeout"),
            frame_bytes_max: self.small("gateway.frame_bytes_max"),
            commands_per_second: self.small("gateway.commands_per_second"),
            commands_burst: self.small("gateway.commands_burst"),
            session_queue_bytes_max: self.size("gateway.session_queue_bytes_max"),
            rooms_per_session_max: self.small("gateway.rooms_per_session_max"),
            watched_users_max: self.small("gateway.watched_users_max"),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn config(&self, gateway: GatewayConfig) -> Config {
        Config {
            installation: self.installation(),
            cql: self.some_cql(),
            data: PathBuf::from(self.text("data")),
            store_bytes_max: Some(self.count("store.bytes_max")).filter(|bytes| *bytes > 0),
            admin_listen: self.address("admin.listen"),
            connections_by_files: self.count("gateway.connections_max") == 0,
            gateway,
            rooms: RoomLimits {
                passivate_after: self.span("rooms.passivate_after"),
                members_max: self.size("rooms.members_max"),
                rooms_awake_max: self.size("rooms.awake_max"),
                room_commands_max: self.size("rooms.room_commands_max"),
                node_commands_max: self.size("rooms.node_commands_max"),
                node_bytes_max: self.size("rooms.node_bytes_max"),
                sends_per_second: self.small("rooms.sends_per_second"),
                sends_burst: self.small("rooms.sends_burst"),
            },
            presence: Presence {
                grace: self.span("presence.grace"),
                throttle: self.span("presence.throttle"),
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
