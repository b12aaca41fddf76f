//! Logs, the panic hook, and the recorder of metrics.

use std::{
    backtrace::Backtrace,
    env,
    io::{self, IsTerminal as _},
    panic, thread,
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{config::Log, process};

/// Seconds: from a tenth of a millisecond (a group commit's wait) to a request's deadline.
const SECONDS: [f64; 17] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];
/// Sizes and counts: powers of four up to the largest payload.
const POWERS: [f64; 11] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
];

/// Why telemetry did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryError {
    /// The filter is not one.
    #[error("log.level is not a log filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Buckets are not usable.
    #[error("metrics cannot be recorded")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// Another recorder is installed.
    #[error("metrics are already recorded elsewhere")]
    Recorder,
}

/// Starts logging to standard error and recording metrics. Once a process.
///
/// # Errors
/// [`TelemetryError`] says which part.
pub(crate) fn start(log: &Log) -> Result<PrometheusHandle, TelemetryError> {
    let filter = EnvFilter::builder().parse(&log.filter)?;
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(colours);
    let registry = tracing_subscriber::registry().with(filter);
    if log.json {
        registry.with(lines.json().flatten_event(true)).init();
    } else {
        registry.with(lines).init();
    }
    log_panics();
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets(&POWERS)?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::Recorder)?;
    process::describe_metrics();
    rookery_cluster::metrics::describe();
    rookery_persistence::metrics::describe();
    rookery_room_actors::metrics::describe();
    rookery_presence::metrics::describe();
    rookery_gateway::metrics::describe();
    Ok(handle)
}

/// Panics become log lines like everything else.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let literal = payload.downcast_ref::<&str>().copied();
        let message = literal.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = thread::current();
        tracing::error!(
            panic.message = message.unwrap_or("none"),
            panic.location = location,
            panic.backtrace = %Backtrace::capture(),
            thread.name = thread.name().unwrap_or("unnamed"),
            "panicked",
        );
    }));
}
