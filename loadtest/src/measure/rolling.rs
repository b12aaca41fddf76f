//! A deploy: every process of a cluster is stopped and started, one after the other, under load.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, ensure};
use rookery_proto::v1::{self, ack, presence::Status, server_frame::Frame, signal};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{LOOK, Measured, Setting, at_rest, millis};
use crate::{
    checker,
    client::{Client, Command, ConnectOptions},
    cluster::Cluster,
    histogram::Histogram,
    history::{Header, HistoryWriter},
    limits::CLUSTER_READY_DEADLINE,
    workload::{Progress, Workload},
};

/// Who was shown as offline, and how often anybody's presence was told at all.
#[derive(Debug, Default)]
struct Shown {
    offline: BTreeSet<String>,
    told: u64,
    online: BTreeSet<String>,
}

/// Restarts everything once under a checked workload, with watchers of everybody's presence.
///
/// # Errors
/// The checker finds something, somebody is shown as offline, or something does not come back.
pub async fn rolling(setting: &Setting) -> Result<Measured> {
    let mut cluster = setting.cluster(3, 2).await?;
    at_rest(&cluster).await?;
    let addresses = cluster.addresses();
    let workload = Workload {
        seed: setting.seed,
        clients: 20,
        rooms: u32::try_from(setting.rooms.min(10))?,
        operations: u64::MAX,
        in_flight_max: 4,
        prefix: "rolling".to_owned(),
        others: addresses[1..].to_vec(),
        pace: setting.pace.max(Duration::from_millis(50)),
        deadline: Duration::from_secs(600),
        ..Workload::default()
    };
    let file = setting.folder.join("rolling.jsonl");
    let history = Arc::new(HistoryWriter::create(&file, &Header::new([]))?);
    let progress = Arc::new(Progress::default());
    let shown = Arc::new(Mutex::new(Shown::default()));
    let steps = async {
        let began = Instant::now();
        while progress.rooms().len() < workload.room_ids().len() {
            ensure!(
                began.elapsed() < CLUSTER_READY_DEADLINE,
                "the workload does not begin"
            );
            sleep(LOOK).await;
        }
        // Everybody is there: from here on nobody may be shown as offline.
        let mut watchers = JoinSet::new();
        for (number, gateway) in addresses.iter().enumerate() {
            let mut others = addresses.clone();
            others.remove(number);
            let options = ConnectOptions::named(gateway, &format!("watcher-{number}"));
            let (options, users) = (options.others(&others), workload.user_names());
            watchers.spawn(watch(options, users, Arc::clone(&shown)));
        }
        let times = roll(&mut cluster).await;
        // What was told late is told by now.
        at_rest(&cluster).await?;
        watchers.shutdown().await;
        progress.finish();
        times
    };
    let running = workload.run(&addresses[0], &history, &progress);
    tokio::pin!(steps, running);
    let (times, outcome) = tokio::select! {
        times = &mut steps => (times?, (&mut running).await?),
        outcome = &mut running => {
            outcome?;
            anyhow::bail!("the workload ended by itself");
        }
    };
    history.finish()?;
    ensure!(outcome.unsettled.is_empty(), "{:?}", outcome.unsettled);
    let report = tokio::task::spawn_blocking(move || checker::check_file(&file)).await??;
    ensure!(report.is_sound(), "{report}");
    let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
    let names = workload.user_names();
    Ok(Measured {
        what: "restart of one process under load, from SIGTERM to ready".to_owned(),
        times,
        unit: "ms",
        notes: vec![
            format!(
                "longest time a client was without an ack: {} ms",
                millis(progress.longest_wait())
            ),
            format!(
                "presence told {} times; of {} users {} were seen online, shown as offline: {:?}",
                shown.told,
                names.len(),
                shown.online.len(),
                shown.offline
            ),
            format!("{progress}"),
            format!("{} acks, all of them in history once", report.totals.acked),
        ],
    })
}

async fn roll(cluster: &mut Cluster) -> Result<Histogram> {
    let mut times = Histogram::default();
    for number in 0..cluster.nodes.len() + cluster.gateways.len() {
        let began = Instant::now();
        let nodes = cluster.nodes.len();
        let member = match number.checked_sub(nodes) {
            None => &mut cluster.nodes[number],
            Some(gateway) => &mut cluster.gateways[gateway],
        };
        member.stop().await?;
        member.restart().await?;
        cluster.ready(CLUSTER_READY_DEADLINE).await?;
        times.record(millis(began.elapsed()));
    }
    Ok(times)
}

/// Watches users for ever, over reconnects.
async fn watch(options: ConnectOptions, users: Vec<String>, shown: Arc<Mutex<Shown>>) {
    let note = |presence: &v1::Presence| {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.told += 1;
        match presence.status() {
            Status::Offline => {
                shown.offline.insert(presence.user.clone());
            }
            Status::Online => {
                shown.online.insert(presence.user.clone());
            }
            _ => {}
        }
    };
    loop {
        let deadline = Instant::now() + CLUSTER_READY_DEADLINE;
        let Ok((client, mut incoming)) = Client::connect_until(&options, deadline).await else {
            return;
        };
        let ask = Command::WatchPresence(v1::WatchPresence {
            users: users.clone(),
        });
        let Ok(answer) = client.call(ask).await else {
            sleep(LOOK).await;
            continue;
        };
        if let Some(ack::Result::Presence(list)) = answer.result {
            list.users.iter().for_each(note);
        }
        while let Some(frame) = incoming.next().await {
            if let Frame::Signal(v1::Signal {
                body: Some(signal::Body::Presence(presence)),
                ..
            }) = frame
            {
                note(&presence);
            }
        }
    }
}
