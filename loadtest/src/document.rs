//! What people write for the tool in TOML, scenarios and plans: built in by name, or a file.

use std::{borrow::Cow, fmt, path::Path};

use crate::files::{self, FileError};

/// A document cannot be used. `kind` is what it should be: a `scenario`, a `plan`.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Neither built in nor a file.
    #[error("no {kind} `{name}`: built in are {built_in}, or give a path to a TOML file")]
    Unknown {
        /// Of what kind.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// The names there are.
        built_in: String,
    },
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// No TOML, an unknown key, or a value of the wrong type.
    #[error("{kind} {name}: {message}")]
    Syntax {
        /// Of what kind.
        kind: &'static str,
        /// Which.
        name: String,
        /// What toml says, with line and key.
        message: String,
    },
    /// Values that cannot be, or do not go together; all of them at once.
    #[error("{kind} {name}: {}", problems.join("; "))]
    Values {
        /// Of what kind.
        kind: &'static str,
        /// Which.
        name: String,
        /// Each names its key.
        problems: Vec<String>,
    },
}

/// A document that is being read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Document<'a> {
    pub(crate) kind: &'static str,
    /// Of one that is built in, or the path of a file.
    pub(crate) name: &'a str,
}

impl Document<'_> {
    /// Its text.
    pub(crate) fn text(
        &self,
        built_in: &[(&'static str, &'static str)],
    ) -> Result<Cow<'static, str>, DocumentError> {
        let path = Path::new(self.name);
        match built_in.iter().find(|(name, _)| *name == self.name) {
            Some((_, text)) => Ok((*text).into()),
            None if path.exists() => Ok(files::read(path)?.into()),
            None => {
                let names: Vec<&str> = built_in.iter().map(|(name, _)| *name).collect();
                Err(DocumentError::Unknown {
                    kind: self.kind,
                    name: self.name.to_owned(),
                    built_in: names.join(", "),
                })
            }
        }
    }

    /// It is no such document.
    pub(crate) fn syntax(&self, message: &dyn fmt::Display) -> DocumentError {
        DocumentError::Syntax {
            kind: self.kind,
            name: self.name.to_owned(),
            message: message.to_string(),
        }
    }

    /// The document, unless there are problems with its values.
    pub(crate) fn checked<T>(&self, read: T, problems: Vec<String>) -> Result<T, DocumentError> {
        if problems.is_empty() {
            return Ok(read);
        }
        Err(DocumentError::Values {
            kind: self.kind,
            name: self.name.to_owned(),
            problems,
        })
    }
}
