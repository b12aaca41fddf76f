//! What becomes of one server and of its clients' wires.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::{Kind, Scene};
use crate::{proxy::Way, server::Signal, verify::target::OneServer};

impl Scene<'_> {
    pub(super) async fn happen_to_server(
        &mut self,
        target: &mut OneServer,
        kind: Kind,
    ) -> Result<String> {
        match kind {
            Kind::KillServer => {
                target.server.kill9();
                let held = self.hold(0, 2_000).await;
                target.server.restart().await?;
                Ok(format!("killed, started again after {held:.1?}"))
            }
            Kind::PauseServer => {
                target.server.signal(Signal::Stop)?;
                let held = self.hold(500, 8_000).await;
                target.server.signal(Signal::Continue)?;
                Ok(format!("paused for {held:.1?}"))
            }
            Kind::StopServer => {
                let status = target.server.terminate().await?;
                ensure!(status.success(), "stopped with {status}");
                target.server.restart().await?;
                Ok("stopped by SIGTERM".to_owned())
            }
            Kind::CutClients => self.unwire_clients(target, Way::Cut).await,
            Kind::StallClients => {
                let ways = [Way::Stalled, Way::OnlyToServer, Way::OnlyToClient];
                let way = ways[self.random.usize(0..ways.len())];
                self.unwire_clients(target, way).await
            }
            Kind::DelayClients => {
                let delay = Duration::from_millis(self.random.u64(20..400));
                self.unwire_clients(target, Way::Delayed(delay)).await
            }
            Kind::KillNode
            | Kind::KillGateway
            | Kind::PauseNode
            | Kind::LoseTwoNodes
            | Kind::PauseGateway
            | Kind::StopNode
            | Kind::StopGateway
            | Kind::ScaleNodes
            | Kind::CutNodeFromNats
            | Kind::StallNodeFromNats
            | Kind::CutNodeFromDatabase
            | Kind::CutGatewayFromNats
            | Kind::DelayNode
            | Kind::LoseMessages
            | Kind::RestartNats
            | Kind::PauseNats
            | Kind::RestartDatabase
            | Kind::PauseDatabaseNode
            | Kind::KillNatsServer
            | Kind::SplitNats
            | Kind::KillReplica => bail!("{kind} happens to a cluster, not to one server"),
        }
    }

    async fn unwire_clients(&mut self, target: &OneServer, way: Way) -> Result<String> {
        target.wire.set(way);
        let held = self.hold(1_000, 6_000).await;
        target.wire.set(Way::Open);
        Ok(format!("clients {way:?} for {held:.1?}"))
    }
}
