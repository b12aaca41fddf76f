//! What is verified: a cluster, one server, or a server of somebody else.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::{Instant, sleep};

use super::plan;
use crate::{
    client::ServerAddress,
    cluster::{Cluster, ClusterOptions, Database},
    limits::{CLUSTER_READY_DEADLINE, POLL_INTERVAL},
    proxy::Proxy,
    server::{Server, ServerOptions, memory_bytes},
};

/// The programs and services of this machine that a target is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The program `rookery`.
    pub rookery: PathBuf,
    /// The program `nats-server`, for a cluster.
    pub nats_server: PathBuf,
    /// The database, for a cluster.
    pub database: Option<Database>,
}

/// See the module's words. What was started ends with the value.
pub(super) enum Target {
    Cluster(Box<Cluster>),
    Server(Box<OneServer>),
    Elsewhere(Vec<ServerAddress>),
}

/// One process with everything in it, and the wire on which its clients come.
pub(super) struct OneServer {
    pub(super) server: Server,
    pub(super) wire: Proxy,
}

impl Target {
    pub(super) async fn start(plan: &plan::Target, parts: &Parts, folder: &Path) -> Result<Self> {
        match plan {
            plan::Target::Url { urls } => Ok(Self::Elsewhere(urls.clone())),
            plan::Target::Embedded { settings } => {
                let mut options = ServerOptions::dev(&folder.join("server"));
                for setting in settings {
                    options = options.arg("--set").arg(setting);
                }
                let server = Server::start(&parts.rookery, options).await?;
                let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
                let to = SocketAddr::new(any.ip(), server.address().port());
                let wire = Proxy::start(any, to).await?;
                Ok(Self::Server(Box::new(OneServer { server, wire })))
            }
            plan::Target::Cluster {
                nodes,
                gateways,
                nats_servers,
                replicas,
                settings,
            } => {
                let database = parts.database.clone();
                let database = database.context("a cluster needs a database: --cql")?;
                let there = database.addresses().len();
                ensure!(
                    there == replicas.get(),
                    "the plan has target.replicas = {replicas}, --cql names {there}"
                );
                let options = ClusterOptions {
                    binary: parts.rookery.clone(),
                    nats_binary: parts.nats_server.clone(),
                    folder: folder.to_owned(),
                    nats_servers: nats_servers.get(),
                    database,
                    nodes: nodes.get(),
                    gateways: gateways.get(),
                    direct: false,
                    settings: settings.clone(),
                };
                Ok(Self::Cluster(Box::new(Cluster::start(options).await?)))
            }
        }
    }

    /// Where clients connect; at least one.
    pub(super) fn addresses(&self) -> Vec<ServerAddress> {
        match self {
            Self::Cluster(cluster) => cluster.addresses(),
            Self::Server(one) => vec![one.wire.address().into()],
            Self::Elsewhere(urls) => urls.clone(),
        }
    }

    /// Waits until every process that runs says that it is ready.
    pub(super) async fn ready(&self) -> Result<()> {
        match self {
            Self::Cluster(cluster) => cluster.ready(CLUSTER_READY_DEADLINE).await,
            Self::Elsewhere(_) => Ok(()),
            Self::Server(one) => {
                let deadline = Instant::now() + CLUSTER_READY_DEADLINE;
                loop {
                    let reasons = match one.server.readiness().await {
                        Ok((true, _)) => return Ok(()),
                        Ok((false, reasons)) => reasons,
                        Err(error) => error.to_string(),
                    };
                    if Instant::now() >= deadline {
                        bail!(
                            "the server is not ready: {reasons}\n{}",
                            one.server.log_tail()
                        );
                    }
                    sleep(POLL_INTERVAL * 10).await;
                }
            }
        }
    }

    /// The processes of ours.
    pub(super) fn processes(&self) -> Vec<u32> {
        match self {
            Self::Cluster(cluster) => {
                let members = cluster.nodes.iter().chain(&cluster.gateways);
                let running = members.filter(|member| member.runs());
                running.map(|member| member.server.pid()).collect()
            }
            Self::Server(one) => vec![one.server.pid()],
            Self::Elsewhere(_) => Vec::new(),
        }
    }
}

/// Bytes of memory of these processes together; those that are gone count nothing.
pub(super) fn memory_of(processes: &[u32]) -> u64 {
    let each = processes.iter().map(|pid| memory_bytes(*pid).unwrap_or(0));
    each.sum()
}
