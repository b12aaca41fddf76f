//! What becomes of NATS and of the database.

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::ClusterStage;
use crate::server::Signal;

impl ClusterStage<'_, '_> {
    pub(super) async fn pause_nats(&mut self) -> Result<String> {
        let server = self.scene.random.usize(0..self.cluster.nats.count());
        self.cluster.nats.signal(server, Signal::Stop)?;
        let held = self.scene.hold(500, 6_000).await;
        self.cluster.nats.signal(server, Signal::Continue)?;
        Ok(format!("NATS server {} paused for {held:.1?}", server + 1))
    }

    pub(super) async fn pause_database_node(&mut self) -> Result<String> {
        let node = self
            .scene
            .random
            .usize(0..self.cluster.database().addresses().len());
        let paused = self.cluster.database().pause(node).await?;
        let held = self.scene.hold(500, 5_000).await;
        paused.resume().await?;
        Ok(format!("database node {} paused for {held:.1?}", node + 1))
    }

    pub(super) async fn restart_nats(&mut self) -> Result<String> {
        self.cluster.nats.kill(0);
        let held = self.scene.hold(100, 4_000).await;
        self.cluster.nats.restart(0).await?;
        Ok(format!("NATS killed, back after {held:.1?}"))
    }

    pub(super) async fn restart_database(&mut self) -> Result<String> {
        let began = Instant::now();
        self.cluster.database().each("restart", 0).await?;
        Ok(format!("the database restarted in {:.1?}", began.elapsed()))
    }

    pub(super) async fn kill_nats_server(&mut self) -> Result<String> {
        let server = self.scene.random.usize(0..self.cluster.nats.count());
        self.cluster.nats.kill(server);
        let took = self.scene.works().await?;
        self.scene.hold(0, 2_000).await;
        self.cluster.nats.restart(server).await?;
        Ok(format!(
            "NATS server {} killed, all rooms within {took}",
            server + 1
        ))
    }

    pub(super) async fn kill_replica(&mut self) -> Result<String> {
        let replica = self
            .scene
            .random
            .usize(0..self.cluster.database().addresses().len());
        self.at_rest().await?;
        let before = self.scene.mark();
        self.cluster.database().each("kill", replica).await?;
        let took = self.scene.works().await?;
        self.scene.hold(1_000, 3_000).await;
        self.cluster.database().each("restart", replica).await?;
        self.scene.works().await?;
        let (refused, unknown, cut_off) = (
            self.scene.progress.unavailable() - before.unavailable,
            self.scene.progress.unknown() - before.unknown,
            self.scene.progress.cut_off() - before.cut_off,
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
