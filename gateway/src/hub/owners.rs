//! The task that tells the lanes who owns what.

use std::sync::Arc;

use rookery_cluster::{Links, Owners, Role};
use tokio::sync::watch;

use super::{
    input::{Input, NewOwners},
    lane::Lanes,
};
use crate::metrics;

/// Tells every lane of each change after `known`, which they have. `any`: whether any room has an
/// owner. The links to nodes that own nothing any more end. Ends when nothing can change any more.
pub(crate) async fn run(
    mut owners: watch::Receiver<Arc<Owners>>,
    mut known: Arc<Owners>,
    any: watch::Sender<bool>,
    links: Links,
    lanes: Lanes,
) {
    while owners.changed().await.is_ok() {
        let now = Arc::clone(&owners.borrow_and_update());
        let changes = now.changes_since(&known);
        if changes.is_empty() {
            continue;
        }
        any.send_replace(now.any(Role::Rooms));
        metrics::owners_changed(changes.rooms.len() + changes.presence.len());
        let new = Arc::new(NewOwners {
            owners: Arc::clone(&now),
            changes,
        });
        lanes.tell(|| Input::Owners(Arc::clone(&new))).await;
        // Nobody has more to say to who owns nothing; should it own again, its link begins anew.
        for gone in known.endpoints().difference(&now.endpoints()) {
            links.forget(gone);
        }
        known = now;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rookery_cluster::{
        Bus, EndpointId, InProcessBus, Inbound, Inbox, Placement as _, SingleNode,
        task::{TaskKind, spawn},
    };
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn node_that_owns_nothing_any_more_hears_nothing_any_more() {
        let bus: Arc<dyn Bus> = Arc::new(InProcessBus::default());
        let [gateway, node, next] =
            [Role::Gateway, Role::Rooms, Role::Presence].map(|role| EndpointId::new(role, 1));
        let mut inbox = Inbox::open(&bus, &node).await.unwrap();
        let links = Links::new(bus, gateway, 1);
        let link = links.to(&node);
        assert!(matches!(inbox.next().await, Some(Inbound::Opened { .. })));

        let single = SingleNode {
            rooms: node,
            presence: next,
        };
        let known = Arc::clone(&single.watch().borrow());
        let (change, owners) = watch::channel(Arc::clone(&known));
        let (any, has_any) = watch::channel(true);
        let lanes = Lanes::detached();
        spawn(
            TaskKind::Passing,
            "owners",
            run(owners, known, any, links, lanes),
        );
        change.send_replace(Arc::default());
        let heard = timeout(Duration::from_secs(60), inbox.next()).await;
        assert!(
            matches!(heard, Ok(Some(Inbound::Silent { .. }))),
            "{heard:?}"
        );
        assert!(!*has_any.borrow());
        drop(link);
    }
}
