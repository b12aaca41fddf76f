//! What runs tell, what they do not, and which of several counts.

use std::collections::BTreeMap;

use super::{
    CostKind::{
        DatabaseCpuPerRow, DatabaseRowsPerSend, GatewayBytesPerConnection, GatewayCpuPerConnect,
        GatewayCpuPerDelivery, GatewayCpuPerIdleSecond, GatewayCpuPerSend, NatsCpuPerMessage,
        NodeBytesAlone, NodeBytesPerConnection, NodeBytesPerHotRoom, NodeBytesPerIdleRoom,
        NodeCpuPerSend, WireBytesPerEvent,
    },
    told::CONNECTIONS_MIN,
    *,
};
use crate::outcome::{ProcessSeries, Sample, Side, synthetic::outcome};

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
fn runs_that_tell_nothing_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("costs.toml");
    let mut run = many();
    run.sides.clear();
    assert_eq!(
        into_file(&[("run.json".to_owned(), run)], &path).unwrap(),
        []
    );
    assert!(!path.exists());
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
