//! Moves pages from the write-ahead log into the database, beside the writer.
//!
//! SQLite's own way copies the whole log inside some unlucky commit. Here a second thread copies
//! while commits go on; what came meanwhile is little, and the writer copies it between two
//! transactions, after which the log begins again at its start.

use std::{
    io,
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
};

use rusqlite::Connection;

use super::Hold;
use crate::{limits, metrics};

/// Whether and by whom pages are to be copied now.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    /// By the other thread.
    Beside,
    /// By the writer, at once.
    Now,
}

#[derive(Clone, Copy)]
enum Mode {
    /// Only tells the numbers.
    Look,
    /// Copies what can be copied without waiting.
    Copy,
    /// Copies all, waiting for readers, and empties the log.
    Empty,
}

/// The writer's side.
#[derive(Debug)]
pub(super) struct Checkpoints {
    wake: SyncSender<()>,
}

impl Checkpoints {
    /// Starts the thread. It ends when this is dropped.
    pub(super) fn start(connection: Connection, hold: Hold) -> io::Result<Self> {
        let (wake, woken) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("sqlite-checkpoint".to_owned())
            .spawn(move || run(connection, &woken, hold))?;
        Ok(Self { wake })
    }

    /// Looks at the log between two transactions.
    pub(super) fn after_commit(&self, writer: &Connection) {
        let (pages, copied) = match checkpoint(writer, Mode::Look) {
            Ok(state) => state,
            Err(error) => return report(&error),
        };
        metrics::wal_pages(pages);
        match due(pages, copied) {
            Due::Nothing => {}
            // A full channel means that it has been woken already.
            Due::Beside => drop(self.wake.try_send(())),
            Due::Now => {
                if let Err(error) = checkpoint(writer, Mode::Copy) {
                    report(&error);
                }
            }
        }
    }
}

fn due(pages: u32, copied: u32) -> Due {
    match pages.saturating_sub(copied) {
        _ if pages < limits::SQLITE_WAL_PAGES => Due::Nothing,
        0 => Due::Nothing,
        1..=limits::SQLITE_WAL_REST_PAGES => Due::Now,
        _ if pages >= limits::SQLITE_WAL_PAGES_MAX => Due::Now,
        _ => Due::Beside,
    }
}

fn run(connection: Connection, woken: &Receiver<()>, hold: Hold) {
    while woken.recv().is_ok() {
        if let Err(error) = checkpoint(&connection, Mode::Copy) {
            report(&error);
        }
    }
    drop(connection);
    drop(hold);
}

/// Copies everything and empties the log; for a clean end.
pub(super) fn finish(writer: &Connection) {
    if let Err(error) = checkpoint(writer, Mode::Empty) {
        report(&error);
    }
}

/// Pages in the log, and how many of them are copied. Busy is no error: someone else copies.
fn checkpoint(connection: &Connection, mode: Mode) -> rusqlite::Result<(u32, u32)> {
    let sql = match mode {
        Mode::Look => "PRAGMA wal_checkpoint(NOOP)",
        Mode::Copy => "PRAGMA wal_checkpoint(PASSIVE)",
        Mode::Empty => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    connection.prepare_cached(sql)?.query_row([], |row| {
        let (pages, copied): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok((
            u32::try_from(pages).unwrap_or(0),
            u32::try_from(copied).unwrap_or(0),
        ))
    })
}

/// Nothing is lost: the pages stay in the log, and the next attempt copies them.
fn report(error: &rusqlite::Error) {
    tracing::warn!(error = %error, "pages were not copied from the write-ahead log");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_log_is_copied_beside_and_its_rest_at_once() {
        let soft = limits::SQLITE_WAL_PAGES;
        assert_eq!(due(soft - 1, 0), Due::Nothing);
        assert_eq!(due(soft, 0), Due::Beside);
        assert_eq!(due(soft + 100, soft), Due::Now);
        assert_eq!(due(soft + 100, soft + 100), Due::Nothing);
        assert_eq!(due(limits::SQLITE_WAL_PAGES_MAX, 0), Due::Now);
    }
}
