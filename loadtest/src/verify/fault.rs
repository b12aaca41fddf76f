//! One fault: what happens, to whom, and how it ends.

mod backends;
mod network;
mod server;

use std::time::Duration;

use anyhow::{Result, bail};
use fastrand::Rng;
use tokio::time::{Instant, sleep, sleep_until};

use super::{kind::Kind, recovery::Mark, target::Target};
use crate::{
    cluster::{Cluster, Wire},
    proxy::Way,
    server::Signal,
    workload::Progress,
};

/// Long enough for everybody to take it for dead, and for others to take over.
const PAUSE: Duration = Duration::from_secs(15);

/// What a fault is measured by, and what decides its choices.
pub(super) struct Scene<'a> {
    pub(super) rooms: &'a [String],
    pub(super) progress: &'a Progress,
    pub(super) random: &'a mut Rng,
}

impl Scene<'_> {
    /// Lets a fault happen, ends it, and waits until every room works. Says what happened.
    pub(super) async fn happen(&mut self, target: &mut Target, kind: Kind) -> Result<String> {
        let before = self.mark();
        let what = match target {
            Target::Cluster(cluster) => {
                let mut stage = ClusterStage {
                    cluster,
                    scene: self,
                };
                stage.happen(kind).await?
            }
            Target::Server(server) => self.happen_to_server(server, kind).await?,
            Target::Elsewhere(_) => bail!("nothing can be done to a server of somebody else"),
        };
        let over = self.mark();
        let again = over.all_rooms_work(self.rooms, self.progress).await?;
        target.ready().await?;
        let moved = before.moved(self.progress);
        Ok(format!(
            "{what}; then all rooms within {:.1} s; moved {}, refused {}, unknown {}, cut off {}",
            again.as_secs_f64(),
            moved.len(),
            self.progress.unavailable() - before.unavailable,
            self.progress.unknown() - before.unknown,
            self.progress.cut_off() - before.cut_off,
        ))
    }

    fn mark(&self) -> Mark {
        Mark::of(self.progress)
    }

    /// Every room works; says within how long.
    async fn works(&self) -> Result<String> {
        let took = self
            .mark()
            .all_rooms_work(self.rooms, self.progress)
            .await?;
        Ok(format!("{:.1} s", took.as_secs_f64()))
    }

    /// For a time between these.
    async fn hold(&mut self, least: u64, most: u64) -> Duration {
        let held = Duration::from_millis(self.random.u64(least..=most));
        sleep(held).await;
        held
    }
}

/// A cluster to which a fault happens.
struct ClusterStage<'a, 'b> {
    cluster: &'a mut Cluster,
    scene: &'a mut Scene<'b>,
}

impl ClusterStage<'_, '_> {
    async fn happen(&mut self, kind: Kind) -> Result<String> {
        match kind {
            Kind::KillNode => self.kill_node().await,
            Kind::KillGateway => self.kill_gateway().await,
            Kind::PauseNode => self.pause_node().await,
            Kind::LoseTwoNodes => self.lose_two_nodes().await,
            Kind::PauseGateway => self.pause_gateway().await,
            Kind::StopNode => self.stop_node().await,
            Kind::StopGateway => self.stop_gateway().await,
            Kind::ScaleNodes => self.scale_nodes().await,
            Kind::CutNodeFromNats => self.unwire_node(Wire::Nats, Way::Cut).await,
            Kind::StallNodeFromNats => {
                let ways = [Way::Stalled, Way::OnlyToServer, Way::OnlyToClient];
                let way = ways[self.scene.random.usize(0..ways.len())];
                self.unwire_node(Wire::Nats, way).await
            }
            Kind::CutNodeFromDatabase => {
                let ways = [Way::Cut, Way::Stalled];
                let way = ways[self.scene.random.usize(0..ways.len())];
                self.unwire_node(Wire::Database, way).await
            }
            Kind::CutGatewayFromNats => self.cut_gateway().await,
            Kind::DelayNode => {
                let wires = [Wire::Nats, Wire::Database];
                let wire = wires[self.scene.random.usize(0..wires.len())];
                let way = Way::Delayed(Duration::from_millis(self.scene.random.u64(20..400)));
                self.unwire_node(wire, way).await
            }
            Kind::LoseMessages => self.lose_messages().await,
            Kind::RestartNats => self.restart_nats().await,
            Kind::PauseNats => self.pause_nats().await,
            Kind::PauseDatabaseNode => self.pause_database_node().await,
            Kind::RestartDatabase => self.restart_database().await,
            Kind::KillNatsServer => self.kill_nats_server().await,
            Kind::SplitNats => self.split_nats().await,
            Kind::KillReplica => self.kill_replica().await,
            Kind::KillServer
            | Kind::PauseServer
            | Kind::StopServer
            | Kind::CutClients
            | Kind::StallClients
            | Kind::DelayClients => {
                bail!("{} happens to one server, not to a cluster", kind.word())
            }
        }
    }

    fn some_node(&mut self) -> usize {
        let running = self.cluster.nodes.iter().enumerate();
        let running: Vec<usize> = running
            .filter(|(_, node)| node.runs())
            .map(|(number, _)| number)
            .collect();
        running[self.scene.random.usize(0..running.len())]
    }

    /// A node that owns a room of this round, where that can be told.
    fn some_owner(&mut self) -> usize {
        let room = self.scene.random.usize(0..self.scene.rooms.len());
        let owner = self.cluster.owner(&self.scene.rooms[room]);
        let running = owner.filter(|owner| self.cluster.nodes[*owner].runs());
        running.unwrap_or_else(|| self.some_node())
    }

    fn some_gateway(&mut self) -> usize {
        self.scene.random.usize(0..self.cluster.gateways.len())
    }

    async fn kill_node(&mut self) -> Result<String> {
        let node = self.some_owner();
        self.cluster.nodes[node].kill9();
        let took = self.scene.works().await?;
        self.cluster.nodes[node].restart().await?;
        Ok(format!(
            "{} killed, all rooms within {took}",
            self.cluster.nodes[node].name()
        ))
    }

    async fn kill_gateway(&mut self) -> Result<String> {
        let gateway = self.some_gateway();
        self.cluster.gateways[gateway].kill9();
        self.scene.hold(200, 3_000).await;
        self.cluster.gateways[gateway].restart().await?;
        Ok(format!("{} killed", self.cluster.gateways[gateway].name()))
    }

    async fn pause_node(&mut self) -> Result<String> {
        let node = self.some_owner();
        self.cluster.nodes[node].signal(Signal::Stop)?;
        let paused = Instant::now();
        let took = self.scene.works().await;
        sleep_until(paused + PAUSE).await;
        self.cluster.nodes[node].signal(Signal::Continue)?;
        let name = self.cluster.nodes[node].name();
        Ok(format!(
            "{name} paused for {PAUSE:?}, all rooms within {}",
            took?
        ))
    }

    async fn lose_two_nodes(&mut self) -> Result<String> {
        let paused = self.some_owner();
        let others: Vec<usize> = (0..self.cluster.nodes.len())
            .filter(|node| *node != paused && self.cluster.nodes[*node].runs())
            .collect();
        let killed = others[self.scene.random.usize(0..others.len())];
        self.cluster.nodes[paused].signal(Signal::Stop)?;
        self.cluster.nodes[killed].kill9();
        let since = Instant::now();
        let took = self.scene.works().await;
        sleep_until(since + PAUSE).await;
        self.cluster.nodes[paused].signal(Signal::Continue)?;
        self.cluster.nodes[killed].restart().await?;
        Ok(format!(
            "{} paused for {PAUSE:?} and {} killed, all rooms within {}",
            self.cluster.nodes[paused].name(),
            self.cluster.nodes[killed].name(),
            took?
        ))
    }

    async fn pause_gateway(&mut self) -> Result<String> {
        let gateway = self.some_gateway();
        self.cluster.gateways[gateway].signal(Signal::Stop)?;
        let held = self.scene.hold(1_000, 9_000).await;
        self.cluster.gateways[gateway].signal(Signal::Continue)?;
        let name = self.cluster.gateways[gateway].name();
        Ok(format!("{name} paused for {held:.1?}"))
    }

    async fn stop_node(&mut self) -> Result<String> {
        let node = self.some_owner();
        let before = self.scene.mark();
        self.cluster.nodes[node].stop().await?;
        let took = self.scene.works().await?;
        self.cluster.nodes[node].restart().await?;
        Ok(format!(
            "{} stopped by SIGTERM ({} refused), all rooms within {took}",
            self.cluster.nodes[node].name(),
            self.scene.progress.unavailable() - before.unavailable
        ))
    }

    async fn stop_gateway(&mut self) -> Result<String> {
        let gateway = self.some_gateway();
        self.cluster.gateways[gateway].stop().await?;
        self.cluster.gateways[gateway].restart().await?;
        Ok(format!(
            "{} stopped by SIGTERM",
            self.cluster.gateways[gateway].name()
        ))
    }

    async fn scale_nodes(&mut self) -> Result<String> {
        // The first three stay.
        match self.cluster.nodes.get_mut(3) {
            None => self.cluster.add_node().await?,
            Some(fourth) if fourth.runs() => {
                fourth.stop().await?;
                return Ok("n4 went by SIGTERM".to_owned());
            }
            Some(fourth) => fourth.restart().await?,
        }
        // Moves begin some seconds later.
        self.scene.hold(8_000, 10_000).await;
        Ok("n4 came".to_owned())
    }
}
