//! What serves: rooms, presence, gateway, as far as they are this process's roles; started in that
//! order and stopped in the other.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use rookery_cluster::{Membership, Placement, Role, SystemClock, membership::Standing};
use rookery_gateway::{Gateway, GatewayPorts};
use rookery_presence::{PresenceConfig, PresenceNode, PresencePorts};
use rookery_proto::shard::Shard;
use rookery_room_actors::Health;
use tokio::time;

use super::{
    drain::{
        Drain, GATEWAY_PERCENT, MOVE_PERCENT, PRESENCE_PERCENT, ROOMS_PERCENT, STORE_PERCENT,
        TELL_PERCENT, millis,
    },
    ground::Ground,
    rooms::Rooms,
};
use crate::{
    config::Config,
    exit::Exit,
    readiness::{Part, Readiness},
};

/// How often it is looked whether the clients that were told to move have gone.
const MOVE_CHECK: Duration = Duration::from_millis(50);

/// Everything that serves here.
pub(super) struct Services {
    ground: Arc<Ground>,
    rooms: Option<Rooms>,
    presence: Option<PresenceNode>,
    gateway: Option<ClientSide>,
}

struct ClientSide {
    gateway: Gateway,
    /// Ends with the gateway.
    _membership: Option<Membership>,
}

impl Services {
    /// Starts all of them; the gateway takes clients when this returns.
    pub(super) async fn start(
        config: &Config,
        ground: Ground,
        readiness: &Readiness,
    ) -> anyhow::Result<Self> {
        let ground = Arc::new(ground);
        let roles = ground.roles;
        let mut services = Self {
            ground: Arc::clone(&ground),
            rooms: None,
            presence: None,
            gateway: None,
        };
        if roles.rooms {
            let rooms = Rooms::start(Arc::clone(&ground), config.rooms).await?;
            let health = rooms.health();
            readiness.watch(Part::Rooms, move || reason(&health.borrow()));
            services.rooms = Some(rooms);
        }
        readiness.release(Part::Rooms);
        if roles.presence {
            let presence = start_presence(config, &ground).await?;
            if let Some(standing) = presence.standing() {
                readiness.watch(Part::Presence, move || standing_reason(*standing.borrow()));
            }
            services.presence = Some(presence);
        }
        readiness.release(Part::Presence);
        if roles.gateway {
            services.gateway = Some(start_gateway(config, &ground, readiness).await?);
        }
        readiness.release(Part::Gateway);
        Ok(services)
    }

    /// Where clients connect; `None`: not to this process.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.gateway.as_ref().map(|it| it.gateway.local_addr())
    }

    /// What an acknowledgement promises, where this process gives any.
    pub(super) fn durability(&self) -> Option<String> {
        self.ground.store.as_ref().map(|store| store.durability())
    }

    /// Returns when the rooms no longer serve, and says why.
    pub(super) async fn lost(&self) -> &'static str {
        match &self.rooms {
            Some(rooms) => rooms.lost(self.ground.is_cluster()).await,
            None => std::future::pending().await,
        }
    }

    /// Stops all of them within `grace`, each phase logged with its time.
    pub(super) async fn stop(self, grace: Duration, readiness: &Readiness) -> Exit {
        let mut drain = Drain::begin(grace);
        readiness.hold(Part::Process, "stopping");
        tracing::info!(grace_ms = millis(grace), "not ready, no new clients");
        if let Some(clients) = self.gateway {
            stop_gateway(clients.gateway, &mut drain).await;
        }
        if let Some(rooms) = self.rooms {
            let left = drain.left(ROOMS_PERCENT);
            let report = drain.phase("rooms", ROOMS_PERCENT, rooms.stop(left)).await;
            if report.is_some_and(|report| report.unfinished > 0) {
                drain.note_late();
            }
        }
        if let Some(presence) = self.presence {
            let left = drain.left(PRESENCE_PERCENT);
            let report = drain
                .phase("presence", PRESENCE_PERCENT, presence.stop(left))
                .await;
            if report.is_some_and(|report| !report.in_time) {
                drain.note_late();
            }
        }
        if let Some(store) = &self.ground.store {
            drain.phase("store", STORE_PERCENT, store.close()).await;
        }
        let (in_time, took) = drain.finish();
        if in_time {
            tracing::info!(took_ms = millis(took), "stopped");
            Exit::Clean
        } else {
            tracing::warn!(
                took_ms = millis(took),
                grace_ms = millis(grace),
                "stopped, not all of it within shutdown.grace"
            );
            Exit::GraceExceeded
        }
    }
}

async fn start_presence(config: &Config, ground: &Ground) -> anyhow::Result<PresenceNode> {
    let start = ground.begin(Role::Presence).await?;
    let presence_config = PresenceConfig {
        incarnation: start.incarnation,
        node: ground.node.clone(),
        grace: config.presence.grace,
        throttle: config.presence.throttle,
        ..PresenceConfig::default()
    };
    let ports = PresencePorts {
        bus: Arc::clone(&ground.bus),
        links: start.links,
        placement: start.placement,
        ownership: start.ownership,
        store: ground.store()?,
        clock: Arc::new(SystemClock),
    };
    rookery_presence::start(presence_config, ports)
        .await
        .context("cannot start presence")
}

async fn start_gateway(
    config: &Config,
    ground: &Ground,
    readiness: &Readiness,
) -> anyhow::Result<ClientSide> {
    let start = ground.begin(Role::Gateway).await?;
    if let Some(membership) = &start.membership {
        let (standing, placement) = (membership.standing(), Arc::clone(&start.placement));
        readiness.watch(Part::Gateway, move || {
            standing_reason(*standing.borrow()).or_else(|| nobody(&*placement))
        });
    }
    let ports = GatewayPorts {
        bus: Arc::clone(&ground.bus),
        links: start.links,
        placement: start.placement,
        clock: Arc::new(SystemClock),
    };
    let listen = config.gateway.listen;
    let gateway = rookery_gateway::start(config.gateway.clone(), ports)
        .await
        .with_context(|| format!("cannot serve clients on {listen} (server.listen)"))?;
    Ok(ClientSide {
        gateway,
        _membership: start.membership,
    })
}

async fn stop_gateway(gateway: Gateway, drain: &mut Drain) {
    gateway.stop_accepting();
    if gateway.connections() > 0 {
        let over = drain.left(TELL_PERCENT);
        let work = async {
            gateway.move_sessions(over).await;
            while gateway.connections() > 0 {
                time::sleep(MOVE_CHECK).await;
            }
        };
        // Those that stay are closed by the next phase: that is not late.
        drain.try_phase("clients move", MOVE_PERCENT, work).await;
    }
    let left = drain.left(GATEWAY_PERCENT);
    drain
        .phase("gateway", GATEWAY_PERCENT, gateway.stop(left))
        .await;
}

/// Why the rooms are not ready.
fn reason(health: &Health) -> Option<String> {
    match health {
        Health::Ready => None,
        Health::Failing { since, reason } => {
            let seconds = since.elapsed().as_secs();
            Some(format!("the store fails since {seconds} s: {reason}"))
        }
        Health::Suspended { reason } => Some((*reason).to_owned()),
        Health::Fenced => Some("another process has taken the rooms".to_owned()),
        Health::Stopping => Some("stopping".to_owned()),
    }
}

/// Why a part of the cluster is not ready.
fn standing_reason(standing: Standing) -> Option<String> {
    match standing {
        Standing::Serving | Standing::Leaving | Standing::Left => None,
        Standing::Joining => Some("joins the cluster".to_owned()),
        Standing::Suspended(why) => Some(why.reason().to_owned()),
        Standing::Fenced => Some("another process has taken its place".to_owned()),
    }
}

/// Why a gateway has nowhere to send to.
fn nobody(placement: &dyn Placement) -> Option<String> {
    let owned = |role| Shard::all().any(|shard| placement.owner(role, shard).is_some());
    match (owned(Role::Rooms), owned(Role::Presence)) {
        (true, true) => None,
        (false, _) => Some("no node that owns rooms is known".to_owned()),
        (true, false) => Some("no node that owns presence is known".to_owned()),
    }
}
