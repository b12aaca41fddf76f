//! Why a request was not done, and what the client is told.

use rookery_persistence::StoreError;
use rookery_proto::{
    errors::{Code, Fault, WireError, chain, correlation_id, fault},
    v1,
};

use crate::limits::{OVERLOADED_RETRY_AFTER, UNAVAILABLE_RETRY_AFTER};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{field} {reason}")]
    Invalid { field: &'static str, reason: String },
    #[error("request for another user than the caller")]
    NotTheCaller,
    #[error("request without a command")]
    NoCommand,
    #[error("user has too many watchers")]
    TooManyWatchers,
    #[error("shard is full")]
    Overloaded,
    #[error("shard is restarting")]
    Restarting,
    #[error("store did not answer")]
    Store(#[source] StoreError),
    #[error("store did not answer in time")]
    StoreTimeout,
}

impl Refusal {
    fn to_wire(&self) -> WireError {
        match self {
            Self::Invalid { field, reason } => WireError::invalid(field, reason.clone()),
            Self::NotTheCaller => WireError::new(Code::Forbidden, "only for oneself"),
            Self::NoCommand => WireError::new(Code::Unsupported, "unknown command"),
            Self::TooManyWatchers => {
                WireError::new(Code::LimitReached, "too many sessions watch this user")
                    .at("watchPresence.users")
            }
            Self::Overloaded => WireError::new(Code::Overloaded, "too much to do")
                .retry_after(OVERLOADED_RETRY_AFTER),
            Self::Restarting | Self::Store(_) | Self::StoreTimeout => {
                WireError::new(Code::Unavailable, "presence is not available")
                    .retry_after(UNAVAILABLE_RETRY_AFTER)
            }
        }
    }

    /// The frame, and the log line that carries its correlation id.
    pub(crate) fn into_frame(self) -> v1::Error {
        let wire = self.to_wire();
        // Without randomness the id is only less useful.
        let id = correlation_id(getrandom::u64().unwrap_or_default());
        let chain = chain(&self);
        match fault(wire.code) {
            Fault::Client => {
                tracing::debug!(error.correlation_id = %id, error = %chain, "request refused")
            }
            Fault::Server => {
                tracing::warn!(error.correlation_id = %id, error = %chain, "request failed")
            }
        }
        wire.into_frame(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_tells_whether_a_retry_helps_and_hides_the_cause() {
        let source = "secret path".into();
        let failed = Refusal::Store(StoreError::Failed {
            what: "user",
            source,
        });
        assert_eq!(
            chain(&failed),
            "store did not answer: not done: user: secret path"
        );
        let frame = failed.into_frame();
        assert_eq!(frame.code(), Code::Unavailable);
        assert_eq!(frame.retry_after_ms, 1_000);
        assert!(!frame.message.contains("secret"));
        assert_eq!(frame.correlation_id.len(), 16);

        let frame = Refusal::TooManyWatchers.into_frame();
        assert_eq!(
            (frame.code(), frame.retry_after_ms),
            (Code::LimitReached, 0)
        );
    }
}
