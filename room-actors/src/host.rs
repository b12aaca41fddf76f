//! The shard host: reads the node's inbox, wakes rooms on demand, lets idle ones sleep, and looks
//! after those that fail.
//!
//! ```text
//! inbox ─► host ─► admission ─► RoomActor (mailbox) ─► … ─► link to the gateway
//!            ▲                      │ ends
//!            └──── Supervisor ◄─────┘
//! ```
//! A room has at most one actor here, and only while its shard is held. One that failed comes back
//! under a new epoch of its shard: what it had in flight is then decided by the epoch list, not by
//! memory. `moves` performs what [`Holdings`] want done about whole shards.

mod moves;
mod packets;
mod rooms;
mod supervisor;

use std::sync::{Arc, atomic::AtomicUsize};

use ractor::ActorCell;
use rookery_cluster::{
    Clock, EndpointId, Holdings, Inbound, Inbox, Links, Placement, Role, Turns, holdings::Parking,
};
use rookery_persistence::{Incarnation, Store};
use rookery_proto::{
    ids::RoomId,
    link::{Reannounce, packet},
    shard::Shard,
};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::{Duration, Instant, MissedTickBehavior, interval, timeout_at},
};

use self::rooms::Rooms;
pub(crate) use self::supervisor::Supervisor;
use crate::{
    commit::{Committer, RoomKey},
    health::{Health, HealthCell},
    limits::{GATEWAY_FORGET_AFTER, LEAVE_SHARE, LOAD_INTERVAL, RoomLimits, WAKES_AT_ONCE_MAX},
    node::StopReport,
    request::Admission,
};

/// What the host is told by its own parts. Bounded by rooms: each has at most a few on their way.
pub(crate) enum HostMsg {
    /// From a room: after so many messages of the host nothing is left to do.
    Quiet {
        room: RoomId,
        key: RoomKey,
        handled: u64,
    },
    /// From the supervisor: an actor ended; `error`: not as it was told to.
    Ended {
        actor: ractor::ActorId,
        error: Option<String>,
    },
    /// From a room: the fence was read, and this node lost its shards.
    Fenced,
    /// From the node's owner: stop until then.
    Stop {
        until: Instant,
        report: oneshot::Sender<StopReport>,
    },
    /// From tests: a room's actor panics.
    #[cfg(test)]
    Crash(RoomId),
}

/// What all rooms of the node share.
pub(crate) struct Shared {
    pub(crate) incarnation: Incarnation,
    pub(crate) limits: RoomLimits,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) links: Links,
    pub(crate) placement: Arc<dyn Placement>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) committer: Committer,
    pub(crate) health: HealthCell,
    pub(crate) wakes: Semaphore,
}

impl Shared {
    pub(crate) fn wake_permits() -> Semaphore {
        Semaphore::new(WAKES_AT_ONCE_MAX)
    }
}

/// The host's task.
pub(crate) struct Host {
    inbox: Inbox,
    messages: mpsc::UnboundedReceiver<HostMsg>,
    rooms: Rooms,
    holdings: Holdings,
    parking: Parking,
    /// The order of what gateways ask.
    turns: Turns,
    /// Shards whose rooms are to end.
    closing: FxHashSet<Shard>,
    /// What people see of the load.
    commands: u64,
    commits_failing: bool,
    admission: Arc<Admission>,
    health: watch::Receiver<Health>,
    shared: Arc<Shared>,
    /// Gateways whose sessions were dropped because they were silent.
    silent: FxHashMap<EndpointId, Instant>,
}

/// With what a host starts.
pub(crate) struct HostParts {
    pub(crate) inbox: Inbox,
    pub(crate) messages: mpsc::UnboundedReceiver<HostMsg>,
    pub(crate) to_host: mpsc::UnboundedSender<HostMsg>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) holdings: Holdings,
    pub(crate) supervisor: ActorCell,
    pub(crate) awake: Arc<AtomicUsize>,
}

impl Host {
    pub(crate) fn new(parts: HostParts) -> Self {
        let HostParts {
            inbox,
            messages,
            to_host,
            shared,
            holdings,
            supervisor,
            awake,
        } = parts;
        Self {
            inbox,
            messages,
            rooms: Rooms::new(Arc::clone(&shared), to_host, supervisor, awake),
            holdings,
            parking: Parking::default(),
            turns: Turns::default(),
            closing: FxHashSet::default(),
            commands: 0,
            commits_failing: false,
            admission: Admission::new(shared.limits),
            health: shared.health.watch(),
            shared,
            silent: FxHashMap::default(),
        }
    }

    /// Serves until stopped. Ends early only when the bus is gone.
    pub(crate) async fn run(mut self) {
        let sweep = (self.shared.limits.passivate_after / 4)
            .clamp(Duration::from_millis(10), Duration::from_secs(10));
        let mut sweep = interval(sweep);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut load = interval(LOAD_INTERVAL);
        load.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                message = self.messages.recv() => match message {
                    Some(HostMsg::Stop { until, report }) => {
                        self.stop(until, report).await;
                        return;
                    }
                    Some(message) => self.handle(message),
                    None => return,
                },
                Ok(()) = self.health.changed() => self.heed_health(),
                change = self.holdings.next() => self.heed(change),
                inbound = self.inbox.next() => match inbound {
                    Some(inbound) => self.receive(inbound),
                    None => {
                        tracing::error!("the bus is gone, rooms are not reachable");
                        return;
                    }
                },
                _ = sweep.tick() => self.sweep(Instant::now()),
                _ = load.tick() => self.tell_load(),
            }
        }
    }

    fn handle(&mut self, message: HostMsg) {
        match message {
            HostMsg::Quiet { room, key, handled } => self.room_quiet(&room, key, handled),
            HostMsg::Ended { actor, error } => self.room_ended(actor, error),
            HostMsg::Fenced => self.shared.health.fenced(),
            HostMsg::Stop { .. } => unreachable!("the loop takes it"),
            #[cfg(test)]
            HostMsg::Crash(room) => self.rooms.crash(&room),
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.rooms.sweep(now);
        let (links, turns) = (&self.shared.links, &mut self.turns);
        self.silent.retain(|gateway, since| {
            let stays = now.duration_since(*since) < GATEWAY_FORGET_AFTER;
            if !stays {
                links.forget(gateway);
                turns.forget(gateway);
            }
            stays
        });
    }

    fn receive(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Packets { from, packets } => self.receive_packets(&from, packets),
            Inbound::Opened { from } => {
                if self.silent.remove(&from).is_some() {
                    // The last it said before the silence may be lost too.
                    self.turns.lost(&from);
                    self.ask_to_reannounce(&from);
                }
            }
            Inbound::Lost { from } => {
                tracing::info!(peer.id = %from, "packets lost, sessions are announced again");
                self.turns.lost(&from);
                self.rooms.gateway_gone(&from);
                self.ask_to_reannounce(&from);
            }
            Inbound::Silent { from } => {
                tracing::info!(peer.id = %from, "peer silent, its sessions are dropped");
                self.rooms.gateway_gone(&from);
                if from.as_str().starts_with(Role::Gateway.as_str()) {
                    self.silent.insert(from, Instant::now());
                }
            }
        }
    }

    fn ask_to_reannounce(&self, gateway: &EndpointId) {
        self.shared
            .links
            .to(gateway)
            .send(packet::Body::Reannounce(Reannounce {}));
    }

    /// Hands over what it holds, where there is somebody to hand it to; then refuses new writes,
    /// lets every room finish, and reports. Requests that only read go on.
    async fn stop(&mut self, until: Instant, report: oneshot::Sender<StopReport>) {
        let rooms = self.rooms.len();
        let now = Instant::now();
        self.leave(now + until.saturating_duration_since(now).mul_f32(LEAVE_SHARE))
            .await;
        self.shared.health.stopping();
        self.rooms.prepare_stop();
        while self.rooms.len() > 0 {
            if timeout_at(until, self.turn()).await.is_err() {
                break;
            }
        }
        let unfinished = self.rooms.len();
        self.rooms.drop_all();
        // Whoever asked may have gone; there is nobody else to tell.
        let _ = report.send(StopReport { rooms, unfinished });
    }

    /// One step of serving while it stops.
    async fn turn(&mut self) {
        tokio::select! {
            biased;
            message = self.messages.recv() => {
                if let Some(message) = message {
                    self.handle(message);
                }
            }
            Ok(()) = self.health.changed() => self.heed_health(),
            change = self.holdings.next() => self.heed(change),
            inbound = self.inbox.next() => {
                if let Some(inbound) = inbound {
                    self.receive(inbound);
                }
            }
        }
    }
}
