//! What one run tells, or two that differ in their rooms.

use super::{
    CostKind::{
        self, DatabaseCpuPerRow, DatabaseRowsPerSend, GatewayBytesAlone, GatewayBytesPerConnection,
        GatewayCpuPerCommand, GatewayCpuPerConnect, GatewayCpuPerDelivery, GatewayCpuPerIdleSecond,
        GatewayCpuPerSend, NatsCpuPerMessage, NodeBytesAlone, NodeBytesPerConnection,
        NodeBytesPerHotRoom, NodeBytesPerIdleRoom, NodeCpuPerCommand, NodeCpuPerSend,
        WireBytesPerEvent,
    },
    Learned, Source,
};
use crate::{
    outcome::{Outcome, Side, StageOutcome},
    shown::number,
};

/// Deliveries a send from which on a stage tells what a delivery costs.
const FANOUT_MIN: f64 = 100.0;
/// Deliveries a send up to which it tells what a send costs.
const FEW_DELIVERIES_MAX: f64 = 3.0;
/// Times the one thing must happen more often than others.
const MOSTLY: f64 = 20.0;
/// Things that must have happened: fewer are lost in the noise of a clock.
const ENOUGH: f64 = 1_000.0;

/// Connections from which on what each takes is told: what a process grows by anyway, some
/// megabytes, is then a small part of it.
pub(super) const CONNECTIONS_MIN: u32 = 10_000;

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
const fn float(count: u64) -> f64 {
    count as f64
}

pub(super) fn of_side(told: &mut Vec<Learned>, source: &Source<'_>, side: &Side) {
    let mut tell = |kind, value: f64, load: String| {
        if value.is_finite() && value >= 0.0 {
            let cost = source.cost(value, load);
            told.push(Learned { kind, cost });
        }
    };
    if source.run.scenario.people.connections >= CONNECTIONS_MIN
        && let Some(&bytes) = ["gateway", "server"]
            .iter()
            .find_map(|role| side.bytes_per_connection.get(*role))
    {
        let load = source.load("all joined and quiet");
        tell(GatewayBytesPerConnection, bytes, load);
        // One process for everything has no node of its own to tell of.
        if let Some(&bytes) = side.bytes_per_connection.get("node") {
            let load = source.load("all joined and quiet");
            tell(NodeBytesPerConnection, bytes, load);
        }
    }
    for (role, kind) in [("gateway", GatewayBytesAlone), ("node", NodeBytesAlone)] {
        let of_role = side.processes.iter().filter(|process| process.role == role);
        let first = of_role.filter_map(|process| process.samples.first());
        if let Some(bytes) = first.map(|sample| sample.memory_bytes).max() {
            tell(
                kind,
                float(bytes),
                source.load("before the first connection"),
            );
        }
    }
    for stage in &side.stages {
        of_stage(source, stage, &mut tell);
    }
}

fn of_stage(
    source: &Source<'_>,
    stage: &StageOutcome,
    tell: &mut dyn FnMut(CostKind, f64, String),
) {
    let counts = &stage.counts;
    let (acked, delivered) = (float(counts.acked), float(counts.delivered));
    let (answered, connected) = (float(counts.answered), float(counts.connected));
    let load = || source.load(&stage.name);
    let cpu = |role: &str| stage.cpu_us.get(role).map(|us| float(*us));
    // A single process is both: what it does for connections stands out only where little is sent.
    let gateway = cpu("gateway").or_else(|| cpu("server"));
    let quiet = acked == 0.0 && answered == 0.0 && delivered == 0.0 && connected == 0.0;
    let sends = acked >= ENOUGH && acked >= MOSTLY * (answered + connected);
    if delivered >= ENOUGH && delivered >= FANOUT_MIN * (acked + answered + connected) {
        if let Some(cpu) = gateway {
            tell(GatewayCpuPerDelivery, cpu / delivered, load());
        }
        // JSON is longer; the plan counts protobuf.
        if source.run.scenario.people.json == 0.0 {
            let text = f64::from(source.run.scenario.people.text_bytes);
            let bytes = float(counts.bytes_in) / delivered - text;
            tell(WireBytesPerEvent, bytes, load());
        }
    }
    if sends && delivered <= FEW_DELIVERIES_MAX * acked {
        for (role, kind) in [("gateway", GatewayCpuPerSend), ("node", NodeCpuPerSend)] {
            if let Some(cpu) = cpu(role) {
                tell(kind, cpu / acked, load());
            }
        }
    }
    if answered >= ENOUGH && answered >= MOSTLY * (acked + connected + delivered) {
        for (role, kind) in [
            ("gateway", GatewayCpuPerCommand),
            ("node", NodeCpuPerCommand),
        ] {
            if let Some(cpu) = cpu(role) {
                tell(kind, cpu / answered, load());
            }
        }
    }
    if connected >= ENOUGH
        && let Some(cpu) = gateway
    {
        tell(GatewayCpuPerConnect, cpu / connected, load());
    }
    let held = stage.ticks.last().map_or(0, |tick| tick.connections);
    if quiet
        && float(held) >= ENOUGH
        && let Some(cpu) = gateway
    {
        let seconds = float(stage.took_ms) / 1_000.0;
        tell(GatewayCpuPerIdleSecond, cpu / float(held) / seconds, load());
    }
    let rows = counter(stage, "rookery_persistence_rows_total");
    // The embedded store writes fewer rows for the same send.
    if sends
        && cpu("node").is_some()
        && let Some(rows) = rows
    {
        tell(DatabaseRowsPerSend, rows / acked, load());
    }
    if let (Some(cpu), Some(rows)) = (cpu("database"), rows)
        && rows >= ENOUGH
    {
        tell(DatabaseCpuPerRow, cpu / rows, load());
    }
    let batches = counter(stage, "rookery_cluster_link_batches_total");
    if let (Some(cpu), Some(batches)) = (cpu("nats"), batches)
        && batches >= ENOUGH
    {
        tell(NatsCpuPerMessage, cpu / batches, load());
    }
}

/// A metric, its labels added up.
fn counter(stage: &StageOutcome, name: &str) -> Option<f64> {
    let counters = stage.server_counters.iter();
    let of_name = counters.filter(|(key, _)| key.split('{').next() == Some(name));
    of_name
        .map(|(_, value)| *value)
        .reduce(|sum, value| sum + value)
}

/// Two runs that differ in the number of rooms alone tell what a room takes.
pub(super) fn of_rooms(
    told: &mut Vec<Learned>,
    source: &Source<'_>,
    one: &Side,
    other: &Outcome,
    another: &Side,
) {
    let run = source.run;
    let mut same = other.scenario.clone();
    same.people.rooms = run.scenario.people.rooms;
    same.name.clone_from(&run.scenario.name);
    if same != run.scenario || run.machine.processor != other.machine.processor {
        return;
    }
    let more = f64::from(other.scenario.people.rooms) - f64::from(run.scenario.people.rooms);
    if more.abs() < ENOUGH {
        return;
    }
    for stage in &one.stages {
        let Some(twin) = another.stages.iter().find(|twin| twin.name == stage.name) else {
            continue;
        };
        let memory = |of: &StageOutcome| {
            let bytes = of
                .memory_bytes
                .get("node")
                .or_else(|| of.memory_bytes.get("server"));
            bytes.map(|bytes| float(*bytes))
        };
        let (Some(before), Some(after)) = (memory(stage), memory(twin)) else {
            continue;
        };
        let most_rooms = f64::from(run.scenario.people.rooms.max(other.scenario.people.rooms));
        let sent = float(stage.counts.acked.min(twin.counts.acked));
        let kind = match sent {
            0.0 => NodeBytesPerIdleRoom,
            sent if sent >= most_rooms => NodeBytesPerHotRoom,
            _ => continue,
        };
        let value = (after - before) / more;
        if value > 0.0 {
            let rooms = number(f64::from(other.scenario.people.rooms));
            let load = format!("{}, and with {rooms} rooms", source.load(&stage.name));
            let cost = source.cost(value, load);
            told.push(Learned { kind, cost });
        }
    }
}
