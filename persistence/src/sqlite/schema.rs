//! Connections, their settings, and the numbered migrations.

use std::{fs::File, path::Path};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use super::OpenError;
use crate::limits;

/// Every migration, in order; the number of one is its place, counted from 1.
const MIGRATIONS: [&str; 1] = [include_str!("../../schema/sqlite/0001_init.sql")];
/// Marks a file as ours ("Rook"), so that no other program's database is changed.
const APPLICATION_ID: i32 = 0x526f_6f6b;

/// The newest schema this program knows.
pub(super) const VERSION: u32 = MIGRATIONS.len() as u32;

/// Opens or creates the database for writing and brings its schema up to date.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let failed = |source| OpenError::Database {
        path: path.to_owned(),
        source,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    settings(&connection, limits::SQLITE_WRITER_CACHE_KIB).map_err(failed)?;
    refuse_foreign(&connection, path)?;
    durable(&connection).map_err(failed)?;
    migrate(&mut connection, path)?;
    keep_name(path).map_err(|source| OpenError::Folder {
        path: path.to_owned(),
        source,
    })?;
    Ok(connection)
}

/// Opens a migrated database for reading.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let failed = |source| OpenError::Database {
        path: path.to_owned(),
        source,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    settings(&connection, limits::SQLITE_READER_CACHE_KIB).map_err(failed)?;
    Ok(connection)
}

/// Opens a second writing connection, which only moves pages from the log into the database.
pub(super) fn open_checkpointer(path: &Path) -> Result<Connection, OpenError> {
    let failed = |source| OpenError::Database {
        path: path.to_owned(),
        source,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    settings(&connection, limits::SQLITE_READER_CACHE_KIB).map_err(failed)?;
    durable(&connection).map_err(failed)?;
    Ok(connection)
}

/// No memory mapping: with it, an I/O error is a signal that ends the process.
fn settings(connection: &Connection, cache_kib: u32) -> rusqlite::Result<()> {
    connection.busy_timeout(limits::SQLITE_BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(&format!(
        "PRAGMA cache_size = -{cache_kib}; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;"
    ))
}

/// What an acknowledgement rests on. `fullfsync` matters on macOS only.
fn durable(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "PRAGMA page_size = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;
         PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = {};",
        limits::SQLITE_PAGE_BYTES,
        u64::from(limits::SQLITE_WAL_PAGES_MAX) * u64::from(limits::SQLITE_PAGE_BYTES),
    ))
}

/// Bounds the file to so many bytes, in whole pages of its own and at least one; `None`: to what
/// SQLite can.
pub(super) fn bound(connection: &Connection, bytes: Option<u64>) -> rusqlite::Result<()> {
    let most = u32::MAX - 1;
    let pages = match bytes {
        None => most,
        Some(bytes) => {
            let page: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            u32::try_from(bytes / u64::from(page)).map_or(most, |pages| pages.clamp(1, most))
        }
    };
    connection.pragma_update(None, "max_page_count", pages)
}

/// A new file has no application id and no tables; anything else must be ours.
fn refuse_foreign(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Database {
        path: path.to_owned(),
        source,
    };
    let id: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(failed)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    if id == APPLICATION_ID || (id == 0 && tables == 0) {
        Ok(())
    } else {
        Err(OpenError::Foreign {
            path: path.to_owned(),
        })
    }
}

/// The version of a database's schema; 0 for an empty file.
pub(super) fn version(connection: &Connection, path: &Path) -> Result<u32, OpenError> {
    refuse_foreign(connection, path)?;
    let found = connection
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_version'",
            [],
            |row| row.get::<_, i64>(0),
        )
        .and_then(|tables| match tables {
            0 => Ok(0),
            _ => connection.query_row("SELECT max(version) FROM schema_version", [], |row| {
                row.get::<_, u32>(0)
            }),
        })
        .map_err(|source| OpenError::Database {
            path: path.to_owned(),
            source,
        })?;
    if found > VERSION {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: VERSION,
        });
    }
    Ok(found)
}

/// Applies what is missing, each migration in a transaction of its own.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let found = version(connection, path)?;
    for (number, sql) in (1..).zip(MIGRATIONS).skip(found as usize) {
        apply(connection, number, sql).map_err(|source| OpenError::Migration {
            path: path.to_owned(),
            number,
            source,
        })?;
        tracing::info!(schema.version = number, "schema migrated");
    }
    Ok(())
}

fn apply(connection: &mut Connection, number: u32, sql: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if number == 1 {
        transaction.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID};
             CREATE TABLE schema_version (version INTEGER NOT NULL PRIMARY KEY,
                                          applied_ms INTEGER NOT NULL) STRICT;"
        ))?;
    }
    transaction.execute_batch(sql)?;
    transaction.execute(
        "INSERT INTO schema_version (version, applied_ms)
         VALUES (?1, CAST(unixepoch('subsec') * 1000 AS INTEGER))",
        params![number],
    )?;
    transaction.commit()
}

/// A new file survives a crash only when its name does.
fn keep_name(path: &Path) -> std::io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_rest_on_synced_commits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        let connection = open_writer(&path).unwrap();
        let number = |name: &str| -> i64 {
            connection
                .pragma_query_value(None, name, |row| row.get(0))
                .unwrap()
        };
        let full = 2;
        assert_eq!(number("synchronous"), full);
        assert_eq!(number("page_size"), i64::from(limits::SQLITE_PAGE_BYTES));
        assert_eq!(number("wal_autocheckpoint"), 0);
        let mode: String = connection
            .pragma_query_value(None, "journal_mode", |row| row.get(0))
            .unwrap();
        assert_eq!(mode, "wal");
    }

    #[test]
    fn file_with_other_pages_keeps_them_and_is_bounded_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        let made = Connection::open(&path).unwrap();
        made.execute_batch(
            "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL;
             CREATE TABLE first (it INTEGER); DROP TABLE first;",
        )
        .unwrap();
        drop(made);
        let connection = open_writer(&path).unwrap();
        let number = |name: &str| -> i64 {
            connection
                .pragma_query_value(None, name, |row| row.get(0))
                .unwrap()
        };
        assert_eq!(number("page_size"), 8_192);
        bound(&connection, Some(1024 * 1024)).unwrap();
        assert_eq!(number("max_page_count"), 128);
        bound(&connection, None).unwrap();
        assert_eq!(number("max_page_count"), i64::from(u32::MAX - 1));
    }

    #[test]
    fn reader_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        let _writer = open_writer(&path).unwrap();
        let reader = open_reader(&path).unwrap();
        let error = reader.execute("DELETE FROM nodes", []).unwrap_err();
        assert_eq!(
            error.sqlite_error_code(),
            Some(rusqlite::ErrorCode::ReadOnly)
        );
    }
}
