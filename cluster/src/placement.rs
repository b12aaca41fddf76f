//! Who owns a shard.

mod owners;
pub mod rendezvous;

use std::sync::Arc;

use rookery_proto::{ids::Epoch, shard::Shard};
use tokio::sync::watch;

use crate::{
    endpoint::{EndpointId, Role},
    membership::Claims,
};
pub use owners::{OwnerChanges, Owners};

/// Says where the owner of a shard is. A wrong answer is cheap: the node says `NotOwner`.
pub trait Placement: Send + Sync + 'static {
    /// The endpoint of that role that owns the shard, as far as known; `None`: nobody now.
    fn owner(&self, role: Role, shard: Shard) -> Option<EndpointId>;

    /// All owners now, and again each time one changes. By default none ever does.
    fn watch(&self) -> watch::Receiver<Arc<Owners>> {
        let mut owners = Owners::default();
        for role in [Role::Rooms, Role::Presence] {
            for shard in Shard::all() {
                if let Some(owner) = self.owner(role, shard) {
                    owners.claim(role, &owner, &Claims::from([(shard, Epoch::default())]));
                }
            }
        }
        watch::channel(Arc::new(owners)).1
    }
}

/// Everything in one process: one endpoint a role owns all shards.
#[derive(Clone, Debug)]
pub struct SingleNode {
    /// Owner of all rooms.
    pub rooms: EndpointId,
    /// Owner of all users.
    pub presence: EndpointId,
}

impl Placement for SingleNode {
    fn owner(&self, role: Role, _shard: Shard) -> Option<EndpointId> {
        match role {
            Role::Rooms => Some(self.rooms.clone()),
            Role::Presence => Some(self.presence.clone()),
            Role::Gateway => None,
        }
    }
}

/// A cluster: owners as their heartbeats tell. Cloning shares it.
#[derive(Clone, Debug)]
pub struct ClusterPlacement {
    owners: watch::Receiver<Arc<Owners>>,
}

impl ClusterPlacement {
    /// Reads what the other half is given.
    #[must_use]
    pub fn new(owners: watch::Receiver<Arc<Owners>>) -> Self {
        Self { owners }
    }

    /// All owners now.
    #[must_use]
    pub fn owners(&self) -> Arc<Owners> {
        Arc::clone(&self.owners.borrow())
    }

    /// Changes each time an owner does: who listens at an owner moves along.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Owners>> {
        self.owners.clone()
    }
}

impl Placement for ClusterPlacement {
    fn owner(&self, role: Role, shard: Shard) -> Option<EndpointId> {
        self.owners.borrow().owner(role, shard).cloned()
    }

    fn watch(&self) -> watch::Receiver<Arc<Owners>> {
        self.changes()
    }
}
