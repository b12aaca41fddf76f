//! The port that carries bytes between endpoints.

mod in_process;

use async_trait::async_trait;
use bytes::Bytes;
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
/// `publish` may wait for room and then loses nothing silently on this side. **Cancel safety**:
/// a dropped `publish` may or may not have sent.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends to an endpoint's inbox.
    async fn publish(&self, to: &EndpointId, payload: Bytes) -> Result<(), BusError>;

    /// Receives what is sent to an endpoint's inbox from now on. A second subscription to the same
    /// inbox replaces the first.
    async fn subscribe(&self, inbox: &EndpointId) -> Result<Subscription, BusError>;
}

/// An open inbox. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    messages: mpsc::Receiver<Bytes>,
}

impl Subscription {
    /// Makes one that yields what is sent to the other half.
    #[must_use]
    pub fn new(messages: mpsc::Receiver<Bytes>) -> Self {
        Self { messages }
    }

    /// The next message; `None` when the bus is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost when dropped.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.messages.recv().await
    }
}
