//! Killed in the middle of everything, at a moment the seed decides.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use rookery_loadtest::{
    checker,
    history::{Header, HistoryWriter},
    workload::{Progress, Workload},
};

use crate::{UNLIMITED, eventually, start};

/// 2,000 concurrent changes of 40 clients in 3 rooms; the server is killed twice in between, and
/// restarted on the same port while they go on.
async fn check_killed(seed: u64) -> Result<()> {
    let (folder, mut server) = start(&UNLIMITED).await?;
    let workload = Workload {
        seed,
        clients: 40,
        users: 30,
        operations: 2_000,
        in_flight_max: 16,
        prefix: format!("s{seed}"),
        ..Workload::default()
    };
    let file = folder.path().join("history.jsonl");
    let header = Header::new([("seed".to_owned(), seed.to_string())]);
    let history = Arc::new(HistoryWriter::create(&file, &header)?);
    let progress = Arc::new(Progress::default());
    let run = tokio::spawn({
        let (workload, address) = (workload.clone(), server.address().clone());
        let (history, progress) = (Arc::clone(&history), Arc::clone(&progress));
        async move { workload.run(&address, &history, &progress).await }
    });
    let mut random = moments(seed);
    for part in [0, 1] {
        // Somewhere in this half, with commands in flight.
        let moment = workload.operations * part / 2 + 100 + random() % (workload.operations / 3);
        eventually(
            "half of the operations",
            Duration::from_secs(60),
            async || {
                let done = progress.invoked() >= moment && progress.in_flight() > 0;
                (done || run.is_finished()).then_some(())
            },
        )
        .await;
        server.kill9();
        server.restart().await?;
    }
    let outcome = run.await?.context("the workload")?;
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
