//! One number of several rounds: the median, with the least and the most beside it.
//!
//! A ratio of two sides is taken in each round, of the two that ran one after the other there, and
//! its median told: what made the machine slower for a while made both slower. (A ratio of medians
//! could be of two rounds that had little in common.)

use std::collections::{BTreeMap, BTreeSet};

use super::{Figure, Outcome};

/// A number over the rounds of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Half of the rounds have less, half more; of an even number the mean of the middle two.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
    /// How many rounds have it.
    pub rounds: usize,
}

impl Spread {
    /// Of these values; `None`: there are none.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let rounds = values.len();
        let upper = values[rounds / 2];
        let median = if rounds.is_multiple_of(2) {
            f64::midpoint(values[rounds / 2 - 1], upper)
        } else {
            upper
        };
        Some(Self {
            median,
            least,
            most,
            rounds,
        })
    }
}

/// The figures of one side, by their names.
type Figures = BTreeMap<String, Figure>;

/// The figures of all sides in all rounds.
#[derive(Debug)]
pub struct RunFigures<'a> {
    /// Side, round, figures.
    each: Vec<(&'a str, u32, Figures)>,
}

impl<'a> RunFigures<'a> {
    pub(super) fn new(outcome: &'a Outcome) -> Self {
        let sides = outcome.sides.iter();
        let each = sides.map(|side| (&*side.name, side.round, side.figures()));
        Self {
            each: each.collect(),
        }
    }

    /// The figures of a side over its rounds; see [`Figure::value`].
    #[must_use]
    pub fn of(&self, side: &str) -> BTreeMap<String, Figure> {
        let rounds = || self.each.iter().filter(|(name, ..)| *name == side);
        let names: BTreeSet<&String> = rounds().flat_map(|(.., figures)| figures.keys()).collect();
        let over = names.into_iter().filter_map(|name| {
            let of_rounds: Vec<Figure> = rounds()
                .filter_map(|(.., figures)| figures.get(name).copied())
                .collect();
            Some((name.clone(), over_rounds(&of_rounds)?))
        });
        over.collect()
    }

    /// How many times another side's figure a side's is, round by round; `None`: no round has both,
    /// or the other's is 0.
    #[must_use]
    pub fn ratio(&self, figure: &str, side: &str, to: &str) -> Option<Spread> {
        let of_side = self.each.iter().filter(|(name, ..)| *name == side);
        let ratios = of_side.filter_map(|(_, round, figures)| {
            let others = &mut self.each.iter();
            let (.., other) = others.find(|(name, its, _)| *name == to && its == round)?;
            let ratio = figures.get(figure)?.value / other.get(figure)?.value;
            // 0 / 0 is no ratio, and neither is anything over 0.
            ratio.is_finite().then_some(ratio)
        });
        Spread::of(ratios.collect())
    }
}

fn over_rounds(figures: &[Figure]) -> Option<Figure> {
    let first = figures.first()?;
    let spread = Spread::of(figures.iter().map(|figure| figure.value).collect())?;
    Some(Figure {
        value: if first.unit.is_empty() {
            spread.most
        } else {
            spread.median
        },
        least: spread.least,
        most: spread.most,
        steady: figures.iter().all(|figure| figure.steady),
        ..*first
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::synthetic;

    const CPU: &str = "50-a-second/cpu_us_per_delivery";

    #[test]
    fn a_median_has_half_of_the_rounds_on_each_side() {
        let of = |values: &[f64]| {
            let spread = Spread::of(values.to_vec()).unwrap();
            (spread.median, spread.least, spread.most, spread.rounds)
        };
        assert_eq!(of(&[3.0]), (3.0, 3.0, 3.0, 1));
        assert_eq!(of(&[9.0, 1.0, 2.0]), (2.0, 1.0, 9.0, 3));
        assert_eq!(of(&[4.0, 1.0, 2.0, 9.0]), (3.0, 1.0, 9.0, 4));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn figures_of_rounds_are_medians_and_no_loss_is_hidden_by_them() {
        let outcome = synthetic::rounds(&[1.0, 3.0, 1.5]);
        let one = synthetic::outcome().sides[0].figures()[CPU].value;
        let mut lossy = outcome.clone();
        lossy.sides[2].stages[0].counts.lost = 7;
        let figures = lossy.figures().of("rookery");
        let cpu = figures[CPU];
        let near = |value: f64, times: f64| (value / one / times - 1.0).abs() < 0.01;
        assert!(near(cpu.value, 1.5) && near(cpu.least, 1.0) && near(cpu.most, 3.0));
        assert!((figures["50-a-second/lost"].value - 7.0).abs() < f64::EPSILON);
        assert!(cpu.spread().unwrap().ends_with(" µs"), "{cpu:?}");
        assert_eq!(figures["50-a-second/failed"].spread(), None);
    }

    #[test]
    fn ratios_are_of_sides_of_the_same_round() {
        // Each round slows both sides alike, so every round has the same ratio.
        let outcome = synthetic::rounds(&[1.0, 3.0, 1.5]);
        let alone = synthetic::outcome();
        let expected = alone.figures().ratio(CPU, "rookery", "floor").unwrap();
        let spread = outcome.figures().ratio(CPU, "rookery", "floor").unwrap();
        assert_eq!(spread.rounds, 3);
        for value in [spread.median, spread.least, spread.most] {
            assert!((value / expected.median - 1.0).abs() < 0.01, "{spread:?}");
        }
        let figures = outcome.figures();
        assert_eq!(figures.ratio("50-a-second/lost", "rookery", "floor"), None);
        assert_eq!(figures.ratio(CPU, "rookery", "ceiling"), None);
        // A round that has one of them alone has no ratio.
        let mut partial = outcome.clone();
        partial.sides.pop();
        let ratio = partial.figures().ratio(CPU, "rookery", "floor").unwrap();
        assert_eq!(ratio.rounds, 2);
    }
}
