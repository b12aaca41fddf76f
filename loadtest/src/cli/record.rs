//! `record` and `check`: a random workload, its history, and the judgement.

use std::{
    fs,
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::{self, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use rookery_loadtest::{
    checker::{self, Report},
    client::ServerAddress,
    history::{Header, HistoryWriter},
    server::peak_memory_bytes,
    shown::number,
    workload::{Progress, Workload},
};

use super::{BAD_INPUT, SECONDS_MAX, UNSOUND, complain, count, say, size};

pub(crate) const EXAMPLE: &str = "Example, with `rookery serve --dev` on port 8080:
  rookery-loadtest record --url http://127.0.0.1:8080 --clients 50 --operations 20000 --out run.jsonl

Exit status: 0 sound, 1 not sound or the run failed, 64 bad arguments.";
pub(crate) const CHECK_EXAMPLE: &str = "Example:
  rookery-loadtest check run.jsonl

Exit status: 0 sound, 1 not sound, 64 no history file.";
/// How often the progress line is drawn.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

#[derive(Args)]
pub(crate) struct Arguments {
    /// Where the server is: `http://HOST:PORT`. It must accept development logins by name.
    #[arg(long)]
    url: ServerAddress,
    /// Decides every random choice; printed, so that a run can be repeated.
    #[arg(long)]
    seed: Option<u64>,
    /// Connections.
    #[arg(long, default_value_t = 20, value_parser = count())]
    clients: u32,
    /// Users; fewer than clients: some have several devices. 0: as many as clients.
    #[arg(long, default_value_t = 0)]
    users: u32,
    /// Rooms, each joined by all clients.
    #[arg(long, default_value_t = 3, value_parser = count())]
    rooms: u32,
    /// Commands of all clients together.
    #[arg(long, default_value_t = 5_000)]
    operations: u64,
    /// Commands one client has in flight at most.
    #[arg(long, default_value_t = 8, value_parser = size())]
    in_flight: usize,
    /// Seconds all of it may take.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    deadline: u64,
    /// The history file; replaced if it exists.
    #[arg(long)]
    out: PathBuf,
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
pub(crate) fn check(history: &Path) -> ExitCode {
    let began = Instant::now();
    match checker::check_file(history) {
        Ok(report) => {
            let bytes = fs::metadata(history).map_or(0, |file| file.len());
            let lines = report.totals.records + 1;
            say(&format!(
                "judged {} lines of {} bytes each in {:.1} s, with at most {} MiB of memory",
                number(lines as f64),
                bytes / lines,
                began.elapsed().as_secs_f64(),
                peak_memory_bytes(process::id()).unwrap_or_default() >> 20
            ));
            verdict(&report)
        }
        Err(error) => {
            complain(&error);
            BAD_INPUT.into()
        }
    }
}

pub(crate) async fn run(arguments: Arguments) -> ExitCode {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(0..1 << 32));
    let workload = Workload {
        seed,
        clients: arguments.clients,
        users: arguments.users,
        rooms: arguments.rooms,
        operations: arguments.operations,
        in_flight_max: arguments.in_flight,
        // The seed repeats the choices; rooms are new each time, also on the same server.
        prefix: format!("load-{seed}-{:04x}", fastrand::u16(..)),
        watched: true,
        deadline: Duration::from_secs(arguments.deadline),
        ..Workload::default()
    };
    let header = Header::new([
        ("seed".to_owned(), seed.to_string()),
        ("workload".to_owned(), format!("{workload:?}")),
    ]);
    let history = match HistoryWriter::create(&arguments.out, &header) {
        Ok(history) => Arc::new(history),
        Err(error) => {
            complain(&error);
            return BAD_INPUT.into();
        }
    };
    say(&format!(
        "seed {seed}, history in {}",
        arguments.out.display()
    ));
    let progress = Arc::new(Progress::default());
    let ran = watch(&workload, &arguments.url, &history, &progress).await;
    if let Err(error) = history.finish() {
        complain(&error);
        return UNSOUND.into();
    }
    match ran {
        Err(error) => {
            complain(&error);
            say("the history up to here is kept; without final logs it cannot be judged");
            UNSOUND.into()
        }
        Ok(outcome) => {
            for line in &outcome.unsettled {
                say(line);
            }
            say(&format!("ran for {:.1} s", outcome.elapsed.as_secs_f64()));
            check(&arguments.out)
        }
    }
}

/// Runs the workload with a progress line: redrawn on a terminal, else one line at the end.
async fn watch(
    workload: &Workload,
    server: &ServerAddress,
    history: &Arc<HistoryWriter>,
    progress: &Arc<Progress>,
) -> Result<rookery_loadtest::workload::Outcome, rookery_loadtest::workload::RunError> {
    let running = workload.run(server, history, progress);
    tokio::pin!(running);
    let mut drawing = tokio::time::interval(PROGRESS_INTERVAL);
    let live = std::io::stderr().is_terminal();
    loop {
        tokio::select! {
            outcome = &mut running => {
                say(&format!("{}{progress}", if live { "\r\x1b[K" } else { "" }));
                return outcome;
            }
            _ = drawing.tick(), if live => {
                let mut terminal = std::io::stderr().lock();
                let _ = write!(terminal, "\r\x1b[K{progress}");
                let _ = terminal.flush();
            }
        }
    }
}

fn verdict(report: &Report) -> ExitCode {
    // A closed pipe is the reader's wish.
    let _ = writeln!(std::io::stdout(), "{report}");
    if report.is_sound() {
        ExitCode::SUCCESS
    } else {
        UNSOUND.into()
    }
}
