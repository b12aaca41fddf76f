//! The network of the tests is what they take it for: split is split, and healed is healed.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use rookery_loadtest::{cluster::NatsServers, services::nats_program};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

const SOON: Duration = Duration::from_secs(20);
/// For what must not come.
const A_WHILE: Duration = Duration::from_millis(300);

struct Peer(BufReader<TcpStream>);

impl Peer {
    async fn connect(server: SocketAddr) -> Result<Self> {
        let mut peer = Self(BufReader::new(TcpStream::connect(server).await?));
        peer.say("CONNECT {\"verbose\":false}\r\nSUB words 1\r\nPING\r\n")
            .await?;
        peer.line(|line| line == "PONG").await?;
        Ok(peer)
    }

    async fn say(&mut self, text: &str) -> Result<()> {
        Ok(self.0.get_mut().write_all(text.as_bytes()).await?)
    }

    async fn publish(&mut self, word: &str) -> Result<()> {
        let line = format!("PUB words {}\r\n{word}\r\n", word.len());
        self.say(&line).await
    }

    /// Reads to the line looked for.
    async fn line(&mut self, wanted: impl Fn(&str) -> bool) -> Result<()> {
        loop {
            let mut line = String::new();
            let count = self.0.read_line(&mut line).await?;
            anyhow::ensure!(count > 0, "the server has ended the connection");
            if line.trim_end() == "PING" {
                self.say("PONG\r\n").await?;
            }
            if wanted(line.trim_end()) {
                return Ok(());
            }
        }
    }

    async fn hears(&mut self, word: &str) -> Result<()> {
        let heard = timeout(SOON, self.line(|line| line == word)).await;
        heard.with_context(|| format!("{word:?} does not come"))?
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn split_nats_servers_carry_on_each_side_only_until_they_are_healed() -> Result<()> {
    let Some(binary) = nats_program("the split of NATS servers") else {
        return Ok(());
    };
    let folder = TempDir::new()?;
    let mut servers = NatsServers::start(&binary, folder.path(), 3).await?;
    let addresses = servers.addresses();
    let mut alone = Peer::connect(addresses[0]).await?;
    let mut second = Peer::connect(addresses[1]).await?;
    let mut third = Peer::connect(addresses[2]).await?;
    // The interest of one server is known to the others a moment later.
    let met = async {
        loop {
            alone.publish("all").await?;
            let far = third.line(|line| line == "all");
            if let Ok(heard) = timeout(A_WHILE, far).await {
                return heard;
            }
        }
    };
    timeout(SOON, met).await.context("servers do not meet")??;

    servers.split(&[0]);
    let mut word = 0;
    let parted = async {
        loop {
            word += 1;
            alone.publish(&format!("one-{word}")).await?;
            let heard = timeout(A_WHILE, third.line(|line| line.starts_with("one-"))).await;
            if heard.is_err() {
                return anyhow::Ok(());
            }
        }
    };
    timeout(SOON, parted)
        .await
        .context("servers do not part")??;
    second.publish("two").await?;
    third.hears("two").await?;

    servers.heal();
    let met = async {
        loop {
            alone.publish("again").await?;
            let far = third.line(|line| line == "again");
            if let Ok(heard) = timeout(A_WHILE, far).await {
                return heard;
            }
        }
    };
    timeout(SOON, met)
        .await
        .context("servers do not meet again")??;

    servers.kill(0);
    second.publish("three").await?;
    third.hears("three").await?;
    servers.restart(0).await
}
