//! The owner of every shard, of each role that has owners.

use rookery_proto::{
    ids::Epoch,
    shard::{SHARD_COUNT, Shard},
};

use crate::{
    endpoint::{EndpointId, Role},
    membership::Claims,
};

/// Who owns what, as far as known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    rooms: Table,
    presence: Table,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Table(Vec<Option<Owner>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    endpoint: EndpointId,
    epoch: Epoch,
}

impl Default for Table {
    fn default() -> Self {
        Self(vec![None; usize::from(SHARD_COUNT)])
    }
}

impl Owners {
    /// The owner of a shard.
    #[must_use]
    pub fn owner(&self, role: Role, shard: Shard) -> Option<&EndpointId> {
        self.entry(role, shard).map(|owner| &owner.endpoint)
    }

    /// The epoch under which it owns it.
    #[must_use]
    pub fn epoch(&self, role: Role, shard: Shard) -> Option<Epoch> {
        self.entry(role, shard).map(|owner| owner.epoch)
    }

    /// Somebody says it owns these. Of two who say so, the higher epoch wins.
    pub fn claim(&mut self, role: Role, endpoint: &EndpointId, claims: &Claims) {
        let Some(table) = self.table_mut(role) else {
            return;
        };
        for (shard, epoch) in claims {
            let owner = &mut table.0[usize::from(shard.number())];
            if owner.as_ref().is_none_or(|owner| owner.epoch < *epoch) {
                *owner = Some(Owner {
                    endpoint: endpoint.clone(),
                    epoch: *epoch,
                });
            }
        }
    }

    /// A room shard or user shard owned under this epoch was released to the endpoint.
    pub fn promise(&mut self, shard: Shard, to: &EndpointId, epoch: Epoch) {
        for (role, table) in [
            (Role::Rooms, &mut self.rooms),
            (Role::Presence, &mut self.presence),
        ] {
            let owner = &mut table.0[usize::from(shard.number())];
            if to.role() == Some(role) && owner.as_ref().is_none_or(|it| it.epoch <= epoch) {
                *owner = Some(Owner {
                    endpoint: to.clone(),
                    epoch,
                });
            }
        }
    }

    fn entry(&self, role: Role, shard: Shard) -> Option<&Owner> {
        let table = match role {
            Role::Rooms => &self.rooms,
            Role::Presence => &self.presence,
            Role::Gateway => return None,
        };
        table.0[usize::from(shard.number())].as_ref()
    }

    fn table_mut(&mut self, role: Role) -> Option<&mut Table> {
        match role {
            Role::Rooms => Some(&mut self.rooms),
            Role::Presence => Some(&mut self.presence),
            Role::Gateway => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_epoch_wins_and_a_promise_yields_to_the_new_owner() {
        let shard = Shard::of("general");
        let [one, two] = [1, 2].map(|it| EndpointId::new(Role::Rooms, it));
        let mut owners = Owners::default();
        assert_eq!(owners.owner(Role::Rooms, shard), None);
        owners.claim(Role::Rooms, &two, &Claims::from([(shard, Epoch(5))]));
        owners.claim(Role::Rooms, &one, &Claims::from([(shard, Epoch(4))]));
        assert_eq!(owners.owner(Role::Rooms, shard), Some(&two));
        assert_eq!(owners.owner(Role::Presence, shard), None);
        assert_eq!(owners.owner(Role::Gateway, shard), None);
        owners.promise(shard, &one, Epoch(5));
        assert_eq!(owners.owner(Role::Rooms, shard), Some(&one));
        owners.claim(Role::Rooms, &two, &Claims::from([(shard, Epoch(7))]));
        owners.promise(shard, &one, Epoch(5));
        assert_eq!(owners.owner(Role::Rooms, shard), Some(&two));
        assert_eq!(owners.epoch(Role::Rooms, shard), Some(Epoch(7)));
    }
}
