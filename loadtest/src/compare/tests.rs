use super::*;
use crate::outcome::{
    Side, StageOutcome,
    synthetic::{outcome, rounds},
};

const TEN_PERCENT: Bounds = Bounds {
    all: 1.1,
    single: Vec::new(),
};

/// A second run that differs in what `change` does to its first side.
fn compare(bounds: &Bounds, change: impl FnOnce(&mut Side)) -> Comparison {
    let mut after = outcome();
    change(&mut after.sides[0]);
    Comparison::new(&outcome(), &after, bounds, false).unwrap()
}

fn only_regression(comparison: &Comparison) -> (&str, Verdict) {
    let found: Vec<&Row> = comparison.regressions().collect();
    assert_eq!(found.len(), 1, "{}", comparison.render(Colour::Plain));
    (&found[0].name, found[0].verdict)
}

fn stage(side: &mut Side) -> &mut StageOutcome {
    &mut side.stages[0]
}

#[test]
fn a_run_compared_with_itself_has_every_figure_at_one() {
    let comparison = compare(&TEN_PERCENT, |_| ());
    assert_eq!(comparison.regressions().count(), 0);
    assert!(comparison.notes.is_empty(), "{:?}", comparison.notes);
    let figures: usize = outcome()
        .sides
        .iter()
        .map(|side| side.figures().len())
        .sum();
    assert_eq!(comparison.rows.len(), figures);
    for row in &comparison.rows {
        assert!(
            row.ratio().is_none_or(|ratio| (ratio - 1.0).abs() < 1e-9),
            "{row:?}"
        );
    }
    assert!(
        comparison
            .render(Colour::Plain)
            .ends_with("no figure is past its bound\n")
    );
}

#[test]
fn a_figure_worse_than_the_bound_is_a_regression_in_its_direction() {
    let slower = compare(&TEN_PERCENT, |side| side.connect_s *= 1.2);
    let (name, verdict) = only_regression(&slower);
    assert_eq!((name, verdict), ("connect/seconds", Verdict::Past(1.1)));

    // More is better: a lower rate fails, and CPU a send with it stays what it was.
    let fewer = compare(&TEN_PERCENT, |side| stage(side).took_ms = 12_000);
    let named: Vec<&str> = fewer.regressions().map(|row| &*row.name).collect();
    assert_eq!(
        named,
        [
            "50-a-second/acks_per_second",
            "50-a-second/deliveries_per_second"
        ]
    );
    let more = compare(&TEN_PERCENT, |side| stage(side).took_ms = 8_000);
    assert_eq!(more.regressions().count(), 0);
    let improved = |row: &&Row| row.verdict == Verdict::Improved;
    assert_eq!(more.rows.iter().filter(improved).count(), 2);
}

#[test]
fn what_was_zero_and_is_not_any_more_is_a_regression() {
    let lost = compare(&TEN_PERCENT, |side| stage(side).counts.lost = 1);
    let verdict = only_regression(&lost);
    assert_eq!(verdict, ("50-a-second/lost", Verdict::NoLongerZero));
    let shown = lost.render(Colour::Plain);
    assert!(
        shown.contains("regression: rookery 50-a-second/lost: 0 → 1, WAS 0"),
        "{shown}"
    );
    assert!(lost.render(Colour::Ansi).contains("\x1b[31m"));
}

#[test]
fn what_no_longer_happens_is_a_regression() {
    let silent = compare(&TEN_PERCENT, |side| side.bytes_per_connection.clear());
    let verdict = only_regression(&silent);
    assert_eq!(verdict, ("connect/bytes_per_connection", Verdict::Gone));
}

#[test]
fn a_maximum_is_judged_only_when_it_is_asked_for() {
    let slow = |side: &mut Side| stage(side).latency.ack.record(90_000_000);
    assert_eq!(compare(&TEN_PERCENT, slow).regressions().count(), 0);
    let asked = Bounds {
        single: vec![("ack_max_us".to_owned(), 2.0)],
        ..TEN_PERCENT
    };
    let comparison = compare(&asked, slow);
    let verdict = only_regression(&comparison);
    assert_eq!(verdict, ("50-a-second/ack_max_us", Verdict::Past(2.0)));
}

#[test]
fn a_single_bound_overrules_the_common_one_for_its_stage() {
    let bounds = Bounds {
        single: vec![
            ("lost".to_owned(), 1.0),
            ("50-a-second/cpu_us_per_delivery".to_owned(), 2.0),
            ("50-a-second/cpu_us_per_send".to_owned(), 2.0),
        ],
        ..TEN_PERCENT
    };
    let dearer = |side: &mut Side| {
        *stage(side).cpu_us.get_mut("server").unwrap() *= 3;
        side.stages[1]
            .cpu_us
            .get_mut("server")
            .unwrap()
            .clone_from(&1);
    };
    let comparison = compare(&bounds, dearer);
    let found: Vec<Verdict> = comparison.regressions().map(|row| row.verdict).collect();
    assert_eq!(found, [Verdict::Past(2.0); 2]);

    let unknown = Bounds {
        single: vec![("ack_p98_us".to_owned(), 2.0)],
        ..TEN_PERCENT
    };
    let error = Comparison::new(&outcome(), &outcome(), &unknown, false).unwrap_err();
    assert!(error.to_string().contains("ack_p98_us"), "{error}");
}

#[test]
fn another_scenario_is_refused_with_its_differences_unless_forced() {
    let mut after = outcome();
    after.scenario.people.connections = 100;
    after.scenario.stages.pop();
    after.sides[0].stages.pop();
    let error = Comparison::new(&outcome(), &after, &TEN_PERCENT, false).unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("people.connections 1000 → 100") && words.contains("stage.2"),
        "{words}"
    );
    let forced = Comparison::new(&outcome(), &after, &TEN_PERCENT, true).unwrap();
    assert_eq!(forced.regressions().count(), 0);
    assert!(
        forced.notes[0].starts_with("other scenario: "),
        "{:?}",
        forced.notes
    );

    // Other words and bounds are the same load.
    let mut after = outcome();
    after.scenario.about = "else".to_owned();
    after.scenario.bounds.clear();
    Comparison::new(&outcome(), &after, &TEN_PERCENT, false).unwrap();
}

#[test]
fn other_machines_and_sides_are_noted() {
    let mut after = outcome();
    after.machine.cores = 64;
    after.machine.load_average = "9".to_owned();
    after.sides.pop();
    let comparison = Comparison::new(&outcome(), &after, &TEN_PERCENT, false).unwrap();
    assert_eq!(
        comparison.notes,
        [
            "other machine: cores 2 → 64",
            "side floor is in the first run alone"
        ]
    );
    after.sides.clear();
    let error = Comparison::new(&outcome(), &after, &TEN_PERCENT, false).unwrap_err();
    assert!(error.to_string().contains("rookery, floor"), "{error}");
}

#[test]
fn rows_follow_the_stages_of_the_scenario_and_percentiles_rise() {
    let comparison = compare(&TEN_PERCENT, |_| ());
    let names: Vec<&str> = comparison.rows.iter().map(|row| &*row.name).collect();
    let at = |name: &str| names.iter().position(|known| *known == name).unwrap();
    let order = [
        "connect/seconds",
        "50-a-second/ack_p50_us",
        "50-a-second/ack_p99_us",
        "50-a-second/ack_p999_us",
        "50-a-second/ack_max_us",
        "200-a-second/lost",
        "flat-out/lost",
    ];
    assert!(order.is_sorted_by_key(|name| at(name)), "{names:?}");
}

#[test]
fn rounds_are_judged_by_their_medians_and_their_spread_is_told() {
    let compare = |slow: &[f64]| {
        Comparison::new(
            &rounds(&[1.0, 1.05, 2.0]),
            &rounds(slow),
            &TEN_PERCENT,
            false,
        )
        .unwrap()
    };
    // One slow round of three is no regression, as one fast round is no excuse.
    assert_eq!(compare(&[9.0, 1.05, 1.0]).regressions().count(), 0);
    let worse = compare(&[1.0, 1.5, 1.6]);
    let cpu = "50-a-second/cpu_us_per_delivery";
    let row = worse.regressions().find(|row| row.name == cpu).unwrap();
    assert!((row.ratio().unwrap() - 1.5 / 1.05).abs() < 0.02, "{row:?}");
    assert!(row.rounds_overlap());
    let shown = worse.render(Colour::Plain);
    let spread = row.before.unwrap().spread().unwrap();
    assert!(shown.contains(&format!("({spread})")), "{shown}");
    assert!(
        shown.contains("WORSE than 1.1 allows, though their rounds overlap"),
        "{shown}"
    );

    let apart = compare(&[3.0, 4.0, 5.0]);
    let row = apart.regressions().find(|row| row.name == cpu).unwrap();
    assert!(!row.rounds_overlap());
    // What one round lost is not made good by the others.
    let mut lossy = rounds(&[1.0, 1.0, 1.0]);
    lossy.sides[0].stages[0].counts.lost = 2;
    let lost = Comparison::new(&rounds(&[1.0]), &lossy, &TEN_PERCENT, false).unwrap();
    assert!(
        lost.regressions()
            .any(|row| row.verdict == Verdict::NoLongerZero)
    );
    assert_eq!(lost.notes, ["other number of rounds: 1 → 3"]);
}

#[test]
fn a_run_that_is_not_whole_is_noted() {
    let mut after = outcome();
    after.ended_early = Some("interrupted".to_owned());
    let comparison = Comparison::new(&outcome(), &after, &TEN_PERCENT, false).unwrap();
    assert_eq!(
        comparison.notes,
        ["the second run is not whole: interrupted"]
    );
}
