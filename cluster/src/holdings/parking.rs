//! Packets that wait for their shard to be taken.

use rookery_proto::{link::packet::Body, shard::Shard};
use rustc_hash::FxHashMap;

use crate::{endpoint::EndpointId, limits::PARKED_PACKETS_MAX};

/// Packets by shard, in the order they came.
#[derive(Debug, Default)]
pub struct Parking {
    parked: FxHashMap<Shard, Vec<(EndpointId, Body)>>,
    count: usize,
}

impl Parking {
    /// Keeps a packet until its shard is taken or not. It comes back when
    /// [`PARKED_PACKETS_MAX`] wait.
    #[must_use]
    pub fn park(&mut self, shard: Shard, from: &EndpointId, body: Body) -> Option<Body> {
        if self.count >= PARKED_PACKETS_MAX {
            return Some(body);
        }
        self.count += 1;
        let waiting = self.parked.entry(shard).or_default();
        waiting.push((from.clone(), body));
        None
    }

    /// Takes out what waits for the shard, in order.
    pub fn leave(&mut self, shard: Shard) -> Vec<(EndpointId, Body)> {
        let left = self.parked.remove(&shard).unwrap_or_default();
        self.count -= left.len();
        left
    }
}
