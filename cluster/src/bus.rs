//! The ports that carry bytes between endpoints.
//!
//! [`Bus`] carries what is for one endpoint (links run on it), [`Broadcast`] what is for everybody
//! (heartbeats and hand-overs of shards). [`InProcessBus`] is both inside one process, `NatsBus`
//! both between processes. One suite, `contract`, runs over both.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod in_process;
#[cfg(feature = "nats")]
pub mod nats;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use prost::{DecodeError, Message as _};
use rookery_proto::link::Batch;
use tokio::sync::mpsc;

use crate::endpoint::EndpointId;
pub use in_process::InProcessBus;

/// Why the bus did not take a message. It may still lose one it took.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Larger than the bus carries.
    #[error("message of {bytes} bytes is larger than {max}")]
    TooLarge {
        /// Bytes given.
        bytes: usize,
        /// Most bytes allowed.
        max: usize,
    },
    /// No connection now; it comes back by itself.
    #[error("bus unreachable")]
    Unreachable,
}

/// Carries bytes to inboxes.
///
/// **Delivery**: at most once. **Order**: messages of one publisher to one inbox arrive in the
/// order published, with holes where some were lost. **No subscriber**: the message is dropped and
/// `Ok` returned. **Bounds**: a message has at most [`crate::limits::PAYLOAD_BYTES_MAX`] bytes;
/// `publish` may wait for room and then loses nothing silently on this side. An inbox that nobody
/// reads holds a bounded number of bytes: then publishers wait, or messages are lost and counted.
/// **Cancel safety**: a dropped `publish` may or may not have sent.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends to an endpoint's inbox.
    async fn publish(&self, to: &EndpointId, payload: Bytes) -> Result<(), BusError>;

    /// As [`publish`](Self::publish) of the batch's bytes. A bus whose both ends are in this process
    /// need not make them.
    async fn publish_batch(&self, to: &EndpointId, batch: Batch) -> Result<(), BusError> {
        self.publish(to, batch.encode_to_vec().into()).await
    }

    /// Receives what is sent to an endpoint's inbox from now on. A second subscription to the same
    /// inbox through the same bus replaces the first, which then ends.
    async fn subscribe(&self, inbox: &EndpointId) -> Result<Subscription, BusError>;
}

/// Carries bytes to everybody who listens, the sender included.
///
/// **Delivery**: at most once to each listener, and a listener that does not keep up loses some:
/// what is told here is told again. **Order**: what one announcer says arrives in the order said,
/// with holes. **Bounds**: as [`Bus`]. **Cancel safety**: as [`Bus`].
#[async_trait]
pub trait Broadcast: Send + Sync + 'static {
    /// Tells everybody who listens.
    async fn announce(&self, payload: Bytes) -> Result<(), BusError>;

    /// Hears what is announced from now on. Any number of listeners.
    async fn listen(&self) -> Result<Subscription, BusError>;
}

/// An open inbox. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    messages: Messages,
    /// Bytes that wait in `messages`, where the other half bounds them.
    waiting_bytes: Option<Arc<AtomicUsize>>,
}

#[derive(Debug)]
enum Messages {
    Bytes(mpsc::Receiver<Bytes>),
    Local(mpsc::Receiver<Message>),
}

/// What waits in an inbox of this process.
#[derive(Debug)]
enum Message {
    Bytes(Bytes),
    /// Never was bytes.
    Batch(Box<Batch>),
}

impl Subscription {
    /// Makes one that yields what is sent to the other half.
    #[must_use]
    pub fn new(messages: mpsc::Receiver<Bytes>) -> Self {
        Self {
            messages: Messages::Bytes(messages),
            waiting_bytes: None,
        }
    }

    /// As [`new`](Self::new); the length of every message received is subtracted from
    /// `waiting_bytes`, to which the other half added it.
    #[must_use]
    pub fn counted(messages: mpsc::Receiver<Bytes>, waiting_bytes: Arc<AtomicUsize>) -> Self {
        Self {
            messages: Messages::Bytes(messages),
            waiting_bytes: Some(waiting_bytes),
        }
    }

    /// As [`new`](Self::new), for a bus that also carries batches that never were bytes.
    fn local(messages: mpsc::Receiver<Message>) -> Self {
        Self {
            messages: Messages::Local(messages),
            waiting_bytes: None,
        }
    }

    /// The next message; `None` when the bus is gone or another subscription took its place.
    ///
    /// # Cancel safety
    /// Nothing is lost when dropped.
    pub async fn next(&mut self) -> Option<Bytes> {
        Some(match self.receive().await? {
            Message::Bytes(bytes) => bytes,
            Message::Batch(batch) => batch.encode_to_vec().into(),
        })
    }

    /// As [`next`](Self::next), where every message is a batch.
    ///
    /// # Errors
    /// This one is none.
    pub(crate) async fn next_batch(&mut self) -> Option<Result<Batch, DecodeError>> {
        Some(match self.receive().await? {
            Message::Bytes(bytes) => Batch::decode(bytes),
            Message::Batch(batch) => Ok(*batch),
        })
    }

    async fn receive(&mut self) -> Option<Message> {
        match &mut self.messages {
            Messages::Bytes(messages) => {
                let bytes = messages.recv().await?;
                if let Some(waiting) = &self.waiting_bytes {
                    waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
                }
                Some(Message::Bytes(bytes))
            }
            Messages::Local(messages) => messages.recv().await,
        }
    }
}

/// Refuses what no bus carries.
fn check_size(bytes: usize, max: usize) -> Result<(), BusError> {
    if bytes > max {
        return Err(BusError::TooLarge { bytes, max });
    }
    Ok(())
}
