//! `compare`: two runs held against each other.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, builder::FalseyValueParser};
use rookery_loadtest::{
    compare::{Bounds, Colour, Comparison},
    outcome::Outcome,
    shown::utc,
};

use super::{BAD_INPUT, UNSOUND, complain};

pub(crate) const EXAMPLE: &str = "\
One run on a busy machine differs from the next by more than a tenth: measure both with `run --rounds 3`
or more. A regression whose rounds overlap with those of the other run says so.

Example, where CPU may grow by a tenth and a p99 by half:
  rookery-loadtest compare before.json after.json --max-regression 1.10 --figure ack_p99_us=1.5

Not judged unless named by --figure: maxima, and percentiles with fewer than ten values past them
(a p99.9 of less than 10,000 values, a p99 of less than 1,000).
Exit status: 0 no figure is past its bound, 1 some are, 64 bad arguments or files.";

#[derive(Args)]
pub(crate) struct Arguments {
    /// The result of the run that is the measure.
    #[arg(value_name = "A.json")]
    before: PathBuf,
    /// The result of the run that is judged.
    #[arg(value_name = "B.json")]
    after: PathBuf,
    /// How many times worse a figure of B may be, at least 1.
    #[arg(long, value_name = "RATIO", default_value = "1.10", value_parser = ratio)]
    max_regression: f64,
    /// The same for one figure: `STAGE/FIGURE=RATIO`, or `FIGURE=RATIO` for every stage's.
    #[arg(long = "figure", value_name = "NAME=RATIO", value_parser = named)]
    figures: Vec<(String, f64)>,
    /// Compare also when the scenarios differ.
    #[arg(long)]
    force: bool,
    /// No colours, also on a terminal.
    #[arg(long, env = "NO_COLOR", value_parser = FalseyValueParser::new())]
    no_color: bool,
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if ratio.is_finite() && ratio >= 1.0 {
        Ok(ratio)
    } else {
        Err(format!("{text} is not a ratio of at least 1"))
    }
}

fn named(text: &str) -> Result<(String, f64), String> {
    let (name, bound) = text
        .rsplit_once('=')
        .ok_or_else(|| format!("`{text}` is not NAME=RATIO"))?;
    Ok((name.to_owned(), ratio(bound)?))
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let (before, after) = match (
        Outcome::read(&arguments.before),
        Outcome::read(&arguments.after),
    ) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(error), _) | (_, Err(error)) => {
            complain(&error);
            return BAD_INPUT.into();
        }
    };
    let bounds = Bounds {
        all: arguments.max_regression,
        single: arguments.figures.clone(),
    };
    let comparison = match Comparison::new(&before, &after, &bounds, arguments.force) {
        Ok(comparison) => comparison,
        Err(error) => {
            complain(&error);
            return BAD_INPUT.into();
        }
    };
    let mut out = std::io::stdout().lock();
    let colour = if out.is_terminal() && !arguments.no_color {
        Colour::Ansi
    } else {
        Colour::Plain
    };
    // A closed pipe is the reader's wish.
    for (which, path, of) in [
        ("A", &arguments.before, &before),
        ("B", &arguments.after, &after),
    ] {
        let _ = writeln!(
            out,
            "{which}: {}: {}, {} UTC, {} with {} cores, load average {}",
            path.display(),
            of.scenario.name,
            utc(of.began_unix_ms),
            of.machine.processor,
            of.machine.cores,
            of.machine.load_average,
        );
    }
    let _ = write!(out, "{}", comparison.render(colour));
    if comparison.regressions().next().is_some() {
        UNSOUND.into()
    } else {
        ExitCode::SUCCESS
    }
}
