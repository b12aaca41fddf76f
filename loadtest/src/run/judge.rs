//! A scenario's bounds against what was measured.

use crate::{
    outcome::{Figure, Judged, Outcome, RunFigures, Spread},
    scenario::Bound,
    shown::quantity,
};

/// Judges the scenario's bounds for the first side: the server that the run is about. A figure that
/// is not there breaks its bound; a side to compare with that was not part of the run leaves it
/// unchecked.
pub(super) fn judge(outcome: &Outcome) -> Vec<Judged> {
    let names = outcome.names();
    let judge = Judge {
        side: names.first().copied().unwrap_or("nothing"),
        others: names.get(1..).unwrap_or_default(),
        figures: outcome.figures(),
        whole: outcome.ended_early.is_none(),
    };
    let bounds = outcome.scenario.bounds.iter();
    bounds.map(|bound| judge.judged(bound)).collect()
}

struct Judge<'a> {
    side: &'a str,
    others: &'a [&'a str],
    figures: RunFigures<'a>,
    whole: bool,
}

impl Judge<'_> {
    fn judged(&self, bound: &Bound) -> Judged {
        let own = self.figures.of(self.side).get(&bound.figure).copied();
        let over = bound.over.as_deref();
        let not_run = over.filter(|over| !self.others.contains(over));
        let measured = match over {
            None => own.map(|figure| (figure.value, figure.least, figure.most)),
            Some(over) => {
                let ratio = self.figures.ratio(&bound.figure, self.side, over);
                ratio.map(
                    |Spread {
                         median,
                         least,
                         most,
                         ..
                     }| (median, least, most),
                )
            }
        };
        let value = measured.map(|(value, ..)| value);
        let not_checked = match (not_run, value) {
            (_, None) if !self.whole => Some("the run ended before".to_owned()),
            (Some(over), _) => Some(format!("the side {over} was not run")),
            (None, _) => None,
        };
        let keeps = |value: f64| {
            bound.max.is_none_or(|max| value <= max) && bound.min.is_none_or(|min| value >= min)
        };
        // Of one round they are the same number.
        let spread = measured.filter(|(_, least, most)| least < most);
        Judged {
            bound: self.words(bound, own),
            measured: value,
            spread: spread.map(|(_, least, most)| [least, most]),
            holds: value.is_some_and(keeps),
            not_checked,
        }
    }

    fn words(&self, bound: &Bound, own: Option<Figure>) -> String {
        let unit = own.map_or("", |figure| figure.unit);
        let shown = |value: f64| match &bound.over {
            Some(over) => format!("{value} × {over}"),
            None => quantity(value, unit),
        };
        let max = bound.max.map(|max| format!("at most {}", shown(max)));
        let min = bound.min.map(|min| format!("at least {}", shown(min)));
        let both: Vec<String> = max.into_iter().chain(min).collect();
        format!("{} of {} {}", bound.figure, self.side, both.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::synthetic;

    const CPU: &str = "50-a-second/cpu_us_per_delivery";
    const FLOOR: Option<&str> = Some("floor");

    fn bound(figure: &str, max: Option<f64>, min: Option<f64>, over: Option<&str>) -> Bound {
        Bound {
            figure: figure.to_owned(),
            max,
            min,
            over: over.map(str::to_owned),
        }
    }

    fn judged(mut outcome: Outcome, bound: Bound) -> Judged {
        outcome.scenario.bounds = vec![bound];
        judge(&outcome).remove(0)
    }

    #[test]
    fn bounds_hold_or_break() {
        let sides = synthetic::outcome().sides;
        let figure = |side: usize| sides[side].figures()[CPU].value;
        let ratio = figure(0) / figure(1);
        for (bound, holds) in [
            (bound("50-a-second/lost", Some(0.0), None, None), true),
            (bound(CPU, Some(figure(0)), None, None), true),
            (bound(CPU, Some(figure(0) * 0.99), None, None), false),
            (bound(CPU, None, Some(figure(0) * 1.01), None), false),
            (bound(CPU, Some(ratio * 1.01), None, FLOOR), true),
            (bound(CPU, Some(ratio * 0.99), None, FLOOR), false),
            (bound("50-a-second/luck", Some(1e9), None, None), false),
            // Nothing over nothing is no ratio.
            (bound("50-a-second/lost", Some(1e9), None, FLOOR), false),
        ] {
            let judged = judged(synthetic::outcome(), bound.clone());
            assert_eq!(judged.holds, holds, "{bound:?}: {judged:?}");
            assert_eq!((judged.spread, judged.not_checked), (None, None));
        }
        let mut nothing = synthetic::outcome();
        nothing.sides.clear();
        assert!(!judged(nothing, bound("connect/seconds", Some(1e9), None, None)).holds);
    }

    #[test]
    fn a_ratio_to_a_side_that_was_not_run_is_neither_kept_nor_broken() {
        let ratio = bound(CPU, Some(1e9), None, FLOOR);
        let mut alone = synthetic::outcome();
        alone.sides.truncate(1);
        let alone = judged(alone, ratio.clone());
        assert!(!alone.holds && alone.measured.is_none());
        assert_eq!(
            alone.not_checked.as_deref(),
            Some("the side floor was not run")
        );
        // It was run and has no such figure: that is no excuse.
        let mut silent = synthetic::outcome();
        silent.sides[1].stages.clear();
        let silent = judged(silent, ratio);
        assert_eq!((silent.holds, silent.not_checked), (false, None));
    }

    #[test]
    fn what_an_interrupted_run_did_not_reach_is_not_checked() {
        let mut partial = synthetic::outcome();
        partial.ended_early = Some("interrupted".to_owned());
        partial.sides[0].stages.truncate(1);
        let reached = judged(
            partial.clone(),
            bound("50-a-second/lost", Some(0.0), None, None),
        );
        assert!(reached.holds && reached.not_checked.is_none());
        let not = judged(partial, bound("flat-out/lost", Some(0.0), None, None));
        assert_eq!(not.not_checked.as_deref(), Some("the run ended before"));
    }

    #[test]
    fn several_rounds_are_judged_by_their_median_and_tell_their_spread() {
        let figure = synthetic::outcome().sides[0].figures()[CPU].value;
        let rounds = || synthetic::rounds(&[1.0, 9.0, 1.5]);
        let kept = judged(rounds(), bound(CPU, Some(figure * 1.6), None, None));
        assert!(kept.holds, "{kept:?}");
        let [least, most] = kept.spread.unwrap();
        assert!((most / least / 9.0 - 1.0).abs() < 0.01, "{kept:?}");
        assert!(!judged(rounds(), bound(CPU, Some(figure * 1.4), None, None)).holds);
        let mut lossy = rounds();
        lossy.sides[4].stages[0].counts.lost = 1;
        let lost = judged(lossy, bound("50-a-second/lost", Some(0.0), None, None));
        assert!(!lost.holds, "one round's loss: {lost:?}");
    }

    #[test]
    fn words_say_figure_side_and_limit() {
        let words = |bound| judged(synthetic::outcome(), bound).bound;
        assert_eq!(
            words(bound(CPU, Some(1.2), None, FLOOR)),
            "50-a-second/cpu_us_per_delivery of rookery at most 1.2 × floor"
        );
        assert_eq!(
            words(bound(CPU, Some(2.0), Some(0.5), None)),
            "50-a-second/cpu_us_per_delivery of rookery at most 2 µs and at least 0.5 µs"
        );
    }
}
