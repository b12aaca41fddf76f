//! Results of runs as one HTML page that needs nothing else: no network, no script. The plots are
//! SVG drawn here; a point's value shows when the pointer rests on it.
//!
//! Reading order: this file lays the page out; `tables` are what is read as numbers, `plots` and
//! `processes` say which plots there are and take their points from the outcome, `chart` draws one,
//! `axis` finds its scale and ticks. Colours and print are in `style.css`. The same results give the
//! same page, byte for byte.

mod axis;
mod chart;
mod plots;
mod processes;
mod tables;

use std::{fmt::Write as _, path::Path};

use crate::{
    files::{self, FileError},
    outcome::{Outcome, Side},
    scenario::Scenario,
    shown::utc,
};

const STYLE: &str = include_str!("report/style.css");
/// Colours for sides and for processes; the style has as many. More than that begin anew.
const COLOURS: usize = 6;

/// The page of these runs, one after the other, each under its name (its file's, say).
#[must_use]
pub fn render(runs: &[(String, Outcome)]) -> String {
    let names: Vec<&str> = runs.iter().map(|(_, of)| &*of.scenario.name).collect();
    let title = escape(&format!("Load report: {}", names.join(", ")));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    for (name, outcome) in runs {
        run(&mut page, name, outcome);
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// Writes the page of these runs, whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write(runs: &[(String, Outcome)], path: &Path) -> Result<(), FileError> {
    files::replace(path, render(runs))
}

fn run(page: &mut String, name: &str, outcome: &Outcome) {
    let scenario = &outcome.scenario;
    let _ = write!(
        page,
        "<section>\n<h2>{}</h2>\n<p class=\"about\">{}</p>\n<p class=\"when\">{}</p>\n",
        escape(&scenario.name),
        escape(&scenario.about),
        escape(&format!(
            "{name}, begun {} UTC, rookery-loadtest {}",
            utc(outcome.began_unix_ms),
            outcome.tool
        )),
    );
    tables::verdict(page, outcome);
    tables::setting(page, outcome);
    page.push_str("<h3>Figures, stage by stage</h3>\n");
    tables::figures(page, outcome);
    page.push_str("<h3>Over time</h3>\n");
    by_round(page, outcome, |page, sides| {
        grid(page, &plots::over_time(sides))
    });
    page.push_str(
        "<h3>Latency by percentile</h3>\n<p class=\"note\">How many of all waited how long: read at \
         99 %, one in a hundred waited longer. Steps at the right end are single values.",
    );
    if outcome.rounds().len() > 1 {
        page.push_str(" All rounds together.");
    }
    page.push_str("</p>\n");
    grid(page, &plots::percentiles(outcome));
    page.push_str("<h3>Processes</h3>\n");
    by_round(page, outcome, |page, sides| {
        grid(page, &processes::plots(sides))
    });
    page.push_str("<h3>All that was counted</h3>\n");
    by_round(page, outcome, tables::counted);
    tables::scenario(page, outcome);
    page.push_str("</section>\n");
}

/// The sides of one round, each with the number of its colour.
struct Sides<'a> {
    scenario: &'a Scenario,
    each: Vec<(usize, &'a Side)>,
}

/// One round after the other; of several the first is open, and the others open with a click.
fn by_round(page: &mut String, outcome: &Outcome, mut draw: impl FnMut(&mut String, &Sides<'_>)) {
    let names = outcome.names();
    let colour = |side: &Side| names.iter().position(|name| *name == side.name);
    let rounds = outcome.rounds();
    let several = rounds.len() > 1;
    for (number, sides) in &rounds {
        let each = sides
            .iter()
            .map(|side| (colour(side).unwrap_or_default(), *side));
        let sides = Sides {
            scenario: &outcome.scenario,
            each: each.collect(),
        };
        if several {
            let open = if *number == rounds[0].0 { " open" } else { "" };
            let _ = writeln!(page, "<details{open}>\n<summary>Round {number}</summary>");
        }
        draw(page, &sides);
        if several {
            page.push_str("</details>\n");
        }
    }
    if rounds.is_empty() {
        grid(page, &[]);
    }
}

fn grid(page: &mut String, charts: &[chart::Chart]) {
    if charts.is_empty() {
        page.push_str("<p class=\"note\">Nothing of the kind was measured.</p>\n");
        return;
    }
    page.push_str("<div class=\"grid\">\n");
    for chart in charts {
        chart.draw(page);
    }
    page.push_str("</div>\n");
}

/// Text as HTML shows it, in an element or an attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
