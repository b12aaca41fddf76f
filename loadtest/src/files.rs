//! Files that the tool reads and writes whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}", path.display())]
pub struct FileError {
    /// `read` or `write`.
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> FileError {
    move |source| FileError {
        what,
        path: path.to_owned(),
        source,
    }
}

/// Reads a file of text.
pub(crate) fn read(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(failed("read", path))
}

/// Writes a file in place of what is there: whole or not at all.
pub(crate) fn replace(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), FileError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    written.map_err(failed("write", path))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn file_that_cannot_be_used_is_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none").join("a.json");
        for (error, what) in [
            (read(&path).unwrap_err(), "cannot read "),
            (replace(&path, "text").unwrap_err(), "cannot write "),
        ] {
            let words = error.to_string();
            assert!(
                words.starts_with(what) && words.ends_with("a.json"),
                "{words}"
            );
            assert!(error.source().is_some(), "{words}");
        }
    }

    #[test]
    fn file_that_is_replaced_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        replace(&path, "one, and long").unwrap();
        replace(&path, "two").unwrap();
        assert_eq!(read(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
