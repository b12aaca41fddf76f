//! `rookery check`: is the data sound?

use std::path::{Path, PathBuf};

use rookery_persistence::SqliteStore;

/// The database in the data folder.
pub(crate) const DATABASE_FILE: &str = "rookery.db";

/// What was found.
#[derive(Debug)]
pub(crate) enum Finding {
    /// There is no database yet; `serve` creates it.
    Nothing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It is sound.
    Sound {
        /// Where it is.
        path: PathBuf,
    },
    /// It is not.
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// One line each.
        problems: Vec<String>,
    },
}

/// Looks at the database in a data folder that no process serves from.
///
/// # Errors
/// When it cannot be looked at: not readable, in use, of another version.
pub(crate) fn data(folder: &Path) -> anyhow::Result<Finding> {
    let path = folder.join(DATABASE_FILE);
    if !path.try_exists()? {
        return Ok(Finding::Nothing { path });
    }
    let report = SqliteStore::check(&path)?;
    if report.problems.is_empty() {
        Ok(Finding::Sound { path })
    } else {
        Ok(Finding::Damaged {
            path,
            problems: report.problems,
        })
    }
}
