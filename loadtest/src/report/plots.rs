//! Which plots of latencies and rates a run has, and where their points come from.

use super::{
    Sides,
    axis::Kind,
    chart::{Band, Chart, Line, POINTS_MAX, Stroke},
};
use crate::{
    histogram::Histogram,
    outcome::{Latencies, Outcome, Side, StageOutcome, Tick},
};

/// Points of a percentile curve from one power of ten to the next.
const POINTS_A_NINE: f64 = 20.0;

/// Latencies and rates, second by second.
pub(super) fn over_time(of: &Sides<'_>) -> Vec<Chart> {
    let timeline = Timeline::new(of);
    let chart = |title: &str, y: Kind, lines: Vec<Line>| Chart {
        title: title.to_owned(),
        note: timeline.note(y),
        x: Kind::Seconds,
        y,
        bands: timeline.bands.clone(),
        lines,
    };
    let line =
        |side: (usize, &Side), name: &str, stroke, value: &dyn Fn(&Tick) -> u64, fold| Line {
            name: format!("{} {name}", side.1.name),
            colour: side.0,
            stroke,
            points: timeline.points(side.1, value, fold),
        };
    let sides = || of.each.iter().copied();
    let mut charts = Vec::new();
    let mut add = |title: &str, y: Kind, lines: Vec<Line>| {
        let seen = |(_, value): &(f64, f64)| *value > 0.0;
        if lines.iter().any(|line| line.points.iter().any(seen)) {
            charts.push(chart(title, y, lines));
        }
    };
    type Value = fn(&Tick) -> u64;
    let latencies: [(&str, Value, Value); 2] = [
        (
            "From when a send was due to its acknowledgement",
            |tick| tick.ack_p50_us,
            |tick| tick.ack_p99_us,
        ),
        (
            "From when a send was due to a listener that has it",
            |tick| tick.delivery_p50_us,
            |tick| tick.delivery_p99_us,
        ),
    ];
    for (title, p50, p99) in latencies {
        let lines = sides().flat_map(|side| {
            [
                line(side, "p99", Stroke::Solid, &p99, Fold::Largest),
                line(side, "p50", Stroke::Dashed, &p50, Fold::Largest),
            ]
        });
        add(title, Kind::LogMicros, lines.collect());
    }
    let sends = sides().flat_map(|side| {
        [
            line(
                side,
                "acknowledged",
                Stroke::Solid,
                &|tick| tick.acked,
                Fold::Mean,
            ),
            line(side, "due", Stroke::Dashed, &|tick| tick.due, Fold::Mean),
        ]
    });
    let per_second = Kind::Amount("/s");
    add("Sends due and acknowledged", per_second, sends.collect());
    let one = |name: &str, value: Value, fold: Fold| -> Vec<Line> {
        let line = |side| line(side, name, Stroke::Solid, &value, fold);
        sides().map(line).collect()
    };
    let delivered = one("delivered", |tick| tick.delivered, Fold::Mean);
    add("Events that reached a listener", per_second, delivered);
    let joined = one("joined", |tick| tick.connections, Fold::Mean);
    add("Connections that are joined", Kind::Amount(""), joined);
    charts
}

/// How several seconds become one point.
#[derive(Clone, Copy)]
enum Fold {
    /// Latencies: no bad second is hidden.
    Largest,
    /// Rates and numbers.
    Mean,
}

/// The measured time of all sides on one axis: stage after stage, as long as the slowest side took.
struct Timeline {
    bands: Vec<Band>,
    /// Seconds that are one point.
    fold: usize,
}

impl Timeline {
    fn new(of: &Sides<'_>) -> Self {
        let mut bands = Vec::new();
        let mut from = 0.0;
        let mut ticks = 0;
        for stage in &of.scenario.stages {
            let of_sides = || {
                let sides = of.each.iter();
                sides.filter_map(|(_, side)| find(side, &stage.name))
            };
            let to = from + of_sides().map(|of| of.took_ms).max().map_or(0.0, seconds);
            ticks += of_sides()
                .map(|of| of.ticks.len())
                .max()
                .unwrap_or_default();
            bands.push(Band {
                name: stage.name.clone(),
                from,
                to,
            });
            from = to;
        }
        Self {
            bands,
            fold: ticks.div_ceil(POINTS_MAX).max(1),
        }
    }

    fn note(&self, y: Kind) -> String {
        let of = match y {
            Kind::LogMicros => "highest",
            Kind::Seconds | Kind::Amount(_) | Kind::Percentile => "mean",
        };
        match self.fold {
            1 => String::new(),
            fold => format!("Each point is the {of} of {fold} seconds."),
        }
    }

    /// A side's ticks as points, with a hole after each stage.
    fn points(&self, side: &Side, value: &dyn Fn(&Tick) -> u64, fold: Fold) -> Vec<(f64, f64)> {
        let mut points = Vec::new();
        for band in &self.bands {
            let Some(stage) = find(side, &band.name) else {
                continue;
            };
            for ticks in stage.ticks.chunks(self.fold) {
                let Some(last) = ticks.last() else { continue };
                let at = band.from + seconds(last.at_ms.saturating_sub(stage.began_ms));
                let values = || ticks.iter().map(|tick| float(value(tick)));
                #[expect(clippy::cast_precision_loss, reason = "some ticks")]
                let folded = match fold {
                    Fold::Largest => values().fold(0.0, f64::max),
                    Fold::Mean => values().sum::<f64>() / ticks.len() as f64,
                };
                points.push((at, folded));
            }
            points.push((band.to, f64::NAN));
        }
        points
    }
}

fn find<'a>(side: &'a Side, stage: &str) -> Option<&'a StageOutcome> {
    side.stages.iter().find(|known| known.name == stage)
}

/// What each latency counts, by its name in the outcome.
fn measured_words(name: &str) -> &str {
    match name {
        "ack" => "send to acknowledgement",
        "delivery" => "send to each listener",
        "all" => "send to the last listener",
        "connect" => "connect to welcome",
        "whole" => "cut to all rooms resumed",
        "command" => "other commands to their answers",
        other => other,
    }
}

/// One plot for each stage and each thing that took time in it; all rounds of a side together.
pub(super) fn percentiles(outcome: &Outcome) -> Vec<Chart> {
    let names = outcome.names();
    let mut charts = Vec::new();
    for stage in &outcome.scenario.stages {
        let sides: Vec<(usize, &str, Latencies)> = names
            .iter()
            .enumerate()
            .map(|(colour, name)| (colour, *name, times_of(outcome, name, &stage.name)))
            .collect();
        let kinds = Latencies::default().named().map(|(kind, _)| kind);
        for kind in kinds {
            let lines = sides.iter().filter_map(|(colour, name, times)| {
                let (_, times) = times
                    .named()
                    .into_iter()
                    .find(|(named, _)| *named == kind)?;
                (times.count() > 0).then(|| Line {
                    name: (*name).to_owned(),
                    colour: *colour,
                    stroke: Stroke::Solid,
                    points: curve(times),
                })
            });
            let lines: Vec<Line> = lines.collect();
            if !lines.is_empty() {
                charts.push(Chart {
                    title: format!("{}: {}", stage.name, measured_words(kind)),
                    note: String::new(),
                    x: Kind::Percentile,
                    y: Kind::LogMicros,
                    bands: Vec::new(),
                    lines,
                });
            }
        }
    }
    charts
}

/// How long things took in a stage of a side, in all of its rounds.
fn times_of(outcome: &Outcome, side: &str, stage: &str) -> Latencies {
    let mut times = Latencies::default();
    for stage in outcome.rounds_of(side).filter_map(|side| find(side, stage)) {
        times.merge(&stage.latency);
    }
    times
}

/// Values by percentile, up to the one that a single value is past.
fn curve(times: &Histogram) -> Vec<(f64, f64)> {
    let last = float(times.count()).log10();
    let steps = (1..).map(|step| f64::from(step) / POINTS_A_NINE);
    let nines = std::iter::once(0.0).chain(steps.take_while(|nines| *nines < last));
    let at = |nines: f64| {
        let percent = 100.0 * (1.0 - 10_f64.powf(-nines));
        (nines, float(times.percentile(percent)))
    };
    let mut points: Vec<_> = nines.map(at).collect();
    points.push((last, float(times.max())));
    points
}

pub(super) fn seconds(ms: u64) -> f64 {
    float(ms) / 1_000.0
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and times far below 2^52"
)]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_curve_rises_to_the_largest_value() {
        let mut times = Histogram::default();
        for value in 1..=10_000 {
            times.record(value);
        }
        let points = curve(&times);
        assert!(points.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1));
        let at = |nines: f64| {
            points
                .iter()
                .find(|point| point.0 >= nines - 1e-9)
                .unwrap()
                .1
        };
        assert!((at(1.0) / 9_000.0 - 1.0).abs() < 0.02, "{}", at(1.0));
        assert_eq!(*points.last().unwrap(), (4.0, 10_000.0));
        let mut one = Histogram::default();
        one.record(7);
        assert_eq!(curve(&one), [(0.0, 7.0), (0.0, 7.0)]);
    }
}
