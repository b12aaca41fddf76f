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

/// Too many wait; the packet comes back.
#[derive(Debug)]
pub struct ParkingFull(pub Body);

impl Parking {
    /// Keeps a packet until its shard is taken or not.
    ///
    /// # Errors
    /// When [`PARKED_PACKETS_MAX`] wait.
    pub fn park(&mut self, shard: Shard, from: &EndpointId, body: Body) -> Result<(), ParkingFull> {
        if self.count >= PARKED_PACKETS_MAX {
            return Err(ParkingFull(body));
        }
        self.count += 1;
        let waiting = self.parked.entry(shard).or_default();
        waiting.push((from.clone(), body));
        Ok(())
    }

    /// Takes out what waits for the shard, in order.
    pub fn leave(&mut self, shard: Shard) -> Vec<(EndpointId, Body)> {
        let left = self.parked.remove(&shard).unwrap_or_default();
        self.count -= left.len();
        left
    }
}
