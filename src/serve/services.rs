//! What serves: store, rooms, presence, gateway, started in that order and stopped in the other.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use rookery_cluster::{
    Bus, Clock, EndpointId, InProcessBus, Links, Ownership, Role, SingleNode, SystemClock,
};
use rookery_gateway::{Gateway, GatewayPorts};
use rookery_persistence::{Incarnation, SqliteConfig, SqliteStore, Store};
use rookery_presence::{PresenceConfig, PresenceNode, PresencePorts};
use rookery_room_actors::{Health, RoomsConfig, RoomsNode, RoomsPorts};
use tokio::time;

use super::drain::{
    Drain, GATEWAY_PERCENT, MOVE_PERCENT, PRESENCE_PERCENT, ROOMS_PERCENT, STORE_PERCENT,
    TELL_PERCENT, millis,
};
use crate::{
    check::DATABASE_FILE,
    config::Config,
    exit::Exit,
    readiness::{Part, Readiness},
};

/// The name of the only node of an embedded installation.
const NODE: &str = "embedded";
/// How often it is looked whether the clients that were told to move have gone.
const MOVE_CHECK: Duration = Duration::from_millis(50);

/// Everything that serves.
pub(super) struct Services {
    store: Arc<dyn Store>,
    rooms: RoomsNode,
    presence: PresenceNode,
    gateway: Gateway,
}

/// Opens the database in the data folder, creating both when missing.
pub(super) fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    let folder = &config.data;
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot create the folder {} (data)", folder.display()))?;
    let mut sqlite = SqliteConfig::new(folder.join(DATABASE_FILE));
    sqlite.bytes_max = config.store_bytes_max;
    let store = SqliteStore::open(sqlite)
        .with_context(|| format!("cannot use the data in {} (data)", folder.display()))?;
    Ok(Arc::new(store))
}

/// A number no other run has: 63 random bits, not 0.
fn new_incarnation() -> anyhow::Result<Incarnation> {
    let random = getrandom::u64().context("the system gives no random numbers")?;
    Ok(Incarnation((random >> 1).max(1)))
}

impl Services {
    /// Starts all of them; the gateway takes clients when this returns.
    pub(super) async fn start(
        config: &Config,
        store: Arc<dyn Store>,
        readiness: &Readiness,
    ) -> anyhow::Result<Self> {
        let incarnation = new_incarnation()?;
        let bus: Arc<dyn Bus> = Arc::new(InProcessBus::default());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let endpoint = |role| EndpointId::new(role, incarnation.0);
        let links = |role| Links::new(Arc::clone(&bus), endpoint(role), incarnation.0);
        let placement = Arc::new(SingleNode {
            rooms: endpoint(Role::Rooms),
            presence: endpoint(Role::Presence),
        });

        let ports = RoomsPorts {
            bus: Arc::clone(&bus),
            links: links(Role::Rooms),
            store: Arc::clone(&store),
            placement: placement.clone(),
            ownership: Ownership::Alone,
            clock: Arc::clone(&clock),
        };
        let rooms_config = RoomsConfig {
            node: NODE.to_owned(),
            incarnation,
            limits: config.rooms,
        };
        let rooms = rookery_room_actors::start(rooms_config, ports)
            .await
            .context("cannot start the rooms")?;
        let health = rooms.health();
        readiness.watch(Part::Rooms, move || reason(&health.borrow()));
        readiness.release(Part::Rooms);

        let ports = PresencePorts {
            bus: Arc::clone(&bus),
            links: links(Role::Presence),
            placement: placement.clone(),
            ownership: Ownership::Alone,
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
        };
        let presence_config = PresenceConfig {
            incarnation,
            node: NODE.to_owned(),
            grace: config.presence.grace,
            throttle: config.presence.throttle,
            ..PresenceConfig::default()
        };
        let presence = rookery_presence::start(presence_config, ports)
            .await
            .context("cannot start presence")?;
        readiness.release(Part::Presence);

        let ports = GatewayPorts {
            bus: Arc::clone(&bus),
            links: links(Role::Gateway),
            placement,
            clock,
        };
        let listen = config.gateway.listen;
        let gateway = rookery_gateway::start(config.gateway.clone(), ports)
            .await
            .with_context(|| format!("cannot serve clients on {listen} (server.listen)"))?;
        readiness.release(Part::Gateway);
        Ok(Self {
            store,
            rooms,
            presence,
            gateway,
        })
    }

    /// Where clients connect.
    pub(super) fn address(&self) -> SocketAddr {
        self.gateway.local_addr()
    }

    /// What an acknowledgement promises.
    pub(super) fn durability(&self) -> String {
        self.store.durability()
    }

    /// Returns when the rooms no longer serve, and says why.
    pub(super) async fn lost(&self) -> &'static str {
        let mut health = self.rooms.health();
        let fenced = health.wait_for(|health| *health == Health::Fenced).await;
        match fenced {
            Ok(_) => "another process has taken the rooms",
            Err(_) => "the rooms ended by themselves",
        }
    }

    /// Stops all of them within `grace`, each phase logged with its time.
    pub(super) async fn stop(self, grace: Duration, readiness: &Readiness) -> Exit {
        let Self {
            store,
            rooms,
            presence,
            gateway,
        } = self;
        let mut drain = Drain::begin(grace);
        readiness.hold(Part::Process, "stopping");
        gateway.stop_accepting();
        tracing::info!(grace_ms = millis(grace), "not ready, no new clients");
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
        let left = drain.left(ROOMS_PERCENT);
        let report = drain.phase("rooms", ROOMS_PERCENT, rooms.stop(left)).await;
        if report.is_some_and(|report| report.unfinished > 0) {
            drain.note_late();
        }
        let left = drain.left(PRESENCE_PERCENT);
        let report = drain
            .phase("presence", PRESENCE_PERCENT, presence.stop(left))
            .await;
        if report.is_some_and(|report| !report.in_time) {
            drain.note_late();
        }
        drain.phase("store", STORE_PERCENT, store.close()).await;
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
