//! The rooms of this process. In a cluster, fenced ones come back as a new incarnation.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use rookery_cluster::{
    Placement, Role, SystemClock,
    task::{TaskKind, spawn},
};
use rookery_room_actors::{Health, RoomLimits, RoomsConfig, RoomsNode, RoomsPorts, StopReport};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep,
};

use super::ground::Ground;

/// How long after a failed attempt to come back the next one follows.
const REJOIN_PAUSE: Duration = Duration::from_secs(1);

/// The running rooms, and whoever brings them back.
pub(super) struct Rooms {
    health: watch::Receiver<Health>,
    placement: watch::Receiver<Arc<dyn Placement>>,
    stop: mpsc::Sender<(Duration, oneshot::Sender<StopReport>)>,
}

struct Keeper {
    ground: Arc<Ground>,
    limits: RoomLimits,
    node: RoomsNode,
    shown: watch::Sender<Health>,
    placement: watch::Sender<Arc<dyn Placement>>,
    stop: mpsc::Receiver<(Duration, oneshot::Sender<StopReport>)>,
}

impl Rooms {
    /// Starts them.
    pub(super) async fn start(ground: Arc<Ground>, limits: RoomLimits) -> anyhow::Result<Self> {
        let (node, placement) = begin(&ground, limits).await?;
        let (seen, placement) = watch::channel(placement);
        let (shown, health) = watch::channel(node.health().borrow().clone());
        let (stop, stopped) = mpsc::channel(1);
        let keeper = Keeper {
            ground,
            limits,
            node,
            shown,
            placement: seen,
            stop: stopped,
        };
        spawn(TaskKind::Service, "rooms keeper", keeper.run());
        Ok(Self {
            health,
            placement,
            stop,
        })
    }

    /// The latest health.
    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Who owns what, as the latest incarnation sees it: a former one learns nothing any more.
    pub(super) fn placement(&self) -> watch::Receiver<Arc<dyn Placement>> {
        self.placement.clone()
    }

    /// Returns when the rooms no longer serve and nobody brings them back, and says why.
    pub(super) async fn lost(&self, is_cluster: bool) -> &'static str {
        let mut health = self.health();
        let lost = |health: &Health| *health == Health::Fenced && !is_cluster;
        match health.wait_for(lost).await {
            Ok(_) => "another process has taken the rooms",
            Err(_) => "the rooms ended by themselves",
        }
    }

    /// Hands over, finishes and ends within `grace`.
    pub(super) async fn stop(self, grace: Duration) -> StopReport {
        let (report, reported) = oneshot::channel();
        // A keeper that is gone has nothing left to stop.
        let _ = self.stop.send((grace, report)).await;
        reported.await.unwrap_or_default()
    }
}

/// Starts one incarnation.
async fn begin(
    ground: &Ground,
    limits: RoomLimits,
) -> anyhow::Result<(RoomsNode, Arc<dyn Placement>)> {
    let start = ground.begin(Role::Rooms).await?;
    let config = RoomsConfig {
        node: ground.node.clone(),
        incarnation: start.incarnation,
        limits,
    };
    let ports = RoomsPorts {
        bus: Arc::clone(&ground.bus),
        links: start.links,
        store: ground.store()?,
        placement: Arc::clone(&start.placement),
        ownership: start.ownership,
        clock: Arc::new(SystemClock),
    };
    let node = rookery_room_actors::start(config, ports)
        .await
        .context("cannot start the rooms")?;
    Ok((node, start.placement))
}

impl Keeper {
    async fn run(mut self) {
        loop {
            let mut health = self.node.health();
            self.shown.send_replace(health.borrow_and_update().clone());
            let fenced = *self.shown.borrow() == Health::Fenced;
            tokio::select! {
                biased;
                Some((grace, report)) = self.stop.recv() => {
                    // Whoever asked may have given up.
                    let _ = report.send(self.node.stop(grace).await);
                    return;
                }
                (node, placement) = rejoin(&self.ground, self.limits),
                    if fenced && self.ground.is_cluster() =>
                {
                    std::mem::replace(&mut self.node, node).abandon();
                    self.placement.send_replace(placement);
                }
                Ok(()) = health.changed() => {}
            }
        }
    }
}

/// Tries until it succeeds.
async fn rejoin(ground: &Ground, limits: RoomLimits) -> (RoomsNode, Arc<dyn Placement>) {
    loop {
        match begin(ground, limits).await {
            Ok(back) => {
                tracing::info!("rooms are back as a new incarnation");
                return back;
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "rooms not back yet");
                sleep(REJOIN_PAUSE).await;
            }
        }
    }
}
