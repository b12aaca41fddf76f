//! The receiving half: decodes batches, sees holes and silence.

use std::{collections::VecDeque, sync::Arc};

use rookery_proto::link::{Batch, Packet};
use rustc_hash::FxHashMap;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::{
    bus::{Bus, BusError, Subscription},
    endpoint::EndpointId,
    limits::{HEARTBEAT_INTERVAL, SILENCE},
    metrics,
};

/// What an inbox tells its owner.
#[derive(Debug)]
pub enum Inbound {
    /// A peer is heard for the first time, again after it was declared silent, or on a new run of
    /// its link. What it said before that run may be lost: where something was heard before,
    /// [`Lost`](Self::Lost) follows.
    Opened {
        /// The peer.
        from: EndpointId,
    },
    /// Packets, in the order sent.
    Packets {
        /// The peer.
        from: EndpointId,
        /// At least one.
        packets: Vec<Packet>,
    },
    /// Something the peer sent before the next packets did not arrive.
    Lost {
        /// The peer.
        from: EndpointId,
    },
    /// The peer has said nothing for [`SILENCE`].
    Silent {
        /// The peer.
        from: EndpointId,
    },
}

/// An endpoint's inbox.
pub struct Inbox {
    subscription: Subscription,
    peers: FxHashMap<EndpointId, Peer>,
    ready: VecDeque<Inbound>,
    check: Interval,
}

struct Peer {
    incarnation: u64,
    sequence: u64,
    heard: Instant,
}

impl Inbox {
    /// Opens the inbox of `me`.
    ///
    /// # Errors
    /// When the bus is unreachable.
    pub async fn open(bus: &Arc<dyn Bus>, me: &EndpointId) -> Result<Self, BusError> {
        let subscription = bus.subscribe(me).await?;
        let mut check = interval(HEARTBEAT_INTERVAL / 2);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            subscription,
            peers: FxHashMap::default(),
            ready: VecDeque::new(),
            check,
        })
    }

    /// The next thing to know; `None` when the bus is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost when dropped.
    pub async fn next(&mut self) -> Option<Inbound> {
        loop {
            if let Some(inbound) = self.ready.pop_front() {
                return Some(inbound);
            }
            tokio::select! {
                biased;
                batch = self.subscription.next_batch() => match batch? {
                    Ok(batch) => self.receive(batch, Instant::now()),
                    // Its number is missing from the stream, so the next batch shows a hole.
                    Err(error) => tracing::warn!(error = %error, "batch not readable"),
                },
                _ = self.check.tick() => self.find_silent(Instant::now()),
            }
        }
    }

    fn receive(&mut self, batch: Batch, now: Instant) {
        let from = EndpointId::from_wire(&batch.from);
        match self.peers.get_mut(&from) {
            Some(peer) if peer.incarnation == batch.incarnation => {
                if batch.sequence <= peer.sequence {
                    return;
                }
                let whole = batch.sequence == peer.sequence + 1;
                peer.sequence = batch.sequence;
                peer.heard = now;
                if !whole {
                    metrics::hole_seen();
                    self.ready.push_back(Inbound::Lost { from: from.clone() });
                }
            }
            // A straggler of a run that a newer one has replaced.
            Some(peer) if batch.incarnation < peer.incarnation => return,
            known => {
                let replaced = known.is_some();
                let peer = Peer {
                    incarnation: batch.incarnation,
                    sequence: batch.sequence,
                    heard: now,
                };
                self.peers.insert(from.clone(), peer);
                self.ready.push_back(Inbound::Opened { from: from.clone() });
                if batch.sequence > 1 || replaced {
                    metrics::hole_seen();
                    self.ready.push_back(Inbound::Lost { from: from.clone() });
                }
            }
        }
        if !batch.packets.is_empty() {
            self.ready.push_back(Inbound::Packets {
                from,
                packets: batch.packets,
            });
        }
    }

    fn find_silent(&mut self, now: Instant) {
        let ready = &mut self.ready;
        self.peers.retain(|from, peer| {
            let silent = now.duration_since(peer.heard) >= SILENCE;
            if silent {
                ready.push_back(Inbound::Silent { from: from.clone() });
            }
            !silent
        });
    }
}
