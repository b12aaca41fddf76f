//! Nodes: the real rooms, and in some runs the real membership, over simulated ports.

use std::sync::{Arc, Mutex};

use rookery_cluster::{
    Broadcast, Bus, Clock, EndpointId, Links, Liveness, Membership, MembershipConfig,
    MembershipPorts, Ownership, Placement, Role, membership,
    task::{TaskKind, spawn},
};
use rookery_persistence::{Incarnation, Store};
use rookery_room_actors::{Health, RoomLimits, RoomsConfig, RoomsNode, RoomsPorts};
use tokio::time::Duration;

use crate::{
    cluster::{Cluster, Moving},
    keeper,
    net::NetPort,
    store::NodeStore,
    world::Process,
};

/// How long a node that stops may take.
const GRACE: Duration = Duration::from_secs(1);

/// One run of a node.
pub(crate) struct Node {
    pub(crate) process: Arc<Process>,
    pub(crate) rooms: EndpointId,
    running: Arc<Mutex<Option<RoomsNode>>>,
}

impl Node {
    /// Starts a process; it serves once the database has registered it.
    pub(crate) fn start(cluster: &Arc<Cluster>, name: &str) -> Self {
        let process = Process::new(&cluster.world, name);
        let rooms = EndpointId::new(Role::Rooms, process.incarnation);
        cluster.world.say(|| format!("{} starts", process.name));
        let running = Arc::new(Mutex::new(None));
        let begun = begin(
            Arc::clone(cluster),
            Arc::clone(&process),
            name.to_owned(),
            Arc::clone(&running),
        );
        spawn(TaskKind::Passing, "node start", begun);
        Self {
            process,
            rooms,
            running,
        }
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
            .as_ref()
            .is_some_and(|node| node.health().borrow().eq(health))
    }

    /// Ends in order: hands over, finishes what is in flight.
    pub(crate) fn stop(&self) {
        let node = self.running.lock().expect("no panic while held").take();
        let process = Arc::clone(&self.process);
        spawn(TaskKind::Passing, "node stop", async move {
            if let Some(node) = node {
                node.stop(GRACE).await;
            }
            process.kill();
        });
    }
}

async fn begin(
    cluster: Arc<Cluster>,
    process: Arc<Process>,
    name: String,
    running: Arc<Mutex<Option<RoomsNode>>>,
) {
    loop {
        let (ownership, placement) = own(&cluster, &process, &name).await;
        let incarnation = process.incarnation;
        let endpoint = EndpointId::new(Role::Rooms, incarnation);
        let bus: Arc<dyn Bus> = Arc::new(NetPort::new(&cluster.net, &process));
        let ports = RoomsPorts {
            links: Links::new(Arc::clone(&bus), endpoint, incarnation << 32),
            bus,
            store: store(&cluster, &process) as Arc<dyn Store>,
            placement,
            ownership,
            clock: Arc::clone(&process) as Arc<dyn Clock>,
        };
        let config = RoomsConfig {
            node: name.clone(),
            incarnation: Incarnation(incarnation),
            limits: RoomLimits {
                passivate_after: Duration::from_secs(4),
                sends_burst: 1_000,
                ..RoomLimits::default()
            },
        };
        if let Ok(node) = rookery_room_actors::start(config, ports).await {
            *running.lock().expect("no panic while held") = Some(node);
            return;
        }
    }
}

fn store(cluster: &Arc<Cluster>, process: &Arc<Process>) -> Arc<NodeStore> {
    let rooms = EndpointId::new(Role::Rooms, process.incarnation);
    let told = Arc::clone(cluster);
    Arc::new(NodeStore::new(
        &cluster.quorum,
        process,
        cluster.mutation,
        Box::new(move |shard, epoch| told.taken(shard, epoch, &rooms)),
    ))
}

/// Who decides what a node owns, and who tells it what others own.
async fn own(
    cluster: &Arc<Cluster>,
    process: &Arc<Process>,
    name: &str,
) -> (Ownership, Arc<dyn Placement>) {
    match cluster.moving {
        Moving::Driven => (Ownership::Alone, cluster.view(process)),
        Moving::Planned => {
            let rooms = EndpointId::new(Role::Rooms, process.incarnation);
            let ownership = keeper::start(cluster, process, &rooms);
            (ownership, cluster.view(process))
        }
        Moving::Real => {
            let (membership, duties) = join(cluster, process, name, Role::Rooms).await;
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
    let table = store(cluster, process) as Arc<dyn Liveness>;
    let ports = MembershipPorts {
        bus: Arc::new(NetPort::new(&cluster.net, process)) as Arc<dyn Broadcast>,
        table: (role != Role::Gateway).then_some(table),
    };
    membership::start(config, ports)
        .await
        .expect("the bus takes it")
}
