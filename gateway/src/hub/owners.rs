//! The task that tells the lanes who owns what.

use std::sync::Arc;

use rookery_cluster::{Owners, Role};
use tokio::sync::watch;

use super::{
    input::{Input, NewOwners},
    lane::Lanes,
};
use crate::metrics;

/// Tells every lane of each change after `known`, which they have. `any`: whether any room has an
/// owner. Ends when nothing can change any more.
pub(crate) async fn run(
    mut owners: watch::Receiver<Arc<Owners>>,
    mut known: Arc<Owners>,
    any: watch::Sender<bool>,
    lanes: Lanes,
) {
    while owners.changed().await.is_ok() {
        let now = Arc::clone(&owners.borrow_and_update());
        let changes = now.changes_since(&known);
        if changes.is_empty() {
            continue;
        }
        known = Arc::clone(&now);
        any.send_replace(known.any(Role::Rooms));
        metrics::owners_changed(changes.rooms.len() + changes.presence.len());
        let new = Arc::new(NewOwners {
            owners: now,
            changes,
        });
        lanes.tell(|| Input::Owners(Arc::clone(&new))).await;
    }
}
