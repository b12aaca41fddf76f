//! A node's part in planned moves, at the driver's word: stop admitting, finish, and give it to the
//! other. Whoever is asked to take a shard takes it, also from one that lives.

use std::{collections::BTreeMap, sync::Arc};

use rookery_cluster::{
    EndpointId, Ownership,
    membership::{Answer, Duty, Script, Standing, Successor},
    task::{TaskKind, spawn},
};
use rookery_proto::{ids::Epoch, shard::Shard};
use tokio::{
    sync::mpsc,
    time::{Duration, sleep},
};

use crate::{
    cluster::{Cluster, role},
    world::Process,
};

/// When a release of unknown outcome is tried again.
const RELEASE_RETRY: Duration = Duration::from_millis(50);

/// What the driver, or another keeper, tells one.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Another is about to give it to this node.
    Expect(Shard),
    /// Another has given it, under that epoch.
    Given(Shard, Epoch),
    Take(Shard),
    GiveTo(Shard, EndpointId),
    /// Another has it, under that epoch.
    Lose(Shard, Epoch),
}

/// Tells a node what to do about shards.
pub(crate) type Orders = mpsc::UnboundedSender<Order>;

struct Giving {
    to: EndpointId,
    /// To whom the database is asked to give it: it cannot be taken back any more.
    asked: Option<EndpointId>,
}

struct Keeper {
    cluster: Arc<Cluster>,
    process: Arc<Process>,
    me: EndpointId,
    script: Script,
    held: BTreeMap<Shard, Epoch>,
    /// The newest epoch had of each.
    newest: BTreeMap<Shard, Epoch>,
    giving: BTreeMap<Shard, Giving>,
    leaves: bool,
}

/// Starts the keeper of a node.
pub(crate) fn start(cluster: &Arc<Cluster>, process: &Arc<Process>, me: &EndpointId) -> Ownership {
    let (membership, duties, script) = Script::new();
    let (orders_in, orders) = mpsc::unbounded_channel();
    for shard in cluster.shards_of(me) {
        // The other end is held below.
        let _ = orders_in.send(Order::Take(shard));
    }
    cluster.hire(process, me, orders_in);
    let keeper = Keeper {
        cluster: Arc::clone(cluster),
        process: Arc::clone(process),
        me: me.clone(),
        script,
        held: BTreeMap::new(),
        newest: BTreeMap::new(),
        giving: BTreeMap::new(),
        leaves: false,
    };
    spawn(TaskKind::Passing, "keeper", keeper.run(orders));
    Ownership::Cluster { membership, duties }
}

impl Keeper {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            tokio::select! {
                biased;
                Some(order) = orders.recv() => {
                    self.process.pass().await;
                    self.obey(order);
                }
                answer = self.script.next() => {
                    self.process.pass().await;
                    match answer {
                        Some(answer) => self.heed(answer).await,
                        None => return,
                    }
                }
            }
            if self.leaves && self.held.is_empty() {
                self.script.stand(Standing::Left);
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Expect(shard) => self.script.ask(Duty::Expect { shard }),
            Order::Take(shard) => match self.giving.get_mut(&shard) {
                Some(giving) if giving.asked.is_some() => giving.to = self.me.clone(),
                Some(_) => {
                    self.giving.remove(&shard);
                    self.script.ask(Duty::Admit { shard });
                }
                None if self.held.contains_key(&shard) => {}
                None => self.script.ask(take(shard, None)),
            },
            Order::Given(shard, epoch) => {
                let new = self.newest.get(&shard).is_none_or(|had| *had < epoch);
                if new && !self.held.contains_key(&shard) {
                    self.hold(shard, epoch);
                    self.cluster.taken(shard, epoch, &self.me);
                    self.script.ask(Duty::Given { shard, epoch });
                }
            }
            Order::GiveTo(shard, to) => self.give(shard, to),
            Order::Lose(shard, epoch) => {
                if self.held.get(&shard).is_some_and(|held| *held < epoch) {
                    self.held.remove(&shard);
                    self.giving.remove(&shard);
                    self.script.ask(Duty::Lost { shard });
                    // Told to take it before it knew that it had lost it.
                    if self.is_mine(shard) {
                        self.script.ask(take(shard, None));
                    }
                }
            }
        }
    }

    /// Whether the driver wants it here.
    fn is_mine(&self, shard: Shard) -> bool {
        let target = (role(&self.me), shard);
        self.cluster.owner(target).as_ref() == Some(&self.me)
    }

    fn give(&mut self, shard: Shard, to: EndpointId) {
        if !self.held.contains_key(&shard) || self.giving.contains_key(&shard) || to == self.me {
            return;
        }
        self.cluster
            .world
            .say(|| format!("{} gives {shard} to {to}", self.me));
        self.cluster.order(&to, Order::Expect(shard));
        self.script.ask(Duty::StopAdmitting {
            shard,
            to: Some(to.clone()),
        });
        self.giving.insert(shard, Giving { to, asked: None });
    }

    async fn heed(&mut self, answer: Answer) {
        match answer {
            Answer::Taken(shard, epoch) => self.hold(shard, epoch),
            Answer::TakeRefused(shard, owner) => {
                // Another lives, and is replaced nevertheless: while that is still wanted.
                if self.is_mine(shard) {
                    self.script.ask(take(shard, Some(owner)));
                }
            }
            Answer::Finished(shard) => self.release(shard),
            Answer::ReleaseFailed(shard) => {
                sleep(RELEASE_RETRY).await;
                self.release(shard);
            }
            Answer::Released(shard, given) => {
                let held = self.held.remove(&shard);
                let giving = self.giving.remove(&shard);
                if let (Some(Giving { to, asked }), Some(epoch)) = (giving, held) {
                    self.cluster
                        .world
                        .say(|| format!("{} has given {shard} to {asked:?}: {given}", self.me));
                    if let (Some(asked), true) = (asked, given) {
                        let epoch = Epoch(epoch.0 + 1);
                        self.cluster.order(&asked, Order::Given(shard, epoch));
                    }
                    self.cluster.assign(shard, &to);
                }
            }
            Answer::Leaves => {
                self.leaves = true;
                for shard in self.held.keys().copied().collect::<Vec<_>>() {
                    if let Some(to) = self.cluster.another(&self.me) {
                        self.give(shard, to);
                    }
                }
            }
        }
    }

    fn release(&mut self, shard: Shard) {
        if let (Some(giving), Some(epoch)) = (self.giving.get_mut(&shard), self.held.get(&shard)) {
            // Asked again, it is asked the same.
            let asked = giving.asked.get_or_insert_with(|| giving.to.clone());
            let (epoch, to) = (*epoch, successor(asked));
            self.script.ask(Duty::Release { shard, epoch, to });
        }
    }

    fn hold(&mut self, shard: Shard, epoch: Epoch) {
        self.held.insert(shard, epoch);
        let newest = self.newest.entry(shard).or_default();
        *newest = epoch.max(*newest);
    }
}

fn take(shard: Shard, from: Option<u64>) -> Duty {
    Duty::Take { shard, from }
}

fn successor(to: &EndpointId) -> Option<Successor> {
    let incarnation = to.incarnation()?;
    Some(Successor {
        node: to.to_string(),
        incarnation,
    })
}
