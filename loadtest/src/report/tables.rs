//! What a report says in numbers: the verdict, machine and load, figures, counts.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{Sides, escape};
use crate::{
    outcome::{Figure, Outcome, StageOutcome},
    scenario::{Popularity, RoomKind},
    shown::{number, quantity, words},
};

/// Whether the bounds hold, and whether anything was lost.
pub(super) fn verdict(page: &mut String, outcome: &Outcome) {
    page.push_str("<h3>Verdict</h3>\n<div class=\"card\"><table>\n");
    if let Some(why) = &outcome.ended_early {
        judged(page, Some(false), &format!("not whole: {why}"), "");
    }
    for name in outcome.names() {
        let stages = || outcome.rounds_of(name).flat_map(|side| &side.stages);
        let sum = |count: fn(&StageOutcome) -> u64| stages().map(count).sum::<u64>();
        let lost = sum(|stage| stage.counts.lost);
        let doubled = sum(|stage| stage.counts.doubled);
        let (lost, doubled) = (whole(lost), whole(doubled));
        let holds = lost == "0" && doubled == "0";
        let what = format!("{name}: events lost {lost}, doubled {doubled}");
        judged(page, Some(holds), &what, "");
    }
    for bound in &outcome.bounds {
        let holds = bound.measured.is_some().then_some(bound.holds);
        let measured = match (&bound.not_checked, bound.measured) {
            (Some(why), _) => why.clone(),
            (None, measured) => with_spread(
                measured.map(number).unwrap_or_default(),
                bound
                    .spread
                    .map(|[least, most]| format!("{}–{}", number(least), number(most))),
            ),
        };
        judged(page, holds, &bound.bound, &measured);
    }
    page.push_str("</table>\n");
    if outcome.bounds.is_empty() {
        page.push_str("<p class=\"note\">The scenario states no bounds.</p>\n");
    }
    page.push_str("</div>\n");
}

/// A number, with what its rounds had.
fn with_spread(value: String, spread: Option<String>) -> String {
    match spread {
        None => value,
        Some(spread) => format!("{value} ({spread})"),
    }
}

fn judged(page: &mut String, holds: Option<bool>, what: &str, measured: &str) {
    let (class, words) = match holds {
        Some(true) => ("holds", "✓ holds"),
        Some(false) => ("fails", "✗ does not hold"),
        None => ("unknown", "? could not be checked"),
    };
    let _ = writeln!(
        page,
        "<tr><td class=\"{class}\">{words}</td><td>{}</td><td class=\"n\">{}</td></tr>",
        escape(what),
        escape(measured)
    );
}

/// The machine, the load and the servers.
pub(super) fn setting(page: &mut String, outcome: &Outcome) {
    let machine = &outcome.machine;
    let people = &outcome.scenario.people;
    page.push_str("<h3>Machine, load and servers</h3>\n<div class=\"grid\">\n");
    let kind = match people.kind {
        RoomKind::Channel => "channels",
        RoomKind::Group => "groups",
    };
    let popularity = match people.popularity {
        Popularity::Even => "all of one size".to_owned(),
        Popularity::Zipf(exponent) => format!("sizes by Zipf's law, exponent {exponent}"),
    };
    let active = people.active.unwrap_or(people.connections);
    #[expect(clippy::cast_precision_loss, reason = "bytes of a machine")]
    let memory = quantity(machine.memory_bytes as f64, "bytes");
    list(
        page,
        "Machine",
        &[
            ("Processor", machine.processor.clone()),
            ("Cores for the run", machine.cores.to_string()),
            ("Memory", memory),
            ("Kernel", machine.kernel.clone()),
            ("Open files allowed", whole(machine.open_files_max)),
            ("Load average before", machine.load_average.clone()),
        ],
    );
    list(
        page,
        "Load",
        &[
            ("Connections", whole(people.connections.into())),
            ("of which do things", whole(active.into())),
            ("Rooms", whole(people.rooms.into())),
            ("Kind of rooms", format!("{kind}, {popularity}")),
            ("Rooms each listens to", people.rooms_each.to_string()),
            ("Text", format!("{} bytes", people.text_bytes)),
            ("In JSON", format!("{} %", number(people.json * 100.0))),
            ("Users watched by each", people.watched_each.to_string()),
        ],
    );
    let names = outcome.names().into_iter();
    let servers: Vec<(&str, String)> = names
        .filter_map(|name| Some((name, outcome.rounds_of(name).next()?.server.clone())))
        .collect();
    list(page, "Servers", &servers);
    page.push_str("</div>\n");
}

fn list(page: &mut String, title: &str, entries: &[(&str, String)]) {
    let _ = writeln!(page, "<div class=\"card\"><h4>{title}</h4><dl>");
    for (name, value) in entries {
        let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    }
    page.push_str("</dl></div>\n");
}

/// Kinds of figures, in the order a reader asks for them.
fn kind(name: &str) -> usize {
    match name {
        "lost" | "doubled" => 0,
        "refused" | "failed" | "dropped" | "reset" => 1,
        name if name.contains("_per_second") => 2,
        name if name.contains("_per_") || name == "seconds" => 3,
        _ => 4,
    }
}

/// Every figure: a table for each stage, sides beside each other, the first as a ratio to each
/// other.
pub(super) fn figures(page: &mut String, outcome: &Outcome) {
    let sides = outcome.names();
    let rounds = outcome.figures();
    let of_sides: Vec<_> = sides.iter().map(|side| rounds.of(side)).collect();
    let count = outcome.rounds().len();
    if count > 1 {
        let _ = writeln!(
            page,
            "<p class=\"note\">{count} rounds: medians, below them from the least to the most; of \
             counts of what should not happen the most. A ratio is taken in each round, of the two sides there.</p>"
        );
    }
    let names: BTreeSet<&String> = of_sides.iter().flat_map(|of| of.keys()).collect();
    let mut names: Vec<(usize, usize, String, &String)> = names
        .into_iter()
        .map(|name| {
            let (stage, place) = outcome.place(name);
            (stage, kind(bare(name)), place, name)
        })
        .collect();
    names.sort();
    page.push_str("<div class=\"grid\">\n");
    for stage in names.chunk_by(|one, other| one.0 == other.0) {
        let (title, _) = stage[0].3.split_once('/').unwrap_or_default();
        let title = match title {
            "connect" => "before the first stage",
            stage => stage,
        };
        head(page, title, "Figure", &sides, true);
        let mut before = stage[0].1;
        for (_, kind, _, name) in stage {
            let figures: Vec<Option<Figure>> =
                of_sides.iter().map(|of| of.get(*name).copied()).collect();
            let group = if *kind == before {
                ""
            } else {
                " class=\"group\""
            };
            before = *kind;
            let _ = write!(
                page,
                "<tr{group}><th scope=\"row\" title=\"{}\">{}</th>",
                escape(name),
                escape(&words(bare(name)))
            );
            for figure in &figures {
                let spread = figure.and_then(|of| of.spread());
                cell_of_rounds(page, figure.map(|of| of.shown()), spread);
            }
            for other in sides.iter().skip(1) {
                let ratio = rounds.ratio(name, sides[0], other);
                let spread = ratio.filter(|of| of.least < of.most);
                let spread = spread.map(|of| format!("{:.2}–{:.2}", of.least, of.most));
                cell_of_rounds(page, ratio.map(|of| format!("{:.2}", of.median)), spread);
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody></table></div>\n");
    }
    page.push_str("</div>\n");
}

fn bare(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, bare)| bare)
}

fn head(page: &mut String, title: &str, what: &str, sides: &[&str], ratios: bool) {
    let _ = write!(
        page,
        "<div class=\"card\"><h4>{}</h4><table>\n<thead><tr><th scope=\"col\">{what}</th>",
        escape(title)
    );
    for side in sides {
        let _ = write!(page, "<th class=\"n\" scope=\"col\">{}</th>", escape(side));
    }
    let (first, others) = sides
        .split_first()
        .map_or(("", sides), |(first, others)| (*first, others));
    for other in others.iter().filter(|_| ratios) {
        let name = escape(&format!("{first} ÷ {other}"));
        let _ = write!(page, "<th class=\"n\" scope=\"col\">{name}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
}

fn cell(page: &mut String, value: Option<String>) {
    let shown = value.unwrap_or_else(|| "–".to_owned());
    let _ = write!(page, "<td class=\"n\">{}</td>", escape(&shown));
}

/// A number, and below it from where to where its rounds went.
fn cell_of_rounds(page: &mut String, value: Option<String>, spread: Option<String>) {
    let Some(spread) = spread else {
        return cell(page, value);
    };
    let shown = value.unwrap_or_default();
    let _ = write!(
        page,
        "<td class=\"n\">{}<span class=\"spread\">{}</span></td>",
        escape(&shown),
        escape(&spread)
    );
}

/// Raw counts, CPU and memory by role, and the servers' own counters: a table for each stage.
pub(super) fn counted(page: &mut String, of: &Sides<'_>) {
    let names: Vec<&str> = of.each.iter().map(|(_, side)| &*side.name).collect();
    page.push_str("<div class=\"grid\">\n");
    for stage in &of.scenario.stages {
        let sides = of.each.iter();
        let of_sides: Vec<Option<&StageOutcome>> = sides
            .map(|(_, side)| side.stages.iter().find(|of| of.name == stage.name))
            .collect();
        let kinds: [(&str, Entries); 4] = [
            ("", |of| {
                let counts = of.counts.named().into_iter();
                let took = ("measured ms".to_owned(), whole(of.took_ms));
                std::iter::once(took)
                    .chain(counts.map(|(name, count)| (words(name), whole(count))))
                    .collect()
            }),
            ("CPU of ", |of| {
                let roles = of.cpu_us.iter();
                roles
                    .map(|(role, us)| (role.clone(), shown(*us, "µs")))
                    .collect()
            }),
            ("memory of ", |of| {
                let roles = of.memory_bytes.iter();
                roles
                    .map(|(role, b)| (role.clone(), shown(*b, "bytes")))
                    .collect()
            }),
            ("", |of| {
                let counters = of.server_counters.iter();
                counters
                    .map(|(name, of)| (name.clone(), number(*of)))
                    .collect()
            }),
        ];
        head(page, &stage.name, "Counted", &names, false);
        for (index, (prefix, entries)) in kinds.into_iter().enumerate() {
            let of_sides: Vec<Vec<(String, String)>> = of_sides
                .iter()
                .map(|of| of.map(entries).unwrap_or_default())
                .collect();
            let mut names: Vec<&String> = Vec::new();
            for (name, _) in of_sides.iter().flatten() {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            for (row, name) in names.into_iter().enumerate() {
                let group = if index > 0 && row == 0 {
                    " class=\"group\""
                } else {
                    ""
                };
                let shown = escape(&format!("{prefix}{name}"));
                let _ = write!(page, "<tr{group}><th scope=\"row\">{shown}</th>");
                for entries in &of_sides {
                    let found = entries.iter().find(|(known, _)| known == name);
                    cell(page, found.map(|(_, value)| value.clone()));
                }
                page.push_str("</tr>\n");
            }
        }
        page.push_str("</tbody></table></div>\n");
    }
    page.push_str("</div>\n");
}

/// Names and values of one kind of what a stage counted.
type Entries = fn(&StageOutcome) -> Vec<(String, String)>;

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn shown(value: u64, unit: &str) -> String {
    quantity(value as f64, unit)
}

fn whole(count: u64) -> String {
    // Below 100 `number` would show no decimals of a whole number either.
    shown(count, "")
}

/// The scenario as a file that repeats it.
pub(super) fn scenario(page: &mut String, outcome: &Outcome) {
    let text = toml::to_string(&outcome.scenario);
    let text = text.unwrap_or_else(|error| format!("cannot be written: {error}"));
    let _ = writeln!(
        page,
        "<h3>The scenario as a file</h3>\n<div class=\"card\"><pre>{}</pre></div>",
        escape(text.trim_end())
    );
}
