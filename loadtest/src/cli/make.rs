//! `make`: a right history of any length as a file, to see what judging one costs.

use std::{num::NonZeroU32, path::PathBuf, process::ExitCode};

use clap::Args;
use rookery_loadtest::{
    bench::MadeHistory,
    history::{Header, HistoryError, HistoryWriter},
};

use super::{BAD_INPUT, complain, say};

pub(crate) const EXAMPLE: &str = "Example:
  rookery-loadtest make --operations 1000000 --out made.jsonl
  rookery-loadtest check made.jsonl

Exit status: 0 written, 64 bad arguments or file.";

#[derive(Args)]
pub(crate) struct Arguments {
    /// Commands of all devices together; the file has some five lines for each.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    operations: u64,
    /// Rooms, each with three devices of two users.
    #[arg(long, default_value = "16")]
    rooms: NonZeroU32,
    /// Decides every choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The history file; replaced if it exists.
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match make(arguments) {
        Ok(records) => {
            say(&format!("{records} records in {}", arguments.out.display()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            BAD_INPUT.into()
        }
    }
}

fn make(arguments: &Arguments) -> Result<u64, HistoryError> {
    let Arguments {
        operations,
        rooms,
        seed,
        out,
    } = arguments;
    let header = Header::new([
        (
            "made".to_owned(),
            format!("{operations} operations in {rooms} rooms"),
        ),
        ("seed".to_owned(), seed.to_string()),
    ]);
    let history = HistoryWriter::create(out, &header)?;
    let made = MadeHistory {
        seed: *seed,
        rooms: rooms.get(),
        operations: *operations,
    };
    made.tell(&mut |record| history.append(record));
    history.finish()?;
    Ok(history.records())
}
