//! Keeps what a gateway's lane asks in its order, through refusals and losses.
//!
//! For each shard a lane asks in turns, which it counts. When it is refused, or something that it
//! said may be lost, it begins a new turn and asks again, in order, what is not answered. What still
//! comes of the old turn would pass what is asked again, so it is refused as well.

use rookery_proto::shard::Shard;
use rustc_hash::FxHashMap;

use crate::endpoint::EndpointId;

/// Lanes that are told apart; a lane beyond them, or in turn 0, has no order to keep.
const LANES_MAX: u32 = 64;

/// All gateways a node hears.
#[derive(Debug, Default)]
pub struct Turns {
    gateways: FxHashMap<EndpointId, Gateway>,
}

#[derive(Debug, Default)]
struct Gateway {
    /// Holes in what it said.
    holes: u64,
    lanes: Vec<Lane>,
}

/// By shard, where anything was refused or lost.
type Lane = FxHashMap<Shard, ShardTurns>;

#[derive(Debug, Default)]
struct ShardTurns {
    /// Holes before the newest request.
    holes: u64,
    /// The newest turn refused.
    refused: Option<u64>,
}

impl Turns {
    /// Something that the gateway said is lost.
    pub fn lost(&mut self, gateway: &EndpointId) {
        self.gateways.entry(gateway.clone()).or_default().holes += 1;
    }

    /// The gateway will not come back.
    pub fn forget(&mut self, gateway: &EndpointId) {
        self.gateways.remove(gateway);
    }

    /// Whether a request may be taken. `owned`: whether its shard is owned here; if not it is
    /// refused, and so is what follows it in this turn.
    pub fn admits(
        &mut self,
        gateway: &EndpointId,
        lane: u32,
        shard: Shard,
        turn: u64,
        owned: bool,
    ) -> bool {
        if owned && !self.gateways.contains_key(gateway) {
            return true;
        }
        let gateway = self.gateways.entry(gateway.clone()).or_default();
        gateway.admits(lane, shard, turn, owned)
    }
}

impl Gateway {
    fn admits(&mut self, lane: u32, shard: Shard, turn: u64, owned: bool) -> bool {
        if lane >= LANES_MAX || turn == 0 {
            return owned;
        }
        let index = lane as usize;
        if index >= self.lanes.len() {
            self.lanes.resize_with(index + 1, Lane::default);
        }
        let lane = &mut self.lanes[index];
        if owned && self.holes == 0 && lane.is_empty() {
            return true;
        }
        let shard = lane.entry(shard).or_default();
        if shard.holes != self.holes {
            // What is lost may be of this very turn.
            shard.holes = self.holes;
            shard.refused = shard.refused.max(Some(turn));
        }
        if !owned {
            shard.refused = shard.refused.max(Some(turn));
        }
        shard.refused < Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Role;

    #[test]
    fn turn_of_a_refused_request_is_refused_to_its_end() {
        let [shard, other] = ["general", "random"].map(Shard::of);
        let mut turns = Turns::default();
        let gateway = EndpointId::new(Role::Gateway, 1);
        let mut admits =
            |lane, shard, turn, owned| turns.admits(&gateway, lane, shard, turn, owned);
        assert!(admits(1, shard, 1, true));
        assert!(!admits(1, shard, 1, false));
        // Owned since: but what was refused comes first.
        assert!(!admits(1, shard, 1, true));
        assert!(admits(1, other, 1, true));
        assert!(admits(0, shard, 1, true));
        assert!(admits(1, shard, 2, true));
        assert!(admits(1, shard, 2, true));
        assert!(admits(64, shard, 1, true));
        assert!(!admits(2, shard, 0, false));
        assert!(admits(2, shard, 0, true));
    }

    #[test]
    fn after_a_loss_every_lane_begins_a_new_turn_of_each_shard() {
        let [gateway, whole] = [1, 2].map(|it| EndpointId::new(Role::Gateway, it));
        let [shard, other] = ["general", "random"].map(Shard::of);
        let mut turns = Turns::default();
        assert!(turns.admits(&gateway, 0, shard, 4, true));
        turns.lost(&gateway);
        let mut admits = |lane, shard, turn| turns.admits(&gateway, lane, shard, turn, true);
        // The lost request may have been of turn 5 too.
        assert!(!admits(0, shard, 5));
        assert!(admits(0, shard, 6));
        assert!(!admits(0, other, 1));
        assert!(admits(0, other, 2));
        assert!(!admits(1, shard, 1));
        assert!(admits(1, shard, 2));
        assert!(turns.admits(&whole, 0, shard, 1, true));
        turns.forget(&gateway);
        assert!(turns.admits(&gateway, 0, shard, 1, true));
    }
}
