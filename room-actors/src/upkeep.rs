//! What the store must be rid of from time to time: sent ids that no retry may name any more.

use std::{sync::Arc, time::Duration};

use rookery_cluster::Clock;
use rookery_persistence::{Store, StoreError, limits::SENT_ID_TTL};
use rookery_proto::errors::chain;
use tokio::time::{MissedTickBehavior, interval};

use crate::limits::{UPKEEP_INTERVAL, UPKEEP_ROWS_MAX};

/// Runs until it is aborted. A failure is logged and made good at the next turn.
pub(crate) async fn run(store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
    let mut turn = interval(UPKEEP_INTERVAL);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        if let Err(error) = expire(&*store, clock.now_ms()).await {
            tracing::warn!(error = %chain(&error), "sent ids not expired");
        }
    }
}

/// Removes all that are too old, one bounded step at a time, so that commits come in between.
async fn expire(store: &dyn Store, now_ms: u64) -> Result<(), StoreError> {
    let before_ms = now_ms.saturating_sub(millis(SENT_ID_TTL));
    while store.expire_sent_ids(before_ms, UPKEEP_ROWS_MAX).await? >= u64::from(UPKEEP_ROWS_MAX) {}
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use rookery_persistence::{RoomWrite, SentRow, SqliteConfig, SqliteStore};
    use rookery_proto::ids::{Epoch, Offset, RoomId, UserId};

    use super::*;

    #[tokio::test]
    async fn sent_ids_older_than_a_day_are_removed_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rookery.db");
        let store = SqliteStore::open(SqliteConfig::new(path)).unwrap();
        let (room, user) = (RoomId::parse("r").unwrap(), UserId::parse("u").unwrap());
        let now_ms = 10 * millis(SENT_ID_TTL);
        let steps = u64::from(UPKEEP_ROWS_MAX) * 2 + 10;
        let mut write = RoomWrite::new(room.clone());
        write.sent = (0..steps + 5)
            .map(|number| SentRow {
                user: user.clone(),
                client_id: number.to_string(),
                offset: Offset(number + 1),
                epoch: Epoch(1),
                digest: number,
                // All but the last five are just too old.
                time_ms: now_ms - millis(SENT_ID_TTL) - u64::from(number < steps),
            })
            .collect();
        store.commit(&[write]).await.unwrap();
        expire(&store, now_ms).await.unwrap();
        let kept = store.sent_ids(&room, &user, 0, u32::MAX).await.unwrap();
        assert_eq!(kept.len(), 5);
    }
}
