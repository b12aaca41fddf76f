//! Starting and stopping the rooms of one process.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ractor::{Actor as _, ActorRef};
use rookery_cluster::{
    Bus, BusError, Clock, Holdings, Inbox, Links, Ownership, Placement,
    task::{TaskKind, spawn},
};
use rookery_persistence::{Incarnation, Store, StoreError};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    commit::Committer,
    health::{Health, HealthCell},
    host::{Host, HostMsg, HostParts, Shared, Supervisor},
    limits::RoomLimits,
    registry::RoomShards,
    upkeep,
};

/// What an installation says about its rooms.
#[derive(Clone, Debug)]
pub struct RoomsConfig {
    /// Name of the node, the same over restarts; for people.
    pub node: String,
    /// This run of the node.
    pub incarnation: Incarnation,
    /// What may be changed.
    pub limits: RoomLimits,
}

/// What rooms need of the world.
pub struct RoomsPorts {
    /// Carries the inbox.
    pub bus: Arc<dyn Bus>,
    /// Links of this endpoint; its name is the inbox.
    pub links: Links,
    /// Keeps everything.
    pub store: Arc<dyn Store>,
    /// Who owns which shard, for people and packets that are not for this node.
    pub placement: Arc<dyn Placement>,
    /// Which shards this node owns.
    pub ownership: Ownership,
    /// Times of events.
    pub clock: Arc<dyn Clock>,
}

/// Why rooms did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store did not register this run.
    #[error("node not registered in the store")]
    Register(#[source] StoreError),
    /// The inbox could not be opened.
    #[error("inbox not opened")]
    Inbox(#[source] BusError),
    /// The actor runtime refused.
    #[error("supervisor not started")]
    Supervisor(#[source] Box<ractor::SpawnErr>),
}

/// How a stop went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopReport {
    /// Rooms that were awake.
    pub rooms: usize,
    /// Rooms that had not written everything when the grace was over.
    pub unfinished: usize,
}

/// The running rooms of this process.
pub struct RoomsNode {
    health: HealthCell,
    to_host: mpsc::UnboundedSender<HostMsg>,
    host: JoinHandle<()>,
    committer: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    supervisor: ActorRef<()>,
    awake: Arc<AtomicUsize>,
}

/// Registers this incarnation, opens the inbox and serves rooms from then on.
///
/// # Errors
/// [`StartError`], when the store or the bus cannot be had.
pub async fn start(config: RoomsConfig, ports: RoomsPorts) -> Result<RoomsNode, StartError> {
    let RoomsConfig {
        node,
        incarnation,
        limits,
    } = config;
    let RoomsPorts {
        bus,
        links,
        store,
        placement,
        ownership,
        clock,
    } = ports;
    store
        .register_node(&node, incarnation)
        .await
        .map_err(StartError::Register)?;
    let inbox = Inbox::open(&bus, links.me())
        .await
        .map_err(StartError::Inbox)?;
    let (to_host, messages) = mpsc::unbounded_channel();
    let (supervisor, _) = Supervisor::spawn(None, Supervisor, to_host.clone())
        .await
        .map_err(|error| StartError::Supervisor(Box::new(error)))?;
    let health = HealthCell::new();
    let (committer, commit_task) =
        Committer::start(Arc::clone(&store), incarnation, health.clone());
    let upkeep = upkeep::run(Arc::clone(&store), Arc::clone(&clock));
    let upkeep = spawn(TaskKind::Service, "store upkeep", upkeep);
    let registry = RoomShards {
        store: Arc::clone(&store),
        node,
        incarnation,
    };
    let shared = Arc::new(Shared {
        incarnation,
        limits,
        store,
        links,
        placement,
        clock,
        committer,
        health: health.clone(),
        wakes: Shared::wake_permits(),
    });
    let awake = Arc::new(AtomicUsize::new(0));
    let host = Host::new(HostParts {
        inbox,
        messages,
        to_host: to_host.clone(),
        shared,
        holdings: Holdings::new(ownership, Arc::new(registry)),
        supervisor: supervisor.get_cell(),
        awake: Arc::clone(&awake),
    });
    let host = spawn(TaskKind::Service, "room host", host.run());
    Ok(RoomsNode {
        health,
        to_host,
        host,
        committer: commit_task,
        upkeep,
        supervisor,
        awake,
    })
}

impl RoomsNode {
    /// The node's latest health.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.watch()
    }

    /// Rooms in memory.
    #[must_use]
    pub fn rooms_awake(&self) -> usize {
        self.awake.load(Ordering::Relaxed)
    }

    /// In a cluster hands over all shards first, serving meanwhile. Then refuses new writes, finishes
    /// what is in flight, writes cursors, and ends all rooms; at the latest after `grace`.
    pub async fn stop(self, grace: Duration) -> StopReport {
        let (report, reported) = oneshot::channel();
        let until = Instant::now() + grace;
        // Closed when the bus was gone: then there is nothing left to stop.
        let _ = self.to_host.send(HostMsg::Stop { until, report });
        let report = reported.await.unwrap_or_default();
        self.host.abort();
        self.committer.abort();
        self.upkeep.abort();
        self.supervisor.stop(None);
        tracing::info!(
            rooms.count = report.rooms,
            rooms.unfinished = report.unfinished,
            "rooms stopped"
        );
        report
    }

    /// Ends everything at once, as a killed process would: for a node that was fenced, and may
    /// write and acknowledge nothing any more.
    pub fn abandon(self) {
        self.host.abort();
        self.committer.abort();
        self.upkeep.abort();
        self.supervisor.stop_children(None);
        self.supervisor.get_cell().kill();
    }

    /// Makes a room's actor panic.
    #[cfg(test)]
    pub(crate) fn crash_room(&self, room: &rookery_proto::ids::RoomId) {
        self.to_host.send(HostMsg::Crash(room.clone())).unwrap();
    }
}
