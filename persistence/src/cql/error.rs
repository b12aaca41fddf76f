//! What the driver's errors mean to a caller.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use scylla::{
    deserialize::{DeserializationError, TypeCheckError},
    errors::{
        DbError, ExecutionError, IntoRowsResultError, RequestAttemptError, RequestError, RowsError,
    },
    observability::history::{AttemptId, HistoryListener, RequestId, SpeculativeId},
    policies::retry::RetryDecision,
};

use crate::StoreError;

/// Whether a request of that fate has changed nothing, and never will.
pub(super) fn surely_not_done(error: &RequestAttemptError) -> bool {
    match error {
        // Not sent at all.
        RequestAttemptError::SerializationError(_)
        | RequestAttemptError::CqlRequestSerialization(_)
        | RequestAttemptError::UnableToAllocStreamId => true,
        // Refused before any replica was asked. Each batch is one mutation, so that no earlier
        // part of it can have been sent when the coordinator sees too few replicas.
        RequestAttemptError::DbError(error, _) => matches!(
            error,
            DbError::Unavailable { .. }
                | DbError::IsBootstrapping
                | DbError::Unauthorized
                | DbError::AuthenticationError
                | DbError::SyntaxError
                | DbError::Invalid
                | DbError::ConfigError
                | DbError::ProtocolError
                | DbError::Unprepared { .. }
        ),
        _ => false,
    }
}

/// Counts the attempts of one request that may have changed something.
///
/// The driver repeats a request on other replicas and tells only the last error: this one may be
/// harmless while an earlier one was not.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    maybe_done: AtomicUsize,
}

impl Attempts {
    /// What a failed request of these attempts is to the caller.
    pub(super) fn failed(&self, what: &'static str, error: ExecutionError) -> StoreError {
        let source = Box::new(error);
        if self.maybe_done.load(Ordering::Relaxed) == 0 {
            StoreError::Failed { what, source }
        } else {
            StoreError::Unknown { what, source }
        }
    }
}

impl HistoryListener for Attempts {
    fn log_request_start(&self) -> RequestId {
        RequestId(0)
    }

    fn log_request_success(&self, _: RequestId) {}

    fn log_request_error(&self, _: RequestId, _: &RequestError) {}

    fn log_new_speculative_fiber(&self, _: RequestId) -> SpeculativeId {
        SpeculativeId(0)
    }

    fn log_attempt_start(
        &self,
        _: RequestId,
        _: Option<SpeculativeId>,
        _: SocketAddr,
    ) -> AttemptId {
        self.maybe_done.fetch_add(1, Ordering::Relaxed);
        AttemptId(0)
    }

    fn log_attempt_success(&self, _: AttemptId) {}

    fn log_attempt_error(&self, _: AttemptId, error: &RequestAttemptError, _: &RetryDecision) {
        if surely_not_done(error) {
            self.maybe_done.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The answer to a read that got none. A read changes nothing, so it is never unknown.
pub(super) fn read_failed(what: &'static str, error: ExecutionError) -> StoreError {
    StoreError::Failed {
        what,
        source: Box::new(error),
    }
}

/// What a read found that we never wrote.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsound {
    /// The answer holds no rows.
    #[error(transparent)]
    NoRows(Box<IntoRowsResultError>),
    /// The columns are not those of the schema.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// A column has another type.
    #[error(transparent)]
    Column(#[from] TypeCheckError),
    /// A value is missing or has another form.
    #[error(transparent)]
    Value(#[from] DeserializationError),
    /// A value means nothing to us.
    #[error("{0}")]
    Meaning(String),
}

impl From<IntoRowsResultError> for Unsound {
    fn from(error: IntoRowsResultError) -> Self {
        Self::NoRows(Box::new(error))
    }
}

impl Unsound {
    /// The answer to the read.
    pub(super) fn corrupt(self, what: &'static str) -> StoreError {
        StoreError::Corrupt {
            what: format!("{what}: {self}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use scylla::{errors::WriteType, statement::Consistency};

    use super::*;

    fn database(error: DbError) -> RequestAttemptError {
        RequestAttemptError::DbError(error, String::new())
    }

    fn unavailable() -> RequestAttemptError {
        database(DbError::Unavailable {
            consistency: Consistency::LocalQuorum,
            required: 2,
            alive: 1,
        })
    }

    fn timeout() -> RequestAttemptError {
        database(DbError::WriteTimeout {
            consistency: Consistency::LocalQuorum,
            received: 1,
            required: 2,
            write_type: WriteType::UnloggedBatch,
        })
    }

    /// Runs these attempts, then fails with the last one's error.
    fn outcome(errors: &[RequestAttemptError]) -> StoreError {
        let attempts = Attempts::default();
        for error in errors {
            let address = SocketAddr::from(([127, 0, 0, 1], 9042));
            let id = attempts.log_attempt_start(RequestId(0), None, address);
            attempts.log_attempt_error(id, error, &RetryDecision::DontRetry);
        }
        let last = errors.last().unwrap().clone();
        attempts.failed("commit", ExecutionError::LastAttemptError(last))
    }

    #[test]
    fn refusal_before_any_replica_was_asked_is_not_done() {
        for error in [
            unavailable(),
            database(DbError::Unauthorized),
            database(DbError::IsBootstrapping),
            RequestAttemptError::UnableToAllocStreamId,
        ] {
            assert!(matches!(outcome(&[error]), StoreError::Failed { .. }));
        }
    }

    #[test]
    fn timeout_and_overload_are_unknown() {
        for error in [timeout(), database(DbError::Overloaded)] {
            assert!(matches!(outcome(&[error]), StoreError::Unknown { .. }));
        }
    }

    #[test]
    fn harmless_last_attempt_hides_no_earlier_one() {
        let error = outcome(&[timeout(), unavailable()]);
        assert!(matches!(error, StoreError::Unknown { .. }));
    }

    #[test]
    fn attempt_without_an_answer_is_unknown() {
        let attempts = Attempts::default();
        let address = SocketAddr::from(([127, 0, 0, 1], 9042));
        attempts.log_attempt_start(RequestId(0), None, address);
        let error = ExecutionError::RequestTimeout(std::time::Duration::from_secs(1));
        let error = attempts.failed("commit", error);
        assert!(matches!(error, StoreError::Unknown { .. }));
    }
}
