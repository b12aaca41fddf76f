//! `report`: results as a page.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use rookery_loadtest::{
    outcome::{Outcome, OutcomeError},
    report,
};

use super::{BAD_INPUT, UNSOUND, complain, say};

pub(crate) const EXAMPLE: &str = "Example:
  rookery-loadtest run fanout --against floor --rounds 3 --out fanout.json
  rookery-loadtest report fanout.json idle.json --out report.html

Exit status: 0 written, 1 it cannot be written, 64 a file is no result of `run`.";

#[derive(Args)]
pub(crate) struct Arguments {
    /// Results of `run`, shown one after the other.
    #[arg(value_name = "RUN.json", required = true)]
    runs: Vec<PathBuf>,
    /// The page; replaced if it exists.
    #[arg(long, value_name = "FILE.html")]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let runs = match outcomes(&arguments.runs) {
        Ok(runs) => runs,
        Err(error) => {
            complain(&error);
            return BAD_INPUT.into();
        }
    };
    match report::write(&runs, &arguments.out) {
        Ok(()) => {
            say(&format!("report in {}", arguments.out.display()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            UNSOUND.into()
        }
    }
}

/// Result files with their names; the folder is of this machine alone.
pub(super) fn outcomes(paths: &[PathBuf]) -> Result<Vec<(String, Outcome)>, OutcomeError> {
    let read = |path: &PathBuf| {
        let name = path.file_name().unwrap_or(path.as_os_str());
        Ok((name.to_string_lossy().into_owned(), Outcome::read(path)?))
    };
    paths.iter().map(read).collect()
}
