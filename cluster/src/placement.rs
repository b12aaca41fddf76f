//! Who owns a shard.

use rookery_proto::shard::Shard;

use crate::endpoint::{EndpointId, Role};

/// Says where the owner of a shard is. A wrong answer is cheap: the node says `NotOwner`.
pub trait Placement: Send + Sync + 'static {
    /// The endpoint of that role that owns the shard, as far as known; `None`: nobody now.
    fn owner(&self, role: Role, shard: Shard) -> Option<EndpointId>;
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
