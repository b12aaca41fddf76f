//! A cluster's settings together: which pieces there are, and whether they go together.

use std::path::PathBuf;

use rookery_cluster::{NatsConfig, NatsCredentials, NatsIdentity, NatsTls, Role};
use rookery_persistence::{ConnectError, CqlConfig, CqlCredentials};

use super::{
    Problem, Resolved, Source,
    layers::CQL_VARIABLE,
    value::{Secret, Value},
};
use crate::process;

/// What this process is a part of.
#[derive(Clone, Debug)]
pub(crate) enum Installation {
    /// Everything in this process, with SQLite.
    Embedded,
    /// One of several processes.
    Cluster(Box<Cluster>),
}

/// A process of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) roles: Roles,
    /// The node's name; never empty.
    pub(crate) node: String,
    pub(crate) nats: NatsConfig,
    /// Where rooms and presence keep their data; `None` for a gateway alone.
    pub(crate) cql: Option<CqlConfig>,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Roles {
    pub(crate) gateway: bool,
    pub(crate) rooms: bool,
    pub(crate) presence: bool,
}

impl Roles {
    /// Everything.
    pub(crate) const ALL: Self = Self {
        gateway: true,
        rooms: true,
        presence: true,
    };

    /// Whether it does that.
    pub(crate) const fn has(self, role: Role) -> bool {
        match role {
            Role::Gateway => self.gateway,
            Role::Rooms => self.rooms,
            Role::Presence => self.presence,
        }
    }

    /// Whether it does everything.
    pub(crate) const fn are_all(self) -> bool {
        self.gateway && self.rooms && self.presence
    }

    /// Whether it keeps something.
    pub(crate) const fn need_store(self) -> bool {
        self.rooms || self.presence
    }
}

impl Resolved {
    pub(super) fn roles(&self) -> Roles {
        let named = self.texts("roles");
        let has = |role: Role| named.iter().any(|name| name == role.as_str());
        Roles {
            gateway: has(Role::Gateway),
            rooms: has(Role::Rooms),
            presence: has(Role::Presence),
        }
    }

    fn is_empty(&self, key: &str) -> bool {
        match &self.get(key).0 {
            Value::Text(text) | Value::Secret(Secret(text)) => text.is_empty(),
            Value::Texts(texts) => texts.is_empty(),
            other => unreachable!("{key} may be empty, {other:?} may not"),
        }
    }

    /// Whether somebody asked for that database. The variable of our scripts names one that is at
    /// hand, which alone does not make a cluster.
    fn asks_for_cql(&self) -> bool {
        let (_, source) = self.get("cql.nodes");
        let at_hand = matches!(source, Source::Env { variable } if variable == CQL_VARIABLE);
        !self.is_empty("cql.nodes") && !at_hand
    }

    /// Whether the pieces are there that the roles need.
    pub(super) fn check_pieces(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let (roles, nats) = (self.roles(), !self.is_empty("nats.servers"));
        if !nats && !roles.are_all() {
            let message = format!(
                "{} alone is a part of a cluster, whose processes reach each other by NATS; set \
                 nats.servers (--nats), or leave roles out",
                self.texts("roles").join(" and ")
            );
            problems.push(self.problem("nats.servers", "roles", message));
        } else if !nats && self.asks_for_cql() {
            let message = "cql.nodes names the database of a cluster, whose processes reach each \
                           other by NATS; set nats.servers (--nats) too";
            problems.push(self.problem("nats.servers", "cql.nodes", message));
        }
        if roles.need_store() && self.is_empty("cql.nodes") && (nats || !roles.are_all()) {
            let message = "rooms and presence of a cluster keep their data in ScyllaDB or \
                           Cassandra; set cql.nodes (--cql)";
            let why = if nats { "nats.servers" } else { "roles" };
            problems.push(self.problem("cql.nodes", why, message));
        }
        problems.extend(self.check_nats());
        problems
    }

    fn check_nats(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let ways = [
            "nats.user",
            "nats.token",
            "nats.credentials_file",
            "nats.nkey_file",
        ];
        let given: Vec<_> = ways.into_iter().filter(|key| !self.is_empty(key)).collect();
        if let [first, second, ..] = given[..] {
            let message = format!("{first} is set too; log in by one of them");
            problems.push(self.problem(second, second, message));
        }
        for (one, other) in [
            ("nats.user", "nats.password"),
            ("nats.password", "nats.user"),
            ("nats.tls_cert", "nats.tls_key"),
            ("nats.tls_key", "nats.tls_cert"),
        ] {
            problems.extend(self.check_pair(one, other));
        }
        problems
    }

    /// What is wrong with the settings of the database alone.
    pub(super) fn check_cql(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (one, other) in [("cql.user", "cql.password"), ("cql.password", "cql.user")] {
            problems.extend(self.check_pair(one, other));
        }
        if let Err(ConnectError::KeyspaceName { setting, name }) = self.cql().check() {
            let message = format!(
                "\"{name}\" is not a name for a keyspace: a lower-case letter, then up to 47 of \
                 a-z, 0-9 and _"
            );
            problems.push(self.problem(setting, setting, message));
        }
        problems
    }

    /// Whether there is a database to work on.
    pub(super) fn check_database(&self) -> Option<Problem> {
        let message = "no database is named; set cql.nodes (--cql HOST:PORT)";
        self.is_empty("cql.nodes")
            .then(|| self.problem("cql.nodes", "cql.nodes", message))
    }

    fn check_pair(&self, one: &'static str, other: &'static str) -> Option<Problem> {
        let half = !self.is_empty(one) && self.is_empty(other);
        half.then(|| self.problem(other, one, format!("is not set, and {one} is")))
    }

    /// A problem of `key`, said where `why` was set.
    fn problem(&self, key: &str, why: &str, message: impl Into<String>) -> Problem {
        Problem {
            key: key.to_owned(),
            message: message.into(),
            source: match &self.get(why).1 {
                Source::Default | Source::DevDefault => None,
                source => Some(source.clone()),
            },
        }
    }

    pub(super) fn installation(&self) -> Installation {
        if self.is_empty("nats.servers") {
            return Installation::Embedded;
        }
        let roles = self.roles();
        Installation::Cluster(Box::new(Cluster {
            roles,
            node: self.node(),
            nats: self.nats(),
            cql: roles.need_store().then(|| self.cql()),
        }))
    }

    fn node(&self) -> String {
        match self.text("node.name") {
            name if name.is_empty() => process::host_name(),
            name => name,
        }
    }

    fn secret(&self, key: &str) -> String {
        match &self.get(key).0 {
            Value::Secret(Secret(text)) => text.clone(),
            other => unreachable!("{key} is a secret, not {other:?}"),
        }
    }

    fn some_text(&self, key: &str) -> Option<String> {
        Some(self.text(key)).filter(|text| !text.is_empty())
    }

    fn some_file(&self, key: &str) -> Option<PathBuf> {
        self.some_text(key).map(PathBuf::from)
    }

    fn nats(&self) -> NatsConfig {
        let credentials = if let Some(file) = self.some_file("nats.credentials_file") {
            NatsCredentials::CredentialsFile(file)
        } else if let Some(file) = self.some_file("nats.nkey_file") {
            NatsCredentials::NkeyFile(file)
        } else if let Some(user) = self.some_text("nats.user") {
            let password = self.secret("nats.password");
            NatsCredentials::Password { user, password }
        } else if !self.is_empty("nats.token") {
            NatsCredentials::Token(self.secret("nats.token"))
        } else {
            NatsCredentials::None
        };
        let certificate = self.some_file("nats.tls_cert");
        let client = certificate.zip(self.some_file("nats.tls_key"));
        NatsConfig {
            servers: self.texts("nats.servers"),
            credentials,
            tls: NatsTls {
                ca: self.some_file("nats.tls_ca"),
                client: client.map(|(certificate, key)| NatsIdentity { certificate, key }),
                ..NatsTls::default()
            },
            name: format!("rookery {}", self.node()),
            prefix: self.text("nats.subject_prefix"),
            ..NatsConfig::default()
        }
    }

    /// The database, if one is named.
    pub(super) fn some_cql(&self) -> Option<CqlConfig> {
        (!self.is_empty("cql.nodes")).then(|| self.cql())
    }

    fn cql(&self) -> CqlConfig {
        let credentials = self.some_text("cql.user").map(|user| CqlCredentials {
            user,
            password: self.secret("cql.password"),
        });
        CqlConfig {
            ownership_keyspace: self.some_text("cql.ownership_keyspace"),
            credentials,
            datacenter: self.some_text("cql.datacenter"),
            replication_factor: u8::try_from(self.count("cql.replication")).unwrap_or(u8::MAX),
            connect_timeout: self.span("cql.connect_timeout"),
            ..CqlConfig::new(self.texts("cql.nodes"), self.text("cql.keyspace"))
        }
    }
}
