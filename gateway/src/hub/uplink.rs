//! The worker's end of the links.

use std::cell::RefCell;

use rookery_cluster::{EndpointId, LinkSender, Links};
use rookery_proto::link::packet::Body;

use crate::limits::PEERS_REMEMBERED_MAX;

/// How a worker reaches nodes: nothing of it waits. Tests put their own in its place.
pub(crate) trait Uplink {
    /// Queues a packet, or gives it back when the link is full.
    fn offer(&self, to: &EndpointId, body: Body) -> Result<(), Box<Body>>;

    /// Queues a packet; when the link is full it is dropped, and the peer will see a hole.
    fn send(&self, to: &EndpointId, body: Body);
}

/// The real links. Remembers each peer's, so that a packet costs no lock of all links.
pub(crate) struct ClusterUplink {
    links: Links,
    known: RefCell<Vec<(EndpointId, LinkSender)>>,
}

impl ClusterUplink {
    pub(crate) fn new(links: Links) -> Self {
        Self {
            links,
            known: RefCell::default(),
        }
    }

    fn with<R>(&self, to: &EndpointId, act: impl FnOnce(&LinkSender) -> R) -> R {
        let mut known = self.known.borrow_mut();
        let at = known.iter().position(|(peer, _)| peer == to);
        let at = at.unwrap_or_else(|| {
            if known.len() >= PEERS_REMEMBERED_MAX {
                known.clear();
            }
            known.push((to.clone(), self.links.to(to)));
            known.len() - 1
        });
        act(&known[at].1)
    }
}

impl Uplink for ClusterUplink {
    fn offer(&self, to: &EndpointId, body: Body) -> Result<(), Box<Body>> {
        self.with(to, |link| link.offer(body))
    }

    fn send(&self, to: &EndpointId, body: Body) {
        self.with(to, |link| link.send(body));
    }
}
