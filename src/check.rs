//! `rookery check`: is the data sound? In a cluster: can NATS and the database be used?

mod pieces;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use rookery_persistence::{CheckReport, SqliteStore};

pub(crate) use pieces::look as pieces;

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
    /// There is one.
    Looked {
        /// Where it is.
        path: PathBuf,
        /// What was found in it.
        report: CheckReport,
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
    Ok(Finding::Looked { path, report })
}

impl Finding {
    /// Whether the data may be served.
    pub(crate) fn is_sound(&self) -> bool {
        match self {
            Self::Nothing { .. } => true,
            Self::Looked { report, .. } => report.is_sound(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, report) = match self {
            Self::Nothing { path } => {
                return writeln!(f, "data: none yet, serve creates {}", path.display());
            }
            Self::Looked { path, report } => (path.display(), report),
        };
        let all = report.problems.len() as u64 + report.problems_more;
        match all {
            0 => writeln!(f, "data: {path} is sound")?,
            1 => writeln!(f, "data: {path} is NOT sound, 1 problem")?,
            many => writeln!(f, "data: {path} is NOT sound, {many} problems")?,
        }
        for problem in &report.problems {
            writeln!(f, "  {problem}")?;
        }
        if report.problems_more > 0 {
            writeln!(f, "  and {} more", report.problems_more)?;
        }
        write!(f, "  schema version {}", report.schema_version)?;
        if report.schema_outdated {
            f.write_str(" (the next start brings it up to date)")?;
        }
        let CheckReport {
            rooms,
            events,
            void_rows,
            ..
        } = report;
        writeln!(
            f,
            ", {rooms} rooms, {events} events, {void_rows} rows of takeovers that do not count"
        )
    }
}
