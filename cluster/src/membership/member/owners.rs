//! Who owns which shard, as far as the node knows: by heartbeats, and by what was promised.

use std::sync::Arc;

use rookery_proto::ids::Epoch;
use tokio::time::Instant;

use super::{Effect, Member};
use crate::{
    endpoint::EndpointId,
    limits::BUS_SILENCE,
    membership::{
        beat::Claims,
        hand_over::{HandOver, Step},
        observer::Life,
    },
    placement::Owners,
};

#[derive(Debug)]
pub(super) struct Promise {
    to: EndpointId,
    epoch: Epoch,
    until: Instant,
}

impl Member {
    /// A given shard is sought at its next owner from now on, before that one's heartbeat says so.
    pub(super) fn promise(&mut self, told: &HandOver, now: Instant) {
        if told.step != Step::Given {
            return;
        }
        let Some(role) = told.to.role() else {
            return;
        };
        let former = self.promised.get(&(role, told.shard));
        // Told late, of a move before the one that is known.
        if former.is_some_and(|former| former.epoch > told.epoch) {
            return;
        }
        let promise = Promise {
            to: told.to.clone(),
            epoch: told.epoch,
            until: now + BUS_SILENCE,
        };
        self.promised.insert((role, told.shard), promise);
        self.news = true;
    }

    pub(super) fn publish_owners(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.promised.retain(|_, promise| now < promise.until);
        let mut owners = Owners::default();
        for (endpoint, known) in self.observer.known() {
            if matches!(known.life(now), Life::Alive | Life::Suspect) {
                owners.claim(known.beat.role, endpoint, &known.beat.claims);
            }
        }
        owners.claim(self.myself.role, &self.me, &self.keeper.claims());
        for ((role, shard), promise) in &self.promised {
            let claims = Claims::from([(*shard, promise.epoch)]);
            owners.claim(*role, &promise.to, &claims);
        }
        if owners != *self.owners {
            self.owners = Arc::new(owners);
            effects.push(Effect::Owners(Arc::clone(&self.owners)));
        }
    }
}
