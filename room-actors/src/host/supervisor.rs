//! The parent of all room actors: hears how each of them ends.

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::mpsc;

use super::HostMsg;

/// Passes ends on to the host. It has no messages of its own.
pub(crate) struct Supervisor;

#[ractor::async_trait]
impl Actor for Supervisor {
    type Msg = ();
    type State = mpsc::UnboundedSender<HostMsg>;
    type Arguments = mpsc::UnboundedSender<HostMsg>;

    async fn pre_start(
        &self,
        _myself: ActorRef<()>,
        host: mpsc::UnboundedSender<HostMsg>,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(host)
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<()>,
        event: SupervisionEvent,
        host: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let ended = match event {
            SupervisionEvent::ActorFailed(actor, error) => HostMsg::Ended {
                actor: actor.get_id(),
                error: Some(error.to_string()),
            },
            SupervisionEvent::ActorTerminated(actor, _, _) => HostMsg::Ended {
                actor: actor.get_id(),
                error: None,
            },
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {
                return Ok(());
            }
        };
        // A host that is gone has dropped its rooms.
        let _ = host.send(ended);
        Ok(())
    }
}
