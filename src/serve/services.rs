//! What serves: rooms, presence, gateway, as far as they are this process's roles; started in that
//! order and stopped in the other.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

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
            let (health, placement) = (rooms.health(), rooms.placement());
            let settled = Settled::default();
            readiness.watch(Part::Rooms, move || {
                reason(&health.borrow())
                    .or_else(|| settled.reason(&**placement.borrow(), Role::Rooms))
            });
            services.rooms = Some(rooms);
        }
        readiness.release(Part::Rooms);
        if roles.presence {
            let (presence, placement) = start_presence(config, &ground).await?;
            if let Some(standing) = presence.standing() {
                let settled = Settled::default();
                readiness.watch(Part::Presence, move || {
                    standing_reason(*standing.borrow())
                        .or_else(|| settled.reason(&*placement, Role::Presence))
                });
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

async fn start_presence(
    config: &Config,
    ground: &Ground,
) -> anyhow::Result<(PresenceNode, Arc<dyn Placement>)> {
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
        placement: Arc::clone(&start.placement),
        ownership: start.ownership,
        store: ground.store()?,
        clock: Arc::new(SystemClock),
    };
    let presence = rookery_presence::start(presence_config, ports)
        .await
        .context("cannot start presence")?;
    Ok((presence, start.placement))
}

async fn start_gateway(
    config: &Config,
    ground: &Ground,
    readiness: &Readiness,
) -> anyhow::Result<ClientSide> {
    let start = ground.begin(Role::Gateway).await?;
    if let Some(membership) = &start.membership {
        let (standing, placement) = (membership.standing(), Arc::clone(&start.placement));
        let (rooms, presence) = (Settled::default(), Settled::default());
        readiness.watch(Part::Gateway, move || {
            standing_reason(*standing.borrow())
                .or_else(|| rooms.reason(&*placement, Role::Rooms))
                .or_else(|| presence.reason(&*placement, Role::Presence))
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
        Health::Failing { since, reason, .. } => {
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

/// A part of a cluster is ready once every shard has had an owner, and afterwards as long as any
/// has: that some have none for a moment is no reason to send clients away from everybody.
#[derive(Default)]
struct Settled(AtomicBool);

impl Settled {
    fn reason(&self, placement: &dyn Placement, role: Role) -> Option<String> {
        let owned = |shard: &Shard| placement.owner(role, *shard).is_some();
        let role = role.as_str();
        if self.0.load(Ordering::Relaxed) {
            let none = !Shard::all().any(|shard| owned(&shard));
            return none.then(|| format!("no node that owns {role} is known"));
        }
        let missing = Shard::all().filter(|shard| !owned(shard)).count();
        self.0.store(missing == 0, Ordering::Relaxed);
        (missing > 0).then(|| format!("{missing} shards of {role} have no owner yet"))
    }
}
