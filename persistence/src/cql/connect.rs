//! From a configuration to a session that is known to work, or an error that names the setting.

use scylla::{
    client::{session::Session, session_builder::SessionBuilder},
    cluster::metadata::Strategy,
    errors::{
        ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError,
        ExecutionError, MetadataError, NewSessionError, RequestAttemptError,
    },
};
use tokio::time::timeout;

use super::config::CqlConfig;
use crate::limits;

/// Why the database cannot be used. Nothing was changed, except by a migration's earlier steps.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No address is set.
    #[error("no address of the database is set (cql.nodes)")]
    NoContactPoints,
    /// A keyspace's name would need quotes.
    #[error(
        "{name:?} ({setting}) is not a name for a keyspace: a lower-case letter, then up to 47 \
         of a-z, 0-9 and _"
    )]
    KeyspaceName {
        /// The setting.
        setting: &'static str,
        /// The name.
        name: String,
    },
    /// Nothing answers, or not as a database.
    #[error("cannot reach the database at {contact_points} (cql.nodes)")]
    Unreachable {
        /// The addresses tried.
        contact_points: String,
        /// The driver's error.
        #[source]
        source: Box<NewSessionError>,
    },
    /// It took too long.
    #[error(
        "the database at {contact_points} (cql.nodes) did not answer in {seconds} s \
         (cql.connect_timeout)"
    )]
    Timeout {
        /// The addresses tried.
        contact_points: String,
        /// How long was waited.
        seconds: f32,
    },
    /// The database knows no such user, or another password.
    #[error("the database refuses user {user:?} (cql.user) with that password (cql.password)")]
    Credentials {
        /// The user.
        user: String,
        /// The driver's error.
        #[source]
        source: Box<NewSessionError>,
    },
    /// The database wants a user.
    #[error("the database asks for a user and a password, none is set (cql.user, cql.password)")]
    NoCredentials,
    /// The keyspace is not there.
    #[error("the keyspace {keyspace:?} ({setting}) does not exist: `rookery migrate` makes it")]
    KeyspaceMissing {
        /// The setting.
        setting: &'static str,
        /// The name.
        keyspace: String,
    },
    /// The keyspace to be made could not be written to.
    #[error(
        "{factor} copies of every row (cql.replication) need as many nodes, the database has {nodes} \
         in datacenter {datacenter:?}"
    )]
    TooFewNodes {
        /// Where they are missing.
        datacenter: String,
        /// How many there are.
        nodes: usize,
        /// How many are needed.
        factor: u8,
    },
    /// The schema is not there, or old.
    #[error(
        "the keyspace {keyspace:?} (cql.keyspace) has schema version {found}, this program needs \
         {needed}: run `rookery migrate`"
    )]
    OlderSchema {
        /// The keyspace.
        keyspace: String,
        /// Its version; 0: no tables of ours.
        found: u32,
        /// Ours.
        needed: u32,
    },
    /// A newer program has been here.
    #[error(
        "the keyspace {keyspace:?} (cql.keyspace) has schema version {found}, this program knows \
         up to {known}: use a newer rookery"
    )]
    NewerSchema {
        /// The keyspace.
        keyspace: String,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The user may not do it: read only, for example.
    #[error("the user {user:?} (cql.user) may not do that: {reason}")]
    Denied {
        /// The user; empty: none is set.
        user: String,
        /// The database's words.
        reason: String,
    },
    /// Half of an installation is there.
    #[error(
        "the keyspace {keyspace:?} (cql.keyspace) holds an unfinished copy of another \
         installation: run `rookery copy` again"
    )]
    UnfinishedCopy {
        /// The keyspace.
        keyspace: String,
    },
    /// Another process migrates and does not come to an end.
    #[error("another process is migrating the keyspace {keyspace:?} and does not finish")]
    Locked {
        /// The keyspace of the lock.
        keyspace: String,
    },
    /// The database refused or did not answer in time.
    #[error("the database did not do it: {what}")]
    Query {
        /// What was asked.
        what: String,
        /// The driver's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was read cannot be right.
    #[error("stored data is not sound: {what}")]
    Unsound {
        /// What is wrong.
        what: String,
    },
}

/// Opens a session.
pub(super) async fn session(config: &CqlConfig) -> Result<Session, ConnectError> {
    config.check()?;
    let keyspaces = config.keyspaces().map(|(_, name)| name);
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.contact_points)
        .connection_timeout(config.connect_timeout)
        .keepalive_interval(limits::CQL_KEEPALIVE_INTERVAL)
        .keepalive_timeout(limits::CQL_KEEPALIVE_TIMEOUT)
        .keyspaces_to_fetch(keyspaces)
        .fetch_full_schema_metadata(false)
        .refresh_metadata_on_auto_schema_agreement(false);
    if let Some(credentials) = &config.credentials {
        builder = builder.user(&credentials.user, &credentials.password);
    }
    if let Some(datacenter) = &config.datacenter {
        builder = builder.prefer_datacenter(datacenter.clone());
    }
    let session = timeout(config.connect_timeout, builder.build())
        .await
        .map_err(|_| timed_out(config))?;
    session.map_err(|error| not_connected(config, error))
}

pub(super) fn timed_out(config: &CqlConfig) -> ConnectError {
    ConnectError::Timeout {
        contact_points: config.contact_points.join(", "),
        seconds: config.connect_timeout.as_secs_f32(),
    }
}

fn not_connected(config: &CqlConfig, error: NewSessionError) -> ConnectError {
    let setup = match &error {
        NewSessionError::MetadataError(MetadataError::ConnectionPoolError(
            ConnectionPoolError::Broken {
                last_connection_error: ConnectionError::ConnectionSetupRequestError(setup),
            },
        )) => Some(setup.get_error()),
        _ => None,
    };
    match setup {
        Some(ConnectionSetupRequestErrorKind::MissingAuthentication) => ConnectError::NoCredentials,
        Some(ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, _)) => {
            let user = config.credentials.as_ref().map(|one| one.user.clone());
            ConnectError::Credentials {
                user: user.unwrap_or_default(),
                source: Box::new(error),
            }
        }
        _ => ConnectError::Unreachable {
            contact_points: config.contact_points.join(", "),
            source: Box::new(error),
        },
    }
}

/// What a refusal for lack of permission is to the user.
pub(super) fn denied(config: &CqlConfig, error: &ExecutionError) -> Option<ConnectError> {
    match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            DbError::Unauthorized,
            reason,
        )) => {
            let user = config.credentials.as_ref().map(|one| one.user.clone());
            Some(ConnectError::Denied {
                user: user.unwrap_or_default(),
                reason: reason.clone(),
            })
        }
        _ => None,
    }
}

/// Refuses a keyspace that is not there; tells what a commit in the first one promises.
pub(super) fn durability(session: &Session, config: &CqlConfig) -> Result<String, ConnectError> {
    let state = session.get_cluster_state();
    for (setting, name) in config.keyspaces() {
        if state.get_keyspace(name).is_none() {
            return Err(ConnectError::KeyspaceMissing {
                setting,
                keyspace: name.to_owned(),
            });
        }
    }
    let replicas = state
        .get_keyspace(&config.keyspace)
        .map(|keyspace| replicas(&keyspace.strategy))
        .unwrap_or_default();
    Ok(format!(
        "cql, LOCAL_QUORUM, {replicas}: a returned commit is in the memory and the commit log of \
         a quorum of them; each syncs its log to disk as its commitlog_sync says"
    ))
}

fn replicas(strategy: &Strategy) -> String {
    match strategy {
        Strategy::SimpleStrategy { replication_factor } => {
            format!("replication factor {replication_factor}")
        }
        Strategy::NetworkTopologyStrategy {
            datacenter_repfactors,
        } => {
            let mut factors: Vec<_> = datacenter_repfactors
                .iter()
                .map(|(datacenter, factor)| format!("{factor} in {datacenter}"))
                .collect();
            factors.sort();
            format!("replication factor {}", factors.join(", "))
        }
        Strategy::LocalStrategy => "replication factor 1".to_owned(),
        _ => "unknown replication".to_owned(),
    }
}
