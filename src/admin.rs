//! The admin side: probes, metrics and signals, on a thread and a small runtime of its own, so that
//! they answer when the main runtime is stuck.
//!
//! Nothing here touches the main runtime: [`Readiness`] is shared memory, metrics are atomics.

mod http;
mod signals;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use metrics_exporter_prometheus::PrometheusHandle;
use rookery_cluster::task::{TaskKind, spawn};
use tokio::{runtime, sync::watch, time};

use crate::readiness::Readiness;

pub(crate) use signals::StopSignal;

/// How often histograms are folded, so that they do not grow when nobody asks for metrics.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What the admin side shows.
pub(crate) struct Shown {
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) started: Instant,
}

/// The running admin side. It lives until the process ends.
#[derive(Debug)]
pub(crate) struct Admin {
    /// Where it answers.
    pub(crate) address: SocketAddr,
    /// The first signal to stop.
    pub(crate) stop: watch::Receiver<Option<StopSignal>>,
}

/// Starts the thread; signals are caught when this returns.
///
/// # Errors
/// When the thread, its runtime or the handlers cannot be had.
pub(crate) fn start(listener: TcpListener, shown: Shown) -> io::Result<Admin> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let (stop_sender, stop) = watch::channel(None);
    let (started, starting) = mpsc::channel();
    thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let run = async {
                let signals = signals::Signals::catch()?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                spawn(TaskKind::Service, "signals", signals.watch(stop_sender));
                spawn(
                    TaskKind::Service,
                    "metrics_upkeep",
                    upkeep(shown.metrics.clone()),
                );
                Ok::<_, io::Error>((listener, shown))
            };
            // The receiver waits for exactly one message.
            match runtime.and_then(|runtime| Ok((runtime.block_on(run)?, runtime))) {
                Ok(((listener, shown), runtime)) => {
                    let _ = started.send(Ok(()));
                    runtime.block_on(http::serve(listener, Arc::new(shown)));
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        })?;
    starting
        .recv()
        .map_err(|_| io::Error::other("the admin thread ended"))??;
    Ok(Admin { address, stop })
}

async fn upkeep(metrics: PrometheusHandle) {
    let mut interval = time::interval(UPKEEP_INTERVAL);
    loop {
        interval.tick().await;
        metrics.run_upkeep();
    }
}
