//! The database that `scripts/services` started, and what happens to it.

use std::{net::SocketAddr, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::server::child;

/// Nodes of a database on this machine.
#[derive(Clone, Debug)]
pub struct Database {
    script: PathBuf,
    addresses: Vec<SocketAddr>,
}

impl Database {
    /// The database at these addresses (`host:port,host:port,…`), of which `script`
    /// (`scripts/services`) knows the processes. Its set of servers is named by
    /// `ROOKERY_SERVICES_DIR`, which the script reads itself.
    ///
    /// # Errors
    /// An address is none of this machine.
    pub fn new(script: PathBuf, addresses: &str) -> Result<Self> {
        let parsed = addresses.split(',').map(|address| {
            let parsed: SocketAddr = address
                .trim()
                .parse()
                .with_context(|| format!("{address:?} is no IP address with a port"))?;
            ensure!(
                parsed.ip().is_loopback(),
                "{address} is not on this machine"
            );
            Ok(parsed)
        });
        Ok(Self {
            script,
            addresses: parsed.collect::<Result<_>>()?,
        })
    }

    /// Where its nodes are.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Copies of every row: one per node, up to three.
    #[must_use]
    pub fn replication(&self) -> usize {
        self.addresses.len().min(3)
    }

    /// Does something to the node of that number: see `scripts/services` (`kill`, `restart`,
    /// `pause`, `resume`).
    ///
    /// # Errors
    /// The script's words.
    pub async fn each(&self, what: &'static str, number: usize) -> Result<()> {
        self.script(what, number).await?;
        Ok(())
    }

    /// The process ids of its nodes.
    ///
    /// # Errors
    /// The script's words.
    pub async fn pids(&self) -> Result<Vec<u32>> {
        let mut pids = Vec::new();
        for number in 0..self.addresses.len() {
            let said = self.script("pid", number).await?;
            let pid = said.trim().parse();
            pids.push(pid.with_context(|| format!("{said:?} is no process id"))?);
        }
        Ok(pids)
    }

    /// Pauses a node until it is resumed; one that is dropped before goes on as well: a
    /// database outlives this program.
    ///
    /// # Errors
    /// The script's words.
    pub async fn pause(&self, number: usize) -> Result<PausedNode<'_>> {
        let paused = PausedNode {
            database: self,
            number,
            resumed: false,
        };
        self.script("pause", number).await?;
        Ok(paused)
    }

    fn command(&self, what: &'static str, number: usize) -> (Command, String) {
        let name = if self.addresses.len() == 1 {
            "cql".to_owned()
        } else {
            format!("cql-{}", number + 1)
        };
        let mut command = child(&self.script);
        command.args([what, &name]);
        (command, name)
    }

    async fn script(&self, what: &'static str, number: usize) -> Result<String> {
        let (mut command, name) = self.command(what, number);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        ensure!(
            output.status.success(),
            "scripts/services {what} {name} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// A node that answers nothing for now.
#[derive(Debug)]
pub struct PausedNode<'a> {
    database: &'a Database,
    number: usize,
    resumed: bool,
}

impl PausedNode<'_> {
    /// Lets it go on.
    ///
    /// # Errors
    /// The script's words.
    pub async fn resume(mut self) -> Result<()> {
        self.resumed = true;
        self.database.script("resume", self.number).await?;
        Ok(())
    }
}

impl Drop for PausedNode<'_> {
    fn drop(&mut self) {
        if !self.resumed {
            let (mut command, _) = self.database.command("resume", self.number);
            // Nobody is left to be told.
            let _ = command.output();
        }
    }
}
