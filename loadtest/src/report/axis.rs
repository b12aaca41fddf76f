//! Scales of a plot's axes, and ticks at round numbers.

use crate::shown::{number, quantity};

/// What an axis counts, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Seconds, even.
    Seconds,
    /// A quantity from 0, even, in the unit of [`quantity`].
    Amount(&'static str),
    /// Microseconds, each power of ten as wide as the next.
    LogMicros,
    /// Percentiles as `log10(1 / (1 - p))`: 90, 99 and 99.9 % at even distances.
    Percentile,
}

/// A scale with its ticks.
#[derive(Debug)]
pub(super) struct Axis {
    kind: Kind,
    from: f64,
    to: f64,
    /// Where lines are drawn, with words where there is room.
    pub(super) ticks: Vec<(f64, String)>,
}

/// Ticks an even axis has about.
const TICKS: f64 = 5.0;
/// Powers of ten above which a log axis names them alone, not 2 and 5 between.
const DECADES_FINE_MAX: f64 = 2.2;

impl Axis {
    /// An axis that holds all these values; those that it cannot show (not finite, 0 on a log
    /// axis) do not count.
    pub(super) fn over(kind: Kind, values: impl Iterator<Item = f64>) -> Self {
        let shown = values.filter(|value| value.is_finite());
        match kind {
            Kind::Seconds => {
                let (from, to) = extent(shown).unwrap_or((0.0, 1.0));
                let to = if to > from { to } else { from + 1.0 };
                let step = time_step((to - from) / TICKS);
                let ticks = multiples(from, to, step).map(|at| (at, seconds(at)));
                Self {
                    kind,
                    from,
                    to,
                    ticks: ticks.collect(),
                }
            }
            Kind::Amount(unit) => {
                let (_, most) = extent(shown).unwrap_or((0.0, 1.0));
                let most = if most > 0.0 { most } else { 1.0 };
                let step = round_step(most / TICKS, unit);
                let to = (most / step).ceil() * step;
                let ticks = multiples(0.0, to, step).map(|at| (at, quantity(at, unit)));
                Self {
                    kind,
                    from: 0.0,
                    to,
                    ticks: ticks.collect(),
                }
            }
            Kind::LogMicros => {
                let (least, most) =
                    extent(shown.filter(|value| *value > 0.0)).unwrap_or((100.0, 1_000.0));
                let (from, to) = (round_down(least), round_up(most));
                let to = if to > from { to } else { from * 10.0 };
                Self {
                    kind,
                    from: from.log10(),
                    to: to.log10(),
                    ticks: log_ticks(from, to),
                }
            }
            Kind::Percentile => {
                let (_, to) = extent(shown).unwrap_or((0.0, 2.0));
                let to = to.max(1.0);
                // 50, 90, 99, 99.9, …
                let nines = (1..=9)
                    .map(f64::from)
                    .take_while(|nines| *nines <= to + 1e-9);
                let ticks = nines.map(|nines| (nines, percent(nines)));
                let half = 2.0_f64.log10();
                Self {
                    kind,
                    from: 0.0,
                    to,
                    ticks: std::iter::once((half, "50 %".to_owned()))
                        .chain(ticks)
                        .collect(),
                }
            }
        }
    }

    /// Where a value lies, 0 at the axis' beginning and 1 at its end; `None`: not on it.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let value = match self.kind {
            Kind::LogMicros if value <= 0.0 => return None,
            Kind::LogMicros => value.log10(),
            Kind::Seconds | Kind::Amount(_) | Kind::Percentile => value,
        };
        let share = (value - self.from) / (self.to - self.from);
        share.is_finite().then(|| share.clamp(0.0, 1.0))
    }

    /// A value in words.
    pub(super) fn words(&self, value: f64) -> String {
        match self.kind {
            Kind::Seconds => seconds(value),
            Kind::Amount(unit) => quantity(value, unit),
            Kind::LogMicros => quantity(value, "µs"),
            Kind::Percentile => percent(value),
        }
    }
}

fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |extent, value| match extent {
        None => Some((value, value)),
        Some((least, most)) => Some((f64::min(least, value), f64::max(most, value))),
    })
}

/// All multiples of a step from one value to another, in turn.
fn multiples(from: f64, to: f64, step: f64) -> impl Iterator<Item = f64> {
    // Plus 0: what is rounded up to 0 from below has a sign.
    let first = (from / step - 1e-9).ceil() + 0.0;
    let counts = std::iter::successors(Some(first), |count| Some(count + 1.0));
    counts
        .map(move |count| count * step)
        .take_while(move |at| *at <= to + step * 1e-9)
}

/// The least of 1, 2 and 5 times a power of ten that is not below `step`; of bytes, in the
/// multiple of 1,024 they are shown in.
fn round_step(step: f64, unit: &str) -> f64 {
    let mut scale = 1.0;
    while unit == "bytes" && step / scale >= 500.0 {
        scale *= 1_024.0;
    }
    let rounded = round_up(step / scale) * scale;
    // Of what is counted whole there is no half.
    if unit.is_empty() {
        rounded.max(1.0)
    } else {
        rounded
    }
}

fn time_step(step: f64) -> f64 {
    let steps = [
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0,
        7_200.0, 14_400.0, 21_600.0, 43_200.0,
    ];
    // One tick more than wished is better than half of them.
    let fits = steps.into_iter().find(|round| *round >= step * 0.9);
    fits.unwrap_or_else(|| (step / 86_400.0).ceil() * 86_400.0)
}

fn seconds(at: f64) -> String {
    let (minutes, rest) = ((at / 60.0).floor(), at % 60.0);
    match (minutes, rest) {
        (0.0, rest) => format!("{} s", number(rest)),
        (minutes, rest) if minutes >= 60.0 && minutes % 60.0 == 0.0 && rest == 0.0 => {
            format!("{} h", minutes / 60.0)
        }
        (minutes, 0.0) => format!("{minutes} min"),
        (minutes, rest) => format!("{minutes} min {rest:.0} s"),
    }
}

/// `0.99` of 2 nines: `99 %`.
fn percent(nines: f64) -> String {
    let percent = 100.0 * (1.0 - 10_f64.powf(-nines));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few decimals"
    )]
    let decimals = nines.ceil().clamp(1.0, 9.0) as usize;
    let text = format!("{percent:.decimals$}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

const ROUND: [f64; 3] = [1.0, 2.0, 5.0];

fn decade(value: f64) -> f64 {
    10_f64.powf(value.log10().floor())
}

fn round_up(value: f64) -> f64 {
    let decade = decade(value);
    let fits = ROUND
        .into_iter()
        .find(|round| round * decade >= value * (1.0 - 1e-9));
    fits.unwrap_or(10.0) * decade
}

fn round_down(value: f64) -> f64 {
    let decade = decade(value);
    let fits = ROUND
        .into_iter()
        .rfind(|round| round * decade <= value * (1.0 + 1e-9));
    fits.unwrap_or(1.0) * decade
}

fn log_ticks(from: f64, to: f64) -> Vec<(f64, String)> {
    let fine = (to / from).log10() <= DECADES_FINE_MAX;
    let decades = std::iter::successors(Some(decade(from)), |decade| Some(decade * 10.0));
    let rounds = decades.flat_map(|decade| ROUND.map(|round| (round, round * decade)));
    rounds
        .skip_while(|(_, at)| *at < from * (1.0 - 1e-9))
        .take_while(|(_, at)| *at <= to * (1.0 + 1e-9))
        .map(|(round, at)| {
            let named = fine || round == 1.0;
            let words = if named {
                quantity(at, "µs")
            } else {
                String::new()
            };
            (at, words)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(kind: Kind, values: &[f64]) -> Vec<String> {
        let axis = Axis::over(kind, values.iter().copied());
        let named = axis.ticks.into_iter().map(|(_, words)| words);
        named.filter(|words| !words.is_empty()).collect()
    }

    #[test]
    fn ticks_are_round_numbers_with_their_unit() {
        for (kind, values, expected) in [
            (Kind::Seconds, vec![0.0, 30.0], "0 s, 10 s, 20 s, 30 s"),
            (
                Kind::Seconds,
                vec![0.0, 300.0],
                "0 s, 1 min, 2 min, 3 min, 4 min, 5 min",
            ),
            (
                Kind::Seconds,
                vec![0.0, 7_200.0],
                "0 s, 30 min, 1 h, 90 min, 2 h",
            ),
            (
                Kind::Amount("/s"),
                vec![3.0, 941.0],
                "0 /s, 200 /s, 400 /s, 600 /s, 800 /s, 1,000 /s",
            ),
            (
                Kind::Amount("bytes"),
                vec![40_000_000.0],
                "0 bytes, 10 MiB, 20 MiB, 30 MiB, 40 MiB",
            ),
            (Kind::Amount(""), vec![0.0, 2.0], "0, 1, 2"),
            (
                Kind::LogMicros,
                vec![300.0, 1_900.0],
                "200 µs, 500 µs, 1 ms, 2 ms",
            ),
            (
                Kind::LogMicros,
                vec![0.0, 90.0, 2e6],
                "100 µs, 1 ms, 10 ms, 100 ms, 1 s",
            ),
            (
                Kind::Percentile,
                vec![4.0],
                "50 %, 90 %, 99 %, 99.9 %, 99.99 %",
            ),
        ] {
            assert_eq!(
                ticks(kind, &values).join(", "),
                expected,
                "{kind:?} {values:?}"
            );
        }
    }

    #[test]
    fn an_axis_of_nothing_or_of_one_value_can_be_drawn() {
        for kind in [
            Kind::Seconds,
            Kind::Amount("s"),
            Kind::LogMicros,
            Kind::Percentile,
        ] {
            for values in [&[][..], &[0.0], &[7.0], &[f64::NAN, f64::INFINITY]] {
                let axis = Axis::over(kind, values.iter().copied());
                assert!(!axis.ticks.is_empty(), "{kind:?} {values:?}");
                for (at, _) in &axis.ticks {
                    assert!(axis.place(*at).is_some(), "{kind:?} {values:?} {at}");
                }
            }
        }
    }

    #[test]
    fn a_log_axis_gives_each_power_of_ten_the_same_width() {
        let axis = Axis::over(Kind::LogMicros, [100.0, 10_000.0].into_iter());
        assert_eq!(axis.place(100.0), Some(0.0));
        assert!((axis.place(1_000.0).unwrap() - 0.5).abs() < 1e-9);
        assert_eq!(axis.place(0.0), None);
        assert_eq!(axis.place(f64::NAN), None);
    }
}
