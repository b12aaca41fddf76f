//! What the keeper decides by: homes, owners and lives at one moment.

use std::collections::BTreeSet;

use rookery_proto::{
    ids::Epoch,
    shard::{SHARD_COUNT, Shard},
};
use tokio::time::Instant;

use super::{
    beat::NodeState,
    keeper::Successor,
    observer::{Life, Observer},
};
use crate::{
    endpoint::{EndpointId, Role},
    placement::rendezvous,
};

/// Nodes that may own shards of one role, by name and endpoint, in order.
pub(crate) type Eligible = BTreeSet<(String, EndpointId)>;

#[derive(Debug, Default)]
pub(crate) struct View {
    /// Of whom `homes` was made.
    eligible: Eligible,
    homes: Vec<Option<EndpointId>>,
    /// The highest claim on each shard, and whether its owner is dead.
    claims: Vec<Option<Claim>>,
    living: BTreeSet<EndpointId>,
    near: BTreeSet<EndpointId>,
}

#[derive(Clone, Debug)]
struct Claim {
    owner: EndpointId,
    incarnation: u64,
    epoch: Epoch,
    dead: bool,
}

impl View {
    /// Looks again. `me`: our name and endpoint, while we may own shards. Returns whether the
    /// living have changed.
    pub(crate) fn look(
        &mut self,
        observer: &Observer,
        role: Role,
        me: Option<(String, EndpointId)>,
        now: Instant,
    ) -> bool {
        let mut eligible: Eligible = me.into_iter().collect();
        let mut claims = vec![None::<Claim>; usize::from(SHARD_COUNT)];
        let (mut living, mut near) = (BTreeSet::new(), BTreeSet::new());
        for (endpoint, known) in observer.known() {
            let beat = &known.beat;
            if beat.role != role {
                continue;
            }
            let life = known.life(now);
            if matches!(life, Life::Alive | Life::Suspect) {
                living.insert(endpoint.clone());
                if beat.state == NodeState::Serving {
                    eligible.insert((beat.node.clone(), endpoint.clone()));
                }
            }
            if known.is_near(now) {
                near.insert(endpoint.clone());
            }
            for (shard, epoch) in &beat.claims {
                let highest = &mut claims[usize::from(shard.number())];
                if highest.as_ref().is_none_or(|it| it.epoch < *epoch) {
                    *highest = Some(Claim {
                        owner: endpoint.clone(),
                        incarnation: beat.incarnation,
                        epoch: *epoch,
                        dead: life == Life::Dead,
                    });
                }
            }
        }
        if eligible != self.eligible || self.homes.is_empty() {
            self.homes = homes(&eligible);
            self.eligible = eligible;
        }
        let changed = living != self.living;
        self.claims = claims;
        self.living = living;
        self.near = near;
        changed
    }

    /// Who should own it.
    pub(crate) fn home(&self, shard: Shard) -> Option<&EndpointId> {
        self.homes.get(usize::from(shard.number()))?.as_ref()
    }

    fn claim(&self, shard: Shard) -> Option<&Claim> {
        self.claims.get(usize::from(shard.number()))?.as_ref()
    }

    /// Who else owns it and may live.
    pub(crate) fn living_owner(&self, shard: Shard) -> Option<&EndpointId> {
        let claim = self.claim(shard).filter(|claim| !claim.dead)?;
        Some(&claim.owner)
    }

    /// The incarnation that died with it.
    pub(crate) fn dead_owner(&self, shard: Shard) -> Option<u64> {
        let claim = self.claim(shard).filter(|claim| claim.dead)?;
        Some(claim.incarnation)
    }

    /// The highest epoch under which another has owned it, dead or alive.
    pub(crate) fn claimed_epoch(&self, shard: Shard) -> Option<Epoch> {
        self.claim(shard).map(|claim| claim.epoch)
    }

    /// Whether it is not known to be dead, and has been alive.
    pub(crate) fn lives(&self, endpoint: &EndpointId) -> bool {
        self.living.contains(endpoint)
    }

    /// As the next owner of a shard, if it may be that.
    pub(crate) fn successor(&self, endpoint: &EndpointId) -> Option<Successor> {
        let (node, _) = self.eligible.iter().find(|(_, it)| it == endpoint)?;
        Some(Successor {
            node: node.clone(),
            incarnation: endpoint.incarnation()?,
        })
    }

    /// Whether the bus carries its heartbeats to us.
    pub(crate) fn is_near(&self, endpoint: &EndpointId) -> bool {
        self.near.contains(endpoint)
    }
}

fn homes(eligible: &Eligible) -> Vec<Option<EndpointId>> {
    let home = |shard| {
        let best = eligible
            .iter()
            .max_by_key(|(node, endpoint)| (rendezvous::weight(node, shard), node, endpoint));
        best.map(|(_, endpoint)| endpoint.clone())
    };
    Shard::all().map(home).collect()
}
