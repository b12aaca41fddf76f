//! A whole cluster of real processes on this machine, with every wire between them in our hands.
//!
//! ```text
//! gateways ─┐                         ┌─ NATS 1
//!           ├─ a proxy each, each way ─┤   │ proxies between the servers, for a split
//! nodes ────┘                         └─ NATS 2, 3
//!   └────── a proxy each ──────────────── the database's nodes
//! ```
//!
//! NATS servers are this cluster's own; the database is started by `scripts/services` and used
//! with a keyspace of its own. Everything started here ends with the value, by its process id.

mod database;
mod member;
mod nats;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::{Instant, sleep};

use crate::{
    client::ServerAddress,
    limits::{CLUSTER_READY_DEADLINE, POLL_INTERVAL},
    proxy::Way,
    server::program,
};
pub use database::Database;
use member::Wires;
pub use member::{Member, Role, Wire};
pub use nats::NatsServers;

/// What to start.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The program `rookery`.
    pub binary: PathBuf,
    /// The program `nats-server`.
    pub nats_binary: PathBuf,
    /// For data, configuration and logs.
    pub folder: PathBuf,
    /// NATS servers: 1 or 3.
    pub nats_servers: usize,
    /// The database.
    pub database: Database,
    /// Nodes for rooms and presence.
    pub nodes: usize,
    /// Gateways.
    pub gateways: usize,
    /// Settings of every process, `KEY=VALUE`.
    pub settings: Vec<String>,
    /// Without proxies between the processes: for measuring, where nothing is cut.
    pub direct: bool,
}

/// See the module's words.
#[derive(Debug)]
pub struct Cluster {
    options: ClusterOptions,
    keyspace: String,
    /// The NATS servers.
    pub nats: NatsServers,
    /// The nodes, by number.
    pub nodes: Vec<Member>,
    /// The gateways, by number.
    pub gateways: Vec<Member>,
}

impl Cluster {
    /// Starts all of it and waits until every process is ready.
    ///
    /// # Errors
    /// What did not start, with its log.
    pub async fn start(options: ClusterOptions) -> Result<Self> {
        let keyspace = format!("rookery_{:08x}", fastrand::u32(..));
        let folder = options.folder.join("nats");
        let nats = NatsServers::start(&options.nats_binary, &folder, options.nats_servers).await?;
        let mut cluster = Self {
            options,
            keyspace,
            nats,
            nodes: Vec::new(),
            gateways: Vec::new(),
        };
        cluster.migrate().await?;
        for _ in 0..cluster.options.nodes {
            cluster.add_node().await?;
        }
        for _ in 0..cluster.options.gateways {
            let name = format!("g{}", cluster.gateways.len() + 1);
            let gateway = cluster.member(&name, Role::Gateway).await?;
            cluster.gateways.push(gateway);
        }
        cluster.ready(CLUSTER_READY_DEADLINE).await?;
        Ok(cluster)
    }

    /// Starts one more node; it is not waited for.
    ///
    /// # Errors
    /// It does not start.
    pub async fn add_node(&mut self) -> Result<()> {
        let name = format!("n{}", self.nodes.len() + 1);
        let node = self.member(&name, Role::Node).await?;
        self.nodes.push(node);
        Ok(())
    }

    async fn member(&self, name: &str, role: Role) -> Result<Member> {
        let database = matches!(role, Role::Node).then_some(&self.options.database);
        let settings = [
            format!("nats.subject_prefix={}", self.keyspace),
            format!("cql.keyspace={}", self.keyspace),
        ];
        let settings: Vec<String> = match role {
            Role::Gateway => settings[..1].to_vec(),
            Role::Node => settings.to_vec(),
        };
        let wires = if self.options.direct {
            Wires::direct(&self.nats.addresses(), database)
        } else {
            Wires::proxied(&self.nats.addresses(), database).await?
        };
        Member::start(
            &self.options.binary,
            &self.options.folder.join(name),
            name,
            role,
            wires,
            &[settings, self.options.settings.clone()].concat(),
        )
        .await
        .with_context(|| format!("start {name}"))
    }

    async fn migrate(&self) -> Result<()> {
        let mut command = program(&self.options.binary);
        command.arg("migrate");
        for address in self.options.database.addresses() {
            command.arg("--cql").arg(address.to_string());
        }
        for setting in [
            format!("cql.keyspace={}", self.keyspace),
            format!("cql.replication={}", self.options.database.replication()),
        ] {
            command.arg("--set").arg(setting);
        }
        command.current_dir(&self.options.folder);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        ensure!(
            output.status.success(),
            "rookery migrate ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Stops every process of ours in order, and starts all again on the same ports and data.
    ///
    /// # Errors
    /// One does not end cleanly, or does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        for member in self.gateways.iter_mut().chain(&mut self.nodes) {
            member.stop().await?;
        }
        for member in self.nodes.iter_mut().chain(&mut self.gateways) {
            member.restart().await?;
        }
        self.ready(CLUSTER_READY_DEADLINE).await
    }

    /// Where clients connect.
    #[must_use]
    pub fn addresses(&self) -> Vec<ServerAddress> {
        let addresses = self.gateways.iter().map(|gateway| gateway.server.address());
        addresses.cloned().collect()
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.options.database
    }

    /// The keyspace of its own that it uses in the database.
    #[must_use]
    pub fn keyspace(&self) -> &str {
        &self.keyspace
    }

    /// The folder of data and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.options.folder
    }

    /// Waits until every process that runs says that it is ready.
    ///
    /// # Errors
    /// One is not in time: which, and its reasons.
    pub async fn ready(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        for member in self.nodes.iter().chain(&self.gateways) {
            while member.runs() {
                let reasons = match member.server.readiness().await {
                    Ok((true, _)) => break,
                    Ok((false, reasons)) => reasons,
                    Err(error) => error.to_string(),
                };
                if Instant::now() >= deadline {
                    bail!(
                        "{} is not ready within {within:?}: {reasons}\n{}",
                        member.name(),
                        member.server.log_tail()
                    );
                }
                sleep(POLL_INTERVAL * 10).await;
            }
        }
        Ok(())
    }

    /// Splits NATS and its users in two: those of `side` (numbers of servers, nodes and gateways)
    /// and the rest. All of them still reach the database.
    pub fn split(&self, side: &Side) {
        self.nats.split(&side.nats);
        let here = |numbers: &[usize], number| numbers.contains(&number);
        for (members, listed) in [(&self.nodes, &side.nodes), (&self.gateways, &side.gateways)] {
            for (number, member) in members.iter().enumerate() {
                for server in 0..self.nats.count() {
                    if here(listed, number) != here(&side.nats, server) {
                        member.nats_wire(server, Way::Cut);
                    }
                }
            }
        }
    }

    /// Opens every wire.
    pub fn heal(&self) {
        self.nats.heal();
        for member in self.nodes.iter().chain(&self.gateways) {
            member.wire(Wire::Nats, Way::Open);
            member.wire(Wire::Database, Way::Open);
        }
    }

    /// The sum of a counter, or of one of its label sets (`name{label="value"}`), over the nodes
    /// that run.
    ///
    /// # Errors
    /// A node does not answer.
    pub async fn sum_over_nodes(&self, metric: &str) -> Result<f64> {
        let mut sum = 0.0;
        for node in self.nodes.iter().filter(|node| node.runs()) {
            sum += node.server.metric(metric).await?;
        }
        Ok(sum)
    }

    /// The node that woke a room last, by the nodes' logs; `None`: nobody did.
    #[must_use]
    pub fn owner(&self, room: &str) -> Option<usize> {
        let wakes = |node: &Member| {
            let log = node.server.log();
            let field = format!("room.id={room} ");
            let line = log
                .lines()
                .rfind(|line| line.contains("room awake") && line.contains(&field))?;
            let (_, epoch) = line.split_once("room.epoch=")?;
            epoch.split_whitespace().next()?.parse::<u64>().ok()
        };
        let epochs = self.nodes.iter().enumerate();
        let epochs = epochs.filter_map(|(number, node)| Some((wakes(node)?, number)));
        epochs.max().map(|(_, number)| number)
    }
}

/// One side of a split, by numbers.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// NATS servers.
    pub nats: Vec<usize>,
    /// Nodes.
    pub nodes: Vec<usize>,
    /// Gateways.
    pub gateways: Vec<usize>,
}
