//! Costs out of runs: which stages tell what, and only those.
//!
//! A cost is taken from a stage in which little else happened, so that the division is honest;
//! what else did happen is counted into it, so it is rather too high than too low. Of several
//! stages and runs the highest counts; of several rounds of a run their median.

use std::path::Path;

use super::costs::{
    Cost,
    CostKind::{
        self, DatabaseCpuPerRow, DatabaseRowsPerSend, GatewayBytesAlone, GatewayBytesPerConnection,
        GatewayCpuPerCommand, GatewayCpuPerConnect, GatewayCpuPerDelivery, GatewayCpuPerIdleSecond,
        GatewayCpuPerSend, NatsCpuPerMessage, NodeBytesAlone, NodeBytesPerConnection,
        NodeBytesPerHotRoom, NodeBytesPerIdleRoom, NodeCpuPerCommand, NodeCpuPerSend,
        WireBytesPerEvent,
    },
    Costs, CostsError,
};
use crate::{
    outcome::{Outcome, Side, Spread, StageOutcome},
    shown::{number, utc},
};

/// The side that is Rookery; others are what it is held against.
const SIDE: &str = "rookery";
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
const CONNECTIONS_MIN: u32 = 10_000;

/// A cost that a run tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// Of what.
    pub kind: CostKind,
    /// How much, and from where.
    pub cost: Cost,
}

/// What these runs tell: at most one cost of each kind. The names are of their files.
#[must_use]
pub fn learn(runs: &[(String, Outcome)]) -> Vec<Learned> {
    let mut told = Vec::new();
    for (name, run) in runs {
        let mut of_rounds = Vec::new();
        for side in run.rounds_of(SIDE) {
            of_side(&mut of_rounds, &Source { name, run }, side);
        }
        told.extend(medians(of_rounds));
    }
    for (index, (name, run)) in runs.iter().enumerate() {
        for (_, other) in &runs[index + 1..] {
            let mut of_rounds = Vec::new();
            for (one, another) in run.rounds_of(SIDE).zip(other.rounds_of(SIDE)) {
                of_rooms(&mut of_rounds, &Source { name, run }, one, other, another);
            }
            told.extend(medians(of_rounds));
        }
    }
    let mut learned: Vec<Learned> = Vec::new();
    for one in told {
        match learned.iter_mut().find(|known| known.kind == one.kind) {
            Some(known) if known.cost.value < one.cost.value => *known = one,
            Some(_) => (),
            None => learned.push(one),
        }
    }
    learned.sort_by_key(|one| one.kind);
    learned
}

/// What the rounds of a run tell of the same load, as one.
fn medians(told: Vec<Learned>) -> Vec<Learned> {
    let mut medians: Vec<Learned> = Vec::new();
    for one in &told {
        let same = |other: &&Learned| other.kind == one.kind && other.cost.load == one.cost.load;
        if medians.iter().any(|known| same(&known)) {
            continue;
        }
        let values = told.iter().filter(same).map(|of| of.cost.value);
        let median = Spread::of(values.collect()).map_or(one.cost.value, |of| of.median);
        medians.push(Learned {
            kind: one.kind,
            cost: Cost {
                value: median,
                ..one.cost.clone()
            },
        });
    }
    medians
}

/// Puts what these runs tell into a file of costs, made if there is none; costs they do not tell
/// stay as they are. Tells what was learned.
///
/// # Errors
/// The file is there and cannot be read, or it cannot be written.
pub fn into_file(runs: &[(String, Outcome)], path: &Path) -> Result<Vec<Learned>, CostsError> {
    let mut costs = if path.exists() {
        Costs::read(path)?
    } else {
        Costs::default()
    };
    let learned = learn(runs);
    for one in &learned {
        costs.set(one.kind, one.cost.clone());
    }
    costs.write(path)?;
    Ok(learned)
}

/// The run that tells.
struct Source<'a> {
    name: &'a str,
    run: &'a Outcome,
}

impl Source<'_> {
    fn cost(&self, value: f64, load: String) -> Cost {
        let machine = &self.run.machine;
        let began = utc(self.run.began_unix_ms);
        let day = began.split(' ').next().unwrap_or_default();
        Cost {
            value,
            from: self.name.to_owned(),
            date: day.to_owned(),
            machine: format!("{}, {} cores", machine.processor, machine.cores),
            load,
        }
    }

    fn load(&self, stage: &str) -> String {
        let people = &self.run.scenario.people;
        format!(
            "{}, {stage}: {} connections, {} rooms, {} bytes of text",
            self.run.scenario.name, people.connections, people.rooms, people.text_bytes
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
const fn float(count: u64) -> f64 {
    count as f64
}

fn of_side(told: &mut Vec<Learned>, source: &Source<'_>, side: &Side) {
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
fn of_rooms(
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::outcome::{ProcessSeries, Sample, synthetic::outcome};

    fn many() -> Outcome {
        let mut run = outcome();
        run.scenario.people.connections = CONNECTIONS_MIN;
        run
    }

    fn learned(change: impl FnOnce(&mut Side)) -> BTreeMap<CostKind, f64> {
        let mut run = many();
        run.sides[0].bytes_per_connection.clear();
        for stage in &mut run.sides[0].stages {
            stage.counts = crate::outcome::Counts::default();
            stage.server_counters.clear();
            stage.ticks.clear();
        }
        change(&mut run.sides[0]);
        let told = learn(&[("run.json".to_owned(), run)]).into_iter();
        told.map(|one| (one.kind, one.cost.value)).collect()
    }

    #[test]
    fn a_fan_out_tells_what_a_delivery_costs_and_the_highest_counts() {
        let costs = learned(|side| {
            for (index, stage) in side.stages.iter_mut().enumerate() {
                stage.counts.acked = 100;
                stage.counts.delivered = 100_000;
                stage.counts.bytes_in = 100_000 * 120;
                stage
                    .cpu_us
                    .insert("server".to_owned(), [150_000, 270_000, 20_000][index]);
            }
        });
        let expected = [(GatewayCpuPerDelivery, 2.7), (WireBytesPerEvent, 56.0)];
        assert_eq!(costs, BTreeMap::from(expected));
    }

    #[test]
    fn sends_of_a_cluster_tell_what_each_part_pays_for_them() {
        let costs = learned(|side| {
            let stage = &mut side.stages[0];
            stage.counts.acked = 10_000;
            stage.counts.delivered = 15_000;
            stage.cpu_us = ["gateway", "node", "nats", "database", "load"]
                .into_iter()
                .zip([80_000, 130_000, 30_000, 900_000, 1])
                .map(|(role, us)| (role.to_owned(), us))
                .collect();
            stage.server_counters = BTreeMap::from([
                (
                    "rookery_persistence_rows_total{table=\"room_log\"}".to_owned(),
                    10_000.0,
                ),
                (
                    "rookery_persistence_rows_total{table=\"rooms\"}".to_owned(),
                    30_000.0,
                ),
                ("rookery_persistence_rows_totally_else".to_owned(), 1.0),
                ("rookery_cluster_link_batches_total".to_owned(), 6_000.0),
            ]);
            side.processes = vec![ProcessSeries {
                role: "node".to_owned(),
                pid: 1,
                samples: vec![Sample {
                    at_ms: 0,
                    cpu_us: 0,
                    memory_bytes: 9_000,
                }],
            }];
        });
        let expected = [
            (GatewayCpuPerSend, 8.0),
            (NodeCpuPerSend, 13.0),
            (NodeBytesAlone, 9_000.0),
            (NatsCpuPerMessage, 5.0),
            (DatabaseRowsPerSend, 4.0),
            (DatabaseCpuPerRow, 22.5),
        ];
        assert_eq!(costs, BTreeMap::from(expected));
    }

    #[test]
    fn held_and_opened_connections_tell_their_own_costs() {
        let costs = learned(|side| {
            side.bytes_per_connection = BTreeMap::from([
                ("gateway".to_owned(), 1_565.0),
                ("node".to_owned(), 2_191.0),
            ]);
            let tick = crate::outcome::Tick {
                connections: 10_000,
                ..crate::outcome::Tick::default()
            };
            let held = &mut side.stages[0];
            held.ticks = vec![tick];
            held.took_ms = 20_000;
            held.cpu_us.insert("server".to_owned(), 400_000);
            let storm = &mut side.stages[1];
            storm.counts.connected = 10_000;
            storm.cpu_us.insert("server".to_owned(), 900_000);
        });
        let expected = [
            (GatewayBytesPerConnection, 1_565.0),
            (NodeBytesPerConnection, 2_191.0),
            (GatewayCpuPerIdleSecond, 2.0),
            (GatewayCpuPerConnect, 90.0),
        ];
        assert_eq!(costs, BTreeMap::from(expected));
    }

    #[test]
    fn a_stage_in_which_much_happened_tells_no_cost() {
        let costs = learned(|side| {
            let stage = &mut side.stages[0];
            stage.counts.acked = 10_000;
            stage.counts.answered = 10_000;
            stage.counts.delivered = 200_000;
        });
        assert_eq!(costs, BTreeMap::new());
        let (few, many) = (
            ("few.json".to_owned(), outcome()),
            ("many.json".to_owned(), many()),
        );
        let bytes = |runs: &[(String, Outcome)]| {
            let told = learn(runs).into_iter();
            told.filter(|one| one.kind == GatewayBytesPerConnection)
                .count()
        };
        assert_eq!((bytes(&[few]), bytes(&[many])), (0, 1));
        // Sends of an embedded server are no sends of a cluster.
        let costs = learned(|side| {
            let stage = &mut side.stages[0];
            stage.counts.acked = 10_000;
            let rows = "rookery_persistence_rows_total".to_owned();
            stage.server_counters.insert(rows, 20_000.0);
        });
        assert_eq!(costs, BTreeMap::new());
    }

    #[test]
    fn two_runs_that_differ_in_rooms_alone_tell_what_a_room_takes() {
        let run = |rooms: u32, bytes: u64| {
            let mut run = outcome();
            run.scenario.people.rooms = rooms;
            let side = &mut run.sides[0];
            for stage in &mut side.stages {
                stage.memory_bytes.insert("server".to_owned(), bytes);
                stage.counts.acked = 0;
            }
            side.stages[1].counts.acked = 1_000_000;
            (format!("{rooms}.json"), run)
        };
        let told = learn(&[run(1_000, 40_000_000), run(11_000, 80_000_000)]);
        for kind in [NodeBytesPerIdleRoom, NodeBytesPerHotRoom] {
            let one = told.iter().find(|one| one.kind == kind).unwrap();
            assert!((one.cost.value - 4_000.0).abs() < 1e-9, "{one:?}");
            assert!(one.cost.load.contains("11,000"), "{one:?}");
        }
        // Another load beside: nothing.
        let mut other = run(11_000, 80_000_000);
        other.1.scenario.people.connections = 5;
        let told = learn(&[run(1_000, 40_000_000), other]);
        assert!(told.iter().all(|one| one.kind != NodeBytesPerIdleRoom));
    }

    #[test]
    fn rounds_of_a_run_tell_their_median_and_several_runs_the_highest() {
        let run = |slow: &[f64]| {
            let mut run = crate::outcome::synthetic::rounds(slow);
            run.scenario.people.connections = CONNECTIONS_MIN;
            run
        };
        let bytes = |runs: &[(String, Outcome)]| {
            let told = learn(runs);
            let of = told
                .iter()
                .filter(|one| one.kind == GatewayBytesPerConnection);
            of.map(|one| (one.cost.value, one.cost.from.clone()))
                .collect::<Vec<_>>()
        };
        let near = ("near.json".to_owned(), run(&[1.0, 9.0, 2.0]));
        assert_eq!(
            bytes(std::slice::from_ref(&near)),
            [(1_565.0 * 2.0, "near.json".to_owned())]
        );
        let far = ("far.json".to_owned(), run(&[3.0]));
        assert_eq!(
            bytes(&[near, far]),
            [(1_565.0 * 3.0, "far.json".to_owned())]
        );
    }

    #[test]
    fn a_file_keeps_the_costs_that_a_run_does_not_tell() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("costs.toml");
        let mut before = Costs::default();
        let own = Source {
            name: "own.json",
            run: &outcome(),
        };
        before.set(NodeCpuPerSend, own.cost(13.0, "own".to_owned()));
        before.set(
            GatewayBytesPerConnection,
            own.cost(9_999.0, "own".to_owned()),
        );
        before.write(&path).unwrap();
        let learned = into_file(&[("new.json".to_owned(), many())], &path).unwrap();
        assert!(
            learned
                .iter()
                .any(|one| one.kind == GatewayBytesPerConnection)
        );
        let costs = Costs::read(&path).unwrap();
        assert_eq!(costs.get(NodeCpuPerSend).unwrap().from, "own.json");
        let replaced = costs.get(GatewayBytesPerConnection).unwrap();
        assert_eq!((replaced.value, &*replaced.from), (1_565.0, "new.json"));
        assert_eq!(replaced.date, "2026-11-21");
    }
}
