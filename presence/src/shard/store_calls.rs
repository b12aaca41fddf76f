//! The store as shards use it: bounded in number and in time.

use std::{future::Future, sync::Arc};

use rookery_persistence::{Store, StoreError};
use rookery_proto::{
    ids::{RoomId, UserId},
    v1,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::rooms;
use crate::{
    limits::{STORE_OPERATIONS_MAX, STORE_TIMEOUT},
    metrics,
    refusal::Refusal,
};

/// Shared by all shards of a node.
#[derive(Clone)]
pub(crate) struct StoreCalls {
    store: Arc<dyn Store>,
    operations: Arc<Semaphore>,
}

impl StoreCalls {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            operations: Arc::new(Semaphore::new(STORE_OPERATIONS_MAX)),
        }
    }

    pub(crate) async fn last_seen(&self, user: &UserId) -> Result<u64, Refusal> {
        let row = self.bounded("user", self.store.user(user)).await?;
        Ok(row.last_seen_ms)
    }

    pub(crate) async fn put_last_seen(&self, user: &UserId, ms: u64) -> Result<(), Refusal> {
        self.bounded("put_last_seen", self.store.put_last_seen(user, ms))
            .await
    }

    pub(crate) async fn rooms(
        &self,
        user: &UserId,
        after: Option<RoomId>,
        limit: usize,
    ) -> Result<v1::RoomPage, Refusal> {
        self.bounded("user_rooms", rooms::page(&*self.store, user, after, limit))
            .await
    }

    async fn bounded<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Refusal> {
        let _place = self
            .operations
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let started = Instant::now();
        let outcome = timeout(STORE_TIMEOUT, call).await;
        metrics::store_done(operation, started.elapsed());
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                metrics::store_failed(operation);
                Err(Refusal::Store(error))
            }
            Err(_elapsed) => {
                metrics::store_failed(operation);
                Err(Refusal::StoreTimeout)
            }
        }
    }
}
