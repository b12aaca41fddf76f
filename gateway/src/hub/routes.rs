//! Where a lane sends what is for a shard.

use std::sync::Arc;

use rookery_cluster::{EndpointId, OwnerChanges, Owners, Role};
use rookery_proto::{ids::Epoch, link::NotOwner, shard::Shard};
use rustc_hash::FxHashMap;

/// Whose owner is meant.
pub(super) type Target = (Role, Shard);

/// The owners as this lane was last told, so that asking costs no lock and changes only between
/// two inputs.
#[derive(Debug)]
pub(super) struct Routes {
    owners: Arc<Owners>,
    /// Owners that a node named and `owners` does not tell yet, and the epoch it knew.
    detours: FxHashMap<Target, (EndpointId, Epoch)>,
}

impl Routes {
    pub(super) fn new(owners: Arc<Owners>) -> Self {
        Self {
            owners,
            detours: FxHashMap::default(),
        }
    }

    /// Who is asked; `None`: nobody is known.
    pub(super) fn owner(&self, target: Target) -> Option<&EndpointId> {
        let detour = self.detours.get(&target).map(|(named, _)| named);
        detour.or_else(|| self.owners.owner(target.0, target.1))
    }

    /// Whether the node is who is asked.
    pub(super) fn leads_to(&self, target: Target, node: &EndpointId) -> bool {
        self.owner(target) == Some(node)
    }

    /// Takes what is known from now on. What a node named of a newer epoch stays: who had the shard
    /// before may have been replaced without knowing, and would answer with what was.
    pub(super) fn renew(&mut self, owners: Arc<Owners>, changes: &OwnerChanges) {
        self.detours.retain(|&(role, shard), (_, epoch)| {
            let known = owners.epoch(role, shard);
            !changes.contains(role, shard) || known.is_some_and(|known| known < *epoch)
        });
        self.owners = owners;
    }

    /// `refuser`, which is asked now, is not the owner and may have named who is. True: another is
    /// asked from now on. What it knows from an epoch before ours is not believed: a node that is
    /// gone would be asked until the owners change.
    pub(super) fn detour(&mut self, target: Target, refuser: &EndpointId, told: &NotOwner) -> bool {
        if self.detours.remove(&target).is_some() {
            return !self.leads_to(target, refuser);
        }
        let known = self.owners.epoch(target.0, target.1);
        let (named, epoch) = (EndpointId::from_wire(&told.owner), Epoch(told.epoch));
        if named == *refuser || named.role() != Some(target.0) || Some(epoch) < known {
            return false;
        }
        self.detours.insert(target, (named, epoch));
        true
    }
}

#[cfg(test)]
mod tests {
    use rookery_cluster::{Placement as _, SingleNode, membership::Claims};

    use super::*;

    #[test]
    fn node_that_is_named_is_asked_until_it_refuses_or_the_owners_change() {
        let [one, two, presence] = [
            EndpointId::new(Role::Rooms, 1),
            EndpointId::new(Role::Rooms, 2),
            EndpointId::new(Role::Presence, 1),
        ];
        let known = |rooms: &EndpointId| {
            let (rooms, presence) = (rooms.clone(), presence.clone());
            Arc::clone(&SingleNode { rooms, presence }.watch().borrow())
        };
        let target = (Role::Rooms, Shard::of("general"));
        let mut routes = Routes::new(known(&one));
        let told = |epoch, owner: &str| NotOwner {
            epoch,
            owner: owner.to_owned(),
        };
        for named in ["", one.as_str(), presence.as_str()] {
            assert!(!routes.detour(target, &one, &told(9, named)), "{named:?}");
            assert!(routes.leads_to(target, &one));
        }
        assert!(routes.detour(target, &one, &told(0, two.as_str())));
        assert!(routes.leads_to(target, &two));
        // Refused there too: back to the one known, which is not the one that refused.
        assert!(routes.detour(target, &two, &told(0, "rooms-3")));
        assert!(routes.leads_to(target, &one));
        assert!(routes.detour(target, &one, &told(0, "rooms-3")));
        let changes = known(&two).changes_since(&known(&one));
        routes.renew(known(&two), &changes);
        assert!(routes.leads_to(target, &two));
        assert_eq!(routes.owner((Role::Presence, target.1)), Some(&presence));

        let mut owners = Owners::default();
        let claims = Claims::from([(target.1, Epoch(5))]);
        owners.claim(Role::Rooms, &one, &claims);
        let mut routes = Routes::new(Arc::new(owners));
        assert!(!routes.detour(target, &one, &told(4, two.as_str())), "old");
        assert!(
            routes.detour(target, &one, &told(5, two.as_str())),
            "released"
        );
    }

    #[test]
    fn owner_that_is_told_late_does_not_replace_one_of_a_newer_epoch() {
        let nodes = [1, 2, 3].map(|it| EndpointId::new(Role::Rooms, it));
        let target = (Role::Rooms, Shard::of("general"));
        let owned = |node: &EndpointId, epoch| {
            let mut owners = Owners::default();
            owners.claim(Role::Rooms, node, &Claims::from([(target.1, Epoch(epoch))]));
            Arc::new(owners)
        };
        let mut known = owned(&nodes[0], 5);
        let mut routes = Routes::new(Arc::clone(&known));
        let epoch = 7;
        let owner = nodes[2].as_str().to_owned();
        assert!(routes.detour(target, &nodes[0], &NotOwner { epoch, owner }));
        for (node, epoch, leads_to) in [
            (&nodes[1], 6, &nodes[2]),
            (&nodes[2], 7, &nodes[2]),
            (&nodes[1], 8, &nodes[1]),
        ] {
            let now = owned(node, epoch);
            routes.renew(Arc::clone(&now), &now.changes_since(&known));
            known = now;
            assert!(routes.leads_to(target, leads_to), "after {epoch}");
        }
    }
}
