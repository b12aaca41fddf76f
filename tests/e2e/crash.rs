//! Killed in the middle of everything, at a moment the seed decides.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use rookery_loadtest::{
    checker,
    history::{Header, HistoryWriter},
    wait::eventually,
    workload::{Progress, Workload},
};

use crate::{UNLIMITED, start};

const SOON: Duration = Duration::from_secs(60);

/// Commands in flight when the server is killed, of 2,000 that may be: the rest has just been
/// answered.
const IN_FLIGHT_MIN: u64 = 1_000;

/// 100 clients with 20 changes in flight each, in 3 rooms; the server is killed twice in the middle,
/// and restarted on the same port while they go on.
async fn check_killed(seed: u64) -> Result<()> {
    let (folder, mut server) = start(&UNLIMITED).await?;
    let workload = Workload {
        seed,
        clients: 100,
        users: 60,
        operations: 5_000,
        in_flight_max: 20,
        prefix: format!("s{seed}"),
        ..Workload::default()
    };
    let file = folder.path().join("history.jsonl");
    let header = Header::new([("seed".to_owned(), seed.to_string())]);
    let history = Arc::new(HistoryWriter::create(&file, &header)?);
    let progress = Arc::new(Progress::default());
    let address = server.address().clone();
    let kills = async {
        let mut random = moments(seed);
        for half in [0, 1] {
            // Somewhere in this half, with many commands in flight.
            let span = workload.operations / 2;
            let moment = half * span + span / 8 + random() % (span / 2);
            eventually("many commands in flight", SOON, || {
                progress.invoked() >= moment && progress.in_flight() >= IN_FLIGHT_MIN
            })
            .await;
            server.kill9();
            server.restart().await?;
        }
        anyhow::Ok(())
    };
    let (outcome, killed) = tokio::join!(workload.run(&address, &history, &progress), kills);
    killed?;
    let outcome = outcome.context("the workload")?;
    history.finish()?;
    assert!(
        outcome.unsettled.is_empty(),
        "did not come to the head: {:?}",
        outcome.unsettled
    );
    let report = checker::check_file(&file)?;
    assert!(report.is_sound(), "seed {seed}:\n{report}");
    assert!(
        progress.reconnects() >= 40,
        "clients were in the middle when the server was killed"
    );
    assert!(
        report.totals.acked >= 500,
        "enough was acknowledged to be lost:\n{report}"
    );
    Ok(())
}

/// A small generator for moments (SplitMix64), so that a seed replays.
fn moments(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_server_loses_doubles_and_reorders_nothing() -> Result<()> {
    for seed in 1..=4 {
        check_killed(seed).await?;
    }
    Ok(())
}
