//! A scenario's bounds against what was measured.

use crate::{
    outcome::{Judged, Side},
    scenario::Bound,
    shown::quantity,
};

/// Judges the bounds for the first side: the server that the run is about. What cannot be checked
/// does not hold.
pub(super) fn judge(bounds: &[Bound], sides: &[Side]) -> Vec<Judged> {
    let judged = bounds.iter().map(|bound| {
        let measured = measured(bound, sides);
        let holds = measured.is_some_and(|measured| {
            bound.max.is_none_or(|max| measured <= max)
                && bound.min.is_none_or(|min| measured >= min)
        });
        Judged {
            bound: words(bound, sides),
            measured,
            holds,
        }
    });
    judged.collect()
}

/// The figure, or its ratio to the other side's.
fn measured(bound: &Bound, sides: &[Side]) -> Option<f64> {
    let value = |side: &Side| Some(side.figures().get(&bound.figure)?.value);
    let own = value(sides.first()?)?;
    let Some(over) = &bound.over else {
        return Some(own);
    };
    let other = sides.iter().skip(1).find(|side| side.name == *over)?;
    // 0 / 0 is no ratio, and neither is anything over 0.
    Some(own / value(other)?).filter(|ratio| ratio.is_finite())
}

fn words(bound: &Bound, sides: &[Side]) -> String {
    let side = sides.first().map_or("nothing", |side| &side.name);
    let figures = sides.first().map(Side::figures).unwrap_or_default();
    let unit = figures.get(&bound.figure).map_or("", |figure| figure.unit);
    let shown = |value: f64| match &bound.over {
        Some(over) => format!("{value} × {over}"),
        None => quantity(value, unit),
    };
    let max = bound.max.map(|max| format!("at most {}", shown(max)));
    let min = bound.min.map(|min| format!("at least {}", shown(min)));
    let both: Vec<String> = max.into_iter().chain(min).collect();
    format!("{} of {side} {}", bound.figure, both.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::synthetic;

    fn bound(figure: &str, max: Option<f64>, min: Option<f64>, over: Option<&str>) -> Bound {
        Bound {
            figure: figure.to_owned(),
            max,
            min,
            over: over.map(str::to_owned),
        }
    }

    #[test]
    fn bounds_hold_break_or_cannot_be_checked() {
        let sides = synthetic::outcome().sides;
        let cpu = "50-a-second/cpu_us_per_delivery";
        let figure = |side: usize| sides[side].figures()[cpu].value;
        let ratio = figure(0) / figure(1);
        let floor = Some("floor");
        for (bound, holds) in [
            (bound("50-a-second/lost", Some(0.0), None, None), true),
            (bound(cpu, Some(figure(0)), None, None), true),
            (bound(cpu, Some(figure(0) * 0.99), None, None), false),
            (bound(cpu, None, Some(figure(0) * 1.01), None), false),
            (bound(cpu, Some(ratio * 1.01), None, floor), true),
            (bound(cpu, Some(ratio * 0.99), None, floor), false),
            (bound(cpu, Some(1e9), None, Some("ceiling")), false),
            (bound("50-a-second/luck", Some(1e9), None, None), false),
            // Nothing over nothing is no ratio.
            (bound("50-a-second/lost", Some(1e9), None, floor), false),
        ] {
            let judged = &judge(std::slice::from_ref(&bound), &sides)[0];
            assert_eq!(judged.holds, holds, "{bound:?}: {judged:?}");
        }
        assert!(!judge(&[bound("connect/seconds", Some(1e9), None, None)], &[])[0].holds);
    }

    #[test]
    fn words_say_figure_side_and_limit() {
        let sides = synthetic::outcome().sides;
        let cpu = "50-a-second/cpu_us_per_delivery";
        assert_eq!(
            words(&bound(cpu, Some(1.2), None, Some("floor")), &sides),
            "50-a-second/cpu_us_per_delivery of rookery at most 1.2 × floor"
        );
        assert_eq!(
            words(&bound(cpu, Some(2.0), Some(0.5), None), &sides),
            "50-a-second/cpu_us_per_delivery of rookery at most 2 µs and at least 0.5 µs"
        );
    }
}
