//! A heartbeat, checked.

use std::collections::BTreeMap;

use rookery_proto::{
    ids::Epoch,
    link::{Heartbeat, Load, heartbeat},
    shard::Shard,
};

use super::shards::ShardSet;
use crate::endpoint::{EndpointId, Role};

/// Shards with the epoch under which they are owned.
pub type Claims = BTreeMap<Shard, Epoch>;

/// What a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Not yet heard by itself; owns nothing.
    Joining,
    /// Serves.
    Serving,
    /// Serves, and hands over all it owns.
    Leaving,
    /// Does not serve: a sign of its process, not of life.
    Suspended,
}

impl NodeState {
    /// Whether a heartbeat of this state is a sign of life.
    #[must_use]
    pub const fn serves(self) -> bool {
        matches!(self, Self::Serving | Self::Leaving)
    }
}

/// What one role of one run of a node says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Beat {
    /// Name of the node, the same over restarts.
    pub node: String,
    /// What it does.
    pub role: Role,
    /// This run of it.
    pub incarnation: u64,
    /// How it is.
    pub state: NodeState,
    /// Counts this run's heartbeats.
    pub number: u64,
    /// Counts the changes of its view of who lives.
    pub membership_epoch: u64,
    /// What it owns.
    pub claims: Claims,
    /// For people.
    pub load: Load,
}

/// Bytes of a node's name.
pub const NODE_NAME_BYTES_MAX: usize = 128;

impl Beat {
    /// Where it is reached.
    #[must_use]
    pub fn endpoint(&self) -> EndpointId {
        EndpointId::new(self.role, self.incarnation)
    }

    /// As on the wire and in the table.
    #[must_use]
    pub fn to_wire(&self) -> Heartbeat {
        let shards: ShardSet = self.claims.keys().copied().collect();
        Heartbeat {
            node: self.node.clone(),
            incarnation: self.incarnation,
            role: role_to_wire(self.role).into(),
            state: match self.state {
                NodeState::Joining => heartbeat::State::Joining,
                NodeState::Serving => heartbeat::State::Serving,
                NodeState::Leaving => heartbeat::State::Leaving,
                NodeState::Suspended => heartbeat::State::Suspended,
            }
            .into(),
            number: self.number,
            membership_epoch: self.membership_epoch,
            shards: shards.to_bytes().to_vec().into(),
            epochs: self.claims.values().map(|epoch| epoch.0).collect(),
            load: Some(self.load),
        }
    }

    /// Reads one; `None` when it cannot be right.
    #[must_use]
    pub fn from_wire(wire: &Heartbeat) -> Option<Self> {
        let shards = ShardSet::from_bytes(&wire.shards)?;
        let sound = !wire.node.is_empty()
            && wire.node.len() <= NODE_NAME_BYTES_MAX
            && wire.incarnation > 0
            && shards.len() == wire.epochs.len();
        if !sound {
            return None;
        }
        let state = match heartbeat::State::try_from(wire.state).ok()? {
            heartbeat::State::Joining => NodeState::Joining,
            heartbeat::State::Serving => NodeState::Serving,
            heartbeat::State::Leaving => NodeState::Leaving,
            heartbeat::State::Suspended => NodeState::Suspended,
        };
        let epochs = wire.epochs.iter().copied().map(Epoch);
        Some(Self {
            node: wire.node.clone(),
            role: role_from_wire(heartbeat::Role::try_from(wire.role).ok()?)?,
            incarnation: wire.incarnation,
            state,
            number: wire.number,
            membership_epoch: wire.membership_epoch,
            claims: shards.iter().zip(epochs).collect(),
            load: wire.load.unwrap_or_default(),
        })
    }
}

const fn role_to_wire(role: Role) -> heartbeat::Role {
    match role {
        Role::Gateway => heartbeat::Role::Gateway,
        Role::Rooms => heartbeat::Role::Rooms,
        Role::Presence => heartbeat::Role::Presence,
    }
}

const fn role_from_wire(role: heartbeat::Role) -> Option<Role> {
    match role {
        heartbeat::Role::NoRole => None,
        heartbeat::Role::Gateway => Some(Role::Gateway),
        heartbeat::Role::Rooms => Some(Role::Rooms),
        heartbeat::Role::Presence => Some(Role::Presence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat() -> Beat {
        Beat {
            node: "node-1".to_owned(),
            role: Role::Rooms,
            incarnation: 7,
            state: NodeState::Serving,
            number: 3,
            membership_epoch: 2,
            claims: Shard::all().step_by(5).map(|it| (it, Epoch(9))).collect(),
            load: Load {
                items: 1,
                commands: 2,
            },
        }
    }

    #[test]
    fn heartbeat_comes_back_from_the_wire() {
        for state in [
            NodeState::Joining,
            NodeState::Serving,
            NodeState::Leaving,
            NodeState::Suspended,
        ] {
            for role in [Role::Gateway, Role::Rooms, Role::Presence] {
                let beat = Beat {
                    state,
                    role,
                    ..beat()
                };
                assert_eq!(Beat::from_wire(&beat.to_wire()), Some(beat));
            }
        }
    }

    #[test]
    fn unsound_heartbeat_is_refused() {
        let good = beat().to_wire();
        assert!(Beat::from_wire(&good).is_some());
        let bad = [
            Heartbeat {
                node: String::new(),
                ..good.clone()
            },
            Heartbeat {
                node: "n".repeat(NODE_NAME_BYTES_MAX + 1),
                ..good.clone()
            },
            Heartbeat {
                incarnation: 0,
                ..good.clone()
            },
            Heartbeat {
                role: 0,
                ..good.clone()
            },
            Heartbeat {
                state: 9,
                ..good.clone()
            },
            Heartbeat {
                epochs: vec![1],
                ..good.clone()
            },
            Heartbeat {
                shards: vec![1, 2, 3].into(),
                ..good
            },
        ];
        for wire in bad {
            assert_eq!(Beat::from_wire(&wire), None, "{wire:?}");
        }
    }
}
