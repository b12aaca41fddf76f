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
use tokio::time::{Duration, sleep};

use crate::{
    keeper::{Order, Orders},
    mutation::Mutation,
    net::Net,
    presence::Fact,
    profile::{Plan, Profile},
    quorum::Quorum,
    world::{Process, World, mostly_short},
};

/// How shards find their owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moving {
    /// The driver says so, and whoever is asked takes a shard from whoever has it: far more
    /// takeovers, and far stranger ones, than a cluster has.
    Driven,
    /// The driver says so too, but nodes hand over what they have: they release it, and the next
    /// takes it from nobody. In between, one is replaced while it lives, as above.
    Planned,
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
    pub(crate) plan: &'static Plan,
    map: Mutex<Map>,
    keepers: Mutex<BTreeMap<EndpointId, (Arc<Process>, Orders)>>,
    history: Mutex<Vec<Record>>,
}

/// Whose owner is meant.
pub(crate) type Target = (Role, Shard);

#[derive(Default)]
struct Map {
    owners: BTreeMap<Target, (Version, EndpointId)>,
    views: Vec<(Arc<Process>, Arc<View>)>,
}

/// Epoch, and number of what the driver said under it: an owner of a larger epoch is newer than
/// whatever was said before.
type Version = (u64, u64);

/// Who owns what, as one process has heard from the driver.
#[derive(Default)]
pub(crate) struct View(Mutex<BTreeMap<Target, (Version, EndpointId)>>);

impl View {
    fn hear(&self, target: Target, version: Version, owner: EndpointId) {
        let mut owners = self.0.lock().expect("no panic while held");
        if owners
            .get(&target)
            .is_none_or(|(known, _)| *known < version)
        {
            owners.insert(target, (version, owner));
        }
    }

    /// Something came that shows who owns a room.
    pub(crate) fn saw(&self, room: &str, epoch: u64, owner: &EndpointId) {
        let target = (Role::Rooms, Shard::of(room));
        self.hear(target, (epoch, 0), owner.clone());
    }

    /// The owner, and the epoch under which it is known to be that.
    pub(crate) fn under(&self, target: Target) -> Option<(EndpointId, u64)> {
        let owners = self.0.lock().expect("no panic while held");
        let known = owners.get(&target);
        known.map(|((epoch, _), owner)| (owner.clone(), *epoch))
    }
}

impl Placement for View {
    fn owner(&self, role: Role, shard: Shard) -> Option<EndpointId> {
        self.under((role, shard)).map(|(owner, _)| owner)
    }
}

impl Cluster {
    pub(crate) fn new(
        seed: u64,
        profile: Profile,
        traced: bool,
        mutation: Option<Mutation>,
    ) -> Arc<Self> {
        let world = World::new(seed, traced);
        let plan = profile.plan();
        let rooms = plan.rooms.iter().copied().map(Shard::of);
        let dear = rooms.chain(plan.people().map(Shard::of));
        Arc::new(Self {
            net: Net::new(&world),
            quorum: Quorum::new(&world, mutation, dear),
            world,
            mutation,
            moving: match profile {
                Profile::Real | Profile::RealPresence => Moving::Real,
                Profile::Moves | Profile::Presence => Moving::Planned,
                Profile::Broad | Profile::Takeovers | Profile::LateCommits => Moving::Driven,
            },
            plan,
            map: Mutex::default(),
            keepers: Mutex::default(),
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

    /// Whether one of the records from an index on is such.
    pub(crate) fn any_since(&self, index: usize, is: impl Fn(&Record) -> bool) -> bool {
        let history = self.history.lock().expect("no panic while held");
        history[index..].iter().any(is)
    }

    pub(crate) fn take_history(&self) -> Vec<Record> {
        std::mem::take(&mut self.history.lock().expect("no panic while held"))
    }

    /// A new process hears from here on who owns what, each time a little later.
    pub(crate) fn view(&self, process: &Arc<Process>) -> Arc<View> {
        let view = Arc::new(View::default());
        let mut map = self.map.lock().expect("no panic while held");
        for (target, (version, owner)) in &map.owners {
            view.hear(*target, *version, owner.clone());
        }
        map.views.retain(|(process, _)| !process.is_dead());
        map.views.push((Arc::clone(process), Arc::clone(&view)));
        view
    }

    /// The driver gives a shard another owner.
    pub(crate) fn assign(&self, shard: Shard, owner: &EndpointId) {
        self.world.say(|| format!("shard {shard} goes to {owner}"));
        let target = (role(owner), shard);
        let known = self
            .map
            .lock()
            .expect("no panic while held")
            .owners
            .get(&target)
            .cloned();
        let epoch = known.map_or(0, |((epoch, _), _)| epoch);
        self.tell(target, (epoch, self.world.number()), owner);
        self.order(owner, Order::Take(shard));
    }

    /// A node's keeper of shards is there.
    pub(crate) fn hire(&self, process: &Arc<Process>, node: &EndpointId, orders: Orders) {
        let mut keepers = self.keepers.lock().expect("no panic while held");
        keepers.retain(|_, (process, _)| !process.is_dead());
        keepers.insert(node.clone(), (Arc::clone(process), orders));
    }

    /// Tells a node's keeper, where it has one.
    pub(crate) fn order(&self, node: &EndpointId, order: Order) {
        let keepers = self.keepers.lock().expect("no panic while held");
        if let Some((_, orders)) = keepers.get(node) {
            // A node that is gone has no keeper any more.
            let _ = orders.send(order);
        }
    }

    /// Another node than this one, of the same role, that has a keeper.
    pub(crate) fn another(&self, than: &EndpointId) -> Option<EndpointId> {
        let keepers = self.keepers.lock().expect("no panic while held");
        let others = keepers.iter().filter(|(node, (process, _))| {
            *node != than && role(node) == role(than) && !process.is_dead()
        });
        let others: Vec<&EndpointId> = others.map(|(node, _)| node).collect();
        let index = self.world.throw(|dice| dice.usize(0..others.len().max(1)));
        others.get(index).copied().cloned()
    }

    /// What the driver gave to a node.
    pub(crate) fn shards_of(&self, node: &EndpointId) -> Vec<Shard> {
        let map = self.map.lock().expect("no panic while held");
        let owners = map.owners.iter().filter(|(_, (_, owner))| owner == node);
        owners.map(|((_, shard), _)| *shard).collect()
    }

    /// A node has taken a shard.
    pub(crate) fn taken(&self, shard: Shard, epoch: Epoch, owner: &EndpointId) {
        if role(owner) == Role::Presence && self.plan.people().any(|it| Shard::of(it) == shard) {
            self.world.note(Fact::Took(shard));
        }
        if self.moving == Moving::Real {
            return;
        }
        self.tell((role(owner), shard), (epoch.0, 0), owner);
        // Rooms find out by their fence. Nobody fences presence: heartbeats tell.
        if role(owner) == Role::Presence {
            let keepers = self.keepers.lock().expect("no panic while held");
            let others = keepers.iter();
            let others = others.filter(|(node, _)| *node != owner && role(node) == Role::Presence);
            for (_, (_, orders)) in others {
                let (delay, orders) = (self.news_delay(), orders.clone());
                spawn(TaskKind::Passing, "news", async move {
                    sleep(delay).await;
                    // A node that is gone has no keeper any more.
                    let _ = orders.send(Order::Lose(shard, epoch));
                });
            }
        }
    }

    fn tell(&self, target: Target, version: Version, owner: &EndpointId) {
        let mut map = self.map.lock().expect("no panic while held");
        let known = map.owners.get(&target);
        if known.is_some_and(|(known, _)| *known >= version) {
            return;
        }
        map.owners.insert(target, (version, owner.clone()));
        for (process, view) in &map.views {
            let delay = self.news_delay();
            let (process, view) = (Arc::clone(process), Arc::clone(view));
            let owner = owner.clone();
            spawn(TaskKind::Passing, "news", async move {
                sleep(delay).await;
                if !process.is_dead() {
                    process.pass().await;
                    view.hear(target, version, owner);
                }
            });
        }
    }

    fn news_delay(&self) -> Duration {
        let max = self.plan.news_ms_max;
        self.world.throw(|dice| {
            if self.plan.news_even {
                Duration::from_millis(dice.u64(0..=max))
            } else {
                mostly_short(dice, max)
            }
        })
    }

    pub(crate) fn owner(&self, target: Target) -> Option<EndpointId> {
        let map = self.map.lock().expect("no panic while held");
        map.owners.get(&target).map(|(_, owner)| owner.clone())
    }
}

/// What an endpoint of ours does.
pub(crate) fn role(endpoint: &EndpointId) -> Role {
    endpoint.role().expect("named by us")
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
