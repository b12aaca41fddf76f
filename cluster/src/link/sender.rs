//! The sending half: a bounded queue and one task per peer.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use bytes::Bytes;
use prost::Message as _;
use rookery_proto::link::{Batch, Packet, packet};
use rustc_hash::FxHashMap;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use crate::{
    bus::{Bus, BusError},
    endpoint::EndpointId,
    limits::{BATCH_BYTES, BATCH_PACKETS_MAX, HEARTBEAT_INTERVAL, LINK_QUEUE_BYTES_MAX},
    metrics,
    task::{TaskKind, spawn},
};

/// All links of one endpoint. Cloning shares them.
#[derive(Clone)]
pub struct Links {
    shared: Arc<Shared>,
}

struct Shared {
    bus: Arc<dyn Bus>,
    me: EndpointId,
    incarnation: u64,
    peers: Mutex<FxHashMap<EndpointId, LinkSender>>,
}

impl Links {
    /// No links yet; each starts with the first call of [`to`](Self::to).
    #[must_use]
    pub fn new(bus: Arc<dyn Bus>, me: EndpointId, incarnation: u64) -> Self {
        let peers = Mutex::new(FxHashMap::default());
        Self {
            shared: Arc::new(Shared {
                bus,
                me,
                incarnation,
                peers,
            }),
        }
    }

    /// The endpoint these links start at.
    #[must_use]
    pub fn me(&self) -> &EndpointId {
        &self.shared.me
    }

    /// The link to that endpoint, started when it is the first call. Needs a tokio runtime.
    #[must_use]
    pub fn to(&self, peer: &EndpointId) -> LinkSender {
        let mut peers = self.shared.peers.lock().expect("no panic while held");
        if let Some(link) = peers.get(peer) {
            return link.clone();
        }
        let (link, queue) = LinkSender::new();
        let task = SenderTask {
            bus: Arc::clone(&self.shared.bus),
            me: self.shared.me.clone(),
            peer: peer.clone(),
            incarnation: self.shared.incarnation,
            link: Arc::clone(&link.state),
            sequence: 0,
        };
        spawn(TaskKind::Service, "link sender", task.run(queue));
        peers.insert(peer.clone(), link.clone());
        link
    }

    /// Ends the link to a peer that is gone; what waits on it is dropped.
    pub fn forget(&self, peer: &EndpointId) {
        self.shared
            .peers
            .lock()
            .expect("no panic while held")
            .remove(peer);
    }
}

/// One link's queue. Cloning shares it; the link ends when all clones are gone.
#[derive(Clone)]
pub struct LinkSender {
    queue: mpsc::UnboundedSender<(usize, Packet)>,
    state: Arc<LinkState>,
}

#[derive(Default)]
struct LinkState {
    /// Bytes of packets in the queue.
    queued_bytes: AtomicUsize,
    /// Packets dropped since the last batch: the next batch's number jumps.
    dropped: AtomicU64,
}

impl LinkSender {
    fn new() -> (Self, mpsc::UnboundedReceiver<(usize, Packet)>) {
        let (queue, receiver) = mpsc::unbounded_channel();
        (
            Self {
                queue,
                state: Arc::default(),
            },
            receiver,
        )
    }

    /// Queues a packet, or gives it back when the queue is full. Never waits.
    ///
    /// # Errors
    /// The packet's body, when [`LINK_QUEUE_BYTES_MAX`] bytes wait already.
    pub fn offer(&self, body: packet::Body) -> Result<(), Box<packet::Body>> {
        let packet = Packet { body: Some(body) };
        let bytes = packet.encoded_len() + 8;
        let before = self.state.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > LINK_QUEUE_BYTES_MAX || self.queue.is_closed() {
            self.state.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Box::new(packet.body.expect("was put there above")));
        }
        // The receiver lives as long as any clone of this sender: a send cannot fail otherwise.
        let _ = self.queue.send((bytes, packet));
        Ok(())
    }

    /// Queues a packet; when the queue is full it is dropped, and the receiver will see the hole.
    pub fn send(&self, body: packet::Body) {
        if self.offer(body).is_err() {
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
            metrics::packet_dropped();
        }
    }
}

struct SenderTask {
    bus: Arc<dyn Bus>,
    me: EndpointId,
    peer: EndpointId,
    incarnation: u64,
    link: Arc<LinkState>,
    sequence: u64,
}

impl SenderTask {
    async fn run(mut self, mut queue: mpsc::UnboundedReceiver<(usize, Packet)>) {
        let mut heartbeat = interval(HEARTBEAT_INTERVAL);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut taken = Vec::new();
        loop {
            tokio::select! {
                biased;
                count = queue.recv_many(&mut taken, BATCH_PACKETS_MAX) => {
                    if count == 0 {
                        return;
                    }
                    self.send_all(&mut taken).await;
                    heartbeat.reset();
                }
                _ = heartbeat.tick() => self.publish(Vec::new()).await,
            }
        }
    }

    /// Sends what was taken as batches of about [`BATCH_BYTES`].
    async fn send_all(&mut self, taken: &mut Vec<(usize, Packet)>) {
        let mut packets = Vec::with_capacity(taken.len());
        let mut bytes = 0;
        for (packet_bytes, packet) in taken.drain(..) {
            self.link
                .queued_bytes
                .fetch_sub(packet_bytes, Ordering::Relaxed);
            if bytes > 0 && bytes + packet_bytes > BATCH_BYTES {
                self.publish(std::mem::take(&mut packets)).await;
                bytes = 0;
            }
            bytes += packet_bytes;
            packets.push(packet);
        }
        self.publish(packets).await;
    }

    async fn publish(&mut self, packets: Vec<Packet>) {
        self.sequence += 1 + u64::from(self.link.dropped.swap(0, Ordering::Relaxed) > 0);
        let batch = Batch {
            from: self.me.as_str().to_owned(),
            incarnation: self.incarnation,
            sequence: self.sequence,
            packets,
        };
        let payload = Bytes::from(batch.encode_to_vec());
        match self.bus.publish(&self.peer, payload).await {
            Ok(()) => metrics::batch_sent(),
            // The number is used up, so the receiver sees the hole.
            Err(error @ (BusError::TooLarge { .. } | BusError::Unreachable)) => {
                tracing::warn!(peer.id = %self.peer, error = %error, "batch not sent");
            }
        }
    }
}
