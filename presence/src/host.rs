//! Reads the inbox, routes by shard, supervises, and drives time: one timer for all users.

mod gateways;
mod moves;
mod route;
mod slots;
mod supervisor;

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use ractor::{Actor, ActorRef, SpawnErr};
use rookery_cluster::{
    EndpointId, Holdings, Inbound, Inbox, Links, Placement,
    holdings::{Change, Parking},
};
use rookery_proto::{
    link::{Reannounce, packet::Body},
    shard::Shard,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, Interval, MissedTickBehavior, interval, timeout_at},
};

use self::{
    gateways::{Due, Gateways},
    slots::{Slot, Stage},
    supervisor::{Ended, Supervisor},
};
use crate::{
    limits::{RESTARTS_MAX, STORE_OPERATIONS_MAX, TICK},
    metrics,
    shard::{Admitted, GatewayChange, Gauge, ShardActor, ShardMessage, ShardPorts, Unsaved},
    user::Rules,
};

/// How long users and gateways are waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) grace: Duration,
    pub(crate) throttle: Duration,
    pub(crate) reannounce_grace: Duration,
    pub(crate) store_retry: Duration,
}

/// The order to stop.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) deadline: Instant,
    pub(crate) done: oneshot::Sender<Stopped>,
}

/// How stopping went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stopped {
    pub(crate) stored: usize,
    pub(crate) unsaved: usize,
}

/// All shards of one node.
pub(crate) struct Host {
    inbox: Inbox,
    links: Links,
    ports: Arc<ShardPorts>,
    timing: Timing,
    started: Instant,
    slots: Vec<Slot>,
    gateways: Gateways,
    supervisor: ActorRef<()>,
    ended: mpsc::UnboundedReceiver<Ended>,
    territory: Territory,
    parking: Parking,
    /// Gateways are asked to announce what they have in shards just taken.
    announce_at: Option<Instant>,
}

/// Which shards are here, and where the others are.
pub(crate) struct Territory {
    pub(crate) holdings: Holdings,
    pub(crate) placement: Arc<dyn Placement>,
    pub(crate) is_alone: bool,
}

enum HostEvent {
    Stop(Option<Stop>),
    Ended(Ended),
    Change(Change),
    Tick,
    Inbound(Option<Inbound>),
}

/// A packet that could not be handed to its shard.
enum Rejected {
    Full,
    Restarting,
}

impl Host {
    pub(crate) async fn start(
        inbox: Inbox,
        links: Links,
        ports: ShardPorts,
        timing: Timing,
        territory: Territory,
    ) -> Result<Self, SpawnErr> {
        let (ended_sender, ended) = mpsc::unbounded_channel();
        let supervisor = Supervisor {
            ended: ended_sender,
        };
        let (supervisor, _) = Actor::spawn(None, supervisor, ()).await?;
        let started = Instant::now();
        let known_from = started + timing.reannounce_grace;
        Ok(Self {
            inbox,
            links,
            ports: Arc::new(ports),
            timing,
            started,
            slots: Shard::all().map(|_| Slot::cold(known_from)).collect(),
            gateways: Gateways::new(timing.grace, timing.reannounce_grace),
            supervisor,
            ended,
            territory,
            parking: Parking::default(),
            announce_at: None,
        })
    }

    /// Serves until told to stop (or until whoever could tell is gone).
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<Stop>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let order = loop {
            let event = tokio::select! {
                biased;
                order = &mut stop => HostEvent::Stop(order.ok()),
                event = self.event(&mut ticks) => event,
            };
            match event {
                HostEvent::Stop(order) => break order,
                HostEvent::Inbound(None) => {
                    tracing::error!(endpoint.id = %self.links.me(), "bus is gone, presence ends");
                    break stop.await.ok();
                }
                event => self.handle(event).await,
            }
        };
        let stopped = match &order {
            Some(order) => {
                self.hand_over(order.deadline, &mut ticks).await;
                self.leave(order.deadline).await
            }
            None => Stopped::default(),
        };
        self.supervisor.stop_children(None);
        self.supervisor.stop(None);
        if let Some(order) = order {
            // A caller that no longer waits does not want the report.
            let _ = order.done.send(stopped);
        }
    }

    async fn event(&mut self, ticks: &mut Interval) -> HostEvent {
        tokio::select! {
            biased;
            Some(ended) = self.ended.recv() => HostEvent::Ended(ended),
            change = self.territory.holdings.next() => HostEvent::Change(change),
            _ = ticks.tick() => HostEvent::Tick,
            inbound = self.inbox.next() => HostEvent::Inbound(inbound),
        }
    }

    async fn handle(&mut self, event: HostEvent) {
        match event {
            HostEvent::Ended(ended) => self.shard_ended(ended, Instant::now()),
            HostEvent::Change(change) => self.heed(change, Instant::now()).await,
            HostEvent::Tick => self.tick(Instant::now()).await,
            HostEvent::Inbound(Some(inbound)) => self.receive(inbound, Instant::now()).await,
            HostEvent::Stop(_) | HostEvent::Inbound(None) => {}
        }
    }

    async fn receive(&mut self, inbound: Inbound, now: Instant) {
        match inbound {
            Inbound::Opened { from } => {
                if Gateways::is_gateway(&from) {
                    tracing::info!(gateway.id = %from, "gateway heard");
                    if self.gateways.opened(&from) {
                        self.doubt(&from, "silence", now);
                    }
                }
            }
            Inbound::Packets { from, packets } => {
                for packet in packets {
                    self.route(&from, packet.body).await;
                }
            }
            Inbound::Lost { from } => {
                if Gateways::is_gateway(&from) {
                    tracing::warn!(gateway.id = %from, "gateway's packets lost");
                    self.doubt(&from, "lost", now);
                }
            }
            Inbound::Silent { from } => {
                if Gateways::is_gateway(&from) {
                    tracing::warn!(gateway.id = %from, "gateway silent");
                    self.gateways.silent(&from, now);
                    self.tell_shards(&from, GatewayChange::Silent);
                }
            }
        }
    }

    /// Hands a message to a shard's actor, started when it is cold, unless `max` wait there.
    async fn send(
        &mut self,
        shard: Shard,
        max: usize,
        message: impl FnOnce(Admitted) -> ShardMessage,
    ) -> Result<(), Rejected> {
        if matches!(self.slot(shard).stage, Stage::Cold) {
            self.start_shard(shard).await;
        }
        let running = self.slot(shard).running().ok_or(Rejected::Restarting)?;
        let place = running.gauge.admit(max).ok_or(Rejected::Full)?;
        running
            .actor
            .cast(message(place))
            .map_err(|_| Rejected::Restarting)
    }

    async fn start_shard(&mut self, shard: Shard) {
        let now = Instant::now();
        let timing = self.timing;
        let gauge = Gauge::new(self.started);
        let actor = ShardActor {
            ports: Arc::clone(&self.ports),
            rules: Rules {
                grace: timing.grace,
                throttle: timing.throttle,
                store_retry: timing.store_retry,
                known_from: self.slot(shard).known_from,
            },
            gauge: Arc::clone(&gauge),
        };
        match Actor::spawn_linked(None, actor, (), self.supervisor.get_cell()).await {
            Ok((actor, _)) => {
                tracing::debug!(shard.id = %shard, "shard started");
                self.slot_mut(shard).run(actor, gauge, now);
            }
            Err(error) => {
                tracing::error!(shard.id = %shard, error = %error, "shard not started");
                self.slot_mut(shard).failed(now);
            }
        }
    }

    fn shard_ended(&mut self, ended: Ended, now: Instant) {
        let known = self.slots.iter().position(|slot| slot.runs_as(ended.actor));
        // An actor that was put away ends as asked.
        let Some(index) = known else {
            return;
        };
        let cause = if ended.failure.is_some() {
            "failed"
        } else {
            "stopped"
        };
        let failure = ended.failure.as_deref().unwrap_or("stopped unasked");
        let slot = &mut self.slots[index];
        let pause = slot.failed(now);
        metrics::shard_restarted(cause);
        let (failures, pause_ms) = (slot.failures, pause.as_millis());
        if failures > RESTARTS_MAX {
            tracing::error!(
                shard.id = index,
                shard.failures = failures,
                pause_ms,
                error = failure,
                "shard keeps failing"
            );
        } else {
            tracing::warn!(
                shard.id = index,
                shard.failures = failures,
                pause_ms,
                error = failure,
                "shard failed, starts again"
            );
        }
    }

    async fn tick(&mut self, now: Instant) {
        self.restart_shards(now).await;
        self.announce_if_due(now);
        for (gateway, due) in self.gateways.due(now) {
            match due {
                Due::Doubt => self.doubt(&gateway, "overload", now),
                Due::Repeat => self.ask_to_announce(&gateway, "repeat"),
                Due::Sweep => self.tell_shards(&gateway, GatewayChange::Swept),
                Due::Gone => {
                    tracing::warn!(gateway.id = %gateway, "gateway gone with its sessions");
                    self.tell_shards(&gateway, GatewayChange::Gone);
                    self.links.forget(&gateway);
                }
            }
        }
        let (mut shards, mut users) = (0, 0);
        for slot in &mut self.slots {
            if let Some(actor) = slot.take_if_passive(now) {
                actor.stop(None);
            }
            if let Some(running) = slot.running() {
                shards += 1;
                users += running.gauge.users();
                if running.gauge.should_tick(now) {
                    // An actor that just ended is reported by the supervisor.
                    let _ = running.actor.cast(ShardMessage::Tick);
                }
            }
        }
        metrics::shards(shards);
        metrics::users(users);
        self.tell_load(users);
    }

    /// Starts failed shards whose pause is over; what they held must be announced again.
    async fn restart_shards(&mut self, now: Instant) {
        let due = |slot: &Slot| matches!(slot.stage, Stage::Backoff { until } if until <= now);
        let due: Vec<_> = Shard::all()
            .filter(|shard| due(self.slot(*shard)))
            .collect();
        if due.is_empty() {
            return;
        }
        for shard in &due {
            self.slot_mut(*shard).known_from = now + self.timing.reannounce_grace;
            self.start_shard(*shard).await;
        }
        tracing::info!(
            shards.count = due.len(),
            "shards started again, sessions unknown"
        );
        self.ask_all_to_announce("restart");
    }

    fn ask_all_to_announce(&self, cause: &'static str) {
        for gateway in self.gateways.heard() {
            self.ask_to_announce(gateway, cause);
        }
    }

    fn doubt(&mut self, gateway: &EndpointId, cause: &'static str, now: Instant) {
        self.gateways.doubt(gateway, now);
        self.tell_shards(gateway, GatewayChange::Doubted);
        self.ask_to_announce(gateway, cause);
    }

    fn ask_to_announce(&self, gateway: &EndpointId, cause: &'static str) {
        metrics::reannounce_asked(cause);
        self.links.to(gateway).send(Body::Reannounce(Reannounce {}));
    }

    fn tell_shards(&self, gateway: &EndpointId, change: GatewayChange) {
        for running in self.slots.iter().filter_map(Slot::running) {
            let gateway = gateway.clone();
            // An actor that just ended is reported by the supervisor.
            let _ = running
                .actor
                .cast(ShardMessage::Gateway { gateway, change });
        }
    }

    /// Stores when the users still here were last seen: now.
    async fn leave(&mut self, deadline: Instant) -> Stopped {
        let mut unsaved = Unsaved::new();
        for running in self.slots.iter().filter_map(Slot::running) {
            let (reply, answer) = oneshot::channel();
            if running.actor.cast(ShardMessage::Leave { reply }).is_ok()
                && let Ok(Ok(users)) = timeout_at(deadline, answer).await
            {
                unsaved.extend(users);
            }
        }
        let mut stopped = Stopped {
            stored: 0,
            unsaved: unsaved.len(),
        };
        let store = &self.ports.store;
        let mut writes =
            stream::iter(unsaved)
                .map(|(user, last_seen_ms)| async move {
                    store.put_last_seen(&user, last_seen_ms).await
                })
                .buffer_unordered(STORE_OPERATIONS_MAX);
        while let Ok(Some(outcome)) = timeout_at(deadline, writes.next()).await {
            if outcome.is_ok() {
                stopped.stored += 1;
                stopped.unsaved -= 1;
            }
        }
        stopped
    }

    fn slot(&self, shard: Shard) -> &Slot {
        &self.slots[usize::from(shard.number())]
    }

    fn slot_mut(&mut self, shard: Shard) -> &mut Slot {
        &mut self.slots[usize::from(shard.number())]
    }
}
