//! The sending half: a bounded queue and one task per peer.
//!
//! A link has runs: a new one starts with the first packet, and with the first after the link was
//! forgotten. Each run has an incarnation of its own, larger than that of every earlier run of
//! this endpoint, so a receiver knows a new run at once and never takes an old batch for new.
//!
//! Flushing: when nothing was waiting, what is there leaves at once. Otherwise the task lets every
//! other ready task run, so that what they send joins the batch, until nothing more comes, the
//! batch is full, or [`FLUSH_AFTER_MAX`] is over. No timer is involved.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
};

use prost::Message as _;
use rookery_proto::link::{Batch, Packet, packet};
use rustc_hash::FxHashMap;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    bus::{Bus, BusError},
    endpoint::EndpointId,
    limits::{
        BATCH_BYTES, BATCH_PACKETS_MAX, FLUSH_AFTER_MAX, HEARTBEAT_INTERVAL, LINK_QUEUE_BYTES_MAX,
    },
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
    /// The next run's incarnation.
    incarnations: Arc<AtomicU64>,
    peers: Mutex<FxHashMap<EndpointId, LinkSender>>,
}

impl Links {
    /// No links yet; each starts with the first call of [`to`](Self::to). `incarnation` is this
    /// process's; the links' are counted up from it.
    #[must_use]
    pub fn new(bus: Arc<dyn Bus>, me: EndpointId, incarnation: u64) -> Self {
        let peers = Mutex::new(FxHashMap::default());
        Self {
            shared: Arc::new(Shared {
                bus,
                me,
                incarnations: Arc::new(AtomicU64::new(incarnation)),
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
            incarnations: Arc::clone(&self.shared.incarnations),
            link: Arc::clone(&link.state),
            run: None,
            refused: 0,
        };
        spawn(TaskKind::Service, "link sender", task.run(queue));
        peers.insert(peer.clone(), link.clone());
        link
    }

    /// Ends the run of the link to a peer that is gone: what waits on it is dropped, and it says
    /// nothing any more. Whoever still holds the link may use it: its next packet starts a new run,
    /// behind a hole if anything was dropped.
    pub fn forget(&self, peer: &EndpointId) {
        let mut peers = self.shared.peers.lock().expect("no panic while held");
        if let Some(link) = peers.get(peer) {
            link.forget();
        }
        peers.retain(|_, link| !link.is_idle_and_unused());
    }
}

/// One link's queue. Cloning shares it; the link ends when all clones are gone.
#[derive(Clone)]
pub struct LinkSender {
    queue: mpsc::UnboundedSender<Queued>,
    state: Arc<LinkState>,
}

/// A packet and what it takes of the queue's bound; `None`: the run ends here.
type Queued = Option<(usize, Packet)>;

#[derive(Default)]
struct LinkState {
    /// Bytes of packets in the queue.
    queued_bytes: AtomicUsize,
    /// Ends of runs in the queue: what is before the last of them is not sent.
    forgets: AtomicUsize,
    /// Forgotten, and not used since.
    idle: AtomicBool,
    /// Packets dropped since the last batch: the next batch's number jumps.
    dropped: AtomicU64,
}

impl LinkSender {
    fn new() -> (Self, mpsc::UnboundedReceiver<Queued>) {
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
        self.state.idle.store(false, Ordering::Relaxed);
        let _ = self.queue.send(Some((bytes, packet)));
        Ok(())
    }

    fn forget(&self) {
        self.state.idle.store(true, Ordering::Relaxed);
        self.state.forgets.fetch_add(1, Ordering::Relaxed);
        let _ = self.queue.send(None);
    }

    /// Whether nobody but the map of links holds it, and it was forgotten.
    fn is_idle_and_unused(&self) -> bool {
        self.state.idle.load(Ordering::Relaxed) && self.queue.strong_count() == 1
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
    incarnations: Arc<AtomicU64>,
    link: Arc<LinkState>,
    /// `None` from the end of a run to the next packet.
    run: Option<Run>,
    /// Batches the bus has not taken since the last it took.
    refused: u64,
}

/// One numbering.
struct Run {
    incarnation: u64,
    sequence: u64,
}

impl SenderTask {
    async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Queued>) {
        let mut heartbeat = interval(HEARTBEAT_INTERVAL);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut taken = Vec::new();
        self.begin_run();
        loop {
            tokio::select! {
                biased;
                count = queue.recv_many(&mut taken, BATCH_PACKETS_MAX) => {
                    if count == 0 {
                        return;
                    }
                    self.gather(&mut queue, &mut taken).await;
                    self.send_all(&mut taken).await;
                    heartbeat.reset();
                }
                _ = heartbeat.tick() => {
                    if self.run.is_some() {
                        self.publish(Vec::new()).await;
                    }
                }
            }
        }
    }

    /// Lets others add to what was taken, as the module's documentation says.
    async fn gather(&self, queue: &mut mpsc::UnboundedReceiver<Queued>, taken: &mut Vec<Queued>) {
        let began = Instant::now();
        while taken.len() < BATCH_PACKETS_MAX
            && self.link.queued_bytes.load(Ordering::Relaxed) < BATCH_BYTES
        {
            let before = taken.len();
            let_others_run().await;
            while taken.len() < BATCH_PACKETS_MAX
                && let Ok(queued) = queue.try_recv()
            {
                taken.push(queued);
            }
            if taken.len() == before || began.elapsed() >= FLUSH_AFTER_MAX {
                return;
            }
        }
    }

    /// Sends what was taken as batches of about [`BATCH_BYTES`].
    async fn send_all(&mut self, taken: &mut Vec<Queued>) {
        let mut packets = Vec::with_capacity(taken.len());
        let mut bytes = 0;
        for queued in taken.drain(..) {
            let Some((packet_bytes, packet)) = queued else {
                self.link.forgets.fetch_sub(1, Ordering::Relaxed);
                self.run = None;
                debug_assert!(packets.is_empty(), "nothing is taken before this");
                continue;
            };
            self.link
                .queued_bytes
                .fetch_sub(packet_bytes, Ordering::Relaxed);
            if self.link.forgets.load(Ordering::Relaxed) > 0 {
                // Whoever goes on using the link asked for this too: its next run shows a hole.
                self.link.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if bytes > 0 && bytes + packet_bytes > BATCH_BYTES {
                self.publish(std::mem::take(&mut packets)).await;
                bytes = 0;
            }
            bytes += packet_bytes;
            packets.push(packet);
        }
        if !packets.is_empty() {
            self.publish(packets).await;
        }
    }

    fn begin_run(&mut self) -> &mut Run {
        self.run.get_or_insert_with(|| Run {
            incarnation: self.incarnations.fetch_add(1, Ordering::Relaxed),
            sequence: 0,
        })
    }

    async fn publish(&mut self, packets: Vec<Packet>) {
        let dropped = self.link.dropped.swap(0, Ordering::Relaxed) > 0;
        let run = self.begin_run();
        run.sequence += 1 + u64::from(dropped);
        let (incarnation, sequence) = (run.incarnation, run.sequence);
        let batch = Batch {
            from: self.me.as_str().to_owned(),
            incarnation,
            sequence,
            packets,
        };
        match self.bus.publish_batch(&self.peer, batch).await {
            Ok(()) => {
                metrics::batch_sent();
                if self.refused > 0 {
                    tracing::info!(
                        peer.id = %self.peer,
                        link.refused = self.refused,
                        "bus takes batches again"
                    );
                    self.refused = 0;
                }
            }
            // The number is used up, so the receiver sees the hole.
            Err(error @ (BusError::TooLarge { .. } | BusError::Unreachable)) => {
                metrics::batch_refused();
                if self.refused == 0 {
                    tracing::warn!(peer.id = %self.peer, error = %error, "batch not sent");
                }
                self.refused += 1;
            }
        }
    }
}

/// Puts this task behind all that are ready. Tokio's own `yield_now` turns the order of those that
/// yield together around, and what two links carry would arrive the other way round for no reason.
async fn let_others_run() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
