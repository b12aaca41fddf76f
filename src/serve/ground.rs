//! What the roles of this process stand on: bus, database, and who decides which shards are whose.

use std::{fs, sync::Arc};

use anyhow::Context as _;
use async_trait::async_trait;
use rookery_cluster::{
    Broadcast, Bus, EndpointId, InProcessBus, Links, Liveness, LivenessError, LivenessRow,
    Membership, MembershipConfig, MembershipPorts, NatsBus, Ownership, Placement, Role, SingleNode,
    membership,
};
use rookery_persistence::{CqlStore, Incarnation, SqliteConfig, SqliteStore, Store};

use crate::{
    check::DATABASE_FILE,
    config::{Cluster, Config, Installation, Roles},
};

/// The name of the only node of an embedded installation.
const NODE: &str = "embedded";

/// What the roles stand on.
pub(super) struct Ground {
    pub(super) roles: Roles,
    /// Name of the node.
    pub(super) node: String,
    pub(super) bus: Arc<dyn Bus>,
    /// `None`: this process keeps nothing.
    pub(super) store: Option<Arc<dyn Store>>,
    kind: Kind,
}

enum Kind {
    /// Everything is here, under one incarnation.
    Embedded { incarnation: Incarnation },
    /// Each start of a role is an incarnation of its own.
    Cluster {
        broadcast: Arc<dyn Broadcast>,
        table: Option<Arc<dyn Liveness>>,
    },
}

/// One start of one role.
pub(super) struct Start {
    pub(super) incarnation: Incarnation,
    pub(super) links: Links,
    pub(super) placement: Arc<dyn Placement>,
    /// The part in the cluster; `None`: there is none.
    pub(super) membership: Option<Membership>,
    pub(super) ownership: Ownership,
}

impl Ground {
    /// Opens the database and the bus.
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        match &config.installation {
            Installation::Embedded => Self::embedded(config),
            Installation::Cluster(cluster) => Self::cluster(cluster).await,
        }
    }

    fn embedded(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            roles: Roles::ALL,
            node: NODE.to_owned(),
            bus: Arc::new(InProcessBus::default()),
            store: Some(open_sqlite(config)?),
            kind: Kind::Embedded {
                incarnation: new_incarnation()?,
            },
        })
    }

    async fn cluster(cluster: &Cluster) -> anyhow::Result<Self> {
        let bus = Arc::new(NatsBus::connect(cluster.nats.clone()).await?);
        let store = match &cluster.cql {
            Some(cql) => Some(Arc::new(CqlStore::connect(cql.clone()).await?)),
            None => None,
        };
        let table = store.clone().map(|store| Arc::new(HeartbeatTable(store)));
        Ok(Self {
            roles: cluster.roles,
            node: cluster.node.clone(),
            bus: Arc::clone(&bus) as Arc<dyn Bus>,
            store: store.map(|store| store as Arc<dyn Store>),
            kind: Kind::Cluster {
                broadcast: bus,
                table: table.map(|table| table as Arc<dyn Liveness>),
            },
        })
    }

    /// Whether there are other processes.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.kind, Kind::Cluster { .. })
    }

    /// Begins a new run of a role; in a cluster it joins.
    pub(super) async fn begin(&self, role: Role) -> anyhow::Result<Start> {
        match &self.kind {
            Kind::Embedded { incarnation } => Ok(Start {
                incarnation: *incarnation,
                links: self.links(role, *incarnation),
                placement: Arc::new(SingleNode {
                    rooms: EndpointId::new(Role::Rooms, incarnation.0),
                    presence: EndpointId::new(Role::Presence, incarnation.0),
                }),
                membership: None,
                ownership: Ownership::Alone,
            }),
            Kind::Cluster { broadcast, table } => {
                let incarnation = new_incarnation()?;
                let config = MembershipConfig {
                    node: self.node.clone(),
                    role,
                    incarnation: incarnation.0,
                };
                let ports = MembershipPorts {
                    bus: Arc::clone(broadcast),
                    // A gateway asks nobody's life of the database.
                    table: table.clone().filter(|_| role != Role::Gateway),
                };
                let (membership, duties) = membership::start(config, ports)
                    .await
                    .with_context(|| format!("cannot join the cluster as {}", role.as_str()))?;
                Ok(Start {
                    incarnation,
                    links: self.links(role, incarnation),
                    placement: Arc::new(membership.placement()),
                    membership: Some(membership.clone()),
                    ownership: Ownership::Cluster { membership, duties },
                })
            }
        }
    }

    fn links(&self, role: Role, incarnation: Incarnation) -> Links {
        let endpoint = EndpointId::new(role, incarnation.0);
        Links::new(Arc::clone(&self.bus), endpoint, incarnation.0)
    }

    /// The database of a role that keeps something.
    pub(super) fn store(&self) -> anyhow::Result<Arc<dyn Store>> {
        self.store.clone().context("no database is configured")
    }
}

/// Opens the database in the data folder, creating both when missing.
fn open_sqlite(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    let folder = &config.data;
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot create the folder {} (data)", folder.display()))?;
    let mut sqlite = SqliteConfig::new(folder.join(DATABASE_FILE));
    sqlite.bytes_max = config.store_bytes_max;
    let store = SqliteStore::open(sqlite)
        .with_context(|| format!("cannot use the data in {} (data)", folder.display()))?;
    Ok(Arc::new(store))
}

/// A number no other run has: 63 random bits, not 0.
fn new_incarnation() -> anyhow::Result<Incarnation> {
    let random = getrandom::u64().context("the system gives no random numbers")?;
    Ok(Incarnation((random >> 1).max(1)))
}

/// The table of heartbeats in the cluster's database.
struct HeartbeatTable(Arc<CqlStore>);

#[async_trait]
impl Liveness for HeartbeatTable {
    async fn write(&self, row: LivenessRow) -> Result<(), LivenessError> {
        let written = self.0.put_heartbeat(row.endpoint.as_str(), &row.heartbeat);
        written.await.map_err(failed)
    }

    async fn read(&self) -> Result<Vec<LivenessRow>, LivenessError> {
        let rows = self.0.heartbeats().await.map_err(failed)?.into_iter();
        Ok(rows
            .map(|(endpoint, heartbeat)| LivenessRow {
                endpoint: EndpointId::from_wire(&endpoint),
                heartbeat,
            })
            .collect())
    }
}

fn failed(error: rookery_persistence::StoreError) -> LivenessError {
    LivenessError {
        source: Box::new(error),
    }
}
