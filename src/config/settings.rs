//! The one table of settings. The reference page, the unknown-key check and every reader use it.

mod cluster;

use std::time::Duration;

use rookery_gateway::{auth, config as gateway};
use rookery_presence::limits as presence;
use rookery_proto::limits;
use rookery_room_actors::limits::RoomLimits;

use super::value::{Kind, Value};

/// One setting.
#[derive(Clone, Copy, Debug)]
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
    /// As the rooms' own default has it.
    Room(fn(RoomLimits) -> u64),
    /// A duration as the rooms' own default has it.
    RoomSpan(fn(RoomLimits) -> Duration),
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Grace of a stop when nobody sets it: a load balancer and every client have moved on by then.
pub(crate) const GRACE: Duration = secs(25);
/// Grace of a stop in development mode: Ctrl-C should feel immediate.
pub(crate) const GRACE_DEV: Duration = secs(3);

/// All settings.
pub(crate) const SETTINGS: &[Setting] = &{
    let mut all = [SINGLE[0]; SINGLE.len() + cluster::SETTINGS.len()];
    let mut index = 0;
    while index < all.len() {
        all[index] = match index < SINGLE.len() {
            true => SINGLE[index],
            false => cluster::SETTINGS[index - SINGLE.len()],
        };
        index += 1;
    }
    all
};

/// Those that also a single process knows.
const SINGLE: &[Setting] = &[
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
        key: "store.bytes_max",
        kind: Kind::Bytes {
            min: 0,
            max: 1 << 50,
        },
        default: Preset::Count(0),
        about: "Bytes the database may have, without its log. At the bound writes are refused as \
                on a full disk, and reads go on. 0: as many as the disk holds.",
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
        kind: Kind::Texts,
        default: Preset::Text(""),
        about: "A token's `aud` must name one of these. Empty: not looked at.",
    },
    Setting {
        key: "auth.issuer",
        kind: Kind::Texts,
        default: Preset::Text(""),
        about: "A token's `iss` must be one of these. Empty: not looked at.",
    },
    Setting {
        key: "auth.leeway",
        kind: Kind::Span {
            min: secs(0),
            max: auth::LEEWAY_MAX,
        },
        default: Preset::Span(auth::LEEWAY_DEFAULT),
        about: "How far the clock of whoever signs tokens may be off.",
    },
    Setting {
        key: "gateway.lanes",
        kind: Kind::Count {
            min: 0,
            max: gateway::LANES_MAX as u64,
        },
        default: Preset::Count(0),
        about: "Threads that write to clients. 0: one a core.",
    },
    Setting {
        key: "gateway.allowed_origins",
        kind: Kind::Texts,
        default: Preset::Text(""),
        about: "Origins of pages that may connect, as `https://chat.example.org`; `*` is any. \
                Empty: only pages of the host that is asked. Clients that are not browsers send no \
                origin and are not held by it.",
    },
    Setting {
        key: "gateway.connections_max",
        kind: Kind::Count {
            min: 0,
            max: 100_000_000,
        },
        default: Preset::Count(0),
        about: "Connections at once; further ones are answered 503. 0: as many as the operating \
                system lets the process have open files, less a few.",
    },
    Setting {
        key: "gateway.heartbeat_interval",
        kind: Kind::Span {
            min: secs(1),
            max: secs(3600),
        },
        default: Preset::Span(gateway::HEARTBEAT_INTERVAL_DEFAULT),
        about: "How often a connection is asked whether it lives. A dead one is gone within two \
                intervals.",
    },
    Setting {
        key: "gateway.authenticate_timeout",
        kind: Kind::Span {
            min: Duration::from_millis(100),
            max: secs(60),
        },
        default: Preset::Span(gateway::AUTHENTICATE_TIMEOUT_DEFAULT),
        about: "How long a connection that brought no token may take to send one.",
    },
    Setting {
        key: "gateway.frame_bytes_max",
        kind: Kind::Bytes {
            min: 2 * limits::TEXT_BYTES_MAX as u64,
            max: 16 << 20,
        },
        default: Preset::Count(limits::FRAME_BYTES_MAX as u64),
        about: "Bytes of one frame from a client; a larger one closes the connection.",
    },
    Setting {
        key: "gateway.commands_per_second",
        kind: Kind::Count {
            min: 1,
            max: 1_000_000,
        },
        default: Preset::Count(gateway::COMMANDS_PER_SECOND_DEFAULT as u64),
        about: "Commands a second a connection may send for long.",
    },
    Setting {
        key: "gateway.commands_burst",
        kind: Kind::Count {
            min: 1,
            max: 1_000_000,
        },
        default: Preset::Count(gateway::COMMANDS_BURST_DEFAULT as u64),
        about: "Commands a connection may send at once; at least `gateway.commands_per_second`.",
    },
    Setting {
        key: "gateway.session_queue_bytes_max",
        kind: Kind::Bytes {
            min: 128 << 10,
            max: 1 << 30,
        },
        default: Preset::Count(gateway::SESSION_QUEUE_BYTES_MAX_DEFAULT as u64),
        about: "Bytes that wait for one reader; beyond them it is closed and told to resume. At \
                least four times `gateway.frame_bytes_max`.",
    },
    Setting {
        key: "gateway.rooms_per_session_max",
        kind: Kind::Count {
            min: 1,
            max: 1_000_000,
        },
        default: Preset::Count(gateway::ROOMS_PER_SESSION_MAX_DEFAULT as u64),
        about: "Rooms one session listens to.",
    },
    Setting {
        key: "gateway.watched_users_max",
        kind: Kind::Count {
            min: 1,
            max: 1_000_000,
        },
        default: Preset::Count(gateway::WATCHED_USERS_MAX_DEFAULT as u64),
        about: "Users whose presence one session watches.",
    },
    Setting {
        key: "rooms.passivate_after",
        kind: Kind::Span {
            min: secs(1),
            max: secs(86_400),
        },
        default: Preset::RoomSpan(|limits| limits.passivate_after),
        about: "A room without listeners and requests for that long leaves memory.",
    },
    Setting {
        key: "rooms.members_max",
        kind: Kind::Count {
            min: 1,
            max: 1000000,
        },
        default: Preset::Room(|limits| limits.members_max as u64),
        about: "Members of one group. When full a join is answered `ROOM_FULL`.",
    },
    Setting {
        key: "rooms.awake_max",
        kind: Kind::Count {
            min: 1,
            max: 10000000,
        },
        default: Preset::Room(|limits| limits.rooms_awake_max as u64),
        about: "Rooms in memory. When full the least recently used idle ones leave, and a request for \
                a sleeping room is answered `OVERLOADED`.",
    },
    Setting {
        key: "rooms.sends_per_second",
        kind: Kind::Count {
            min: 1,
            max: 1000000,
        },
        default: Preset::Room(|limits| limits.sends_per_second as u64),
        about: "Sends a second of one user in one room, for long. Beyond: `RATE_LIMITED`.",
    },
    Setting {
        key: "rooms.sends_burst",
        kind: Kind::Count {
            min: 1,
            max: 1000000,
        },
        default: Preset::Room(|limits| limits.sends_burst as u64),
        about: "Sends of one user in one room at once.",
    },
    Setting {
        key: "rooms.room_commands_max",
        kind: Kind::Count {
            min: 1,
            max: 1000000,
        },
        default: Preset::Room(|limits| limits.room_commands_max as u64),
        about: "Requests one room holds, waiting or not yet durable. Beyond: `OVERLOADED`.",
    },
    Setting {
        key: "rooms.node_commands_max",
        kind: Kind::Count {
            min: 1,
            max: 10000000,
        },
        default: Preset::Room(|limits| limits.node_commands_max as u64),
        about: "Requests all rooms hold together. Beyond: `OVERLOADED`.",
    },
    Setting {
        key: "rooms.node_bytes_max",
        kind: Kind::Bytes {
            min: 1 << 20,
            max: 1 << 40,
        },
        default: Preset::Room(|limits| limits.node_bytes_max as u64),
        about: "Bytes of those requests. Beyond: `OVERLOADED`.",
    },
    Setting {
        key: "presence.grace",
        kind: Kind::Span {
            min: secs(0),
            max: secs(300),
        },
        default: Preset::Span(presence::GRACE),
        about: "How long a device without a connection still counts as here.",
    },
    Setting {
        key: "presence.throttle",
        kind: Kind::Span {
            min: Duration::from_millis(100),
            max: secs(60),
        },
        default: Preset::Span(presence::THROTTLE),
        about: "Least time between two updates about one user to those who watch.",
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
    ("node", "Who this process is in a cluster"),
    ("nats", "How a cluster's processes reach each other"),
    ("cql", "The database of a cluster"),
    ("store", "The embedded database"),
    ("auth", "Who may log in"),
    ("gateway", "Connections"),
    ("rooms", "Rooms"),
    ("presence", "Who is here"),
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
            Preset::Room(field) => Value::Count(field(RoomLimits::default())),
            Preset::RoomSpan(field) => Value::Span(field(RoomLimits::default())),
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
