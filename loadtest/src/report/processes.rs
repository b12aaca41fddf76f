//! Plots of the processes: cores and memory of each, on its side's own clock.

use std::collections::BTreeMap;

use super::{
    COLOURS, Sides,
    axis::Kind,
    chart::{Band, Chart, Line, POINTS_MAX, Stroke},
    plots::{float, seconds},
};
use crate::outcome::{ProcessSeries, Sample};

/// Processor time is shown as the mean of at least this.
const CPU_MEAN_MS: u64 = 1_000;

/// Processor time and memory of each side's processes, on the side's own clock.
pub(super) fn plots(of: &Sides<'_>) -> Vec<Chart> {
    let mut colours: Vec<String> = Vec::new();
    let mut charts = Vec::new();
    for (_, side) in &of.each {
        let ends = side
            .processes
            .iter()
            .filter_map(|of| Some(of.samples.last()?.at_ms));
        let Some(end) = ends.max().filter(|end| *end > 0) else {
            continue;
        };
        let step = CPU_MEAN_MS.max(end.div_ceil(POINTS_MAX as u64));
        let bands: Vec<Band> = side
            .stages
            .iter()
            .map(|stage| Band {
                name: stage.name.clone(),
                from: seconds(stage.began_ms),
                to: seconds(stage.began_ms + stage.took_ms),
            })
            .collect();
        let groups = groups(&side.processes);
        for (name, _) in &groups {
            if !colours.contains(name) {
                colours.push(name.clone());
            }
        }
        let lines = |each: &dyn Fn(&ProcessSeries) -> Vec<(f64, f64)>| -> Vec<Line> {
            let line = |(name, of): &(String, Vec<&ProcessSeries>)| Line {
                name: name.clone(),
                colour: colours
                    .iter()
                    .position(|known| known == name)
                    .unwrap_or_default(),
                stroke: Stroke::Solid,
                points: sum(of.iter().map(|process| each(process))),
            };
            groups.iter().map(line).collect()
        };
        let cpu = lines(&|process| busy(process, step, end));
        let memory = lines(&|process| resident(process, step, end));
        let per = seconds(step);
        for (title, unit, lines, note) in [
            (
                "busy processor cores",
                "cores",
                cpu,
                format!("Means of {per} s."),
            ),
            ("resident memory", "bytes", memory, String::new()),
        ] {
            charts.push(Chart {
                title: format!("{}: {title}", side.name),
                note,
                x: Kind::Seconds,
                y: Kind::Amount(unit),
                bands: bands.clone(),
                lines,
            });
        }
    }
    charts
}

/// Each process with a name for a reader: its role, numbered where there are several; the load's
/// own come last. More than there are colours are added up by role.
fn groups(processes: &[ProcessSeries]) -> Vec<(String, Vec<&ProcessSeries>)> {
    let mut by_role: BTreeMap<(bool, &str), Vec<&ProcessSeries>> = BTreeMap::new();
    for process in processes {
        let role = (process.role == "load", &*process.role);
        by_role.entry(role).or_default().push(process);
    }
    let each = processes.len() <= COLOURS;
    let mut groups = Vec::new();
    for ((_, role), of) in by_role {
        match of.len() {
            1 => groups.push((role.to_owned(), of)),
            count if !each => groups.push((format!("{role}, {count} together"), of)),
            _ => {
                let numbered = of.into_iter().enumerate();
                groups.extend(
                    numbered.map(|(n, process)| (format!("{role} {}", n + 1), vec![process])),
                );
            }
        }
    }
    groups
}

/// The last sample in each step of time; `None`: there is none.
fn steps(process: &ProcessSeries, step: u64, end: u64) -> Vec<(f64, Option<Sample>)> {
    let mut samples = process.samples.iter().peekable();
    let mut steps = Vec::new();
    let mut until = 0;
    loop {
        let mut last = None;
        while let Some(sample) = samples.next_if(|sample| sample.at_ms <= until) {
            last = Some(*sample);
        }
        steps.push((seconds(until), last));
        if until >= end {
            return steps;
        }
        until += step;
    }
}

/// Cores that were busy, from each step to the next.
fn busy(process: &ProcessSeries, step: u64, end: u64) -> Vec<(f64, f64)> {
    let steps = steps(process, step, end);
    let mut before: Option<Sample> = None;
    let busy = steps.into_iter().map(|(at, sample)| {
        let cores = match (before, sample) {
            (Some(one), Some(other)) if other.at_ms > one.at_ms => {
                let cpu_ms = float(other.cpu_us.saturating_sub(one.cpu_us)) / 1_000.0;
                cpu_ms / float(other.at_ms - one.at_ms)
            }
            _ => f64::NAN,
        };
        before = sample.or(before);
        (at, cores)
    });
    busy.collect()
}

fn resident(process: &ProcessSeries, step: u64, end: u64) -> Vec<(f64, f64)> {
    let steps = steps(process, step, end).into_iter();
    let bytes = |sample: Option<Sample>| sample.map_or(f64::NAN, |of| float(of.memory_bytes));
    steps.map(|(at, sample)| (at, bytes(sample))).collect()
}

/// Adds lines of the same steps up; what has no value at a step does not count there.
fn sum(lines: impl Iterator<Item = Vec<(f64, f64)>>) -> Vec<(f64, f64)> {
    let mut total: Vec<(f64, f64)> = Vec::new();
    for line in lines {
        if total.is_empty() {
            total = line;
            continue;
        }
        for ((_, total), (_, value)) in total.iter_mut().zip(line) {
            *total = match (total.is_nan(), value.is_nan()) {
                (_, true) => *total,
                (true, false) => value,
                (false, false) => *total + value,
            };
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(role: &str, samples: &[(u64, u64, u64)]) -> ProcessSeries {
        let sample = |&(at_ms, cpu_us, memory_bytes): &(u64, u64, u64)| Sample {
            at_ms,
            cpu_us,
            memory_bytes,
        };
        ProcessSeries {
            role: role.to_owned(),
            pid: 1,
            samples: samples.iter().map(sample).collect(),
        }
    }

    #[test]
    fn busy_cores_are_cpu_by_wall_time_and_nothing_before_a_process_began() {
        let late = process(
            "node",
            &[(2_000, 500, 1), (3_000, 250_500, 2), (4_000, 2_250_500, 3)],
        );
        let busy: Vec<_> = busy(&late, 1_000, 4_000)
            .into_iter()
            .map(|(_, v)| v)
            .collect();
        assert!(busy[..3].iter().all(|value| value.is_nan()), "{busy:?}");
        assert_eq!(busy[3..], [0.25, 2.0]);
        let early = process("node", &[(0, 0, 10), (1_000, 0, 10), (3_000, 0, 10)]);
        let both = [&early, &late].map(|of| resident(of, 1_000, 4_000));
        let total: Vec<_> = sum(both.into_iter()).into_iter().map(|(_, v)| v).collect();
        assert_eq!(total, [10.0, 10.0, 1.0, 12.0, 3.0]);
    }

    #[test]
    fn processes_are_numbered_by_role_and_added_up_when_they_are_many() {
        let of = |roles: &[&str]| -> Vec<String> {
            let processes: Vec<_> = roles.iter().map(|role| process(role, &[])).collect();
            groups(&processes)
                .into_iter()
                .map(|(name, _)| name)
                .collect()
        };
        assert_eq!(
            of(&["server", "load", "load"]),
            ["server", "load 1", "load 2"]
        );
        let many = ["node", "node", "load", "load", "load", "load", "nats"];
        assert_eq!(of(&many), ["nats", "node, 2 together", "load, 4 together"]);
    }
}
