//! Starting and stopping a presence node.

use std::{sync::Arc, time::Duration};

use rookery_cluster::{
    Bus, BusError, Clock, EndpointId, Holdings, Inbox, Links, Ownership, Placement, Role,
    membership::Standing,
    task::{TaskKind, spawn},
};
use rookery_persistence::{Incarnation, Store};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::{
    host::{Host, Stop, Territory, Timing},
    limits::{GRACE, REANNOUNCE_GRACE, STORE_RETRY, THROTTLE, TICK},
    push::{CountingSink, PushSink},
    registry::UserShards,
    shard::{Outbox, ShardPorts, StoreCalls},
};

/// What a presence node can be told. `..Default::default()` gives the documented times.
#[derive(Clone, Debug)]
pub struct PresenceConfig {
    /// This run of the process; names the endpoint. No default makes sense: set it.
    pub incarnation: Incarnation,
    /// Name of the node, the same over restarts; for people.
    pub node: String,
    /// How long a device without a session, and a silent gateway, still count.
    pub grace: Duration,
    /// Least time between two updates about one user.
    pub throttle: Duration,
    /// How long gateways have to announce their sessions to a new or doubting shard.
    pub reannounce_grace: Duration,
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self {
            incarnation: Incarnation(0),
            node: String::new(),
            grace: GRACE,
            throttle: THROTTLE,
            reannounce_grace: REANNOUNCE_GRACE,
        }
    }
}

/// What a presence node needs.
pub struct PresencePorts {
    /// Where its inbox is.
    pub bus: Arc<dyn Bus>,
    /// Its own links: `Links::new(bus, EndpointId::new(Role::Presence, incarnation), …)`.
    pub links: Links,
    /// Who owns which shard, for packets that are not for this node.
    pub placement: Arc<dyn Placement>,
    /// Which shards this node owns.
    pub ownership: Ownership,
    /// Keeps `last_seen` and knows users' rooms.
    pub store: Arc<dyn Store>,
    /// For `last_seen`.
    pub clock: Arc<dyn Clock>,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The links belong to another endpoint.
    #[error("links of {links} given to the node {node}")]
    WrongLinks {
        /// The node's endpoint, by its configuration.
        node: EndpointId,
        /// The endpoint of the links.
        links: EndpointId,
    },
    /// The inbox could not be opened.
    #[error("inbox not opened")]
    Inbox(#[source] BusError),
    /// The supervisor of the shards could not be started.
    #[error("supervisor not started")]
    Supervisor(#[source] ractor::SpawnErr),
}

/// How stopping went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopReport {
    /// Users whose `last_seen` was stored.
    pub stored: usize,
    /// Users whose `last_seen` could not be stored in time.
    pub unsaved: usize,
    /// Whether the node ended within the grace period.
    pub in_time: bool,
}

/// A running presence node. Dropping it ends the node without storing who was seen last.
#[derive(Debug)]
pub struct PresenceNode {
    endpoint: EndpointId,
    standing: Option<watch::Receiver<Standing>>,
    stop: oneshot::Sender<Stop>,
    host: JoinHandle<()>,
}

/// Starts a node. Push events are only counted and logged.
///
/// # Errors
/// [`StartError`] when the links are not its own or the bus is unreachable.
pub async fn start(
    config: PresenceConfig,
    ports: PresencePorts,
) -> Result<PresenceNode, StartError> {
    start_with_push(config, ports, Arc::new(CountingSink)).await
}

/// As [`start`], with somewhere to send push events.
///
/// # Errors
/// As [`start`].
pub async fn start_with_push(
    config: PresenceConfig,
    ports: PresencePorts,
    push: Arc<dyn PushSink>,
) -> Result<PresenceNode, StartError> {
    let PresencePorts {
        bus,
        links,
        placement,
        ownership,
        store,
        clock,
    } = ports;
    let endpoint = EndpointId::new(Role::Presence, config.incarnation.0);
    if *links.me() != endpoint {
        return Err(StartError::WrongLinks {
            node: endpoint,
            links: links.me().clone(),
        });
    }
    let inbox = Inbox::open(&bus, &endpoint)
        .await
        .map_err(StartError::Inbox)?;
    let timing = Timing {
        grace: config.grace,
        throttle: config.throttle,
        reannounce_grace: config.reannounce_grace,
        store_retry: STORE_RETRY,
    };
    let registry = UserShards {
        store: Arc::clone(&store),
        node: config.node,
        incarnation: config.incarnation,
    };
    let is_alone = matches!(ownership, Ownership::Alone);
    let standing = match &ownership {
        Ownership::Alone => None,
        Ownership::Cluster { membership, .. } => Some(membership.standing()),
    };
    let territory = Territory {
        holdings: Holdings::new(ownership, Arc::new(registry)),
        placement,
        is_alone,
    };
    let ports = ShardPorts {
        outbox: Outbox::new(links.clone()),
        store: StoreCalls::new(store),
        clock,
        push,
    };
    let host = Host::start(inbox, links, ports, timing, territory)
        .await
        .map_err(StartError::Supervisor)?;
    let (stop, stopped) = oneshot::channel();
    let host = spawn(TaskKind::Service, "presence host", host.run(stopped));
    tracing::info!(endpoint.id = %endpoint, "presence started");
    Ok(PresenceNode {
        endpoint,
        standing,
        stop,
        host,
    })
}

impl PresenceNode {
    /// Where gateways and rooms reach this node.
    #[must_use]
    pub fn endpoint(&self) -> &EndpointId {
        &self.endpoint
    }

    /// How it stands in its cluster; `None`: it is alone.
    #[must_use]
    pub fn standing(&self) -> Option<watch::Receiver<Standing>> {
        self.standing.clone()
    }

    /// In a cluster hands over all shards first, serving meanwhile. Then stops taking packets, stores when the connected users were last seen, and ends. What is not
    /// stored after `grace` is given up.
    pub async fn stop(self, grace: Duration) -> StopReport {
        let started = Instant::now();
        let deadline = started + grace;
        let (done, report) = oneshot::channel();
        let mut stopped = StopReport {
            stored: 0,
            unsaved: 0,
            in_time: false,
        };
        if self.stop.send(Stop { deadline, done }).is_ok()
            // The host keeps the deadline itself; the report comes right after.
            && let Ok(Ok(report)) = timeout_at(deadline + TICK, report).await
        {
            stopped = StopReport {
                stored: report.stored,
                unsaved: report.unsaved,
                in_time: report.unsaved == 0,
            };
        }
        self.host.abort();
        tracing::info!(
            endpoint.id = %self.endpoint,
            users.stored = stopped.stored,
            users.unsaved = stopped.unsaved,
            in_time = stopped.in_time,
            took_ms = started.elapsed().as_millis(),
            "presence stopped"
        );
        stopped
    }
}
