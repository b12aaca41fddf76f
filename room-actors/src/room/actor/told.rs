//! What a room's actor starts with and is told, what its host sees of it, and why it ends.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize},
};

use rookery_cluster::{EndpointId, holdings::Held};
use rookery_persistence::StoreError;
use rookery_proto::{ids::RoomId, link::room_request::Command};
use tokio::sync::mpsc;

use crate::{
    commit::RoomKey,
    host::{HostMsg, Shared},
    request::ReplyTo,
    room::{
        command::{ResyncAsk, Who},
        wake::RecoverError,
    },
};

/// What a room's actor is told. Only its host and the commit pipeline send; nothing here has a
/// reply port: requests are answered over their link, at the latest when they are dropped.
pub(crate) enum RoomMsg {
    /// From the host: what gateways want, in their order. Lost with the actor: each request in it
    /// is then answered `UNAVAILABLE`.
    Work(Vec<Work>),
    /// From the host: write what is left and say so (`HostMsg::Quiet`), when nobody listens or
    /// `stopping`. Void once more work comes. Lost with the actor: the host asks again.
    PrepareSleep { stopping: bool },
    /// From the host: it need not end after all, though it was told `stopping`.
    Stay,
    /// From the commit pipeline: everything up to this write is durable and the fence was read.
    /// Only a pipeline that ends loses it, and then no room goes on.
    Committed { seq: u64 },
    /// From the commit pipeline: the rows derived from events that the room handed over last are
    /// durable. Lost as `Committed` is.
    DerivedWritten,
    /// From the commit pipeline: the store fails; whoever waits is told so.
    StoreFailing,
    /// From the actor to itself: a roster signal or derived rows are due.
    Timer,
    /// From tests: panic.
    #[cfg(test)]
    Crash,
}

/// One thing a gateway wants of a room.
pub(crate) enum Work {
    Request {
        reply: ReplyTo,
        who: Who,
        command: Command,
    },
    Detach {
        gateway: EndpointId,
        session: u64,
    },
    Resync {
        gateway: EndpointId,
        sessions: Vec<Who>,
        ask: ResyncAsk,
    },
    /// The gateway is gone, or its stream to us has a hole: it announces its sessions again.
    GatewayGone(EndpointId),
}

/// What the host sees of a room without asking.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    pub(crate) listeners: AtomicUsize,
    /// The room has a first event, or is about to.
    pub(crate) exists: AtomicBool,
}

/// With what a room starts.
pub(crate) struct RoomArgs {
    pub(crate) room: RoomId,
    pub(crate) key: RoomKey,
    pub(crate) shared: Arc<Shared>,
    pub(crate) host: mpsc::UnboundedSender<HostMsg>,
    pub(crate) gauge: Arc<Gauge>,
    /// How the shard is held: no earlier run of this room here that failed had this epoch.
    pub(crate) held: Held,
}

/// Why a room's actor ends by itself. Its host wakes it again, under a new epoch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoomError {
    #[error("store: {what}")]
    Store {
        what: &'static str,
        #[source]
        source: StoreError,
    },
    #[error("the room cannot be woken")]
    Recover(#[from] RecoverError),
    #[error("this node was fenced")]
    Fenced,
}

impl RoomError {
    pub(super) fn store(what: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |source| Self::Store { what, source }
    }
}
