//! How long a busy room pauses when its shard moves as planned.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use super::{LOOK, Measured, Prober, Setting, at_rest, millis, open, verify};
use crate::{
    client::{Client, ConnectOptions},
    cluster::Cluster,
    histogram::Histogram,
    limits::CLUSTER_READY_DEADLINE,
};

/// How many of the longest pauses are told one by one.
const LONGEST_NAMED: usize = 5;

/// Rooms opened for each that is wanted: a fourth node gets about a quarter of them.
const OPENED_FOR_EACH: usize = 8;

/// Stops a fourth node and starts it again until the rooms that are its have moved so many times,
/// and measures from the last ack of the old owner to the first of the new one. The probers' own
/// pace is part of it.
///
/// # Errors
/// Rooms do not move, or an acknowledged message is not in history.
pub async fn moves(setting: &Setting, wanted: usize) -> Result<Measured> {
    let mut cluster = setting.cluster(3, 2).await?;
    let rooms = rooms_of_a_fourth(&mut cluster, setting.rooms).await?;
    let probers = setting.probe_in(&cluster, rooms).await?;
    let (mut pauses, mut joins, mut leaves) = <(Histogram, Histogram, Histogram)>::default();
    let (mut refused, mut unknown, mut changes) = (0, 0, 0);
    let mut longest = Vec::new();
    at_rest(&cluster).await?;
    let quiet = gaps(&probers, &vec![0; probers.len()]);
    while pauses.count() < wanted as u64 {
        changes += 1;
        ensure!(changes <= wanted, "rooms do not move");
        let before: Vec<usize> = probers.iter().map(Prober::count).collect();
        let fourth = &mut cluster.nodes[3];
        let moved = if fourth.runs() {
            fourth.stop().await?;
            &mut leaves
        } else {
            fourth.restart().await?;
            &mut joins
        };
        at_rest(&cluster).await?;
        let began = Instant::now();
        while probers
            .iter()
            .zip(&before)
            .any(|(prober, before)| prober.count() <= before + 1)
        {
            ensure!(
                began.elapsed() < CLUSTER_READY_DEADLINE,
                "a room does not work"
            );
            sleep(LOOK).await;
        }
        for (prober, before) in probers.iter().zip(&before) {
            let acks = prober.acks_from(before.saturating_sub(1));
            for two in acks.windows(2).filter(|two| two[0].epoch != two[1].epoch) {
                let pause = millis(two[1].at.duration_since(two[0].at));
                pauses.record(pause);
                moved.record(pause);
                longest.push((pause, prober.room().to_owned(), time_of_day(two[1].at)));
            }
            refused += acks.iter().map(|ack| ack.refused).sum::<u32>();
            unknown += acks.iter().map(|ack| ack.unknown).sum::<u32>();
        }
    }
    longest.sort_unstable();
    let longest = longest.iter().rev().take(LONGEST_NAMED);
    let longest = longest.map(|(pause, room, until)| format!("{pause} in {room} until {until}"));
    let longest = longest.collect::<Vec<_>>().join(", ");
    let acks = verify(probers, &cluster).await?;
    Ok(Measured {
        what: "pause of a busy room when its shard moves".to_owned(),
        times: pauses,
        unit: "ms",
        notes: vec![
            format!("to the node that joins, in ms: {joins}"),
            format!("from the node that leaves, in ms: {leaves}"),
            format!("the longest, in ms: {longest}"),
            format!("between two acks when nothing moves, in ms: {quiet}"),
            format!("clients saw {refused} refusals and {unknown} missing answers"),
            format!("{acks} acks, all of them in history once"),
        ],
    })
}

/// Adds a fourth node, and gives so many rooms that moved to it.
async fn rooms_of_a_fourth(cluster: &mut Cluster, wanted: usize) -> Result<Vec<String>> {
    let rooms = open(cluster, wanted * OPENED_FOR_EACH).await?;
    let before = epochs(cluster, &rooms, "before").await?;
    cluster.add_node().await?;
    at_rest(cluster).await?;
    let after = epochs(cluster, &rooms, "after").await?;
    let both = before.iter().zip(&after);
    let mut moved = Vec::new();
    for (room, (before, after)) in rooms.into_iter().zip(both) {
        if before < after && moved.len() < wanted {
            moved.push(room);
        }
    }
    ensure!(
        moved.len() == wanted,
        "only {} of {wanted} rooms moved to a fourth node",
        moved.len()
    );
    Ok(moved)
}

/// Under which epoch each room takes a message.
async fn epochs(cluster: &Cluster, rooms: &[String], text: &str) -> Result<Vec<u64>> {
    let options = ConnectOptions::named(&cluster.addresses()[0], "opener");
    let (client, _incoming) = Client::connect(&options).await?;
    let mut epochs = Vec::new();
    for room in rooms {
        epochs.push(client.send(room, text, text).await?.epoch);
    }
    Ok(epochs)
}

/// For who looks up in the nodes' logs what happened: `hh:mm:ss.mmm` in UTC.
fn time_of_day(at: Instant) -> String {
    let since = (SystemTime::now() - at.elapsed()).duration_since(UNIX_EPOCH);
    let ms = since.unwrap_or(Duration::ZERO).as_millis() % 86_400_000;
    let (s, ms) = (ms / 1_000, ms % 1_000);
    format!("{:02}:{:02}:{:02}.{ms:03}", s / 3_600, s / 60 % 60, s % 60)
}

/// Times between two acks.
fn gaps(probers: &[Prober], from: &[usize]) -> Histogram {
    let mut gaps = Histogram::default();
    for (prober, from) in probers.iter().zip(from) {
        for two in prober.acks_from(*from).windows(2) {
            gaps.record(millis(two[1].at.duration_since(two[0].at)));
        }
    }
    gaps
}
