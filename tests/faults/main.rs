//! Faults on real processes: whatever is killed, paused or cut off, nothing acknowledged is lost,
//! doubled or reordered, and everything works again by itself.
//!
//! A cluster of real processes runs a workload of many clients on several gateways. A schedule of
//! faults, decided by a seed, happens to it. After each fault every room must acknowledge again;
//! after some faults all is healed and quiet, every client's log must equal history, and the
//! checker of `rookery-loadtest` judges all that was asked, answered and seen.
//!
//! - `ROOKERY_TEST_CQL`, `ROOKERY_TEST_CQL_CLUSTER` name the databases that `scripts/services` has
//!   started; NATS servers are the tests' own, of the binary that it has built. What is missing is
//!   skipped and says so; with `ROOKERY_REQUIRE_SERVICES=1` that is a failure.
//! - `ROOKERY_FAULT_SEED=7` chooses the schedule, `ROOKERY_FAULTS=500` its length.
//! - `ROOKERY_FAULT_KEEP=1` keeps logs and histories also when all is well.

mod campaign;
mod fault;
mod network;
mod owner;
mod recovery;
mod services;

use anyhow::Result;
use tokio::sync::Mutex;

use campaign::Campaign;
use fault::Kind;

/// One cluster at a time: they share the machine.
static ALONE: Mutex<()> = Mutex::const_new(());

/// One NATS server, one database node: both can go away altogether.
#[tokio::test(flavor = "multi_thread")]
async fn small_cluster_loses_nothing_whatever_happens() -> Result<()> {
    let _alone = ALONE.lock().await;
    let Some(campaign) = Campaign::with("faults of a small cluster", 1, "ROOKERY_TEST_CQL") else {
        return Ok(());
    };
    campaign
        .run(&[
            (Kind::KillNode, 4),
            (Kind::KillGateway, 2),
            (Kind::PauseNode, 1),
            (Kind::LoseTwoNodes, 1),
            (Kind::PauseGateway, 1),
            (Kind::StopNode, 2),
            (Kind::StopGateway, 2),
            (Kind::ScaleNodes, 2),
            (Kind::CutNodeFromNats, 2),
            (Kind::StallNodeFromNats, 1),
            (Kind::CutNodeFromDatabase, 2),
            (Kind::CutGatewayFromNats, 1),
            (Kind::DelayNode, 2),
            (Kind::LoseMessages, 2),
            (Kind::RestartNats, 2),
            (Kind::PauseNats, 1),
            (Kind::PauseDatabaseNode, 1),
            (Kind::RestartDatabase, 1),
        ])
        .await
}

/// Three NATS servers, three replicas: one may go, and NATS may split.
#[tokio::test(flavor = "multi_thread")]
async fn cluster_on_three_of_everything_loses_nothing_whatever_happens() -> Result<()> {
    let _alone = ALONE.lock().await;
    let what = "faults of a cluster on three NATS servers and three replicas";
    let Some(campaign) = Campaign::with(what, 3, "ROOKERY_TEST_CQL_CLUSTER") else {
        return Ok(());
    };
    campaign
        .run(&[
            (Kind::KillNatsServer, 3),
            (Kind::SplitNats, 3),
            (Kind::KillReplica, 2),
            (Kind::PauseDatabaseNode, 1),
            (Kind::KillNode, 1),
            (Kind::PauseNode, 1),
        ])
        .await
}
