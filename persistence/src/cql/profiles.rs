//! How requests are sent: consistency, time, repetition.

use std::{sync::Arc, time::Duration};

use scylla::{
    client::execution_profile::{
        ExecutionProfile, ExecutionProfileBuilder, ExecutionProfileHandle,
    },
    policies::{
        retry::{DefaultRetryPolicy, FallthroughRetryPolicy},
        speculative_execution::SimpleSpeculativeExecutionPolicy,
    },
    statement::{Consistency, SerialConsistency},
};

use super::config::CqlConfig;
use crate::limits;

/// One profile for each kind of request.
#[derive(Debug)]
pub(super) struct Profiles {
    /// At quorum. Repeated on other replicas, and asked of a second one when the first is slow.
    pub(super) read: ExecutionProfileHandle,
    /// As reads: every write may be repeated.
    pub(super) write: ExecutionProfileHandle,
    /// Repeated when it failed; the commit asks a second replica itself.
    pub(super) commit: ExecutionProfileHandle,
    /// Lightweight transactions, learned at quorum when they return. Never repeated by the
    /// driver: what became of one is found out by reading.
    pub(super) transaction: ExecutionProfileHandle,
    /// Statements that change the schema.
    pub(super) migration: ExecutionProfileHandle,
}

impl Profiles {
    pub(super) fn new(config: &CqlConfig) -> Self {
        let repeated = |timeout| quorum(timeout).retry_policy(Arc::new(DefaultRetryPolicy::new()));
        let speculative = |timeout| {
            let speculation = SimpleSpeculativeExecutionPolicy {
                max_retry_count: 1,
                retry_interval: limits::CQL_SPECULATIVE_AFTER,
            };
            repeated(timeout).speculative_execution_policy(Some(Arc::new(speculation)))
        };
        let once = |timeout| quorum(timeout).retry_policy(Arc::new(FallthroughRetryPolicy::new()));
        let handle = |builder: ExecutionProfileBuilder| builder.build().into_handle();
        Self {
            read: handle(speculative(config.read_timeout)),
            write: handle(speculative(config.write_timeout)),
            commit: handle(repeated(config.write_timeout)),
            transaction: handle(once(config.transaction_timeout)),
            migration: handle(once(limits::CQL_MIGRATION_TIMEOUT)),
        }
    }
}

fn quorum(timeout: Duration) -> ExecutionProfileBuilder {
    ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .request_timeout(Some(timeout))
}
