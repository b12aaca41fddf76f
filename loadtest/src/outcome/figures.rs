//! The figures of a side: what bounds, `compare` and `plan` speak of.

use std::collections::BTreeMap;

use super::{LOAD, Side, StageOutcome};
use crate::{histogram::Histogram, shown::quantity};

/// A measured number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The number. Of several rounds their median; of a count of what should not happen the
    /// highest, so that no round hides another's loss.
    pub value: f64,
    /// The least of the rounds.
    pub least: f64,
    /// The most of the rounds.
    pub most: f64,
    /// `µs`, `bytes`, `/s`, `s` or empty for counts.
    pub unit: &'static str,
    /// Which direction is good.
    pub better: Better,
    /// Whether enough was counted that two runs of the same can be held against each other: at
    /// least ten values lie past a percentile; never a maximum.
    pub steady: bool,
}

/// Which direction of a figure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less of it.
    Less,
    /// More of it.
    More,
}

impl Figure {
    pub(super) const fn of_one(value: f64, unit: &'static str, better: Better) -> Self {
        Self {
            value,
            least: value,
            most: value,
            unit,
            better,
            steady: true,
        }
    }

    /// The number with its unit.
    #[must_use]
    pub fn shown(&self) -> String {
        quantity(self.value, self.unit)
    }

    /// From the least to the most of the rounds: `4.5–5.1 µs`; `None`: they are the same, or there
    /// was one round.
    #[must_use]
    pub fn spread(&self) -> Option<String> {
        let from = quantity(self.least, self.unit);
        let to = quantity(self.most, self.unit);
        if from == to {
            return None;
        }
        let unit = |text: &str| text.rsplit_once(' ').map(|(_, unit)| unit.to_owned());
        let from = match (from.rsplit_once(' '), unit(&to)) {
            (Some((number, unit)), Some(same)) if unit == same => number.to_owned(),
            _ => from,
        };
        Some(format!("{from}–{to}"))
    }
}

impl Side {
    /// The side's figures, named `STAGE/FIGURE` (and `connect/…` for what is of no stage):
    /// what bounds, `compare` and `plan` speak of. Absent where nothing of the kind happened.
    #[must_use]
    pub fn figures(&self) -> BTreeMap<String, Figure> {
        let mut figures = BTreeMap::new();
        let mut put = |name: String, value: f64, unit, better| {
            figures.insert(name, Figure::of_one(value, unit, better));
        };
        // 0: it ended before all were joined.
        if self.connect_s > 0.0 {
            let name = "connect/seconds".to_owned();
            put(name, self.connect_s, "s", Better::Less);
        }
        let name = "connect/bytes_per_connection";
        let roles = &self.bytes_per_connection;
        let servers = roles.iter().filter(|(role, _)| *role != LOAD);
        let sum = servers
            .map(|(_, bytes)| *bytes)
            .reduce(|sum, more| sum + more);
        if let Some(sum) = sum {
            put(name.to_owned(), sum, "bytes", Better::Less);
        }
        for (role, bytes) in roles.iter().filter(|_| roles.len() > 1) {
            put(format!("{name}_{role}"), *bytes, "bytes", Better::Less);
        }
        for (name, bytes) in &self.bytes_per_room {
            put(name.clone(), *bytes, "bytes", Better::Less);
        }
        for stage in &self.stages {
            stage.figures(&mut |name, value, unit, better| {
                put(format!("{}/{name}", stage.name), value, unit, better);
            });
        }
        // Whatever else the machine does is in it.
        let kernel = self.kernel_bytes_per_connection.map(|bytes| Figure {
            steady: false,
            ..Figure::of_one(bytes, "bytes", Better::Less)
        });
        figures.extend(kernel.map(|figure| (format!("{name}_kernel"), figure)));
        for stage in &self.stages {
            for (name, times) in stage.latency.named() {
                for (part, figure) in times_figures(times) {
                    figures.insert(format!("{}/{name}_{part}_us", stage.name), figure);
                }
            }
        }
        figures
    }
}

/// The percentiles that are figures.
const PERCENTILES: [(&str, f64); 3] = [("p50", 50.0), ("p99", 99.0), ("p999", 99.9)];
/// Values past a percentile from which on it is steady.
const PAST_MIN: f64 = 10.0;

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn times_figures(times: &Histogram) -> Vec<(&'static str, Figure)> {
    if times.count() == 0 {
        return Vec::new();
    }
    let figure = |value: u64, steady| Figure {
        steady,
        ..Figure::of_one(value as f64, "µs", Better::Less)
    };
    let percentile = |(part, percent): (&'static str, f64)| {
        let past = times.count() as f64 * (100.0 - percent) / 100.0;
        // Rounded: 0.1 % of 10,000 is no round number of a float.
        let steady = past.round() >= PAST_MIN;
        (part, figure(times.percentile(percent), steady))
    };
    let mut figures: Vec<_> = PERCENTILES.into_iter().map(percentile).collect();
    figures.push(("max", figure(times.max(), false)));
    figures
}

impl StageOutcome {
    /// CPU of the server's processes, all but the load's.
    #[must_use]
    pub fn server_cpu_us(&self) -> u64 {
        let servers = self.cpu_us.iter().filter(|(role, _)| *role != LOAD);
        servers.map(|(_, cpu_us)| cpu_us).sum()
    }

    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn figures(&self, put: &mut dyn FnMut(&str, f64, &'static str, Better)) {
        use Better::{Less, More};
        let counts = &self.counts;
        let seconds = (self.took_ms as f64 / 1_000.0).max(f64::MIN_POSITIVE);
        let cpu_us = self.server_cpu_us() as f64;
        put("lost", counts.lost as f64, "", Less);
        put("doubled", counts.doubled as f64, "", Less);
        put("refused", counts.refused as f64, "", Less);
        put("failed", counts.failed as f64, "", Less);
        put("dropped", counts.dropped as f64, "", Less);
        put("reset", counts.reset as f64, "", Less);
        if counts.acked > 0 {
            put("acks_per_second", counts.acked as f64 / seconds, "/s", More);
            put("cpu_us_per_send", cpu_us / counts.acked as f64, "µs", Less);
        }
        if counts.delivered > 0 {
            let delivered = counts.delivered as f64;
            put("deliveries_per_second", delivered / seconds, "/s", More);
            put("cpu_us_per_delivery", cpu_us / delivered, "µs", Less);
        }
        if counts.connected > 0 {
            let each = cpu_us / counts.connected as f64;
            put("cpu_us_per_connect", each, "µs", Less);
        }
    }
}
