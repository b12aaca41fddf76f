//! The bus of a cluster: core publish and subscribe of NATS.
//!
//! Two connections, so that heartbeats do not wait behind data:
//! `data` carries inboxes (`<prefix>.inbox.<endpoint>`), `control` what is for everybody
//! (`<prefix>.control.all`). Each comes back by itself, for ever.
//!
//! What the client would lose in silence is made visible here:
//! - While a connection is known to be down, [`Bus::publish`] says `Unreachable` and nothing is
//!   kept for later. Until that is known (at most three pings) messages may be lost; the links'
//!   numbering shows it.
//! - A task per subscription empties the client's buffer into one of ours, bounded by bytes. What
//!   does not fit is dropped and counted.
//! - `flush` and `drain` are not used. A subscription is open when a message to ourselves, sent
//!   after it, has come back.

mod config;
mod connection;
mod error;

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use rustc_hash::FxHashMap;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{Broadcast, Bus, BusError, Subscription};
use crate::{
    endpoint::EndpointId,
    limits::{NATS_SUBSCRIPTION_MESSAGES_MAX, PAYLOAD_BYTES_MAX, SUBSCRIPTION_BYTES_MAX},
    metrics::{self, Overflow},
    task::{TaskKind, spawn},
};
pub use config::{
    CONNECT_PATIENCE_DEFAULT, NatsConfig, NatsCredentials, NatsIdentity, NatsTls, PREFIX_DEFAULT,
};
use connection::Connection;
pub use error::NatsError;

/// A bus over NATS. Cloning shares its connections.
#[derive(Clone)]
pub struct NatsBus {
    shared: Arc<Shared>,
}

struct Shared {
    data: Connection,
    control: Connection,
    prefix: String,
    /// The task behind each open inbox.
    inboxes: Mutex<FxHashMap<EndpointId, JoinHandle<()>>>,
}

impl fmt::Debug for NatsBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBus")
            .field("prefix", &self.shared.prefix)
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

impl NatsBus {
    /// Connects, and checks that the server carries what we need.
    ///
    /// # Errors
    /// Names the setting that is wrong: no server reachable, credentials refused, subjects not
    /// allowed, the server's `max_payload` too small.
    pub async fn connect(config: NatsConfig) -> Result<Self, NatsError> {
        if !is_prefix(&config.prefix) {
            return Err(NatsError::Prefix {
                prefix: config.prefix,
            });
        }
        let data = Connection::open(&config, "data").await?;
        let control = Connection::open(&config, "control").await?;
        let bus = Self {
            shared: Arc::new(Shared {
                data,
                control,
                prefix: config.prefix.clone(),
                inboxes: Mutex::default(),
            }),
        };
        bus.check(&config).await?;
        Ok(bus)
    }

    /// Whether both connections stand now, as far as known.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.data.is_connected() && self.shared.control.is_connected()
    }

    async fn check(&self, config: &NatsConfig) -> Result<(), NatsError> {
        let shared = &self.shared;
        let found = shared.data.payload_bytes_max();
        if found < PAYLOAD_BYTES_MAX {
            return Err(NatsError::PayloadLimit {
                servers: config.servers.join(", "),
                found,
                needed: PAYLOAD_BYTES_MAX,
            });
        }
        for (connection, probe) in [
            (&shared.data, shared.inbox_probe()),
            (&shared.control, shared.control_probe()),
        ] {
            if !connection.round_trip(probe.clone()).await {
                return Err(NatsError::NotCarried {
                    servers: config.servers.join(", "),
                    subject: probe,
                    prefix: config.prefix.clone(),
                    said: connection.said(),
                });
            }
        }
        Ok(())
    }
}

impl Shared {
    fn inbox_subject(&self, of: &EndpointId) -> String {
        format!("{}.inbox.{of}", self.prefix)
    }

    fn inbox_probe(&self) -> String {
        format!("{}.inbox.probe-{:016x}", self.prefix, fastrand::u64(..))
    }

    fn control_subject(&self) -> String {
        format!("{}.control.all", self.prefix)
    }

    fn control_probe(&self) -> String {
        format!("{}.control.probe-{:016x}", self.prefix, fastrand::u64(..))
    }
}

/// Whether subjects may start with it: no wildcards, no empty tokens, nothing odd.
fn is_prefix(prefix: &str) -> bool {
    prefix.split('.').all(|token| {
        !token.is_empty()
            && token
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    })
}

#[async_trait]
impl Bus for NatsBus {
    async fn publish(&self, to: &EndpointId, payload: Bytes) -> Result<(), BusError> {
        let shared = &self.shared;
        shared.data.publish(shared.inbox_subject(to), payload).await
    }

    async fn subscribe(&self, inbox: &EndpointId) -> Result<Subscription, BusError> {
        let shared = &self.shared;
        let former = {
            let mut inboxes = shared.inboxes.lock().expect("no panic while held");
            inboxes.retain(|_, task| !task.is_finished());
            inboxes.remove(inbox)
        };
        if let Some(former) = former {
            former.abort();
            // Ends with "cancelled", or has ended by itself.
            let _ = former.await;
        }
        let subject = shared.inbox_subject(inbox);
        let subscriber = shared.data.subscribe(subject, shared.inbox_probe()).await?;
        let (subscription, task) = open(subscriber);
        let mut inboxes = shared.inboxes.lock().expect("no panic while held");
        if let Some(raced) = inboxes.insert(inbox.clone(), task) {
            raced.abort();
        }
        Ok(subscription)
    }
}

#[async_trait]
impl Broadcast for NatsBus {
    async fn announce(&self, payload: Bytes) -> Result<(), BusError> {
        let shared = &self.shared;
        let subject = shared.control_subject();
        shared.control.publish(subject, payload).await
    }

    async fn listen(&self) -> Result<Subscription, BusError> {
        let shared = &self.shared;
        let subject = shared.control_subject();
        let probe = shared.control_probe();
        let subscriber = shared.control.subscribe(subject, probe).await?;
        Ok(open(subscriber).0)
    }
}

/// Starts the task that empties the client's buffer.
fn open(subscriber: async_nats::Subscriber) -> (Subscription, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel(NATS_SUBSCRIPTION_MESSAGES_MAX);
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    let subscription = Subscription::counted(receiver, Arc::clone(&waiting_bytes));
    let pump = Pump {
        sender,
        waiting_bytes,
        dropped: 0,
    };
    let task = spawn(TaskKind::Service, "nats inbox", pump.run(subscriber));
    (subscription, task)
}

struct Pump {
    sender: mpsc::Sender<Bytes>,
    waiting_bytes: Arc<AtomicUsize>,
    /// Messages dropped since the last one that fitted.
    dropped: u64,
}

impl Pump {
    /// Runs until the reader or the client is gone.
    async fn run(mut self, mut subscriber: async_nats::Subscriber) {
        loop {
            tokio::select! {
                biased;
                message = subscriber.next() => match message {
                    Some(message) => self.pass(message.payload),
                    None => return,
                },
                () = self.sender.closed() => return,
            }
        }
    }

    fn pass(&mut self, payload: Bytes) {
        let bytes = payload.len();
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= SUBSCRIPTION_BYTES_MAX;
        if fits && self.sender.try_send(payload).is_ok() {
            if self.dropped > 0 {
                tracing::warn!(bus.dropped = self.dropped, "inbox was full");
                self.dropped = 0;
            }
        } else {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            metrics::bus_dropped(Overflow::Inbox);
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_is_checked() {
        for good in ["rookery", "eu.rookery", "a-b_c.1"] {
            assert!(is_prefix(good), "{good}");
        }
        for bad in ["", ".", "a.", "a..b", "a b", "a.*", ">", "ä"] {
            assert!(!is_prefix(bad), "{bad}");
        }
    }
}
