//! The settings of a cluster's processes.

use std::time::Duration;

use rookery_cluster::membership::NODE_NAME_BYTES_MAX;

use super::{Kind, Preset, Setting, secs};

/// What one process may do.
const ROLES: &[&str] = &["gateway", "rooms", "presence"];
/// A database that starts together with us has this long to come up.
const CQL_CONNECT_TIMEOUT: Duration = secs(10);
/// Names of users and data centres.
const NAME_BYTES_MAX: usize = 256;

const fn text(key: &'static str, bytes_max: usize, about: &'static str) -> Setting {
    Setting {
        key,
        kind: Kind::Text { bytes_max },
        default: Preset::Text(""),
        about,
    }
}

const fn file(key: &'static str, about: &'static str) -> Setting {
    Setting {
        key,
        kind: Kind::Path,
        default: Preset::Text(""),
        about,
    }
}

const fn secret(key: &'static str, about: &'static str) -> Setting {
    Setting {
        key,
        kind: Kind::Secret,
        default: Preset::Text(""),
        about,
    }
}

const fn list(key: &'static str, about: &'static str) -> Setting {
    Setting {
        key,
        kind: Kind::Texts,
        default: Preset::Text(""),
        about,
    }
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        key: "roles",
        kind: Kind::Words(ROLES),
        default: Preset::Text("gateway,rooms,presence"),
        about: "What this process does: takes clients, keeps rooms, knows who is here. Fewer than \
                all are a part of a cluster, which needs `nats.servers`, and `cql.nodes` unless it \
                is a gateway alone.",
    },
    text(
        "node.name",
        NODE_NAME_BYTES_MAX,
        "Its name, the same over restarts and no other process's: which shards it keeps follows \
         from it. Empty: the host's name.",
    ),
    list(
        "nats.servers",
        "Some NATS servers, as `nats://host:4222` or `tls://host:4222`; the others are learned \
         from them. With one, this process is part of a cluster.",
    ),
    text("nats.user", NAME_BYTES_MAX, "Whom to log in as."),
    secret("nats.password", "That user's password."),
    secret("nats.token", "A token to log in with, instead of a user."),
    file(
        "nats.credentials_file",
        "A credentials file as `nsc` makes them (user JWT and seed), instead of a user.",
    ),
    file(
        "nats.nkey_file",
        "A file with the seed of an nkey, instead of a user.",
    ),
    file(
        "nats.tls_ca",
        "PEM file of the authorities to trust. Empty: the system's.",
    ),
    file(
        "nats.tls_cert",
        "PEM file of our own certificate, for servers that ask for one.",
    ),
    file("nats.tls_key", "PEM file of its key."),
    Setting {
        key: "nats.subject_prefix",
        kind: Kind::Text { bytes_max: 64 },
        default: Preset::Text("rookery"),
        about: "First part of every subject. Clusters that share NATS servers differ in it; the \
                user must be allowed to publish and subscribe on `<prefix>.>`.",
    },
    list(
        "cql.nodes",
        "Some nodes of ScyllaDB or Apache Cassandra, as `host:9042`; the others are learned from \
         them. `ROOKERY_CQL` is read too, where there is NATS.",
    ),
    Setting {
        key: "cql.keyspace",
        kind: Kind::Text { bytes_max: 48 },
        default: Preset::Text("rookery"),
        about: "Where the tables are. `rookery migrate` makes it.",
    },
    Setting {
        key: "cql.ownership_keyspace",
        kind: Kind::Text { bytes_max: 48 },
        default: Preset::Text(""),
        about: "Where the tables of lightweight transactions are. ScyllaDB before 2025.4 needs one \
                of its own, without tablets. Empty: in `cql.keyspace`.",
    },
    text(
        "cql.user",
        NAME_BYTES_MAX,
        "Whom to log in as. Empty: nobody is asked.",
    ),
    secret("cql.password", "That user's password."),
    text(
        "cql.datacenter",
        NAME_BYTES_MAX,
        "The datacenter whose replicas make the quorum. Must be set when there are several.",
    ),
    Setting {
        key: "cql.replication",
        kind: Kind::Count { min: 1, max: 16 },
        default: Preset::Count(3),
        about: "Copies of every row, in a keyspace that `rookery migrate` makes. One that is there \
                is left as it is.",
    },
    Setting {
        key: "cql.connect_timeout",
        kind: Kind::Span {
            min: Duration::from_millis(100),
            max: secs(300),
        },
        default: Preset::Span(CQL_CONNECT_TIMEOUT),
        about: "How long connecting may take in all.",
    },
];
