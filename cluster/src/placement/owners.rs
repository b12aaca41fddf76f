//! The owner of every shard, of each role that has owners.

use std::collections::BTreeSet;

use rookery_proto::{
    ids::Epoch,
    shard::{SHARD_COUNT, Shard},
};

use crate::{
    endpoint::{EndpointId, Role},
    membership::{Claims, ShardSet},
};

/// Who owns what, as far as known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    rooms: Table,
    presence: Table,
}

/// Shards that are not owned as they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnerChanges {
    /// Of rooms.
    pub rooms: ShardSet,
    /// Of users.
    pub presence: ShardSet,
}

impl OwnerChanges {
    /// Whether that shard of that role is among them.
    #[must_use]
    pub fn contains(&self, role: Role, shard: Shard) -> bool {
        match role {
            Role::Rooms => self.rooms.contains(shard),
            Role::Presence => self.presence.contains(shard),
            Role::Gateway => false,
        }
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.presence.is_empty()
    }
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

impl Table {
    fn changes_since(&self, before: &Self) -> ShardSet {
        let pairs = Shard::all().zip(self.0.iter().zip(&before.0));
        let changed = pairs.filter(|(_, (now, before))| now != before);
        changed.map(|(shard, _)| shard).collect()
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

    /// Whether any shard of that role has an owner.
    #[must_use]
    pub fn any(&self, role: Role) -> bool {
        Shard::all().any(|shard| self.owner(role, shard).is_some())
    }

    /// Everybody who owns anything.
    #[must_use]
    pub fn endpoints(&self) -> BTreeSet<&EndpointId> {
        let tables = [&self.rooms, &self.presence];
        let owners = tables.iter().flat_map(|table| table.0.iter().flatten());
        owners.map(|owner| &owner.endpoint).collect()
    }

    /// Shards whose owner, or the epoch under which it owns them, is another than in `before`: who
    /// listened there may be forgotten.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> OwnerChanges {
        OwnerChanges {
            rooms: self.rooms.changes_since(&before.rooms),
            presence: self.presence.changes_since(&before.presence),
        }
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
    fn owner_and_epoch_of_a_shard_are_changes_of_it_alone() {
        let [shard, other] = ["general", "random"].map(Shard::of);
        let [one, two] = [1, 2].map(|it| EndpointId::new(Role::Rooms, it));
        let owned = |by: &EndpointId, epoch| {
            let mut owners = Owners::default();
            owners.claim(Role::Rooms, by, &Claims::from([(shard, Epoch(epoch))]));
            owners
        };
        let nobody = Owners::default();
        assert!(owned(&one, 1).any(Role::Rooms) && !owned(&one, 1).any(Role::Presence));
        assert!(owned(&one, 1).changes_since(&owned(&one, 1)).is_empty());
        assert_eq!(owned(&one, 1).endpoints(), BTreeSet::from([&one]));
        for (before, now) in [
            (&nobody, &owned(&one, 1)),
            (&owned(&one, 1), &owned(&two, 1)),
            (&owned(&one, 1), &owned(&one, 2)),
            (&owned(&one, 1), &nobody),
        ] {
            let changes = now.changes_since(before);
            assert!(changes.contains(Role::Rooms, shard));
            assert!(!changes.contains(Role::Rooms, other));
            assert!(!changes.contains(Role::Presence, shard));
        }
    }

    #[test]
    fn higher_epoch_wins() {
        let shard = Shard::of("general");
        let [one, two] = [1, 2].map(|it| EndpointId::new(Role::Rooms, it));
        let mut owners = Owners::default();
        assert_eq!(owners.owner(Role::Rooms, shard), None);
        owners.claim(Role::Rooms, &two, &Claims::from([(shard, Epoch(5))]));
        owners.claim(Role::Rooms, &one, &Claims::from([(shard, Epoch(4))]));
        assert_eq!(owners.owner(Role::Rooms, shard), Some(&two));
        assert_eq!(owners.owner(Role::Presence, shard), None);
        assert_eq!(owners.owner(Role::Gateway, shard), None);
        owners.claim(Role::Rooms, &one, &Claims::from([(shard, Epoch(6))]));
        assert_eq!(owners.owner(Role::Rooms, shard), Some(&one));
        assert_eq!(owners.epoch(Role::Rooms, shard), Some(Epoch(6)));
    }
}
