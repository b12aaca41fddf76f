//! The simulated cluster: database, bus, history, and who is told which node owns what.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use rookery_cluster::{
    EndpointId, Placement, Role,
    task::{TaskKind, spawn},
};
use rookery_loadtest::history::{Record, What};
use rookery_proto::{ids::Epoch, shard::Shard, v1::server_frame::Frame};
use tokio::time::sleep;

use crate::{
    mutation::Mutation,
    net::Net,
    quorum::Quorum,
    work::ROOMS,
    world::{Process, World, mostly_short},
};

/// Longest until a process learns that a shard has another owner.
const NEWS_MS_MAX: u64 = 400;

/// How shards find their owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moving {
    /// The driver says so, and whoever is asked takes a shard from whoever has it: far more
    /// takeovers, and far stranger ones, than a cluster has.
    Driven,
    /// The real membership, heartbeats and hand-over.
    Real,
}

/// All there is.
pub(crate) struct Cluster {
    pub(crate) world: Arc<World>,
    pub(crate) net: Arc<Net>,
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) moving: Moving,
    map: Mutex<Map>,
    history: Mutex<Vec<Record>>,
}

#[derive(Default)]
struct Map {
    owners: BTreeMap<Shard, (Version, EndpointId)>,
    views: Vec<(Arc<Process>, Arc<View>)>,
}

/// Epoch, and number of what the driver said under it: an owner of a larger epoch is newer than
/// whatever was said before.
type Version = (u64, u64);

/// Who owns what, as one process has heard from the driver.
#[derive(Default)]
pub(crate) struct View(Mutex<BTreeMap<Shard, (Version, EndpointId)>>);

impl View {
    fn hear(&self, shard: Shard, version: Version, owner: EndpointId) {
        let mut owners = self.0.lock().expect("no panic while held");
        if owners.get(&shard).is_none_or(|(known, _)| *known < version) {
            owners.insert(shard, (version, owner));
        }
    }

    /// Something came that shows who owns a room.
    pub(crate) fn saw(&self, room: &str, epoch: u64, owner: &EndpointId) {
        self.hear(Shard::of(room), (epoch, 0), owner.clone());
    }
}

impl Placement for View {
    fn owner(&self, role: Role, shard: Shard) -> Option<EndpointId> {
        if role != Role::Rooms {
            return None;
        }
        let owners = self.0.lock().expect("no panic while held");
        owners.get(&shard).map(|(_, owner)| owner.clone())
    }
}

impl Cluster {
    pub(crate) fn new(
        seed: u64,
        moving: Moving,
        traced: bool,
        mutation: Option<Mutation>,
    ) -> Arc<Self> {
        let world = World::new(seed, traced);
        Arc::new(Self {
            net: Net::new(&world),
            quorum: Quorum::new(&world, mutation, ROOMS.map(Shard::of)),
            world,
            mutation,
            moving,
            map: Mutex::default(),
            history: Mutex::default(),
        })
    }

    /// Notes what a client did or saw.
    pub(crate) fn record(&self, client: u32, session: u32, what: What) {
        let at = self.world.micros();
        self.world
            .say(|| format!("client {client}: {}", short(&what)));
        self.history
            .lock()
            .expect("no panic while held")
            .push(Record {
                at,
                client,
                session,
                what,
            });
    }

    pub(crate) fn history_len(&self) -> usize {
        self.history.lock().expect("no panic while held").len()
    }

    /// The answer to one frame among the records from an index on.
    pub(crate) fn answer_since(&self, index: usize, client: u32, id: &str) -> Option<Frame> {
        let history = self.history.lock().expect("no panic while held");
        let frames = history[index..].iter().filter_map(|record| {
            let What::Received(frame) = &record.what else {
                return None;
            };
            frame.frame.as_ref().filter(|_| record.client == client)
        });
        let mut answers = frames.filter(|frame| match frame {
            Frame::Ack(ack) => ack.id == id,
            Frame::Error(error) => error.id == id,
            _ => false,
        });
        answers.next().cloned()
    }

    pub(crate) fn take_history(&self) -> Vec<Record> {
        std::mem::take(&mut self.history.lock().expect("no panic while held"))
    }

    /// A new process hears from here on who owns what, each time a little later.
    pub(crate) fn view(&self, process: &Arc<Process>) -> Arc<View> {
        let view = Arc::new(View::default());
        let mut map = self.map.lock().expect("no panic while held");
        for (shard, (version, owner)) in &map.owners {
            view.hear(*shard, *version, owner.clone());
        }
        map.views.retain(|(process, _)| !process.is_dead());
        map.views.push((Arc::clone(process), Arc::clone(&view)));
        view
    }

    /// The driver gives the rooms of a shard another owner.
    pub(crate) fn assign(&self, shard: Shard, owner: &EndpointId) {
        self.world.say(|| format!("shard {shard} goes to {owner}"));
        let known = self
            .map
            .lock()
            .expect("no panic while held")
            .owners
            .get(&shard)
            .cloned();
        let epoch = known.map_or(0, |((epoch, _), _)| epoch);
        self.tell(shard, (epoch, self.world.number()), owner);
    }

    /// A node has taken a shard.
    pub(crate) fn taken(&self, shard: Shard, epoch: Epoch, owner: &EndpointId) {
        if self.moving == Moving::Driven {
            self.tell(shard, (epoch.0, 0), owner);
        }
    }

    fn tell(&self, shard: Shard, version: Version, owner: &EndpointId) {
        let mut map = self.map.lock().expect("no panic while held");
        let known = map.owners.get(&shard);
        if known.is_some_and(|(known, _)| *known >= version) {
            return;
        }
        map.owners.insert(shard, (version, owner.clone()));
        for (process, view) in &map.views {
            let delay = self.world.throw(|dice| mostly_short(dice, NEWS_MS_MAX));
            let (process, view) = (Arc::clone(process), Arc::clone(view));
            let owner = owner.clone();
            spawn(TaskKind::Passing, "news", async move {
                sleep(delay).await;
                if !process.is_dead() {
                    process.pass().await;
                    view.hear(shard, version, owner);
                }
            });
        }
    }

    pub(crate) fn owner(&self, shard: Shard) -> Option<EndpointId> {
        let map = self.map.lock().expect("no panic while held");
        map.owners.get(&shard).map(|(_, owner)| owner.clone())
    }
}

/// One line of a replay.
fn short(what: &What) -> String {
    match what {
        What::Sent(frame) => format!("asks {} {:?}", frame.id, frame.command),
        What::Received(frame) => format!("gets {:?}", frame.frame),
        What::Replica(replica) => format!("ends at {} of {}", replica.head(), replica.room()),
        other => format!("{other:?}"),
    }
}
