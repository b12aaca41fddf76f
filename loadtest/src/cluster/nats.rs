//! NATS servers of a cluster's own.

use std::{
    fs::{self, File},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    limits::{NATS_READY_DEADLINE, POLL_INTERVAL},
    ports::free_port,
    proxy::{Proxy, Way},
    server::{Signal, child, send_signal},
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// One NATS server, or several that know each other through proxies only.
#[derive(Debug)]
pub struct NatsServers {
    servers: Vec<NatsServer>,
    routes: Vec<Route>,
}

/// The way on which one server reaches another.
#[derive(Debug)]
struct Route {
    from: usize,
    to: usize,
    proxy: Proxy,
}

#[derive(Debug)]
struct NatsServer {
    binary: PathBuf,
    folder: PathBuf,
    client: SocketAddr,
    monitor: SocketAddr,
    process: Option<Child>,
}

impl NatsServers {
    /// Starts them and waits until they serve and know each other.
    ///
    /// # Errors
    /// What did not start, with its log.
    pub async fn start(binary: &Path, folder: &Path, count: usize) -> Result<Self> {
        let port = || anyhow::Ok(SocketAddr::new(LOOPBACK, free_port(&[LOOPBACK])?));
        let mut listeners = Vec::new();
        let mut servers = Vec::new();
        for number in 0..count {
            listeners.push(port()?);
            servers.push(NatsServer {
                binary: binary.to_owned(),
                folder: folder.join((number + 1).to_string()),
                client: port()?,
                monitor: port()?,
                process: None,
            });
        }
        let mut routes = Vec::new();
        for from in 0..count {
            for to in (0..count).filter(|to| *to != from) {
                let any = SocketAddr::new(LOOPBACK, 0);
                let proxy = Proxy::start(any, listeners[to]).await?;
                routes.push(Route { from, to, proxy });
            }
        }
        for (number, server) in servers.iter_mut().enumerate() {
            server.configure(number, listeners[number], &routes)?;
            server.launch()?;
        }
        let all = Self { servers, routes };
        for number in 0..count {
            all.ready(number).await?;
        }
        Ok(all)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.servers.len()
    }

    /// Where clients reach them.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.client).collect()
    }

    /// The ids of those that run.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        let running = self.servers.iter();
        running.filter_map(|server| Some(server.process.as_ref()?.id()))
    }

    /// Ends one at once, as a crash would.
    pub fn kill(&mut self, number: usize) {
        self.servers[number].kill();
    }

    /// Starts one again and waits until it serves and knows the others that run.
    ///
    /// # Errors
    /// It does not.
    pub async fn restart(&mut self, number: usize) -> Result<()> {
        self.servers[number].kill();
        self.servers[number].launch()?;
        self.ready(number).await
    }

    /// Stops or continues one in the middle of whatever it does.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, number: usize, signal: Signal) -> Result<()> {
        let process = self.servers[number].process.as_ref();
        let process = process.context("the NATS server does not run")?;
        Ok(send_signal(process.id(), signal)?)
    }

    /// Cuts the ways between the servers of `side` and the others.
    pub fn split(&self, side: &[usize]) {
        for route in &self.routes {
            if side.contains(&route.from) != side.contains(&route.to) {
                route.proxy.set(Way::Cut);
            }
        }
    }

    /// Opens all ways between the servers.
    pub fn heal(&self) {
        for route in &self.routes {
            route.proxy.set(Way::Open);
        }
    }

    async fn ready(&self, number: usize) -> Result<()> {
        let server = &self.servers[number];
        let others = self.servers.iter().filter(|other| other.process.is_some());
        let alone = others.count() == 1;
        let deadline = Instant::now() + NATS_READY_DEADLINE;
        loop {
            let answer = timeout(Duration::from_secs(1), server.routes()).await;
            match answer {
                Ok(Ok(routes)) if alone || routes > 0 => return Ok(()),
                _ if Instant::now() < deadline => sleep(POLL_INTERVAL).await,
                other => {
                    let log = fs::read_to_string(server.folder.join("log")).unwrap_or_default();
                    bail!("NATS server {number} is not ready ({other:?}); its log:\n{log}");
                }
            }
        }
    }
}

impl NatsServer {
    fn configure(&self, number: usize, listen: SocketAddr, routes: &[Route]) -> Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut lines = format!(
            "server_name: n{}\nlisten: \"{}\"\nhttp: \"{}\"\nmax_payload: 1MB\n",
            number + 1,
            self.client,
            self.monitor
        );
        let ways = routes.iter().filter(|route| route.from == number);
        let ways: Vec<String> = ways
            .map(|route| format!("\"nats://{}\"", route.proxy.address()))
            .collect();
        if !ways.is_empty() {
            // Servers tell each other where the rest is. What they tell is made useless, so that
            // the proxies stay the only way; nor are clients told of ways around theirs.
            lines.push_str(&format!(
                "cluster {{ name: rookery, listen: \"{listen}\", advertise: \"127.0.0.1:1\", \
                 no_advertise: true, routes: [{}] }}\n",
                ways.join(", ")
            ));
        }
        Ok(fs::write(self.folder.join("nats.conf"), lines)?)
    }

    fn launch(&mut self) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))?;
        let process = child(&self.binary)
            .arg("-c")
            .arg(self.folder.join("nats.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", self.binary.display()))?;
        self.process = Some(process);
        Ok(())
    }

    /// How many other servers it is connected to.
    async fn routes(&self) -> Result<u64> {
        let mut stream = TcpStream::connect(self.monitor).await?;
        stream.write_all(b"GET /routez HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
        let body: serde_json::Value = serde_json::from_str(body)?;
        body["num_routes"].as_u64().context("no num_routes")
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Errors mean that it is gone already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}
