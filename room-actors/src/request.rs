//! A request while it is on this node: counted, and answered exactly once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rookery_cluster::LinkSender;
use rookery_proto::{
    errors::{self, Code, Fault, WireError},
    link::{self, packet, reply},
    v1::{self, ack},
};

use crate::{
    limits::{OVERLOADED_RETRY, RoomLimits, UNAVAILABLE_RETRY},
    metrics,
};

/// What the node holds, all rooms together. The bound before ractor's unbounded mailboxes.
#[derive(Debug)]
pub(crate) struct Admission {
    commands: AtomicUsize,
    bytes: AtomicUsize,
    limits: RoomLimits,
}

impl Admission {
    pub(crate) fn new(limits: RoomLimits) -> Arc<Self> {
        Arc::new(Self {
            commands: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            limits,
        })
    }

    /// Counts a request in, or says which bound it hit.
    pub(crate) fn admit(
        self: &Arc<Self>,
        room: &Arc<AtomicUsize>,
        bytes: usize,
    ) -> Result<Admitted, &'static str> {
        let admitted = Admitted {
            node: Arc::clone(self),
            room: Arc::clone(room),
            bytes,
        };
        // Counted first, checked then: dropping `admitted` counts it out again.
        let commands = self.commands.fetch_add(1, Ordering::Relaxed);
        let node_bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let room_commands = room.fetch_add(1, Ordering::Relaxed);
        if room_commands >= self.limits.room_commands_max {
            Err("room_commands")
        } else if commands >= self.limits.node_commands_max {
            Err("node_commands")
        } else if node_bytes + bytes > self.limits.node_bytes_max {
            Err("node_bytes")
        } else {
            Ok(admitted)
        }
    }
}

/// One request's share of the bounds; given back when dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    node: Arc<Admission>,
    room: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.node.commands.fetch_sub(1, Ordering::Relaxed);
        self.node.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.room.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where the answer to one request goes. Dropped without one (its room crashed or was dropped), it
/// answers `UNAVAILABLE`: the outcome is not known.
pub(crate) struct ReplyTo {
    link: LinkSender,
    request: u64,
    lane: u32,
    admitted: Option<Admitted>,
    answered: bool,
}

impl ReplyTo {
    pub(crate) fn new(link: LinkSender, request: u64, lane: u32) -> Self {
        Self {
            link,
            request,
            lane,
            admitted: None,
            answered: false,
        }
    }

    /// Keeps the request counted until it is answered.
    pub(crate) fn admitted(mut self, admitted: Admitted) -> Self {
        self.admitted = Some(admitted);
        self
    }

    pub(crate) fn answer(mut self, result: Result<ack::Result, WireError>) {
        self.send(match result {
            Ok(result) => reply::Result::Ack(v1::Ack {
                id: String::new(),
                result: Some(result),
            }),
            Err(error) => error_frame(error),
        });
    }

    pub(crate) fn not_owner(mut self, elsewhere: link::NotOwner) {
        self.send(reply::Result::NotOwner(elsewhere));
    }

    pub(crate) fn overloaded(self, reason: &'static str) {
        metrics::request_refused(reason);
        let error = WireError::new(Code::Overloaded, "too many requests wait");
        self.answer(Err(error.retry_after(OVERLOADED_RETRY)));
    }

    fn send(&mut self, result: reply::Result) {
        self.answered = true;
        let reply = link::Reply {
            request: self.request,
            lane: self.lane,
            result: Some(result),
        };
        self.link.send(packet::Body::Reply(reply));
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        if !self.answered {
            self.send(error_frame(unavailable("the room is not available")));
        }
    }
}

/// `UNAVAILABLE`: the outcome is not known, a retry may help.
pub(crate) fn unavailable(message: &'static str) -> WireError {
    WireError::new(Code::Unavailable, message).retry_after(UNAVAILABLE_RETRY)
}

fn error_frame(error: WireError) -> reply::Result {
    let correlation_id = errors::correlation_id(fastrand::u64(..));
    match errors::fault(error.code) {
        Fault::Server if error.code == Code::Internal => {
            tracing::error!(error.correlation_id = correlation_id, error = %error, "request failed");
        }
        Fault::Server | Fault::Client => {
            tracing::debug!(error.correlation_id = correlation_id, error = %error, "request refused");
        }
    }
    reply::Result::Error(error.into_frame(correlation_id))
}
