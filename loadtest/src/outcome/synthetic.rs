//! Outcomes for tests of what reads them: made up, but whole, and the same each time.

use std::collections::BTreeMap;

use super::{
    Counts, FORMAT, Judged, Latencies, Machine, Outcome, ProcessSeries, Sample, Side, StageOutcome,
    Tick,
};
use crate::{histogram::Histogram, scenario::Scenario};

/// The same in several rounds, each slower by its number than the first would be.
pub(crate) fn rounds(slow: &[f64]) -> Outcome {
    let mut outcome = outcome();
    outcome.sides.clear();
    for (round, slow) in (1..).zip(slow) {
        for (name, of_side) in [("rookery", 1.0), ("floor", 0.8)] {
            outcome.sides.push(Side {
                round,
                ..side(name, name, &outcome.scenario, of_side * slow)
            });
        }
    }
    outcome
}

/// A run of `fanout` with two sides.
pub(crate) fn outcome() -> Outcome {
    let scenario = Scenario::load("fanout", &[]).expect("built in");
    Outcome {
        format: FORMAT,
        tool: "0.1.0".to_owned(),
        began_unix_ms: 1_795_253_400_000,
        machine: Machine {
            processor: "Example CPU <2.5 GHz> & more".to_owned(),
            cores: 2,
            memory_bytes: 8 << 30,
            kernel: "Linux 6.12".to_owned(),
            open_files_max: 20_000,
            load_average: "0.42".to_owned(),
        },
        sides: vec![
            side("rookery", "rookery serve --dev", &scenario, 1.0),
            side("floor", "rookery-loadtest floor", &scenario, 0.8),
        ],
        bounds: vec![
            Judged {
                bound: "50-a-second/lost of rookery at most 0".to_owned(),
                measured: Some(0.0),
                spread: None,
                holds: true,
                not_checked: None,
            },
            Judged {
                bound: "50-a-second/cpu_us_per_delivery of rookery at most 1.2 × floor".to_owned(),
                measured: Some(1.25),
                spread: Some([1.22, 1.31]),
                holds: false,
                not_checked: None,
            },
            Judged {
                bound: "held/memory of rookery at most 2 KiB".to_owned(),
                measured: None,
                spread: None,
                holds: false,
                not_checked: None,
            },
            Judged {
                bound: "200-a-second/cpu_us_per_delivery of rookery at most 1.1 × peer".to_owned(),
                measured: None,
                spread: None,
                holds: false,
                not_checked: Some("the side peer was not run".to_owned()),
            },
        ],
        scenario,
        ended_early: None,
    }
}

fn side(name: &str, server: &str, scenario: &Scenario, slow: f64) -> Side {
    let listeners = u64::from(scenario.people.connections);
    let mut at_ms = 1_500;
    let mut stages = Vec::new();
    for (index, (stage, rate)) in scenario.stages.iter().zip([50, 200, 900]).enumerate() {
        at_ms += u64::from(stage.warm_up_seconds) * 1_000;
        let seconds = u64::from(stage.seconds);
        let sends = rate * seconds;
        let times = latencies(sends, slow * [1.0, 1.3, 9.0][index]);
        let ticks = (1..=seconds).map(|second| {
            let wave = 1.0 + 0.2 * ((second * 7 % 5) as f64);
            Tick {
                at_ms: at_ms + second * 1_000,
                connections: listeners,
                due: rate,
                acked: rate - second % 2,
                delivered: (rate - second % 2) * listeners,
                ack_p50_us: (times.ack.percentile(50.0) as f64 * wave) as u64,
                ack_p99_us: (times.ack.percentile(99.0) as f64 * wave) as u64,
                delivery_p50_us: (times.delivery.percentile(50.0) as f64 * wave) as u64,
                delivery_p99_us: (times.delivery.percentile(99.0) as f64 * wave) as u64,
            }
        });
        let cpu_us = (sends as f64 * listeners as f64 * slow * 0.8) as u64;
        stages.push(StageOutcome {
            name: stage.name.clone(),
            began_ms: at_ms,
            took_ms: seconds * 1_000,
            counts: Counts {
                due: sends,
                acked: sends,
                delivered: sends * listeners,
                bytes_in: sends * listeners * 120,
                ..Counts::default()
            },
            ticks: ticks.collect(),
            latency: times,
            cpu_us: roles(cpu_us, cpu_us * 2),
            memory_bytes: roles(30_000_000, 12_000_000),
            server_counters: BTreeMap::from([(
                "rookery_persistence_rows_total{table=\"room_log\"}".to_owned(),
                sends as f64 * 4.0,
            )]),
        });
        at_ms += seconds * 1_000;
    }
    let processes = [("server", 101, 1.0), ("load", 102, 2.0)].map(|(role, pid, busy)| {
        let samples = (0..=at_ms / 250).map(|step| Sample {
            at_ms: step * 250,
            cpu_us: (step as f64 * 60_000.0 * slow * busy) as u64,
            memory_bytes: 20_000_000 + (step as f64).sqrt() as u64 * 1_000_000,
        });
        ProcessSeries {
            role: role.to_owned(),
            pid,
            samples: samples.collect(),
        }
    });
    Side {
        name: name.to_owned(),
        round: 1,
        server: server.to_owned(),
        connect_s: 1.4 * slow,
        stages,
        processes: processes.into(),
        bytes_per_connection: BTreeMap::from([("server".to_owned(), 1_565.0 * slow)]),
        kernel_bytes_per_connection: None,
        bytes_per_room: BTreeMap::new(),
    }
}

fn roles(server: u64, load: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([("server".to_owned(), server), ("load".to_owned(), load)])
}

/// A long tail, as latencies have it.
fn latencies(sends: u64, slow: f64) -> Latencies {
    let tail = |from: f64| {
        let mut times = Histogram::default();
        for n in 0..sends {
            let rank = (n as f64 + 0.5) / sends as f64;
            times.record((from * slow * (1.0 - rank).powf(-0.6)) as u64);
        }
        times
    };
    Latencies {
        ack: tail(300.0),
        delivery: tail(700.0),
        all: tail(1_900.0),
        ..Latencies::default()
    }
}
