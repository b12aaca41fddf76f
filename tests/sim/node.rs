//! Nodes: the real rooms, in some runs the real presence and the real membership, over simulated
//! ports.

use std::sync::{Arc, Mutex};

use rookery_cluster::{
    Broadcast, Bus, Clock, EndpointId, Links, Liveness, Membership, MembershipConfig,
    MembershipPorts, Ownership, Placement, Role, membership,
    task::{TaskKind, spawn},
};
use rookery_persistence::{Incarnation, Store};
use rookery_presence::{PresenceConfig, PresenceNode, PresencePorts};
use rookery_room_actors::{Health, RoomLimits, RoomsConfig, RoomsNode, RoomsPorts};
use tokio::time::Duration;

use crate::{
    cluster::{Cluster, Moving},
    keeper,
    mutation::Mutation,
    net::NetPort,
    store::NodeStore,
    world::Process,
};

/// How long a node that stops may take.
const GRACE: Duration = Duration::from_secs(1);

/// One run of a node.
pub(crate) struct Node {
    pub(crate) process: Arc<Process>,
    running: Arc<Mutex<Running>>,
}

#[derive(Default)]
struct Running {
    rooms: Option<RoomsNode>,
    presence: Option<PresenceNode>,
}

impl Node {
    /// Starts a process; it serves once the database has registered it.
    pub(crate) fn start(cluster: &Arc<Cluster>, name: &str) -> Self {
        let process = Process::new(&cluster.world, name);
        cluster.world.say(|| format!("{} starts", process.name));
        let running = Arc::default();
        let begun = begin(
            Arc::clone(cluster),
            Arc::clone(&process),
            name.to_owned(),
            Arc::clone(&running),
        );
        spawn(TaskKind::Passing, "node start", begun);
        Self { process, running }
    }

    pub(crate) fn endpoint(&self, role: Role) -> EndpointId {
        EndpointId::new(role, self.process.incarnation)
    }

    /// Whether it lost its shards to another: it ends by itself then.
    pub(crate) fn is_fenced(&self) -> bool {
        self.is(&Health::Fenced)
    }

    /// Whether it has joined and takes commands.
    pub(crate) fn serves(&self) -> bool {
        self.is(&Health::Ready)
    }

    fn is(&self, health: &Health) -> bool {
        let running = self.running.lock().expect("no panic while held");
        running
            .rooms
            .as_ref()
            .is_some_and(|node| node.health().borrow().eq(health))
    }

    /// Ends in order: hands over, finishes what is in flight.
    pub(crate) fn stop(&self) {
        let running = std::mem::take(&mut *self.running.lock().expect("no panic while held"));
        let process = Arc::clone(&self.process);
        spawn(TaskKind::Passing, "node stop", async move {
            if let Some(rooms) = running.rooms {
                rooms.stop(GRACE).await;
            }
            if let Some(presence) = running.presence {
                presence.stop(GRACE).await;
            }
            process.kill();
        });
    }
}

async fn begin(
    cluster: Arc<Cluster>,
    process: Arc<Process>,
    name: String,
    running: Arc<Mutex<Running>>,
) {
    let rooms = loop {
        if let Some(rooms) = begin_rooms(&cluster, &process, &name).await {
            break rooms;
        }
    };
    running.lock().expect("no panic while held").rooms = Some(rooms);
    if cluster.plan.people().next().is_some() {
        let presence = begin_presence(&cluster, &process, &name).await;
        running.lock().expect("no panic while held").presence = Some(presence);
    }
}

/// `None`: the database did not register it.
async fn begin_rooms(
    cluster: &Arc<Cluster>,
    process: &Arc<Process>,
    name: &str,
) -> Option<RoomsNode> {
    let (ownership, placement) = own(cluster, process, name, Role::Rooms).await;
    let (bus, links) = wires(cluster, process, Role::Rooms);
    let ports = RoomsPorts {
        links,
        bus,
        store: store(cluster, process, Role::Rooms) as Arc<dyn Store>,
        placement,
        ownership,
        clock: Arc::clone(process) as Arc<dyn Clock>,
    };
    let config = RoomsConfig {
        node: name.to_owned(),
        incarnation: Incarnation(process.incarnation),
        limits: RoomLimits {
            passivate_after: Duration::from_secs(4),
            sends_burst: 1_000,
            ..RoomLimits::default()
        },
    };
    rookery_room_actors::start(config, ports).await.ok()
}

async fn begin_presence(
    cluster: &Arc<Cluster>,
    process: &Arc<Process>,
    name: &str,
) -> PresenceNode {
    let (ownership, placement) = own(cluster, process, name, Role::Presence).await;
    let (bus, links) = wires(cluster, process, Role::Presence);
    let ports = PresencePorts {
        bus,
        links,
        placement,
        ownership,
        store: store(cluster, process, Role::Presence) as Arc<dyn Store>,
        clock: Arc::clone(process) as Arc<dyn Clock>,
    };
    let mut config = PresenceConfig {
        incarnation: Incarnation(process.incarnation),
        node: name.to_owned(),
        ..PresenceConfig::default()
    };
    match cluster.mutation {
        Some(Mutation::NoTimeToAnnounce) => config.reannounce_grace = Duration::ZERO,
        Some(Mutation::GoneStillCounts) => config.grace = Duration::from_secs(3_600),
        Some(Mutation::NotThrottled) => config.throttle = Duration::ZERO,
        _ => {}
    }
    let started = rookery_presence::start(config, ports).await;
    started.expect("the bus takes it")
}

/// Bus and links of a role of a process.
fn wires(cluster: &Arc<Cluster>, process: &Arc<Process>, role: Role) -> (Arc<dyn Bus>, Links) {
    let bus: Arc<dyn Bus> = Arc::new(NetPort::new(&cluster.net, process));
    let endpoint = EndpointId::new(role, process.incarnation);
    let links = Links::new(Arc::clone(&bus), endpoint, process.incarnation << 32);
    (bus, links)
}

fn store(cluster: &Arc<Cluster>, process: &Arc<Process>, role: Role) -> Arc<NodeStore> {
    let taker = EndpointId::new(role, process.incarnation);
    let told = Arc::clone(cluster);
    Arc::new(NodeStore::new(
        &cluster.quorum,
        process,
        cluster.mutation,
        Box::new(move |shard, epoch| told.taken(shard, epoch, &taker)),
    ))
}

/// Who decides what a node owns, and who tells it what others own.
async fn own(
    cluster: &Arc<Cluster>,
    process: &Arc<Process>,
    name: &str,
    role: Role,
) -> (Ownership, Arc<dyn Placement>) {
    match cluster.moving {
        Moving::Driven => (Ownership::Alone, cluster.view(process)),
        Moving::Planned => {
            let me = EndpointId::new(role, process.incarnation);
            let ownership = keeper::start(cluster, process, &me);
            (ownership, cluster.view(process))
        }
        Moving::Real => {
            let (membership, duties) = join(cluster, process, name, role).await;
            let placement = Arc::new(membership.placement());
            (Ownership::Cluster { membership, duties }, placement)
        }
    }
}

/// Joins the real membership.
pub(crate) async fn join(
    cluster: &Arc<Cluster>,
    process: &Arc<Process>,
    name: &str,
    role: Role,
) -> (Membership, rookery_cluster::Duties) {
    let config = MembershipConfig {
        node: name.to_owned(),
        role,
        incarnation: process.incarnation,
    };
    let table = store(cluster, process, role) as Arc<dyn Liveness>;
    let ports = MembershipPorts {
        bus: Arc::new(NetPort::new(&cluster.net, process)) as Arc<dyn Broadcast>,
        table: (role != Role::Gateway).then_some(table),
    };
    membership::start(config, ports)
        .await
        .expect("the bus takes it")
}
