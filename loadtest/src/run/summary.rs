//! What a run measured, as a table for a terminal.

use std::{collections::BTreeMap, fmt};

use super::{FLOOR, processes::LOAD};
use crate::{
    outcome::{Figure, Outcome, Side, StageOutcome},
    shown::{number, quantity, words},
};

/// Displays an outcome.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a>(pub &'a Outcome);

/// The figures of a stage that are shown, in this order; true: also when it is 0.
const SHOWN: [(&str, bool); 28] = [
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
const CONNECT: [(&str, bool); 4] = [
    ("seconds", true),
    ("bytes_per_connection", true),
    ("bytes_per_connection_gateway", true),
    ("bytes_per_connection_node", true),
];
const NAME_WIDTH: usize = 26;
const VALUE_WIDTH: usize = 16;

type Figures = BTreeMap<String, Figure>;

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
        for side in &outcome.sides {
            writeln!(f, "{}: {}", side.name, side.server)?;
        }
        let figures: Vec<Figures> = outcome.sides.iter().map(Side::figures).collect();
        let floor = outcome.sides.iter().position(|side| side.name == FLOOR);
        let floor = floor.filter(|index| *index > 0);
        let heading = |f: &mut fmt::Formatter<'_>, title: &str| {
            write!(f, "\n{title:<NAME_WIDTH$}")?;
            for side in &outcome.sides {
                write!(f, "{:>VALUE_WIDTH$}", side.name)?;
            }
            if floor.is_some() {
                write!(f, "{:>VALUE_WIDTH$}", "× floor")?;
            }
            writeln!(f)
        };
        let rows = |f: &mut fmt::Formatter<'_>, stage: &str, shown: &[(&str, bool)]| {
            for (name, zero_too) in shown {
                row(f, &figures, &format!("{stage}/{name}"), *zero_too, floor)?;
            }
            Ok(())
        };
        heading(f, "connect")?;
        rows(f, "connect", &CONNECT)?;
        for stage in &scenario.stages {
            heading(f, &stage.name)?;
            rows(f, &stage.name, &SHOWN)?;
            for side in &outcome.sides {
                let found = side.stages.iter().find(|known| known.name == stage.name);
                if let Some(words) = found.and_then(by_role) {
                    writeln!(f, "  {} CPU: {words}", side.name)?;
                }
                if let Some(words) = found.and_then(counted) {
                    writeln!(f, "  {} counted: {words}", side.name)?;
                }
            }
        }
        if !outcome.bounds.is_empty() {
            writeln!(f)?;
        }
        for bound in &outcome.bounds {
            let verdict = if bound.holds { "holds " } else { "BROKEN" };
            let measured = bound
                .measured
                .map_or_else(|| "not measured".to_owned(), number);
            writeln!(f, "{verdict} {}: {measured}", bound.bound)?;
        }
        Ok(())
    }
}

fn row(
    f: &mut fmt::Formatter<'_>,
    sides: &[Figures],
    name: &str,
    zero_too: bool,
    floor: Option<usize>,
) -> fmt::Result {
    let of_sides: Vec<Option<&Figure>> = sides.iter().map(|figures| figures.get(name)).collect();
    let mut there = of_sides.iter().flatten();
    if !there.any(|figure| zero_too || figure.value != 0.0) {
        return Ok(());
    }
    let (_, bare) = name.split_once('/').unwrap_or(("", name));
    write!(f, "  {:<width$}", words(bare), width = NAME_WIDTH - 2)?;
    for figure in &of_sides {
        let text = figure.map_or_else(String::new, |it| quantity(it.value, it.unit));
        write!(f, "{text:>VALUE_WIDTH$}")?;
    }
    let own = of_sides.first().copied().flatten();
    let other = floor.and_then(|floor| of_sides[floor]);
    if let (Some(own), Some(other)) = (own, other)
        && other.value > 0.0
    {
        write!(f, "{:>VALUE_WIDTH$}", number(own.value / other.value))?;
    }
    writeln!(f)
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
            "BROKEN 50-a-second/cpu_us_per_delivery",
        ] {
            assert!(text.contains(word), "{word} in\n{text}");
        }
        let cpu = "50-a-second/cpu_us_per_delivery";
        let of = |side: usize| outcome.sides[side].figures()[cpu].value;
        assert!(text.contains(&number(of(0) / of(1))), "{text}");
    }
}
