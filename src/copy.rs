//! `rookery copy`: an embedded installation into a cluster's database, with its progress.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use rookery_persistence::{
    CopyProgress, CopyReport, CqlConfig, SqliteConfig, SqliteStore, Store as _, copy,
};

use crate::check::DATABASE_FILE;

/// Characters of the bar.
const BAR: u64 = 30;
/// How often the bar is drawn.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);
/// How often a line is written where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Copies and compares; returns lines for people.
///
/// # Errors
/// When there is nothing to copy, or it was not copied.
pub(crate) async fn run(data: &Path, target: CqlConfig) -> anyhow::Result<String> {
    let path = data.join(DATABASE_FILE);
    anyhow::ensure!(
        path.try_exists()?,
        "there is no database in {} (data)",
        data.display()
    );
    let keyspace = target.keyspace.clone();
    let now = SystemTime::UNIX_EPOCH.elapsed();
    let now_ms = now.context("the clock is before 1970")?.as_millis();
    let now_ms = u64::try_from(now_ms).context("the clock is far off")?;
    let source = SqliteStore::open(SqliteConfig::new(&path))?;
    let mut shown = Shown::new(io::stderr().is_terminal());
    let copied = copy::run(&source, target, now_ms, &mut |progress| {
        shown.show(progress)
    })
    .await;
    shown.end();
    source.close().await;
    Ok(told(&copied?, &path, &keyspace))
}

fn told(report: &CopyReport, path: &Path, keyspace: &str) -> String {
    let CopyReport {
        finished_before,
        resumed,
        rooms,
        log_rows,
        users,
    } = report;
    let path = path.display();
    if *finished_before {
        return format!("{path} was copied into {keyspace:?} before, nothing to do\n");
    }
    let went_on = if *resumed {
        " (went on with a copy begun before)"
    } else {
        ""
    };
    format!(
        "copied {path} into {keyspace:?}{went_on}\n\
         compared and equal: {rooms} rooms, {log_rows} events, {users} users\n"
    )
}

/// A bar on a terminal, else a line now and then.
struct Shown {
    terminal: bool,
    last: Option<(Instant, CopyProgress)>,
    drawn: bool,
}

impl Shown {
    const fn new(terminal: bool) -> Self {
        Self {
            terminal,
            last: None,
            drawn: false,
        }
    }

    fn show(&mut self, progress: CopyProgress) {
        let interval = match self.terminal {
            true => DRAW_INTERVAL,
            false => LINE_INTERVAL,
        };
        // The end of a step is always shown, once.
        let ended = progress.rows >= progress.rows_all;
        let due = self.last.is_none_or(|(at, shown)| {
            let ends = ended && shown.rows < progress.rows_all;
            at.elapsed() >= interval || shown.step != progress.step || ends
        });
        if !due {
            return;
        }
        self.last = Some((Instant::now(), progress));
        let mut error = io::stderr().lock();
        // That nobody reads it is no reason to stop.
        let _ = match self.terminal {
            true => write!(error, "\r{}\x1b[K", bar(progress)),
            false => writeln!(error, "{}", line(progress)),
        };
        let _ = error.flush();
        self.drawn = self.terminal;
    }

    /// Leaves the bar's line.
    fn end(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = writeln!(io::stderr().lock());
        }
    }
}

fn line(progress: CopyProgress) -> String {
    let CopyProgress {
        step,
        rows,
        rows_all,
        rooms,
    } = progress;
    format!("{step}: {rows} of {rows_all} events, {rooms} rooms")
}

fn bar(progress: CopyProgress) -> String {
    let (rows, all) = (
        progress.rows.min(progress.rows_all),
        progress.rows_all.max(1),
    );
    let filled = (rows * BAR / all) as usize;
    let rest = BAR as usize - filled;
    let percent = rows * 100 / all;
    format!(
        "[{}{}] {percent:3}% {}",
        "#".repeat(filled),
        " ".repeat(rest),
        line(progress)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rows: u64, rows_all: u64) -> CopyProgress {
        CopyProgress {
            step: "copying",
            rows,
            rows_all,
            rooms: 3,
        }
    }

    #[test]
    fn bar_fills_with_the_events() {
        for (rows, all, filled, percent) in [
            (0, 100, 0, "  0%"),
            (50, 100, 15, " 50%"),
            (100, 100, 30, "100%"),
            // Nothing to copy, and more than was expected.
            (0, 0, 0, "  0%"),
            (7, 5, 30, "100%"),
        ] {
            let drawn = bar(at(rows, all));
            assert_eq!(drawn.matches('#').count(), filled, "{drawn}");
            assert!(drawn.contains(percent), "{drawn}");
        }
    }

    #[test]
    fn copy_that_was_finished_before_says_so() {
        let report = CopyReport {
            finished_before: true,
            ..CopyReport::default()
        };
        let text = told(&report, Path::new("a.db"), "chat");
        assert_eq!(
            text,
            "a.db was copied into \"chat\" before, nothing to do\n"
        );
    }
}
