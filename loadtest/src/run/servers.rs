//! The servers of a side: started here, or running already.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::{net::lookup_host, time::timeout};

use super::{FLOOR, Run, Subject};
use crate::{
    client::ServerAddress,
    cluster::{Cluster, ClusterOptions},
    light::orders::Wire,
    limits::READY_DEADLINE,
    server::{Server, ServerOptions, child},
};

/// See the module's words. What was started ends with the value.
pub(super) struct Servers {
    /// How it was started or where it is.
    pub(super) described: String,
    pub(super) wire: Wire,
    pub(super) gateways: Vec<SocketAddr>,
    /// Role and id of each process that is known.
    pub(super) processes: Vec<(String, u32)>,
    /// Where `/metrics` are.
    pub(super) admins: Vec<ServerAddress>,
    held: Held,
}

/// What ends with the side. Fields are dropped in order: processes before their folders.
enum Held {
    Nothing,
    Embedded { server: Server, _folder: TempDir },
    Cluster { cluster: Cluster, _folder: TempDir },
    Floor(#[expect(dead_code, reason = "held for its drop")] FloorProcess),
}

impl Servers {
    /// Ends the processes in order and starts them again, on the same ports and data.
    pub(super) async fn restart(&mut self) -> Result<()> {
        match &mut self.held {
            Held::Embedded { server, .. } => {
                let status = server.terminate().await?;
                ensure!(status.success(), "the server ended with {status}");
                server.restart().await?;
                (self.processes, self.admins) = server_seen(server);
            }
            Held::Cluster { cluster, .. } => {
                cluster.restart().await?;
                (self.processes, self.admins) = cluster_seen(cluster).await?;
            }
            Held::Nothing | Held::Floor(_) => bail!("it cannot be restarted on its data"),
        }
        Ok(())
    }
}

/// Role and id of each process; where metrics are.
type Seen = (Vec<(String, u32)>, Vec<ServerAddress>);

fn server_seen(server: &Server) -> Seen {
    let processes = vec![("server".to_owned(), server.pid())];
    (processes, vec![server.admin().clone()])
}

async fn cluster_seen(cluster: &Cluster) -> Result<Seen> {
    let mut processes = Vec::new();
    let mut admins = Vec::new();
    for (role, members) in [("gateway", &cluster.gateways), ("node", &cluster.nodes)] {
        for member in members {
            processes.push((role.to_owned(), member.server.pid()));
            admins.push(member.server.admin().clone());
        }
    }
    processes.extend(cluster.nats.pids().map(|pid| ("nats".to_owned(), pid)));
    let database = cluster.database().pids().await?;
    processes.extend(database.into_iter().map(|pid| ("database".to_owned(), pid)));
    Ok((processes, admins))
}

pub(super) async fn start(run: &Run, side: &str) -> Result<Servers> {
    if side == FLOOR {
        return floor(&run.tool).await;
    }
    let settings = &run.scenario.settings;
    match &run.subject {
        Subject::Attached {
            urls,
            wire,
            processes,
            admins,
        } => Ok(Servers {
            described: urls
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
            wire: *wire,
            gateways: resolved(urls).await?,
            processes: processes.clone(),
            admins: admins.clone(),
            held: Held::Nothing,
        }),
        Subject::Embedded { rookery } => embedded(rookery, settings).await,
        Subject::Cluster {
            rookery,
            nats_server,
            database,
            gateways,
            nodes,
        } => {
            let folder = tempfile::tempdir()?;
            let cluster = Cluster::start(ClusterOptions {
                binary: rookery.clone(),
                nats_binary: nats_server.clone(),
                folder: folder.path().to_owned(),
                nats_servers: 1,
                database: database.clone(),
                nodes: *nodes,
                gateways: *gateways,
                settings: settings.clone(),
                direct: true,
            })
            .await?;
            clustered(cluster, folder, settings).await
        }
    }
}

async fn resolved(urls: &[ServerAddress]) -> Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for url in urls {
        let mut found = lookup_host(url.authority()).await.into_iter().flatten();
        let first = found.next();
        addresses.push(first.with_context(|| format!("--url {url}: the name has no address"))?);
    }
    Ok(addresses)
}

async fn embedded(rookery: &Path, settings: &[String]) -> Result<Servers> {
    let folder = tempfile::tempdir()?;
    let mut options = ServerOptions::dev(&folder.path().join("data"));
    for setting in settings {
        options = options.arg("--set").arg(setting);
    }
    let server = Server::start(rookery, options).await?;
    let (processes, admins) = server_seen(&server);
    Ok(Servers {
        described: with_settings("rookery serve --dev", settings),
        wire: Wire::Rookery,
        gateways: resolved(std::slice::from_ref(server.address())).await?,
        processes,
        admins,
        held: Held::Embedded {
            server,
            _folder: folder,
        },
    })
}

async fn clustered(cluster: Cluster, folder: TempDir, settings: &[String]) -> Result<Servers> {
    let (processes, admins) = cluster_seen(&cluster).await?;
    let described = format!(
        "{} gateways, {} nodes, {} NATS servers, {} database nodes",
        cluster.gateways.len(),
        cluster.nodes.len(),
        cluster.nats.count(),
        cluster.database().addresses().len(),
    );
    Ok(Servers {
        described: with_settings(&described, settings),
        wire: Wire::Rookery,
        gateways: resolved(&cluster.addresses()).await?,
        processes,
        admins,
        held: Held::Cluster {
            cluster,
            _folder: folder,
        },
    })
}

fn with_settings(what: &str, settings: &[String]) -> String {
    let each = settings.iter().map(|setting| format!(" --set {setting}"));
    format!("{what}{}", each.collect::<String>())
}

/// The floor as a process of its own; killed with its value.
struct FloorProcess(Child);

impl Drop for FloorProcess {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Deserialize)]
struct Listening {
    listening: SocketAddr,
}

async fn floor(tool: &Path) -> Result<Servers> {
    let child = child(tool)
        .args(["floor", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {} floor", tool.display()))?;
    let mut process = FloorProcess(child);
    let output = process.0.stdout.take().context("it was asked for")?;
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).map(|_| line)
    });
    let line = timeout(READY_DEADLINE, line).await;
    let line = line.context("the floor does not listen in time")???;
    ensure!(!line.is_empty(), "the floor ended before it listened");
    let Listening { listening } = serde_json::from_str(&line).context(line)?;
    Ok(Servers {
        described: "rookery-loadtest floor".to_owned(),
        wire: Wire::Rookery,
        gateways: vec![listening],
        processes: vec![("server".to_owned(), process.0.id())],
        admins: Vec::new(),
        held: Held::Floor(process),
    })
}
