//! The wire's closed table of errors: code, whether a retry helps, who is at fault. And how any
//! error is written to the log.

use std::{error::Error, fmt::Write as _, time::Duration};

use crate::v1;
pub use crate::v1::error::Code;

/// Who must act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request will fail again as it is.
    Client,
    /// The request may be right; the server cannot do it now.
    Server,
}

/// An error on its way to a client. Turn it into a frame with [`WireError::into_frame`].
///
/// Internal errors become one of these in exactly one exhaustive match per crate; what must not
/// leave the server (paths, SQL, addresses) goes to the log under the correlation id instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct WireError {
    /// Row of the table.
    pub code: Code,
    /// For people; a fragment in lower case.
    pub message: String,
    /// Path of the offending field (`send.text`), where there is one.
    pub field: Option<&'static str>,
    /// After how long a retry may help.
    pub retry_after: Option<Duration>,
}

impl WireError {
    /// An error without field or hint.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            retry_after: None,
        }
    }

    /// `INVALID`: the field of that path is wrong.
    #[must_use]
    pub fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::Invalid, message).at(field)
    }

    /// Names the offending field.
    #[must_use]
    pub fn at(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    /// Hints when a retry may help.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The frame's body. `id` is filled by whoever knows the request.
    #[must_use]
    pub fn into_frame(self, correlation_id: String) -> v1::Error {
        let retry_after_ms = self.retry_after.map_or(0, |after| {
            u32::try_from(after.as_millis()).unwrap_or(u32::MAX).max(1)
        });
        v1::Error {
            id: String::new(),
            code: self.code.into(),
            message: self.message,
            field: self.field.unwrap_or_default().to_owned(),
            retry_after_ms,
            correlation_id,
        }
    }
}

/// Who is at fault for this code.
#[must_use]
pub const fn fault(code: Code) -> Fault {
    match code {
        Code::Unspecified | Code::Overloaded | Code::Unavailable | Code::Internal => Fault::Server,
        Code::Unauthenticated
        | Code::Forbidden
        | Code::NotFound
        | Code::NotMember
        | Code::Invalid
        | Code::Conflict
        | Code::RoomFull
        | Code::RateLimited
        | Code::TooLarge
        | Code::Unsupported
        | Code::LimitReached => Fault::Client,
    }
}

/// Whether the same request may succeed later. For `UNAVAILABLE` and `INTERNAL` the outcome is
/// unknown: retry with the same `clientId`.
#[must_use]
pub const fn retryable(code: Code) -> bool {
    matches!(
        code,
        Code::RateLimited | Code::Overloaded | Code::Unavailable | Code::Internal
    )
}

/// A fresh correlation id, as it stands in an error frame and in the log: 16 hexadecimal digits.
#[must_use]
pub fn correlation_id(random: u64) -> String {
    format!("{random:016x}")
}

/// An error with all its causes, for the log: `what: cause: cause`.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error}").expect("writing to a string cannot fail");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("file is locked")]
    struct Inner(#[source] std::fmt::Error);

    #[test]
    fn chain_names_every_cause_once_and_in_order() {
        let error = Outer(Inner(std::fmt::Error));
        let deepest = std::fmt::Error;
        assert_eq!(
            chain(&error),
            format!("cannot start: file is locked: {deepest}")
        );
        assert_eq!(chain(&deepest), deepest.to_string());
    }
}
