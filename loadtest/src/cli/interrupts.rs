//! Ctrl-C, and the wish of somebody else that the program ends: neither shall leave a server behind.

use std::io;

use rookery_loadtest::server::keep_children_from_ctrl_c;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What interrupts a command that has started servers. From its first value on such a signal ends
/// the program no more by itself, and none is missed between two calls of [`Interrupts::next`].
#[derive(Debug)]
pub(super) struct Interrupts {
    ctrl_c: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// # Errors
    /// The system gives no signals.
    pub(super) fn new() -> io::Result<Self> {
        keep_children_from_ctrl_c();
        Ok(Self {
            ctrl_c: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next one. Cancel safe.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            Some(()) = self.ctrl_c.recv() => {}
            Some(()) = self.terminate.recv() => {}
            else => std::future::pending().await,
        }
    }
}
