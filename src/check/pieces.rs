//! The pieces of a cluster: each is used as `serve` uses it, and let go.

use std::fmt;

use anyhow::Context as _;
use rookery_cluster::{NatsBus, Role, limits::PAYLOAD_BYTES_MAX};
use rookery_persistence::{CqlStore, Store as _};

use crate::{config::Cluster, exit::Exit};

/// What was found: a name, and what is to be said of it or why it cannot be used.
#[derive(Debug)]
pub(crate) struct Pieces {
    found: Vec<(&'static str, anyhow::Result<String>)>,
}

/// Asks NATS and, where the roles need it, the database.
pub(crate) async fn look(cluster: &Cluster) -> Pieces {
    let mut found = vec![("node", Ok(node(cluster)))];
    found.push(("nats", nats(cluster).await));
    if cluster.cql.is_some() {
        found.push(("database", database(cluster).await));
    }
    Pieces { found }
}

fn node(cluster: &Cluster) -> String {
    let roles = [Role::Gateway, Role::Rooms, Role::Presence].into_iter();
    let named: Vec<_> = roles
        .filter(|role| cluster.roles.has(*role))
        .map(Role::as_str)
        .collect();
    format!("{:?} does {}", cluster.node, named.join(", "))
}

async fn nats(cluster: &Cluster) -> anyhow::Result<String> {
    NatsBus::connect(cluster.nats.clone()).await?;
    Ok(format!(
        "{} carries {}.> and messages of {PAYLOAD_BYTES_MAX} bytes",
        cluster.nats.servers.join(", "),
        cluster.nats.prefix
    ))
}

async fn database(cluster: &Cluster) -> anyhow::Result<String> {
    let config = cluster.cql.clone().context("no database is named")?;
    let keyspace = config.keyspace.clone();
    let store = CqlStore::connect(config).await?;
    let durability = store.durability();
    store.close().await;
    Ok(format!(
        "keyspace {keyspace:?} can be written to and its schema fits\n  {durability}"
    ))
}

impl Pieces {
    /// The gravest of what was found.
    pub(crate) fn exit(&self) -> Exit {
        let exits = self.found.iter().filter_map(|(_, found)| {
            let error = found.as_ref().err()?;
            Some(Exit::after(error))
        });
        exits.min_by_key(|exit| exit.code()).unwrap_or(Exit::Clean)
    }
}

impl fmt::Display for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.found.iter().try_for_each(|(name, found)| match found {
            Ok(text) => writeln!(f, "{name}: {text}"),
            Err(error) => writeln!(f, "{name}: NOT usable: {error:#}"),
        })
    }
}
