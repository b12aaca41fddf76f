//! A gateway as presence knows it: announces sessions, again when a shard moves or something was
//! lost, watches for them, and repeats what was not answered. As `gateway/src/hub` does.

mod asks;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use prost::Message as _;
use rookery_cluster::{
    Bus, EndpointId, Inbound, Inbox, Links, Role,
    task::{TaskKind, spawn},
};
use rookery_proto::{
    link::{Caller, SessionClosed, SessionOpened, packet::Body, user_delivery},
    shard::Shard,
    v1::{self, presence::Status, signal},
};
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep_until},
};

use self::asks::{Ask, What};
use super::{Fact, USERS};
use crate::{client::Owners, cluster::Cluster, mutation::Mutation, net::NetPort, world::Process};

/// How often timers and owners are looked at.
const TICK: Duration = Duration::from_millis(50);
/// What a session wants.
#[derive(Debug)]
pub(super) enum Wish {
    Open {
        session: u64,
        user: &'static str,
        device: usize,
    },
    Close {
        session: u64,
    },
    Choose {
        session: u64,
        status: Status,
    },
    Watch {
        session: u64,
        user: &'static str,
    },
    Unwatch {
        session: u64,
        user: &'static str,
    },
}

struct Session {
    user: &'static str,
    device: usize,
    /// What presence has acknowledged.
    status: Status,
    /// What the session wants to be; asked for one at a time.
    wanted: Option<Status>,
    watched: BTreeSet<&'static str>,
}

/// One run of a gateway.
pub(super) struct Gateway {
    cluster: Arc<Cluster>,
    process: Arc<Process>,
    owners: Owners,
    inbox: Inbox,
    links: Links,
    sessions: BTreeMap<u64, Session>,
    asks: BTreeMap<u64, Ask>,
    /// Who is known to own whose shard, and under which epoch.
    known: BTreeMap<&'static str, (EndpointId, u64)>,
    /// Nodes that were silent since they were heard last.
    silent: BTreeSet<EndpointId>,
}

impl Gateway {
    /// Starts one; it ends when its process is killed.
    pub(super) fn start(
        cluster: &Arc<Cluster>,
        name: &str,
    ) -> (Arc<Process>, mpsc::UnboundedSender<Wish>) {
        let process = Process::new(&cluster.world, name);
        let (wishes, wished) = mpsc::unbounded_channel();
        let begun = begin(Arc::clone(cluster), Arc::clone(&process), name.to_owned());
        spawn(TaskKind::Passing, "gateway", async move {
            begun.await.run(wished).await;
        });
        (process, wishes)
    }

    async fn run(mut self, mut wished: mpsc::UnboundedReceiver<Wish>) {
        let mut tick = Instant::now();
        loop {
            tokio::select! {
                biased;
                inbound = self.inbox.next() => {
                    self.process.pass().await;
                    let Some(inbound) = inbound else { return };
                    self.receive(inbound);
                }
                Some(wish) = wished.recv() => {
                    self.process.pass().await;
                    self.grant(wish);
                }
                () = sleep_until(tick) => {
                    self.process.pass().await;
                    tick = Instant::now() + TICK;
                    self.look_at_owners();
                    self.look_at_time();
                }
            }
        }
    }

    fn breaks(&self, mutation: Mutation) -> bool {
        self.cluster.mutation == Some(mutation)
    }

    fn note(&self, fact: Fact) {
        self.cluster.world.note(fact);
    }

    // ---- what sessions want -----------------------------------------------------------------

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Open {
                session,
                user,
                device,
            } => {
                self.note(Fact::Opened {
                    session,
                    gateway: self.process.incarnation,
                    user,
                    device,
                });
                let opened = Session {
                    user,
                    device,
                    status: Status::Unspecified,
                    wanted: None,
                    watched: BTreeSet::new(),
                };
                self.sessions.insert(session, opened);
                self.announce(session);
            }
            Wish::Close { session } => self.close(session),
            Wish::Choose { session, status } => {
                self.note(Fact::Chose { session, status });
                if let Some(known) = self.sessions.get_mut(&session) {
                    known.wanted = Some(status);
                    self.choose(session);
                }
            }
            Wish::Watch { session, user } => {
                self.note(Fact::Watches { session, user });
                if let Some(known) = self.sessions.get_mut(&session) {
                    known.watched.insert(user);
                    self.ask(session, What::Watch(user), user);
                }
            }
            Wish::Unwatch { session, user } => {
                self.note(Fact::Unwatches { session, user });
                if let Some(known) = self.sessions.get_mut(&session) {
                    known.watched.remove(user);
                    self.ask(session, What::Unwatch(user), user);
                }
            }
        }
    }

    fn close(&mut self, session: u64) {
        self.note(Fact::Closed { session });
        let Some(closed) = self.sessions.remove(&session) else {
            return;
        };
        self.asks.retain(|_, ask| ask.session != session);
        if self.breaks(Mutation::CloseNotTold) {
            return;
        }
        let concerned = closed.watched.iter().copied().chain([closed.user]);
        let owners: BTreeSet<_> = concerned.filter_map(|user| self.owner(user)).collect();
        for owner in owners {
            let watched = closed.watched.iter().map(|&it| it.to_owned());
            let body = SessionClosed {
                session,
                user: closed.user.to_owned(),
                watched: watched.collect(),
            };
            self.links.to(&owner).send(Body::SessionClosed(body));
        }
    }

    // ---- what presence says -----------------------------------------------------------------

    fn receive(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Packets { from, packets } => {
                for packet in packets {
                    self.take(&from, packet.body);
                }
            }
            Inbound::Opened { from } => {
                if self.silent.remove(&from) {
                    self.lost(&from);
                }
            }
            Inbound::Lost { from } => self.lost(&from),
            Inbound::Silent { from } => {
                self.send_again(|ask| ask.sent.as_ref() == Some(&from));
                self.silent.insert(from);
            }
        }
    }

    fn take(&mut self, from: &EndpointId, body: Option<Body>) {
        match body {
            Some(Body::Reply(reply)) => self.replied(from, reply.request, reply.result),
            Some(Body::Reannounce(_)) => self.lost(from),
            Some(Body::UserDelivery(delivery)) => {
                let Some(user_delivery::Body::Signal(signal)) = delivery.body else {
                    return;
                };
                let signal = v1::Signal::decode(signal).expect("a signal");
                if let Some(signal::Body::Presence(presence)) = &signal.body
                    && (self.owner(&presence.user).as_ref() == Some(from)
                        || self.breaks(Mutation::FormerOwnerBelieved))
                {
                    for session in delivery.sessions {
                        self.tell(from, session, presence, true);
                    }
                }
            }
            _ => {}
        }
    }

    fn tell(&self, by: &EndpointId, session: u64, presence: &v1::Presence, unasked: bool) {
        let user = USERS.into_iter().find(|it| *it == presence.user);
        let known = self.sessions.get(&session);
        if let Some(user) = user
            && known.is_some_and(|it| it.watched.contains(user))
        {
            self.note(Fact::Told {
                session,
                user,
                status: presence.status(),
                by: by.clone(),
                unasked,
            });
        }
    }

    /// What was said on the link to or from that node may be lost, or the node has forgotten us.
    fn lost(&mut self, node: &EndpointId) {
        self.send_again(|ask| ask.sent.as_ref() == Some(node));
        let owned = USERS
            .into_iter()
            .filter(|user| self.owner(user).as_ref() == Some(node));
        self.announce_users(&owned.collect());
    }

    // ---- who owns whom ----------------------------------------------------------------------

    fn owner(&self, user: &str) -> Option<EndpointId> {
        self.known.get(user).map(|(owner, _)| owner.clone())
    }

    /// Users whose shard has another owner, or another epoch, are announced there; to a node that
    /// owns nothing any more nothing is said.
    fn look_at_owners(&mut self) {
        let mut changed = BTreeSet::new();
        let before: BTreeSet<_> = self.known.values().map(|(it, _)| it.clone()).collect();
        for user in USERS {
            let shard = Shard::of(user);
            let now = self.owners.under((Role::Presence, shard));
            if now.as_ref() != self.known.get(user) {
                if let Some((owner, _)) = &now {
                    self.note(Fact::Owner {
                        gateway: self.process.incarnation,
                        shard,
                        owner: owner.clone(),
                    });
                }
                match now {
                    Some(now) => self.known.insert(user, now),
                    None => self.known.remove(user),
                };
                changed.insert(user);
            }
        }
        if changed.is_empty() {
            return;
        }
        let known = self.known.clone();
        self.send_again(|ask| {
            let owner = known.get(ask.user).map(|(owner, _)| owner);
            changed.contains(ask.user) && ask.sent.as_ref() != owner
        });
        self.announce_users(&changed);
        for gone in before {
            if !self.known.values().any(|(owner, _)| *owner == gone) {
                self.links.forget(&gone);
            }
        }
    }

    /// Announces the sessions of these users, and watches them again.
    fn announce_users(&mut self, users: &BTreeSet<&'static str>) {
        let mut watched = Vec::new();
        let mut announced = Vec::new();
        for (session, known) in &self.sessions {
            if users.contains(known.user) {
                announced.push(*session);
            }
            watched.extend(known.watched.intersection(users).map(|it| (*session, *it)));
        }
        if !self.breaks(Mutation::NotAnnouncedAgain) {
            for session in announced {
                self.announce(session);
            }
        }
        if !self.breaks(Mutation::NotWatchedAgain) {
            for (session, user) in watched {
                self.ask(session, What::Watch(user), user);
            }
        }
    }

    fn announce(&self, session: u64) {
        if let Some(known) = self.sessions.get(&session)
            && let Some(owner) = self.owner(known.user)
        {
            let body = SessionOpened {
                caller: self.caller(session),
                status: known.status.into(),
            };
            self.links.to(&owner).send(Body::SessionOpened(body));
        }
    }

    fn caller(&self, session: u64) -> Option<Caller> {
        let known = self.sessions.get(&session)?;
        Some(Caller {
            session,
            user: known.user.to_owned(),
            device: format!("device {}", known.device),
            ..Caller::default()
        })
    }
}

async fn begin(cluster: Arc<Cluster>, process: Arc<Process>, name: String) -> Gateway {
    let me = EndpointId::new(Role::Gateway, process.incarnation);
    let bus: Arc<dyn Bus> = Arc::new(NetPort::new(&cluster.net, &process));
    let inbox = Inbox::open(&bus, &me).await.expect("the bus takes it");
    let links = Links::new(bus, me, process.incarnation << 32);
    let owners = Owners::new(&cluster, &process, &name).await;
    Gateway {
        cluster,
        process,
        owners,
        inbox,
        links,
        sessions: BTreeMap::new(),
        asks: BTreeMap::new(),
        known: BTreeMap::new(),
        silent: BTreeSet::new(),
    }
}
