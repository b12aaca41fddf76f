//! What SQLite's errors mean to a caller.

use std::sync::Arc;

use rusqlite::{Error, ErrorCode};

use crate::StoreError;

/// Why a write was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] Error),
    /// We refused.
    #[error("{0}")]
    Refused(String),
}

impl WriteError {
    /// Whether it is about the machine or the file, so that no single write is to blame.
    pub(super) fn is_environmental(&self) -> bool {
        match self {
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::DiskFull
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::ReadOnly
                        | ErrorCode::DatabaseBusy
                        | ErrorCode::DatabaseLocked
                        | ErrorCode::DatabaseCorrupt
                        | ErrorCode::NotADatabase
                        | ErrorCode::OutOfMemory
                        | ErrorCode::CannotOpen
                        | ErrorCode::PermissionDenied
                )
            ),
            Self::Refused(_) => false,
        }
    }
}

/// What is known of a transaction that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing of it is or ever will be in the file.
    NotDone,
    /// Likewise, as the disk is full or the file as large as it may be.
    Full,
    /// It may or may not be there when the file is opened again.
    Unknown,
    /// The file is damaged.
    Corrupt,
}

impl Outcome {
    /// Of an error before `COMMIT`: the transaction is rolled back.
    pub(super) fn before_commit(error: &WriteError) -> Self {
        match error {
            WriteError::Sqlite(error) if is_corrupt(error) => Self::Corrupt,
            WriteError::Sqlite(error) if is_full(error) => Self::Full,
            WriteError::Sqlite(_) | WriteError::Refused(_) => Self::NotDone,
        }
    }

    /// Of an error at `COMMIT`: when it is about I/O, the commit record may have reached the disk.
    pub(super) fn at_commit(error: &Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::ReadOnly
                | ErrorCode::ConstraintViolation,
            ) => Self::NotDone,
            _ if is_corrupt(error) => Self::Corrupt,
            _ => Self::Unknown,
        }
    }

    /// Its label in metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::NotDone => "not_done",
            Self::Full => "full",
            Self::Unknown => "unknown",
            Self::Corrupt => "corrupt",
        }
    }

    /// The answer to one of the writes of the transaction.
    pub(super) fn answer(self, what: &'static str, error: &Arc<WriteError>) -> StoreError {
        let source = Box::new(Arc::clone(error));
        match self {
            Self::NotDone => StoreError::Failed { what, source },
            Self::Full => StoreError::Full { what, source },
            Self::Unknown => StoreError::Unknown { what, source },
            Self::Corrupt => StoreError::Corrupt {
                what: format!("{what}: {error}"),
            },
        }
    }
}

/// The answer to a read.
pub(super) fn read_failed(what: &'static str, error: Error) -> StoreError {
    if is_corrupt(&error) {
        StoreError::Corrupt {
            what: format!("{what}: {error}"),
        }
    } else {
        StoreError::Failed {
            what,
            source: Box::new(error),
        }
    }
}

fn is_full(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// Damage of the file, or a value in it that we never wrote.
fn is_corrupt(error: &Error) -> bool {
    match error {
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..) => true,
        _ => matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn sqlite(code: i32) -> Error {
        Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn only_io_errors_at_commit_leave_the_outcome_unknown() {
        let outcomes = [
            (ffi::SQLITE_FULL, Outcome::Full),
            (ffi::SQLITE_BUSY, Outcome::NotDone),
            (ffi::SQLITE_READONLY, Outcome::NotDone),
            (ffi::SQLITE_IOERR_FSYNC, Outcome::Unknown),
            (ffi::SQLITE_IOERR_WRITE, Outcome::Unknown),
            (ffi::SQLITE_NOMEM, Outcome::Unknown),
            (ffi::SQLITE_CORRUPT, Outcome::Corrupt),
            (ffi::SQLITE_NOTADB, Outcome::Corrupt),
        ];
        for (code, outcome) in outcomes {
            assert_eq!(Outcome::at_commit(&sqlite(code)), outcome, "code {code}");
        }
    }

    #[test]
    fn io_error_before_commit_is_not_done() {
        let error = WriteError::Sqlite(sqlite(ffi::SQLITE_IOERR_READ));
        assert!(error.is_environmental());
        assert_eq!(Outcome::before_commit(&error), Outcome::NotDone);
        let error = WriteError::Sqlite(sqlite(ffi::SQLITE_CORRUPT_VTAB));
        assert_eq!(Outcome::before_commit(&error), Outcome::Corrupt);
    }

    #[test]
    fn answer_names_operation_and_keeps_the_cause() {
        let error = Arc::new(WriteError::Sqlite(sqlite(ffi::SQLITE_FULL)));
        assert_eq!(Outcome::before_commit(&error), Outcome::Full);
        let answer = Outcome::Full.answer("commit", &error);
        assert_eq!(answer.to_string(), "storage full: commit");
        let source = std::error::Error::source(&answer).unwrap();
        assert!(source.to_string().contains("full"), "{source}");
    }
}
