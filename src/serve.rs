//! `rookery serve`: builds, binds, spawns, waits, drains.
//!
//! ```text
//! telemetry ─► admin side ─► store ─► rooms, presence ─► gateway ─► ready ─► signal ─► drain ─► exit
//! ```

mod banner;
mod drain;
mod ready_file;

use std::{io, net::TcpListener, path::Path, sync::Arc, time::Instant};

use anyhow::Context as _;
use rookery_cluster::task::{TaskKind, spawn};
use tokio::{runtime, time};

use crate::{
    admin::{self, Shown},
    config::Config,
    exit::Exit,
    process,
    readiness::{PULSE_INTERVAL, Part, Readiness},
    telemetry,
};
use banner::Banner;
use drain::{Drain, millis};

/// Serves until a signal asks to stop.
///
/// # Errors
/// What kept it from starting, or from going on.
pub(crate) fn main(
    config: &Config,
    ready_file: Option<&Path>,
    started: Instant,
) -> anyhow::Result<Exit> {
    let metrics = telemetry::start(&config.log)?;
    raise_open_files();
    if let Some(path) = ready_file {
        ready_file::remove(path).with_context(|| unwritable(path))?;
    }
    let readiness = Readiness::new();
    let listener = TcpListener::bind(config.admin_listen)
        .with_context(|| format!("cannot listen on {} (admin.listen)", config.admin_listen))?;
    let shown = Shown {
        readiness: Arc::clone(&readiness),
        metrics,
        started,
    };
    let admin = admin::start(listener, shown).context("cannot start the admin side")?;
    let runtime = runtime::Builder::new_multi_thread()
        .thread_name("rookery")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let exit = runtime.block_on(async {
        spawn(TaskKind::Service, "pulse", pulse(Arc::clone(&readiness)));
        let mut stop = admin.stop.clone();
        stop.wait_for(Option::is_some).await.map(|_| Exit::Clean)
    });
    Ok(exit?)
}

fn raise_open_files() {
    match process::raise_open_files() {
        Ok((before, after)) if before == after => {
            tracing::info!(
                open_files.max = after.soft,
                "open files bound is the hard one"
            );
        }
        Ok((before, after)) => tracing::info!(
            open_files.before = before.soft,
            open_files.max = after.soft,
            "open files bound raised"
        ),
        Err(error) => tracing::warn!(error = %error, "open files bound not raised"),
    }
}

fn unwritable(path: &Path) -> String {
    format!("cannot write the ready file {}", path.display())
}

async fn pulse(readiness: Arc<Readiness>) {
    let mut interval = time::interval(PULSE_INTERVAL);
    loop {
        interval.tick().await;
        readiness.pulse().beat();
    }
}
