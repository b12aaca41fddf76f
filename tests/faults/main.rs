//! Faults on real processes: whatever is killed, paused or cut off, nothing acknowledged is lost,
//! doubled or reordered, and everything works again by itself.
//!
//! The two clusters, their workloads and the faults that happen to them are plans of
//! `rookery-loadtest verify` (`loadtest/plans`), and are run as that runs them: after each fault
//! every room must acknowledge again; after some faults all is quiet, every client's log must
//! equal history, and the checker judges all that was asked, answered and seen.
//!
//! - `ROOKERY_TEST_CQL`, `ROOKERY_TEST_CQL_CLUSTER` name the databases that `scripts/services` has
//!   started; NATS servers are the tests' own, of the binary that it has built. What is missing is
//!   skipped and says so; with `ROOKERY_REQUIRE_SERVICES=1` that is a failure.
//! - `ROOKERY_FAULT_SEED=7` chooses the schedule, `ROOKERY_FAULTS=500` its length.
//! - `ROOKERY_FAULT_KEEP=1` keeps logs and histories also when all is well.

mod network;
mod owner;
mod services;

use anyhow::{Context as _, Result, ensure};
use rookery_loadtest::{
    services::{say, variable},
    verify::{self, Live, Parts, Plan, Run},
};
use tempfile::TempDir;
use tokio::sync::Mutex;

use services::find;

/// One cluster at a time: they share the machine.
static ALONE: Mutex<()> = Mutex::const_new(());

/// One NATS server, one database node: both can go away altogether.
#[tokio::test(flavor = "multi_thread")]
async fn small_cluster_loses_nothing_whatever_happens() -> Result<()> {
    check("cluster", "ROOKERY_TEST_CQL").await
}

/// Three NATS servers, three replicas: one may go, and NATS may split.
#[tokio::test(flavor = "multi_thread")]
async fn cluster_on_three_of_everything_loses_nothing_whatever_happens() -> Result<()> {
    check("cluster-of-three", "ROOKERY_TEST_CQL_CLUSTER").await
}

/// Runs a built-in plan whole; any window that is not sound is an error.
async fn check(plan: &str, database: &str) -> Result<()> {
    let _alone = ALONE.lock().await;
    let Some((database, nats_server)) = find(&format!("the plan {plan}"), database) else {
        return Ok(());
    };
    let parts = Parts {
        rookery: env!("CARGO_BIN_EXE_rookery").into(),
        nats_server,
        database: Some(database),
    };
    let folder = TempDir::new()?;
    let number = |name| variable(name).map(|text| text.parse().expect("a number"));
    let name = plan;
    let mut plan = Plan::load(name)?;
    let seed = number("ROOKERY_FAULT_SEED").unwrap_or(plan.seed);
    if let Some(faults) = number("ROOKERY_FAULTS") {
        plan.faults.count = std::num::NonZeroUsize::new(usize::try_from(faults)?);
    }
    let keep = variable("ROOKERY_FAULT_KEEP").is_some();
    let run = Run {
        name,
        plan: &plan,
        parts: &parts,
        seed,
        folder: folder.path(),
        lasting: None,
        keep,
    };
    say(&format!("{name}: seed {seed}"));
    let outcome = verify::run(run, &Live::new(None, say)).await;
    if outcome.is_err() || keep {
        let folder = folder.keep();
        say(&format!("logs and histories are in {}", folder.display()));
    }
    let summary = outcome.with_context(|| format!("{name} with ROOKERY_FAULT_SEED={seed}"))?;
    say(&format!("{name}: {summary}"));
    ensure!(
        summary.faults.len() == plan.fault_count(),
        "{} of {} faults happened",
        summary.faults.len(),
        plan.fault_count()
    );
    Ok(())
}
