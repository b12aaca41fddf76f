//! One fault: what happens, to whom, and how it ends.

use std::time::Duration;

use anyhow::{Result, ensure};
use fastrand::Rng;
use rookery_loadtest::{
    cluster::{Cluster, Member, Side, Wire},
    limits::CLUSTER_READY_DEADLINE,
    proxy::{Loss, Way},
    server::Signal,
    workload::Progress,
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::recovery::Mark;

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// SIGKILL; started again when every room works without it.
    KillNode,
    /// SIGKILL; started again a moment later.
    KillGateway,
    /// SIGSTOP for longer than anybody waits for it, then SIGCONT.
    PauseNode,
    /// Of three nodes one is paused and one killed at the same moment.
    LoseTwoNodes,
    /// SIGSTOP for longer than its links may be silent.
    PauseGateway,
    /// SIGTERM and a new start: a deploy.
    StopNode,
    StopGateway,
    /// A fourth node comes, or goes by SIGTERM.
    ScaleNodes,
    /// Connections to NATS are reset, new ones too.
    CutNodeFromNats,
    /// Connections to NATS stand; what the node says gets nowhere, or what it is told.
    StallNodeFromNats,
    CutNodeFromDatabase,
    CutGatewayFromNats,
    /// What a node says to NATS or to the database, and what it hears, comes late.
    DelayNode,
    /// NATS loses some of what nodes or gateways publish.
    LoseMessages,
    /// All of NATS is killed and comes back.
    RestartNats,
    /// NATS stops for a while and goes on, all connections standing.
    PauseNats,
    /// The only database node stops and comes back.
    RestartDatabase,
    /// One database node stops for a while and goes on.
    PauseDatabaseNode,
    /// One of three NATS servers is killed; it comes back when every room works without it.
    KillNatsServer,
    /// One NATS server with its nodes and gateways on one side, two on the other.
    SplitNats,
    /// One of three replicas is killed, and comes back.
    KillReplica,
}

/// Long enough for everybody to take it for dead, and for others to take over.
const PAUSE: Duration = Duration::from_secs(15);
/// Counts every step of taking and handing over shards.
const DUTIES: &str = "rookery_cluster_member_duties_total";
/// A shard moves when another node has been its home for 5 s: without a step for this long, none
/// is about to.
const REST: Duration = Duration::from_secs(7);
const REST_MAX: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(200);

/// What a fault needs to happen.
pub(crate) struct Stage<'a> {
    pub(crate) cluster: &'a mut Cluster,
    pub(crate) rooms: &'a [String],
    pub(crate) progress: &'a Progress,
    pub(crate) random: &'a mut Rng,
}

impl Stage<'_> {
    /// Lets it happen, ends it, and waits until every room works. Says what happened.
    pub(crate) async fn happen(&mut self, kind: Kind) -> Result<String> {
        let before = self.mark();
        let what = match kind {
            Kind::KillNode => self.kill_node().await?,
            Kind::KillGateway => self.kill_gateway().await?,
            Kind::PauseNode => self.pause_node().await?,
            Kind::LoseTwoNodes => self.lose_two_nodes().await?,
            Kind::PauseGateway => self.pause_gateway().await?,
            Kind::StopNode => self.stop_node().await?,
            Kind::StopGateway => self.stop_gateway().await?,
            Kind::ScaleNodes => self.scale_nodes().await?,
            Kind::CutNodeFromNats => self.unwire_node(Wire::Nats, Way::Cut).await?,
            Kind::StallNodeFromNats => {
                let ways = [Way::Stalled, Way::OnlyToServer, Way::OnlyToClient];
                let way = ways[self.random.usize(0..ways.len())];
                self.unwire_node(Wire::Nats, way).await?
            }
            Kind::CutNodeFromDatabase => {
                let ways = [Way::Cut, Way::Stalled];
                let way = ways[self.random.usize(0..ways.len())];
                self.unwire_node(Wire::Database, way).await?
            }
            Kind::CutGatewayFromNats => self.cut_gateway().await?,
            Kind::DelayNode => {
                let wires = [Wire::Nats, Wire::Database];
                let wire = wires[self.random.usize(0..wires.len())];
                let way = Way::Delayed(Duration::from_millis(self.random.u64(20..400)));
                self.unwire_node(wire, way).await?
            }
            Kind::LoseMessages => self.lose_messages().await?,
            Kind::RestartNats => self.restart_nats().await?,
            Kind::PauseNats => self.pause_nats().await?,
            Kind::PauseDatabaseNode => self.pause_database_node().await?,
            Kind::RestartDatabase => self.restart_database().await?,
            Kind::KillNatsServer => self.kill_nats_server().await?,
            Kind::SplitNats => self.split_nats().await?,
            Kind::KillReplica => self.kill_replica().await?,
        };
        let over = self.mark();
        let again = over.all_rooms_work(self.rooms, self.progress).await?;
        self.cluster.ready(CLUSTER_READY_DEADLINE).await?;
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

    fn some_node(&mut self) -> usize {
        let running = self.cluster.nodes.iter().enumerate();
        let running: Vec<usize> = running
            .filter(|(_, node)| node.runs())
            .map(|(number, _)| number)
            .collect();
        running[self.random.usize(0..running.len())]
    }

    /// A node that owns a room of this round, where that can be told.
    fn some_owner(&mut self) -> usize {
        let room = self.random.usize(0..self.rooms.len());
        let owner = self.cluster.owner(&self.rooms[room]);
        let running = owner.filter(|owner| self.cluster.nodes[*owner].runs());
        running.unwrap_or_else(|| self.some_node())
    }

    fn some_gateway(&mut self) -> usize {
        self.random.usize(0..self.cluster.gateways.len())
    }

    async fn kill_node(&mut self) -> Result<String> {
        let node = self.some_owner();
        self.cluster.nodes[node].kill9();
        let took = self.works().await?;
        self.cluster.nodes[node].restart().await?;
        Ok(format!(
            "{} killed, all rooms within {took}",
            self.cluster.nodes[node].name()
        ))
    }

    async fn kill_gateway(&mut self) -> Result<String> {
        let gateway = self.some_gateway();
        self.cluster.gateways[gateway].kill9();
        self.hold(200, 3_000).await;
        self.cluster.gateways[gateway].restart().await?;
        Ok(format!("{} killed", self.cluster.gateways[gateway].name()))
    }

    async fn pause_node(&mut self) -> Result<String> {
        let node = self.some_owner();
        self.cluster.nodes[node].signal(Signal::Stop)?;
        let paused = Instant::now();
        let took = self.works().await;
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
        let killed = others[self.random.usize(0..others.len())];
        self.cluster.nodes[paused].signal(Signal::Stop)?;
        self.cluster.nodes[killed].kill9();
        let since = Instant::now();
        let took = self.works().await;
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
        let held = self.hold(1_000, 9_000).await;
        self.cluster.gateways[gateway].signal(Signal::Continue)?;
        let name = self.cluster.gateways[gateway].name();
        Ok(format!("{name} paused for {held:.1?}"))
    }

    async fn pause_nats(&mut self) -> Result<String> {
        let server = self.random.usize(0..self.cluster.nats.count());
        self.cluster.nats.signal(server, Signal::Stop)?;
        let held = self.hold(500, 6_000).await;
        self.cluster.nats.signal(server, Signal::Continue)?;
        Ok(format!("NATS server {} paused for {held:.1?}", server + 1))
    }

    async fn pause_database_node(&mut self) -> Result<String> {
        let node = self
            .random
            .usize(0..self.cluster.database().addresses().len());
        self.cluster.database().each("pause", node).await?;
        let held = self.hold(500, 5_000).await;
        self.cluster.database().each("resume", node).await?;
        Ok(format!("database node {} paused for {held:.1?}", node + 1))
    }

    async fn stop_node(&mut self) -> Result<String> {
        let node = self.some_owner();
        let before = self.mark();
        self.cluster.nodes[node].stop().await?;
        let took = self.works().await?;
        self.cluster.nodes[node].restart().await?;
        Ok(format!(
            "{} stopped by SIGTERM ({} refused), all rooms within {took}",
            self.cluster.nodes[node].name(),
            self.progress.unavailable() - before.unavailable
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
        self.hold(8_000, 10_000).await;
        Ok("n4 came".to_owned())
    }

    async fn unwire_node(&mut self, wire: Wire, way: Way) -> Result<String> {
        let node = self.some_owner();
        self.cluster.nodes[node].wire(wire, way);
        let held = self.hold(1_000, 7_000).await;
        self.cluster.nodes[node].wire(wire, Way::Open);
        let name = self.cluster.nodes[node].name();
        Ok(format!("{name} without {wire:?} ({way:?}) for {held:.1?}"))
    }

    async fn cut_gateway(&mut self) -> Result<String> {
        let gateway = self.some_gateway();
        self.cluster.gateways[gateway].wire(Wire::Nats, Way::Cut);
        let held = self.hold(1_000, 5_000).await;
        self.cluster.gateways[gateway].wire(Wire::Nats, Way::Open);
        let name = self.cluster.gateways[gateway].name();
        Ok(format!("{name} without NATS for {held:.1?}"))
    }

    fn losers(&self, of_nodes: bool) -> &[Member] {
        match of_nodes {
            true => &self.cluster.nodes,
            false => &self.cluster.gateways,
        }
    }

    async fn lose_messages(&mut self) -> Result<String> {
        let one_in = self.random.u64(5..50);
        let of_nodes = self.random.bool();
        let before: u64 = self.losers(of_nodes).iter().map(Member::lost).sum();
        for member in self.losers(of_nodes) {
            member.lose(&Loss::OneIn(one_in));
        }
        self.hold(2_000, 5_000).await;
        for member in self.losers(of_nodes) {
            member.lose(&Loss::None);
        }
        let lost = self.losers(of_nodes).iter().map(Member::lost).sum::<u64>() - before;
        ensure!(lost > 0, "nothing was published, so nothing was lost");
        Ok(format!("{lost} messages lost, one in {one_in}"))
    }

    async fn restart_nats(&mut self) -> Result<String> {
        self.cluster.nats.kill(0);
        let held = self.hold(100, 4_000).await;
        self.cluster.nats.restart(0).await?;
        Ok(format!("NATS killed, back after {held:.1?}"))
    }

    async fn restart_database(&mut self) -> Result<String> {
        let began = Instant::now();
        self.cluster.database().each("restart", 0).await?;
        Ok(format!("the database restarted in {:.1?}", began.elapsed()))
    }

    async fn kill_nats_server(&mut self) -> Result<String> {
        let server = self.random.usize(0..self.cluster.nats.count());
        self.cluster.nats.kill(server);
        let took = self.works().await?;
        self.hold(0, 2_000).await;
        self.cluster.nats.restart(server).await?;
        Ok(format!(
            "NATS server {} killed, all rooms within {took}",
            server + 1
        ))
    }

    async fn split_nats(&mut self) -> Result<String> {
        let alone = self.random.usize(0..self.cluster.nats.count());
        let side = Side {
            nats: vec![alone],
            nodes: vec![self.some_node()],
            gateways: vec![self.some_gateway()],
        };
        // What an earlier fault has set in motion is to be over.
        let before = self.at_rest().await?;
        let mark = self.mark();
        self.cluster.split(&side);
        let held = self.hold(5_000, 9_000).await;
        self.cluster.heal();
        let healed = self.works().await?;
        let after = self.cluster.sum_over_nodes(DUTIES).await?;
        ensure!(
            (after - before).abs() < 0.5,
            "nothing may move: {before} duties before the split, {after} after"
        );
        let moved = mark.moved(self.progress);
        ensure!(moved.is_empty(), "nothing may move: {moved:?}");
        Ok(format!(
            "{side:?} split off for {held:.1?}, all rooms {healed} after"
        ))
    }

    /// Waits until an earlier fault has no consequences any more: no shard has moved for longer than
    /// a move hesitates, and no client was refused or cut off. Gives the count of steps.
    async fn at_rest(&self) -> Result<f64> {
        let noticed = || {
            let progress = self.progress;
            progress.unavailable() + progress.unknown() + progress.cut_off()
        };
        let mut seen = (self.cluster.sum_over_nodes(DUTIES).await?, noticed());
        let (mut since, began) = (Instant::now(), Instant::now());
        while since.elapsed() < REST {
            sleep(LOOK).await;
            let now = (self.cluster.sum_over_nodes(DUTIES).await?, noticed());
            if (now.0 - seen.0).abs() > 0.5 || now.1 != seen.1 {
                (seen, since) = (now, Instant::now());
            }
            ensure!(began.elapsed() < REST_MAX, "it does not come to rest");
        }
        Ok(seen.0)
    }

    async fn kill_replica(&mut self) -> Result<String> {
        let replica = self
            .random
            .usize(0..self.cluster.database().addresses().len());
        self.at_rest().await?;
        let before = self.mark();
        self.cluster.database().each("kill", replica).await?;
        let took = self.works().await?;
        self.hold(1_000, 3_000).await;
        self.cluster.database().each("restart", replica).await?;
        self.works().await?;
        let (refused, unknown, cut_off) = (
            self.progress.unavailable() - before.unavailable,
            self.progress.unknown() - before.unknown,
            self.progress.cut_off() - before.cut_off,
        );
        ensure!(
            (refused, unknown, cut_off) == (0, 0, 0),
            "no client may see that a replica is gone: {refused} refused, {unknown} unknown, \
             {cut_off} cut off"
        );
        Ok(format!(
            "replica {} killed, all rooms within {took}",
            replica + 1
        ))
    }
}
