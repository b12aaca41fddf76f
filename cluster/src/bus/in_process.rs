//! The bus of a single process.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use prost::Message as _;
use rookery_proto::link::Batch;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{Broadcast, Bus, BusError, Message, Subscription, check_size};
use crate::{
    endpoint::EndpointId,
    limits::{PAYLOAD_BYTES_MAX, SUBSCRIPTION_MESSAGES_MAX},
    metrics::{self, Overflow},
};

/// Carries messages inside one process, batches as they are. Publishers wait while an inbox is full;
/// a listener that is full loses the announcement.
#[derive(Clone, Debug, Default)]
pub struct InProcessBus {
    inboxes: Arc<Mutex<FxHashMap<EndpointId, mpsc::Sender<Message>>>>,
    listeners: Arc<Mutex<Vec<mpsc::Sender<Bytes>>>>,
}

impl InProcessBus {
    fn inbox(&self, of: &EndpointId) -> Option<mpsc::Sender<Message>> {
        let inboxes = self.inboxes.lock().expect("no panic while held");
        inboxes.get(of).cloned()
    }

    async fn put(&self, to: &EndpointId, message: Message) {
        if let Some(inbox) = self.inbox(to) {
            // A closed inbox is "no subscriber".
            let _ = inbox.send(message).await;
        }
    }
}

#[async_trait]
impl Bus for InProcessBus {
    async fn publish(&self, to: &EndpointId, payload: Bytes) -> Result<(), BusError> {
        check_size(payload.len(), PAYLOAD_BYTES_MAX)?;
        self.put(to, Message::Bytes(payload)).await;
        Ok(())
    }

    /// Refuses what a bus between processes would refuse.
    async fn publish_batch(&self, to: &EndpointId, batch: Batch) -> Result<(), BusError> {
        check_size(batch.encoded_len(), PAYLOAD_BYTES_MAX)?;
        self.put(to, Message::Batch(Box::new(batch))).await;
        Ok(())
    }

    async fn subscribe(&self, inbox: &EndpointId) -> Result<Subscription, BusError> {
        let (sender, receiver) = mpsc::channel(SUBSCRIPTION_MESSAGES_MAX);
        let mut inboxes = self.inboxes.lock().expect("no panic while held");
        inboxes.retain(|_, open| !open.is_closed());
        inboxes.insert(inbox.clone(), sender);
        Ok(Subscription::local(receiver))
    }
}

#[async_trait]
impl Broadcast for InProcessBus {
    async fn announce(&self, payload: Bytes) -> Result<(), BusError> {
        check_size(payload.len(), PAYLOAD_BYTES_MAX)?;
        let mut listeners = self.listeners.lock().expect("no panic while held");
        listeners.retain(|listener| match listener.try_send(payload.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                metrics::bus_dropped(Overflow::Inbox);
                true
            }
            Err(TrySendError::Closed(_)) => false,
        });
        Ok(())
    }

    async fn listen(&self) -> Result<Subscription, BusError> {
        let (sender, receiver) = mpsc::channel(SUBSCRIPTION_MESSAGES_MAX);
        self.listeners
            .lock()
            .expect("no panic while held")
            .push(sender);
        Ok(Subscription::new(receiver))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::contract::Pair;

    async fn pair() -> Option<(Pair<InProcessBus>, ())> {
        let bus = InProcessBus::default();
        Some((Pair::new(bus.clone(), bus), ()))
    }

    crate::bus_contract!(pair);
}
