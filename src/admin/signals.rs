//! The signals that end the process.

use std::{io, process};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::exit::SIGNAL_BASE;

/// A signal that asks to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopSignal {
    /// Ctrl-C.
    Interrupt,
    /// What supervisors send.
    Terminate,
}

impl StopSignal {
    /// Its name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    const fn number(self) -> i32 {
        match self {
            Self::Interrupt => libc::SIGINT,
            Self::Terminate => libc::SIGTERM,
        }
    }
}

/// Both signals, caught.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on the signals do not end the process by themselves.
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The first signal asks to stop; the second ends the process, however the stop stands.
    pub(super) async fn watch(mut self, stop: watch::Sender<Option<StopSignal>>) {
        let first = self.next().await;
        stop.send_replace(Some(first));
        let second = self.next().await;
        tracing::warn!(signal = second.as_str(), "second signal, ending at once");
        end(second);
    }

    async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.interrupt.recv() => StopSignal::Interrupt,
            _ = self.terminate.recv() => StopSignal::Terminate,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "main may be what is stuck")]
fn end(signal: StopSignal) -> ! {
    process::exit(SIGNAL_BASE + signal.number())
}
