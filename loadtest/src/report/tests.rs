use super::*;
use crate::outcome::synthetic::outcome;

fn page(change: impl FnOnce(&mut Outcome)) -> String {
    let mut outcome = outcome();
    change(&mut outcome);
    render(&[("run.json".to_owned(), outcome)])
}

/// Tags that are not closed in order, or one that HTML does not know.
fn check_nesting(page: &str) {
    let mut open = Vec::new();
    for part in page.split('<').skip(1) {
        let (tag, _) = part.split_once('>').expect("each tag ends");
        let name: String = tag.chars().take_while(|c| !c.is_whitespace()).collect();
        match name.trim_end_matches('/') {
            "!doctype" | "meta" => (),
            name if tag.ends_with('/') => assert_eq!(name, "path", "{tag}"),
            name => match name.strip_prefix('/') {
                Some(closed) => assert_eq!(open.pop().as_deref(), Some(closed), "{tag}"),
                None => open.push(name.to_owned()),
            },
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_page_has_every_figure_plot_and_verdict_and_needs_nothing_else() {
    let page = page(|_| ());
    // The style has no `<`.
    check_nesting(&page);
    for side in outcome().sides {
        for (name, figure) in side.figures() {
            assert!(page.contains(&format!("title=\"{name}\"")), "{name}");
            let shown = crate::shown::quantity(figure.value, figure.unit);
            assert!(
                page.contains(&format!("<td class=\"n\">{shown}</td>")),
                "{name} {shown}"
            );
        }
    }
    // Five over time, three of each stage, two of each side's processes.
    assert_eq!(page.matches("<figure>").count(), 5 + 9 + 4);
    assert_eq!(page.matches("✓ holds").count(), 3);
    assert_eq!(page.matches("✗ does not hold").count(), 1);
    assert_eq!(page.matches("? could not be checked").count(), 2);
    assert!(page.contains("1.25 (1.22–1.31)") && page.contains("the side peer was not run"));
    assert!(!page.contains("<details"), "one round is no round");
    for foreign in ["<script", "http://", "https://", "src=", "NaN", "inf"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert_eq!(page, self::page(|_| ()), "the same each time");
}

#[test]
fn text_of_a_result_cannot_become_html() {
    let evil = "<script>\"'&</script>";
    let page = page(|outcome| {
        outcome.scenario.about = evil.to_owned();
        outcome.scenario.name = evil.to_owned();
        outcome.tool = evil.to_owned();
        outcome.machine.kernel = evil.to_owned();
        outcome.bounds[0].bound = evil.to_owned();
        let side = &mut outcome.sides[0];
        side.name = evil.to_owned();
        side.server = evil.to_owned();
        side.processes[0].role = evil.to_owned();
        let stage = &mut side.stages[0];
        stage.server_counters.insert(evil.to_owned(), 1.0);
        stage.cpu_us.insert(evil.to_owned(), 1);
    });
    check_nesting(&page);
    assert!(!page.contains("<script"));
    assert!(page.contains("&lt;script&gt;&quot;&#39;&amp;"));
}

#[test]
fn what_was_lost_is_said_first() {
    let page = page(|outcome| outcome.sides[0].stages[1].counts.lost = 3);
    assert!(page.contains("✗ does not hold</td><td>rookery: events lost 3, doubled 0"));
}

#[test]
fn a_page_of_rounds_has_medians_with_their_spread_and_each_round_by_itself() {
    let outcome = crate::outcome::synthetic::rounds(&[1.0, 2.0, 1.5]);
    let page = render(&[("run.json".to_owned(), outcome.clone())]);
    check_nesting(&page);
    let figures = outcome.figures();
    let cpu = figures.of("rookery")["50-a-second/cpu_us_per_delivery"];
    let spread = cpu.spread().unwrap();
    let cell = format!("{}<span class=\"spread\">{spread}</span>", cpu.shown());
    assert!(page.contains(&cell), "{cell}");
    let ratio = figures.ratio("50-a-second/cpu_us_per_delivery", "rookery", "floor");
    let ratio = ratio.unwrap();
    assert!(
        page.contains(&format!(">{:.2} (", ratio.median)),
        "{ratio:?}"
    );
    // Each round has five plots over time and two of each side's processes; percentiles are of all.
    assert_eq!(page.matches("<figure>").count(), 3 * (5 + 4) + 9);
    assert_eq!(page.matches("<summary>Round 3</summary>").count(), 3);
    assert_eq!(page.matches("<details open>").count(), 3);
}

#[test]
fn a_run_that_ended_early_says_so_first() {
    let page = page(|outcome| outcome.ended_early = Some("interrupted".to_owned()));
    assert!(page.contains("✗ does not hold</td><td>not whole: interrupted"));
}

#[test]
fn a_run_that_measured_nothing_is_a_page_all_the_same() {
    check_nesting(&page(|outcome| outcome.sides.clear()));
    check_nesting(&page(|outcome| {
        for side in &mut outcome.sides {
            side.stages.clear();
            side.processes.clear();
        }
        outcome.bounds.clear();
    }));
    let empty = render(&[]);
    check_nesting(&empty);
}

#[test]
fn a_run_of_hours_has_no_more_points_than_can_be_told_apart() {
    let long = |outcome: &mut Outcome| {
        for side in &mut outcome.sides {
            let stage = &mut side.stages[2];
            let tick = stage.ticks[0];
            stage.took_ms = 36_000_000;
            stage.ticks = (0..36_000)
                .map(|second| crate::outcome::Tick {
                    at_ms: stage.began_ms + (second + 1) * 1_000,
                    ..tick
                })
                .collect();
        }
    };
    let page = page(long);
    assert!(
        page.contains("Each point is the highest of 151 seconds."),
        "told"
    );
    assert!(page.contains(">2 h<"), "hours on the axis");
    assert!(page.len() < 2_000_000, "{}", page.len());
}

#[test]
fn colours_stand_out_from_the_page_in_light_and_dark() {
    let luminance = |hex: &str| -> f64 {
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.040_45 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
    };
    // The style's two themes come first, each with its card before its colours.
    let themes: Vec<&str> = STYLE.split(":root {").skip(1).take(2).collect();
    assert_eq!(themes.len(), 2);
    for theme in themes {
        let colour = |name: &str| {
            let (_, rest) = theme.split_once(&format!("--{name}: #")).unwrap();
            luminance(&rest[..6])
        };
        let contrast = |name: &str| {
            let (one, other) = (colour(name), colour("card"));
            (one.max(other) + 0.05) / (one.min(other) + 0.05)
        };
        for index in 0..COLOURS {
            assert!(contrast(&format!("c{index}")) >= 3.0, "c{index}");
        }
        for text in ["text", "faint", "good", "bad"] {
            assert!(contrast(text) >= 4.5, "{text}");
        }
    }
}
