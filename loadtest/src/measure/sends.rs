//! How many sends a cluster acknowledges, how soon, and where the time goes.

use std::{num::NonZeroU32, time::Duration};

use anyhow::{Context as _, Result};

use super::{Measured, Setting};
use crate::{
    cluster::Cluster,
    limits::{LOAD_MEASURED, LOAD_WARM_UP},
    load::{Asked, Load, LoadReport},
    server::cpu_time,
};

const GROUPS: &str = "rookery_room_actors_commit_groups_total";
const GROUP_SECONDS: &str = "rookery_room_actors_commit_seconds_sum";
const EVENTS: &str = "rookery_room_actors_events_total";

/// How much is asked of the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Nodes for rooms and presence.
    pub nodes: usize,
    /// Gateways.
    pub gateways: usize,
    /// Connections.
    pub senders: u32,
    /// Sends one connection has in flight at most.
    pub in_flight_max: usize,
}

/// Asks gateways, rooms and the database in turn, each as fast as it answers, then sends at half
/// the rate that was reached. The times are of that last one.
///
/// # Errors
/// Something does not come up, or does not answer.
pub async fn sends(setting: &Setting, demand: Demand) -> Result<Measured> {
    let cluster = setting.cluster(demand.nodes, demand.gateways).await?;
    let mut load = Load {
        asked: Asked::Ping,
        prefix: "ping".to_owned(),
        rooms: u32::try_from(setting.rooms)?.min(demand.senders),
        senders: demand.senders,
        in_flight_max: demand.in_flight_max,
        text_bytes: 100,
        rate: None,
        warm_up: LOAD_WARM_UP,
        measure: LOAD_MEASURED,
    };
    let mut notes = Vec::new();
    for (asked, name) in [
        (Asked::Ping, "pings, answered by gateways"),
        (Asked::Read, "reads, answered by rooms from memory"),
    ] {
        load.asked = asked;
        load.prefix = format!("{asked:?}").to_lowercase();
        let (_, note) = put(&load, &cluster).await.context(name)?;
        notes.push(format!("{name}: {note}"));
    }
    load.asked = Asked::Send;
    load.prefix = "top".to_owned();
    let (top, note) = put(&load, &cluster).await?;
    notes.push(format!("sends as fast as they are acknowledged: {note}"));
    load.prefix = "half".to_owned();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate of sends"
    )]
    let half = NonZeroU32::new((top.per_second() / 2.0) as u32);
    load.rate = half;
    let (report, note) = put(&load, &cluster).await?;
    notes.push(format!("at half that rate: {note}"));
    Ok(Measured {
        what: format!(
            "ack of a durable send at {} a second; {} senders with {} in \
             flight, {} rooms, {} nodes, {} gateways",
            half.map_or(0, NonZeroU32::get),
            demand.senders,
            demand.in_flight_max,
            load.rooms,
            demand.nodes,
            demand.gateways,
        ),
        times: report.latency_us,
        unit: "µs",
        notes,
    })
}

/// Puts one load on the cluster and says what it cost.
async fn put(load: &Load, cluster: &Cluster) -> Result<(LoadReport, String)> {
    let before = Spent::until_now(cluster).await?;
    let report = load.run(&cluster.addresses()).await?;
    let spent = Spent::until_now(cluster).await?.since(&before);
    // Of the warm-up, too.
    let whole = (load.warm_up + load.measure).as_secs_f64() / load.measure.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a count of answers")]
    let answers = (report.acked as f64 * whole).max(1.0);
    let each = |time: Duration| time.as_secs_f64() * 1e6 / answers;
    let mut note = format!(
        "{report}; CPU us each: gateways {:.0}, nodes {:.0}",
        each(spent.gateways),
        each(spent.nodes),
    );
    if spent.groups > 0.5 {
        note += &format!(
            "; {:.1} events a group commit, which takes {:.2} ms with its fence read",
            spent.events / spent.groups,
            spent.group_seconds / spent.groups * 1e3
        );
    }
    Ok((report, note))
}

/// What the cluster's processes have used and done.
struct Spent {
    gateways: Duration,
    nodes: Duration,
    groups: f64,
    group_seconds: f64,
    events: f64,
}

impl Spent {
    async fn until_now(cluster: &Cluster) -> Result<Self> {
        let mut gateways = Duration::ZERO;
        for gateway in &cluster.gateways {
            gateways += cpu_time(gateway.server.pid())?;
        }
        let mut nodes = Duration::ZERO;
        for node in &cluster.nodes {
            nodes += cpu_time(node.server.pid())?;
        }
        Ok(Self {
            gateways,
            nodes,
            groups: cluster.sum_over_nodes(GROUPS).await?,
            group_seconds: cluster.sum_over_nodes(GROUP_SECONDS).await?,
            events: cluster.sum_over_nodes(EVENTS).await?,
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            gateways: self.gateways.saturating_sub(before.gateways),
            nodes: self.nodes.saturating_sub(before.nodes),
            groups: self.groups - before.groups,
            group_seconds: self.group_seconds - before.group_seconds,
            events: self.events - before.events,
        }
    }
}
