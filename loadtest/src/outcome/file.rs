//! The file of a run: read, and written whole or not at all.

use std::path::Path;

use serde::Deserialize;

use super::{FORMAT, Outcome};
use crate::files::{self, FileError};

/// A result file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OutcomeError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// No result of a run.
    #[error("{path} is not a result of `run`")]
    Json {
        /// Which.
        path: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Of another version of the tool.
    #[error("{path} has format {found}; this tool reads format {FORMAT}")]
    Format {
        /// Which.
        path: String,
        /// Its format.
        found: u32,
    },
}

impl Outcome {
    /// Reads a result file.
    ///
    /// # Errors
    /// See [`OutcomeError`].
    pub fn read(path: &Path) -> Result<Self, OutcomeError> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let shown = || path.display().to_string();
        let text = files::read(path)?;
        let json = |source| OutcomeError::Json {
            path: shown(),
            source,
        };
        let Versioned { format } = serde_json::from_str(&text).map_err(json)?;
        if format != FORMAT {
            return Err(OutcomeError::Format {
                path: shown(),
                found: format,
            });
        }
        serde_json::from_str(&text).map_err(json)
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    ///
    /// # Panics
    /// Never: plain data can be JSON.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        files::replace(
            path,
            serde_json::to_vec(self).expect("plain data can be JSON"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::synthetic;

    #[test]
    fn a_file_of_before_there_were_rounds_has_one() {
        let mut value = serde_json::to_value(synthetic::outcome()).unwrap();
        for side in value["sides"].as_array_mut().unwrap() {
            side.as_object_mut().unwrap().remove("round").unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("before.json");
        std::fs::write(&path, value.to_string()).unwrap();
        let read = Outcome::read(&path).unwrap();
        assert_eq!(read.rounds().len(), 1);
        assert_eq!(read.names(), ["rookery", "floor"]);
    }
}
