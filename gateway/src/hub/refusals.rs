//! The log line of a refused command: what its correlation id leads to.

use rookery_proto::{
    errors::{Fault, fault},
    ids::SessionId,
    v1,
};

use super::{
    bucket::{Bucket, Rate},
    wheel::Millis,
};
use crate::limits::{REFUSALS_LOGGED_BURST, REFUSALS_LOGGED_PER_SECOND};

const RATE: Rate = Rate {
    per_second: REFUSALS_LOGGED_PER_SECOND,
    burst: REFUSALS_LOGGED_BURST,
};

/// Writes refusals of one lane to the log, as long as there are not too many.
#[derive(Debug)]
pub(super) struct Refusals {
    bucket: Bucket,
    suppressed: u64,
}

impl Refusals {
    pub(super) fn new(now: Millis) -> Self {
        Self {
            bucket: Bucket::full(RATE, now),
            suppressed: 0,
        }
    }

    /// One command was refused with this frame. `cause` is for the log alone.
    pub(super) fn note(
        &mut self,
        session: SessionId,
        error: &v1::Error,
        cause: &'static str,
        now: Millis,
    ) {
        if self.bucket.take(RATE, now).is_err() {
            self.suppressed += 1;
            return;
        }
        let suppressed = std::mem::take(&mut self.suppressed);
        if suppressed > 0 {
            tracing::warn!(log.suppressed = suppressed, "refusals not logged");
        }
        let code = error.code();
        match fault(code) {
            Fault::Client => tracing::info!(
                session.id = %session,
                error.code = code.as_str_name(),
                error.field = error.field,
                error.correlation_id = error.correlation_id,
                cause,
                "command refused"
            ),
            Fault::Server => tracing::warn!(
                session.id = %session,
                error.code = code.as_str_name(),
                error.correlation_id = error.correlation_id,
                cause,
                "command failed"
            ),
        }
    }
}
