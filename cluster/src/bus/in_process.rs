//! The bus of a single process.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc;

use super::{Bus, BusError, Subscription};
use crate::{
    endpoint::EndpointId,
    limits::{PAYLOAD_BYTES_MAX, SUBSCRIPTION_MESSAGES_MAX},
};

/// Carries messages inside one process. Publishers wait while an inbox is full.
#[derive(Clone, Debug, Default)]
pub struct InProcessBus {
    inboxes: Arc<Mutex<FxHashMap<EndpointId, mpsc::Sender<Bytes>>>>,
}

impl InProcessBus {
    fn inbox(&self, of: &EndpointId) -> Option<mpsc::Sender<Bytes>> {
        let inboxes = self.inboxes.lock().expect("no panic while held");
        inboxes.get(of).cloned()
    }
}

#[async_trait]
impl Bus for InProcessBus {
    async fn publish(&self, to: &EndpointId, payload: Bytes) -> Result<(), BusError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(BusError::TooLarge {
                bytes: payload.len(),
                max: PAYLOAD_BYTES_MAX,
            });
        }
        if let Some(inbox) = self.inbox(to) {
            // A closed inbox is "no subscriber".
            let _ = inbox.send(payload).await;
        }
        Ok(())
    }

    async fn subscribe(&self, inbox: &EndpointId) -> Result<Subscription, BusError> {
        let (sender, receiver) = mpsc::channel(SUBSCRIPTION_MESSAGES_MAX);
        let mut inboxes = self.inboxes.lock().expect("no panic while held");
        inboxes.insert(inbox.clone(), sender);
        Ok(Subscription::new(receiver))
    }
}
