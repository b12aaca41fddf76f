//! The port for reaching people who have no session: a phone's push service.

use bytes::Bytes;
use rookery_proto::ids::UserId;

use crate::metrics;

/// Something for a user who is not connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushEvent {
    /// Whom to reach.
    pub user: UserId,
    /// An encoded `rookery.v1.Notice`.
    pub notice: Bytes,
}

/// The sink has no room, or no way out, now. The event is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("push sink refused the event")]
pub struct PushRefused;

/// Takes what no session could be given.
///
/// **Bounds**: `push` never waits; an implementation with a queue bounds it and refuses when it is
/// full. **Delivery**: at most once, in no order. The notice may reach the user twice: by push and,
/// when a session was connected but not known here, on its next join.
pub trait PushSink: Send + Sync + 'static {
    /// Takes one event.
    ///
    /// # Errors
    /// [`PushRefused`] when it cannot be taken now.
    fn push(&self, event: PushEvent) -> Result<(), PushRefused>;
}

/// The sink of an installation without a push service: events are logged and go nowhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingSink;

impl PushSink for CountingSink {
    fn push(&self, event: PushEvent) -> Result<(), PushRefused> {
        tracing::debug!(user.id = %event.user, notice.bytes = event.notice.len(), "no session to notify");
        Ok(())
    }
}

/// Gives an event to the sink and counts how that went.
pub(crate) fn offer(sink: &dyn PushSink, event: PushEvent) {
    let user = event.user.clone();
    match sink.push(event) {
        Ok(()) => metrics::pushed("taken"),
        Err(PushRefused) => {
            metrics::pushed("refused");
            tracing::debug!(user.id = %user, "push event refused");
        }
    }
}
