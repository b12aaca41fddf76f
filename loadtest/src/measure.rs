//! What a cluster of real processes does to those who use it: measured, not judged.
//!
//! Each measurement starts a cluster of its own ([`crate::cluster`]), lets [`Prober`]s send in many
//! rooms, each one message after the other, does something to the cluster, and tells how long they
//! waited. At the end every acknowledged message must be in history, once.

mod failover;
mod lost;
mod moves;
mod prober;
mod rolling;
mod sends;

use std::{fmt, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::time::{Instant, sleep};

use crate::{
    client::{Client, ConnectOptions, command},
    cluster::{Cluster, ClusterOptions, Database},
    histogram::Histogram,
    limits::CLUSTER_READY_DEADLINE,
};
pub use failover::failover;
pub use lost::lost;
pub use moves::moves;
pub use prober::{Ack, Prober};
pub use rolling::rolling;
pub use sends::{Demand, sends};

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The program `rookery`.
    pub binary: PathBuf,
    /// The program `nats-server`.
    pub nats_binary: PathBuf,
    /// The database.
    pub database: Database,
    /// For data and logs.
    pub folder: PathBuf,
    /// Decides what is chosen at random.
    pub seed: u64,
    /// Rooms that are probed.
    pub rooms: usize,
    /// Pause of a prober between an ack and its next message.
    pub pace: Duration,
}

/// Limits on clients' rates, out of the way.
const SETTINGS: [&str; 4] = [
    "gateway.commands_per_second=1000000",
    "gateway.commands_burst=1000000",
    "rooms.sends_per_second=1000000",
    "rooms.sends_burst=1000000",
];
/// Counts every step of taking and handing over shards.
const DUTIES: &str = "rookery_cluster_member_duties_total";
/// A shard moves when another node has been its home for 5 s: without a step for this long, none
/// is about to.
const REST: Duration = Duration::from_secs(7);
const LOOK: Duration = Duration::from_millis(100);

impl Setting {
    async fn cluster(&self, nodes: usize, gateways: usize) -> Result<Cluster> {
        Cluster::start(ClusterOptions {
            binary: self.binary.clone(),
            nats_binary: self.nats_binary.clone(),
            folder: self.folder.clone(),
            nats_servers: 1,
            database: self.database.clone(),
            nodes,
            gateways,
            direct: false,
            settings: SETTINGS.map(str::to_owned).to_vec(),
        })
        .await
    }

    /// Opens rooms and starts a prober in each.
    async fn probe(&self, cluster: &Cluster) -> Result<Vec<Prober>> {
        let rooms = open(cluster, self.rooms).await?;
        self.probe_in(cluster, rooms).await
    }

    /// Starts a prober in each of the rooms, on the gateways in turn.
    async fn probe_in(&self, cluster: &Cluster, rooms: Vec<String>) -> Result<Vec<Prober>> {
        let gateways = cluster.addresses();
        let mut probers = Vec::new();
        for (number, room) in rooms.into_iter().enumerate() {
            let mut gateways = gateways.clone();
            let first = number % gateways.len();
            gateways.rotate_left(first);
            let options = ConnectOptions::named(&gateways[0], &format!("prober-{number}"))
                .others(&gateways[1..]);
            probers.push(Prober::start(room, options, self.pace));
        }
        // All of them are under way.
        let began = Instant::now();
        while probers.iter().any(|prober| prober.count() == 0) {
            ensure!(
                began.elapsed() < CLUSTER_READY_DEADLINE,
                "a prober is not answered"
            );
            sleep(LOOK).await;
        }
        Ok(probers)
    }
}

/// Opens so many rooms; their names.
async fn open(cluster: &Cluster, count: usize) -> Result<Vec<String>> {
    let options = ConnectOptions::named(&cluster.addresses()[0], "opener");
    let (opener, _incoming) = Client::connect(&options).await?;
    let mut rooms = Vec::new();
    for number in 0..count {
        let room = format!("probe-{number}");
        opener
            .create(command::create_group(&room, true, &[], "open"))
            .await?;
        rooms.push(room);
    }
    Ok(rooms)
}

/// Waits until no shard has moved for longer than a move hesitates.
async fn at_rest(cluster: &Cluster) -> Result<()> {
    cluster.ready(CLUSTER_READY_DEADLINE).await?;
    let mut steps = cluster.sum_over_nodes(DUTIES).await?;
    let (mut since, began) = (Instant::now(), Instant::now());
    while since.elapsed() < REST {
        sleep(LOOK).await;
        let now = cluster.sum_over_nodes(DUTIES).await?;
        if (now - steps).abs() > 0.5 {
            (steps, since) = (now, Instant::now());
        }
        ensure!(
            began.elapsed() < CLUSTER_READY_DEADLINE,
            "shards move without end"
        );
    }
    Ok(())
}

/// Stops the probers and holds what was acknowledged against history; gives how many acks that
/// were.
async fn verify(probers: Vec<Prober>, cluster: &Cluster) -> Result<u64> {
    let options = ConnectOptions::named(&cluster.addresses()[0], "opener");
    let (judge, _incoming) = Client::connect(&options).await?;
    let mut acks = 0;
    for prober in probers {
        let room = prober.room().to_owned();
        let acked = prober.stop().await;
        let log = judge.whole_log(&room).await?;
        for ack in &acked {
            let at = usize::try_from(ack.offset)? - 1;
            let event = log
                .get(at)
                .with_context(|| format!("{room} lacks {}", ack.offset))?;
            let same = prober::text_of(event).is_some_and(|text| text == ack.text);
            ensure!(same, "{room}: acknowledged {ack:?}, history has {event:?}");
        }
        let mut texts: Vec<&str> = log.iter().filter_map(prober::text_of).collect();
        texts.sort_unstable();
        ensure!(
            texts.windows(2).all(|two| two[0] != two[1]),
            "{room}: a message twice"
        );
        acks += acked.len() as u64;
    }
    Ok(acks)
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What the times are of.
    pub what: String,
    /// In `unit`.
    pub times: Histogram,
    /// `ms` or `µs`.
    pub unit: &'static str,
    /// Further figures.
    pub notes: Vec<String>,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} times in {}: p50 {}, p90 {}, p99 {}, longest {}",
            self.what,
            self.times.count(),
            self.unit,
            self.times.percentile(50.0),
            self.times.percentile(90.0),
            self.times.percentile(99.0),
            self.times.max()
        )?;
        for note in &self.notes {
            write!(f, "\n  {note}")?;
        }
        Ok(())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
