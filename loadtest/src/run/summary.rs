//! What a run measured, as a table for a terminal.

use std::{collections::BTreeMap, fmt};

use super::FLOOR;
use crate::{
    outcome::{Figure, Judged, LOAD, Outcome, RunFigures, StageOutcome},
    shown::{number, quantity, words},
};

/// Displays an outcome.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a>(pub &'a Outcome);

/// The figures of a stage that are shown, in this order; true: also when it is 0.
const SHOWN: [(&str, bool); 29] = [
    ("cpu_us_per_delivery", true),
    ("cpu_us_per_send", true),
    ("cpu_us_per_connect", true),
    ("deliveries_per_second", true),
    ("acks_per_second", true),
    ("lost", true),
    ("doubled", false),
    ("refused", false),
    ("failed", false),
    ("dropped", false),
    ("reset", false),
    ("bytes_per_room", true),
    ("ack_p50_us", true),
    ("ack_p99_us", true),
    ("ack_p999_us", true),
    ("all_p50_us", true),
    ("all_p99_us", true),
    ("all_p999_us", true),
    ("delivery_p50_us", true),
    ("delivery_p99_us", true),
    ("delivery_p999_us", true),
    ("connect_p50_us", true),
    ("connect_p99_us", true),
    ("whole_p50_us", true),
    ("whole_p99_us", true),
    ("whole_max_us", true),
    ("command_p50_us", true),
    ("command_p99_us", true),
    ("command_p999_us", true),
];
const CONNECT: [(&str, bool); 12] = [
    ("seconds", true),
    ("bytes_per_connection", true),
    ("bytes_per_connection_gateway", true),
    ("bytes_per_connection_node", true),
    ("bytes_per_connection_nats", true),
    ("bytes_per_connection_database", true),
    ("bytes_per_connection_kernel", true),
    ("bytes_per_connection_load", true),
    ("bytes_per_room_opened", true),
    ("bytes_per_room_asleep", true),
    ("bytes_per_room_cold", true),
    ("bytes_per_room_joined", true),
];
const NAME_WIDTH: usize = 31;
const VALUE_WIDTH: usize = 16;
/// Of `(1,234–5,678 µs)`.
const SPREAD_WIDTH: usize = 22;

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(outcome) = self;
        let scenario = &outcome.scenario;
        writeln!(f, "{}: {}", scenario.name, scenario.about)?;
        let machine = &outcome.machine;
        writeln!(
            f,
            "{} × {}, {}, load average {} before",
            machine.cores, machine.processor, machine.kernel, machine.load_average
        )?;
        let table = Table::new(outcome);
        for name in &table.names {
            let server = outcome.rounds_of(name).next().map(|side| &*side.server);
            writeln!(f, "{name}: {}", server.unwrap_or_default())?;
        }
        if table.rounds > 1 {
            writeln!(
                f,
                "{} rounds: medians, from the least to the most; ratios are of the same round",
                table.rounds
            )?;
        }
        table.heading(f, "connect")?;
        table.rows(f, "connect", &CONNECT)?;
        for stage in &scenario.stages {
            table.heading(f, &stage.name)?;
            table.rows(f, &stage.name, &SHOWN)?;
            for side in &outcome.sides {
                let found = side.stages.iter().find(|known| known.name == stage.name);
                let name = match table.rounds {
                    0 | 1 => side.name.clone(),
                    _ => format!("{} round {}", side.name, side.round),
                };
                if let Some(words) = found.and_then(by_role) {
                    writeln!(f, "  {name} CPU: {words}")?;
                }
                if let Some(words) = found.and_then(counted) {
                    writeln!(f, "  {name} counted: {words}")?;
                }
            }
        }
        if !outcome.bounds.is_empty() {
            writeln!(f)?;
        }
        outcome.bounds.iter().try_for_each(|bound| judged(f, bound))
    }
}

fn judged(f: &mut fmt::Formatter<'_>, bound: &Judged) -> fmt::Result {
    if let Some(why) = &bound.not_checked {
        return writeln!(f, "NOT CHECKED {}: {why}", bound.bound);
    }
    let verdict = if bound.holds { "holds " } else { "BROKEN" };
    let measured = bound
        .measured
        .map_or_else(|| "not measured".to_owned(), number);
    write!(f, "{verdict} {}: {measured}", bound.bound)?;
    if let Some([least, most]) = bound.spread {
        write!(f, " ({}–{})", number(least), number(most))?;
    }
    writeln!(f)
}

/// The figures as columns: a side each, with a column for the spread of several rounds, and the
/// ratio to the floor.
struct Table<'a> {
    names: Vec<&'a str>,
    rounds: usize,
    figures: RunFigures<'a>,
    /// Of each name.
    columns: Vec<BTreeMap<String, Figure>>,
    /// Whether there is a floor beside the first side.
    floor: bool,
}

impl<'a> Table<'a> {
    fn new(outcome: &'a Outcome) -> Self {
        let names = outcome.names();
        let figures = outcome.figures();
        Self {
            rounds: outcome.rounds().len(),
            columns: names.iter().map(|name| figures.of(name)).collect(),
            floor: names.iter().skip(1).any(|name| *name == FLOOR),
            figures,
            names,
        }
    }

    fn heading(&self, f: &mut fmt::Formatter<'_>, title: &str) -> fmt::Result {
        write!(f, "\n{title:<NAME_WIDTH$}")?;
        for name in &self.names {
            self.cell(f, name, "")?;
        }
        if self.floor {
            self.cell(f, "× floor", "")?;
        }
        writeln!(f)
    }

    /// A number, and behind it its spread.
    fn cell(&self, f: &mut fmt::Formatter<'_>, number: &str, spread: &str) -> fmt::Result {
        write!(f, "{number:>VALUE_WIDTH$}")?;
        if self.rounds > 1 {
            write!(f, " {spread:<SPREAD_WIDTH$}")?;
        }
        Ok(())
    }

    fn rows(&self, f: &mut fmt::Formatter<'_>, stage: &str, shown: &[(&str, bool)]) -> fmt::Result {
        for (bare, zero_too) in shown {
            let name = format!("{stage}/{bare}");
            let of_sides = || self.columns.iter().map(|figures| figures.get(&name));
            if of_sides().flatten().any(|it| *zero_too || it.value != 0.0) {
                self.row(f, &name, bare, of_sides())?;
            }
        }
        Ok(())
    }

    fn row<'b>(
        &self,
        f: &mut fmt::Formatter<'_>,
        name: &str,
        bare: &str,
        of_sides: impl Iterator<Item = Option<&'b Figure>>,
    ) -> fmt::Result {
        write!(f, "  {:<width$}", words(bare), width = NAME_WIDTH - 2)?;
        let in_parentheses = |spread: String| format!("({spread})");
        for figure in of_sides {
            let text = figure.map(Figure::shown).unwrap_or_default();
            let spread = figure.and_then(Figure::spread).map(in_parentheses);
            self.cell(f, &text, &spread.unwrap_or_default())?;
        }
        let first = self.names.first();
        let ratio = first.and_then(|first| self.figures.ratio(name, first, FLOOR));
        if let Some(ratio) = ratio.filter(|_| self.floor) {
            let spread = format!("({}–{})", number(ratio.least), number(ratio.most));
            let spread = if ratio.least < ratio.most {
                &*spread
            } else {
                ""
            };
            self.cell(f, &number(ratio.median), spread)?;
        }
        writeln!(f)
    }
}

/// Whose CPU it was, where a server is more than one kind of process.
#[expect(clippy::cast_precision_loss, reason = "numbers for people")]
fn by_role(stage: &StageOutcome) -> Option<String> {
    let servers = stage.cpu_us.iter().filter(|(role, _)| *role != LOAD);
    let whole = stage.server_cpu_us().max(1) as f64;
    let shares: Vec<String> = servers
        .map(|(role, cpu_us)| format!("{role} {:.0} %", *cpu_us as f64 / whole * 100.0))
        .collect();
    (shares.len() > 1).then(|| shares.join(", "))
}

/// What the server counted, where it tells: commits and reads of the store.
fn counted(stage: &StageOutcome) -> Option<String> {
    let counters = &stage.server_counters;
    if counters.is_empty() {
        return None;
    }
    let sum = |name: &str| -> f64 {
        let all = counters.iter().filter(|(key, _)| key.starts_with(name));
        // A sum of nothing would be -0.
        all.fold(0.0, |sum, (_, value)| sum + value)
    };
    let reads = sum("rookery_room_actors_store_reads_total");
    let mut words = format!("{} reads of the store", number(reads));
    let commits = sum("rookery_room_actors_commit_groups_total");
    if commits > 0.0 {
        let rows = sum("rookery_room_actors_commit_group_rows_count_sum");
        let seconds = sum("rookery_room_actors_commit_seconds_sum");
        words += &format!(
            ", {} commits of {} rows and {} each",
            number(commits),
            number(rows / commits),
            quantity(seconds / commits * 1e6, "µs"),
        );
    }
    let writes = sum("rookery_gateway_writes_total");
    if writes > 0.0 {
        let frames = sum("rookery_gateway_frames_sent_total");
        words += &format!(", {} frames a write", number(frames / writes));
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::synthetic;

    #[test]
    fn summary_has_each_side_its_ratio_and_broken_bounds() {
        let outcome = synthetic::outcome();
        let text = Summary(&outcome).to_string();
        for word in [
            "fanout: One room",
            "× floor",
            "CPU per delivery",
            "ack p99.9",
            "holds  50-a-second/lost",
            "BROKEN 50-a-second/cpu_us_per_delivery of rookery at most 1.2 × floor: 1.25 (1.22–1.31)",
            "NOT CHECKED 200-a-second/cpu_us_per_delivery",
        ] {
            assert!(text.contains(word), "{word} in\n{text}");
        }
        let cpu = "50-a-second/cpu_us_per_delivery";
        let of = |side: usize| outcome.sides[side].figures()[cpu].value;
        assert!(text.contains(&number(of(0) / of(1))), "{text}");
        assert!(!text.contains("rounds"), "{text}");
    }

    #[test]
    fn summary_of_rounds_has_medians_with_their_spread() {
        let outcome = synthetic::rounds(&[1.0, 2.0, 1.5]);
        let text = Summary(&outcome).to_string();
        let figures = outcome.figures().of("rookery");
        let cpu = figures["50-a-second/cpu_us_per_delivery"];
        let row = text.lines().find(|line| line.contains("CPU per delivery"));
        let row = row.unwrap();
        assert!(text.contains("3 rounds: medians"), "{text}");
        assert!(row.contains(&cpu.shown()), "{row}");
        assert!(
            row.contains(&format!("({})", cpu.spread().unwrap())),
            "{row}"
        );
        assert!(text.contains("rookery round 3 counted: "), "{text}");
    }
}
