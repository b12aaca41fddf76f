//! Hears how the shards' actors end and tells the host.

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent, async_trait};
use tokio::sync::mpsc;

/// An actor ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) actor: ActorId,
    /// The error or panic; `None`: it was stopped.
    pub(super) failure: Option<String>,
}

/// Parent of all shard actors. Its queue to the host is bounded by their number.
pub(super) struct Supervisor {
    pub(super) ended: mpsc::UnboundedSender<Ended>,
}

#[async_trait]
impl Actor for Supervisor {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let ended = match event {
            SupervisionEvent::ActorTerminated(who, _, _) => Ended {
                actor: who.get_id(),
                failure: None,
            },
            SupervisionEvent::ActorFailed(who, error) => Ended {
                actor: who.get_id(),
                failure: Some(error.to_string()),
            },
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {
                return Ok(());
            }
        };
        // A host that is gone has stopped its shards.
        let _ = self.ended.send(ended);
        Ok(())
    }
}
