//! One process of a cluster, with the wires it hangs on.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::{Result, ensure};

use super::Database;
use crate::{
    limits::READY_DEADLINE,
    ports::free_port,
    proxy::{Loss, Proxy, Way},
    server::{Server, ServerOptions, Signal},
};

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds connections of clients.
    Gateway,
    /// Owns shards of rooms and of presence.
    Node,
}

/// What a process hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Every NATS server.
    Nats,
    /// Every node of the database.
    Database,
}

/// See the module's words. Killed with its value.
#[derive(Debug)]
pub struct Member {
    name: String,
    /// The process.
    pub server: Server,
    nats: Vec<Proxy>,
    database: Vec<Proxy>,
    runs: bool,
}

impl Member {
    /// Starts one and waits for its ready file.
    pub(super) async fn start(
        binary: &Path,
        folder: &Path,
        name: &str,
        role: Role,
        wires: Wires,
        settings: &[String],
    ) -> Result<Self> {
        let mut options = ServerOptions::dev(folder)
            .arg("--role")
            .arg(match role {
                Role::Gateway => "gateway",
                Role::Node => "rooms,presence",
            })
            .arg("--node")
            .arg(name);
        options.ready_deadline = READY_DEADLINE * 2;
        for address in &wires.nats {
            options = options.arg("--nats").arg(&format!("nats://{address}"));
        }
        for address in &wires.database {
            options = options.arg("--cql").arg(&address.to_string());
        }
        for setting in settings {
            options = options.arg("--set").arg(setting);
        }
        Ok(Self {
            name: name.to_owned(),
            server: Server::start(binary, options).await?,
            nats: wires.nats_proxies,
            database: wires.database_proxies,
            runs: true,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it was not killed or stopped.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.runs
    }

    /// Ends it at once.
    pub fn kill9(&mut self) {
        self.server.kill9();
        self.runs = false;
    }

    /// Asks it to end and waits; it must end cleanly.
    ///
    /// # Errors
    /// It does not end in time, or not with status 0.
    pub async fn stop(&mut self) -> Result<()> {
        let status = self.server.terminate().await?;
        self.runs = false;
        ensure!(
            status.code() == Some(0),
            "{} stopped with {status}:\n{}",
            self.name,
            self.server.log_tail()
        );
        Ok(())
    }

    /// Starts it again, on the same port and with the same wires.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        self.server.restart().await?;
        self.runs = true;
        Ok(())
    }

    /// Stops or continues it in the middle of whatever it does.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(self.server.signal(signal)?)
    }

    /// Changes what gets through to all servers of a kind.
    pub fn wire(&self, wire: Wire, way: Way) {
        let proxies = match wire {
            Wire::Nats => &self.nats,
            Wire::Database => &self.database,
        };
        for proxy in proxies {
            proxy.set(way);
        }
    }

    /// Changes which of the messages it publishes are lost.
    pub fn lose(&self, loss: &Loss) {
        for proxy in &self.nats {
            proxy.lose(loss.clone());
        }
    }

    /// How many of the messages it published were lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.nats.iter().map(Proxy::lost).sum()
    }

    /// Changes what gets through to one NATS server.
    pub fn nats_wire(&self, server: usize, way: Way) {
        self.nats[server].set(way);
    }
}

/// Where a process finds NATS and the database.
pub(super) struct Wires {
    nats: Vec<SocketAddr>,
    database: Vec<SocketAddr>,
    /// None of them where it finds them directly.
    nats_proxies: Vec<Proxy>,
    database_proxies: Vec<Proxy>,
}

impl Wires {
    /// Without proxies.
    pub(super) fn direct(nats: &[SocketAddr], database: Option<&Database>) -> Self {
        Self {
            nats: nats.to_vec(),
            database: database.map_or_else(Vec::new, |database| database.addresses().to_vec()),
            nats_proxies: Vec::new(),
            database_proxies: Vec::new(),
        }
    }

    /// Each through a proxy of this process's own.
    pub(super) async fn proxied(nats: &[SocketAddr], database: Option<&Database>) -> Result<Self> {
        let mut nats_proxies = Vec::new();
        for server in nats {
            let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
            nats_proxies.push(Proxy::start_for_nats(any, *server).await?);
        }
        let database_proxies = match database {
            Some(database) => database_wires(database).await?,
            None => Vec::new(),
        };
        Ok(Self {
            nats: nats_proxies.iter().map(Proxy::address).collect(),
            database: database_proxies.iter().map(Proxy::address).collect(),
            nats_proxies,
            database_proxies,
        })
    }
}

/// A proxy per node of the database, all on one port: the driver learns the nodes' addresses from
/// the database, and takes the port from the address it was given itself.
async fn database_wires(database: &Database) -> Result<Vec<Proxy>> {
    let addresses: Vec<IpAddr> = database.addresses().iter().map(SocketAddr::ip).collect();
    let port = free_port(&addresses)?;
    let mut proxies = Vec::new();
    for node in database.addresses() {
        let listen = SocketAddr::new(node.ip(), port);
        proxies.push(Proxy::start(listen, *node).await?);
    }
    Ok(proxies)
}
