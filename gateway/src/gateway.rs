//! Starts and stops the gateway.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use rookery_cluster::{
    Bus, BusError, Clock, Inbox, Links, Placement, Role,
    task::{TaskKind, spawn},
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    auth::{KeyProblem, Verifier},
    config::{ConfigProblem, GatewayConfig},
    conn::Connections,
    http::{self, HttpShared},
    hub::{self, ClusterUplink, Input, Lanes, Settings, Stopped, Worker},
};

/// How often a stop looks whether the sessions are gone.
const STOP_CHECK: Duration = Duration::from_millis(10);

/// What the gateway needs of the rest.
#[derive(Clone)]
pub struct GatewayPorts {
    /// Carries what others send to this gateway's inbox, which is named by `links`.
    pub bus: Arc<dyn Bus>,
    /// Links from this gateway.
    pub links: Links,
    /// Says who owns rooms and users.
    pub placement: Arc<dyn Placement>,
    /// For tokens and for times that people read.
    pub clock: Arc<dyn Clock>,
}

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Values that cannot work.
    #[error("configuration cannot work: {}", list(.0))]
    Config(Vec<ConfigProblem>),
    /// Keys that cannot be used.
    #[error("keys cannot be used: {}", list(.0))]
    Keys(Vec<KeyProblem>),
    /// The address cannot be listened on; says which, and its source says why.
    #[error(transparent)]
    Listen(Box<dyn std::error::Error + Send + Sync>),
    /// The inbox cannot be opened.
    #[error("cannot open the inbox")]
    Inbox(#[source] BusError),
    /// The system gives no thread.
    #[error("cannot start a lane")]
    Lane(#[source] io::Error),
}

fn list(problems: &[impl std::fmt::Display]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopReport {
    /// Connections that were still open when the grace was over, and were cut.
    pub connections_cut: usize,
}

/// A running gateway.
pub struct Gateway {
    local_addr: SocketAddr,
    knows_owners: watch::Receiver<bool>,
    lanes: Lanes,
    threads: Mutex<Option<Stopped>>,
    stop_accepting: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts the gateway: from here on clients can connect. Must be called in a tokio runtime.
///
/// # Errors
/// See [`StartError`]; nothing runs then.
pub async fn start(config: GatewayConfig, ports: GatewayPorts) -> Result<Gateway, StartError> {
    let problems = config.validate();
    if !problems.is_empty() {
        return Err(StartError::Config(problems));
    }
    let verifier = if config.dev {
        Verifier::dev(&config.auth)
    } else {
        Verifier::new(&config.auth)
    };
    let verifier = Arc::new(verifier.map_err(StartError::Keys)?);
    let listener =
        http::bind(config.listen).map_err(|error| StartError::Listen(Box::new(error)))?;
    let local_addr = listener
        .local_addr()
        .map_err(|error| StartError::Listen(Box::new(error)))?;
    let inbox = Inbox::open(&ports.bus, ports.links.me())
        .await
        .map_err(StartError::Inbox)?;

    let mut owners = ports.placement.watch();
    let known = Arc::clone(&owners.borrow_and_update());
    let (any_owner, knows_owners) = watch::channel(known.any(Role::Rooms));
    let settings = Arc::new(Settings::new(&config, Arc::clone(&verifier)));
    let worker = |lane| {
        let uplink = ClusterUplink::new(ports.links.clone());
        Worker::new(lane, Arc::clone(&settings), uplink, Arc::clone(&known))
    };
    let (lanes, threads) =
        Lanes::start(lane_count(config.lanes), &ports.clock, worker).map_err(StartError::Lane)?;
    let connections = Connections::new(lanes.clone(), config.frame_bytes_max);
    let shared = HttpShared::new(&config, verifier, ports.clock, Box::new(connections));
    let (stop_accepting, stopped) = watch::channel(false);
    let tasks = vec![
        spawn(
            TaskKind::Service,
            "accept",
            http::serve(listener, Arc::new(shared), stopped),
        ),
        spawn(
            TaskKind::Service,
            "gateway inbox",
            hub::run_inbox(inbox, lanes.clone()),
        ),
        spawn(
            TaskKind::Service,
            "gateway owners",
            hub::run_owners(owners, known, any_owner, ports.links.clone(), lanes.clone()),
        ),
        spawn(
            TaskKind::Service,
            "hub ticks",
            hub::run_ticks(lanes.clone()),
        ),
    ];
    tracing::info!(listen.addr = %local_addr, "gateway started");
    Ok(Gateway {
        local_addr,
        knows_owners,
        lanes,
        threads: Mutex::new(Some(threads)),
        stop_accepting,
        tasks,
    })
}

/// As configured, or one a core.
fn lane_count(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(crate::config::LANES_MAX),
        count => count,
    }
}

impl Gateway {
    /// The address listened on, with the port the system chose where it was 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Whether any room has an owner that this gateway knows. While none has, every command would
    /// wait in vain: not a gateway for new clients.
    #[must_use]
    pub fn knows_owners(&self) -> watch::Receiver<bool> {
        self.knows_owners.clone()
    }

    /// Connections open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.lanes.readers()
    }

    /// Takes no new connections from here on; open ones live on.
    pub fn stop_accepting(&self) {
        self.stop_accepting.send_replace(true);
    }

    /// Tells every session to reconnect, each at a time of its own inside the window, and closes
    /// it then with the code to resume. Returns when all are told, not when they are gone.
    pub async fn move_sessions(&self, over: Duration) {
        self.lanes.tell(|| Input::Move { over }).await;
    }

    /// Closes every session with the code to resume, waits at most `grace` for their connections
    /// to end, and stops all threads and tasks.
    pub async fn stop(self, grace: Duration) -> StopReport {
        self.stop_accepting();
        self.lanes.tell(|| Input::CloseAll).await;
        let deadline = Instant::now() + grace;
        let mut check = interval(STOP_CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.connections() > 0 && Instant::now() < deadline {
            check.tick().await;
        }
        let connections_cut = self.connections();
        self.lanes.tell(|| Input::Stop).await;
        let threads = self.threads.lock().expect("no panic while held").take();
        if let Some(threads) = threads {
            let joined = tokio::task::spawn_blocking(|| threads.join()).await;
            debug_assert!(joined.is_ok(), "joining does not panic");
        }
        for task in &self.tasks {
            task.abort();
        }
        tracing::info!(connections.cut = connections_cut, "gateway stopped");
        StopReport { connections_cut }
    }
}
