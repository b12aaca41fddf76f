//! How long rooms are silent when their owner is killed.

use anyhow::{Result, ensure};
use fastrand::Rng;
use tokio::time::{Instant, sleep};

use super::{LOOK, Measured, Prober, Setting, at_rest, millis, verify};
use crate::{histogram::Histogram, limits::CLUSTER_READY_DEADLINE};

/// Kills nodes of three, one after the other, and measures from the kill to the first ack in each
/// room the killed one owned.
///
/// # Errors
/// Something does not come back, or an acknowledged message is not in history.
pub async fn failover(setting: &Setting, kills: usize) -> Result<Measured> {
    let mut random = Rng::with_seed(setting.seed);
    let mut cluster = setting.cluster(3, 2).await?;
    let probers = setting.probe(&cluster).await?;
    let (mut times, mut slowest) = (Histogram::default(), Histogram::default());
    for kill in 0..kills {
        at_rest(&cluster).await?;
        let before: Vec<(usize, u64)> = probers.iter().map(position).collect();
        let node = random.usize(0..cluster.nodes.len());
        let killed = Instant::now();
        cluster.nodes[node].kill9();
        // A message asked after the kill is acknowledged in every room.
        let mut silent: Vec<usize> = (0..probers.len()).collect();
        let mut longest = 0;
        while !silent.is_empty() {
            ensure!(
                killed.elapsed() < CLUSTER_READY_DEADLINE,
                "kill {kill} of {}: no ack in {} rooms",
                cluster.nodes[node].name(),
                silent.len()
            );
            sleep(LOOK).await;
            silent.retain(|number| {
                let (count, epoch) = before[*number];
                let acks = probers[*number].acks_from(count);
                if let Some(first) = acks.iter().find(|ack| ack.epoch != epoch) {
                    let waited = millis(first.at.duration_since(killed));
                    times.record(waited);
                    longest = longest.max(waited);
                    return false;
                }
                // Owned by another node: it went on all the time.
                !acks
                    .iter()
                    .any(|ack| ack.asked > killed && ack.epoch == epoch)
            });
        }
        slowest.record(longest);
        cluster.nodes[node].restart().await?;
    }
    at_rest(&cluster).await?;
    let acks = verify(probers, &cluster).await?;
    Ok(Measured {
        what: format!("first ack after kill -9 of the owner, per room, {kills} kills"),
        times,
        unit: "ms",
        notes: vec![
            format!("slowest room of each kill: {slowest}"),
            format!("{acks} acks, all of them in history once"),
        ],
    })
}

/// How many acks, and the epoch of the last.
fn position(prober: &Prober) -> (usize, u64) {
    let count = prober.count();
    let last = prober.acks_from(count.saturating_sub(1));
    (count, last.last().map_or(0, |ack| ack.epoch))
}
