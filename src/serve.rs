//! `rookery serve`: builds, binds, spawns, waits, drains.
//!
//! ```text
//! telemetry ─► admin side ─► ground ─► rooms, presence ─► gateway ─► ready ─► signal ─► drain ─► exit
//! ```
//! [`ground`] is what they stand on (bus, database, cluster), [`services`] are what serves, [`rooms`]
//! come back when they were fenced, [`drain`] divides the grace of a stop, [`banner`] and
//! [`ready_file`] say that it serves.

mod banner;
mod drain;
mod ground;
mod ready_file;
mod rooms;
mod services;

use std::{io::Write as _, net::TcpListener, path::Path, sync::Arc, time::Duration, time::Instant};

use anyhow::Context as _;
use rookery_cluster::task::{TaskKind, failed_service, spawn};
use tokio::{runtime, sync::watch, time};

use self::{
    banner::{Banner, Place},
    drain::millis,
    ground::Ground,
    services::Services,
};
use crate::{
    admin::{self, Admin, Shown, StopSignal},
    config::Config,
    exit::Exit,
    process,
    readiness::{PULSE_INTERVAL, Part, Readiness},
    telemetry,
};

/// What tasks that outlive the stop may take to end; nothing durable is in them.
const RUNTIME_END_WAIT: Duration = Duration::from_millis(200);

/// Files kept for everything that is not a client: the database, probes, logs, pages of threads.
const FILES_RESERVED: usize = 256;

/// Serves until a signal asks to stop.
///
/// # Errors
/// What kept it from starting.
pub(crate) fn main(
    mut config: Config,
    ready_file: Option<&Path>,
    started: Instant,
) -> anyhow::Result<Exit> {
    let metrics = telemetry::start(&config.log)?;
    bound_connections(&mut config);
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
        let ground = Ground::open(&config).await?;
        readiness.release(Part::Store);
        let services = Services::start(&config, ground, &readiness).await?;
        announce(&config, &services, &admin, ready_file, started)?;
        readiness.release(Part::Process);
        let ended = wait(admin.stop, &services).await;
        let drained = services.stop(config.grace, &readiness).await;
        Ok(match ended {
            Ended::Asked => drained,
            Ended::Lost => Exit::Failed,
        })
    });
    runtime.shutdown_timeout(RUNTIME_END_WAIT);
    let _ = std::io::stderr().flush();
    exit
}

/// Why it stops.
enum Ended {
    /// A signal.
    Asked,
    /// The rooms no longer serve, or a part of the process failed.
    Lost,
}

async fn wait(mut stop: watch::Receiver<Option<StopSignal>>, services: &Services) -> Ended {
    let mut failed = failed_service();
    tokio::select! {
        signal = stop.wait_for(Option::is_some) => {
            let name = signal.ok().and_then(|signal| *signal).map_or("none", StopSignal::as_str);
            tracing::info!(signal = name, "stopping");
            Ended::Asked
        }
        reason = services.lost() => {
            tracing::error!(reason, "stopping, the rooms are lost");
            Ended::Lost
        }
        // Logged where it happened.
        _ = failed.wait_for(Option::is_some) => Ended::Lost,
    }
}

/// Tells people and scripts that it serves, and where.
fn announce(
    config: &Config,
    services: &Services,
    admin: &Admin,
    ready_file: Option<&Path>,
    started: Instant,
) -> anyhow::Result<()> {
    let url = services.address().map(ready_file::url);
    let admin_url = ready_file::url(admin.address);
    let took = started.elapsed();
    if let Some(path) = ready_file {
        ready_file::write(path, url.as_deref(), &admin_url).with_context(|| unwritable(path))?;
    }
    let durability = services.durability();
    let place = Place::of(config);
    tracing::info!(
        url,
        admin.url = admin_url,
        place = %place,
        durability,
        dev = config.gateway.dev,
        took_ms = millis(took),
        "listening",
    );
    // Collectors read lines of JSON; the banner is for people.
    if !config.log.json {
        let banner = Banner {
            url: url.as_deref(),
            admin: &admin_url,
            place: &place,
            durability: durability.as_deref(),
            dev: config.gateway.dev,
            took,
        };
        banner.print();
    }
    Ok(())
}

/// Raises the bound on open files and, unless told otherwise, takes as many connections.
fn bound_connections(config: &mut Config) {
    match process::raise_open_files() {
        Ok((before, after)) => {
            if config.connections_by_files {
                let files = usize::try_from(after.soft).unwrap_or(usize::MAX);
                let connections = files.saturating_sub(FILES_RESERVED).max(1);
                config.gateway.connections_max = connections.min(config.gateway.connections_max);
            }
            tracing::info!(
                open_files.before = before.soft,
                open_files.max = after.soft,
                connections.max = config.gateway.connections_max,
                "open files bound set to what is allowed",
            );
        }
        Err(error) => tracing::warn!(error = %error, "open files bound not raised"),
    }
}

fn unwritable(path: &Path) -> String {
    format!(
        "cannot write the ready file {} (--ready-file)",
        path.display()
    )
}

async fn pulse(readiness: Arc<Readiness>) {
    let mut interval = time::interval(PULSE_INTERVAL);
    loop {
        interval.tick().await;
        readiness.pulse().beat();
    }
}
