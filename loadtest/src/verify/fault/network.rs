//! What becomes of the wires between the processes of a cluster.

use anyhow::{Result, ensure};
use std::time::Duration;
use tokio::time::{Instant, sleep};

use super::ClusterStage;
use crate::{
    cluster::{Member, Side, Wire},
    proxy::{Loss, Way},
};

/// Counts every step of taking and handing over shards.
const DUTIES: &str = "rookery_cluster_member_duties_total";
/// A shard moves when another node has been its home for 5 s: without a step for this long, none
/// is about to.
const REST: Duration = Duration::from_secs(7);
const REST_MAX: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(200);

impl ClusterStage<'_, '_> {
    pub(super) async fn unwire_node(&mut self, wire: Wire, way: Way) -> Result<String> {
        let node = self.some_owner();
        self.cluster.nodes[node].wire(wire, way);
        let held = self.scene.hold(1_000, 7_000).await;
        self.cluster.nodes[node].wire(wire, Way::Open);
        let name = self.cluster.nodes[node].name();
        Ok(format!("{name} without {wire:?} ({way:?}) for {held:.1?}"))
    }

    pub(super) async fn cut_gateway(&mut self) -> Result<String> {
        let gateway = self.some_gateway();
        self.cluster.gateways[gateway].wire(Wire::Nats, Way::Cut);
        let held = self.scene.hold(1_000, 5_000).await;
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

    pub(super) async fn lose_messages(&mut self) -> Result<String> {
        let one_in = self.scene.random.u64(5..50);
        let of_nodes = self.scene.random.bool();
        let before: u64 = self.losers(of_nodes).iter().map(Member::lost).sum();
        for member in self.losers(of_nodes) {
            member.lose(&Loss::OneIn(one_in));
        }
        self.scene.hold(2_000, 5_000).await;
        for member in self.losers(of_nodes) {
            member.lose(&Loss::None);
        }
        let lost = self.losers(of_nodes).iter().map(Member::lost).sum::<u64>() - before;
        ensure!(lost > 0, "nothing was published, so nothing was lost");
        Ok(format!("{lost} messages lost, one in {one_in}"))
    }

    pub(super) async fn split_nats(&mut self) -> Result<String> {
        let alone = self.scene.random.usize(0..self.cluster.nats.count());
        let side = Side {
            nats: vec![alone],
            nodes: vec![self.some_node()],
            gateways: vec![self.some_gateway()],
        };
        // What an earlier fault has set in motion is to be over.
        let before = self.at_rest().await?;
        let mark = self.scene.mark();
        self.cluster.split(&side);
        let held = self.scene.hold(5_000, 9_000).await;
        self.cluster.heal();
        let healed = self.scene.works().await?;
        let after = self.duties().await?;
        ensure!(
            (after - before).abs() < 0.5,
            "nothing may move: {before} duties before the split, {after} after"
        );
        let moved = mark.moved(self.scene.progress);
        ensure!(moved.is_empty(), "nothing may move: {moved:?}");
        Ok(format!(
            "{side:?} split off for {held:.1?}, all rooms {healed} after"
        ))
    }

    /// Counts the steps of all nodes, however long a busy machine takes to tell.
    async fn duties(&self) -> Result<f64> {
        let began = Instant::now();
        loop {
            match self.cluster.sum_over_nodes(DUTIES).await {
                Err(_) if began.elapsed() < REST_MAX => sleep(LOOK).await,
                told => return told,
            }
        }
    }

    /// Waits until an earlier fault has no consequences any more: no shard has moved for longer than
    /// a move hesitates, and no client was refused or cut off. Gives the count of steps.
    pub(super) async fn at_rest(&self) -> Result<f64> {
        let noticed = || {
            let progress = self.scene.progress;
            progress.unavailable() + progress.unknown() + progress.cut_off()
        };
        let mut seen = (self.duties().await?, noticed());
        let (mut since, began) = (Instant::now(), Instant::now());
        while since.elapsed() < REST {
            sleep(LOOK).await;
            let now = (self.duties().await?, noticed());
            if (now.0 - seen.0).abs() > 0.5 || now.1 != seen.1 {
                (seen, since) = (now, Instant::now());
            }
            ensure!(began.elapsed() < REST_MAX, "it does not come to rest");
        }
        Ok(seen.0)
    }
}
