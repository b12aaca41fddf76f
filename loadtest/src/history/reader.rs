//! Reads records back, one at a time.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use super::{Header, HistoryError, Record, VERSION};
use crate::limits::{HISTORY_BUFFER_BYTES, HISTORY_LINE_BYTES_MAX};

/// Reads a history file record by record, in memory of one line.
#[derive(Debug)]
pub struct HistoryReader {
    path: PathBuf,
    file: BufReader<File>,
    header: Header,
    line_number: u64,
    line: Vec<u8>,
    line_bytes_max: u64,
    torn: bool,
    ended: bool,
}

impl HistoryReader {
    /// Opens the file and reads its header.
    ///
    /// # Errors
    /// It cannot be read or is no history of this version.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        Self::open_bounded(path, HISTORY_LINE_BYTES_MAX)
    }

    /// As [`HistoryReader::open`], of a file whose lines have at most so many bytes.
    pub(super) fn open_bounded(path: &Path, line_bytes_max: u64) -> Result<Self, HistoryError> {
        let file = File::open(path).map_err(|source| HistoryError::Io {
            path: path.to_owned(),
            source,
        })?;
        let mut reader = Self {
            path: path.to_owned(),
            file: BufReader::with_capacity(HISTORY_BUFFER_BYTES, file),
            header: Header::new([]),
            line_number: 0,
            line: Vec::new(),
            line_bytes_max,
            torn: false,
            ended: false,
        };
        let no_header = || HistoryError::NoHeader(path.to_owned());
        if !reader.read_line()? || reader.torn {
            return Err(no_header());
        }
        reader.header = serde_json::from_slice(&reader.line).map_err(|_| no_header())?;
        if reader.header.version != VERSION {
            return Err(HistoryError::Version {
                path: path.to_owned(),
                version: reader.header.version,
            });
        }
        Ok(reader)
    }

    /// The file's header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the last line was cut in the middle, and so not read. Known once all is read.
    #[must_use]
    pub fn torn(&self) -> bool {
        self.torn
    }

    /// Reads one line into `self.line`; false at the end of the file.
    fn read_line(&mut self) -> Result<bool, HistoryError> {
        self.line.clear();
        let read = self
            .file
            .by_ref()
            .take(self.line_bytes_max + 1)
            .read_until(b'\n', &mut self.line)
            .map_err(|source| HistoryError::Io {
                path: self.path.clone(),
                source,
            })?;
        self.line_number += 1;
        let whole = self.line.last() == Some(&b'\n');
        if !whole && read as u64 > self.line_bytes_max {
            return Err(HistoryError::LongLine {
                path: self.path.clone(),
                line: self.line_number,
                bytes_max: self.line_bytes_max,
            });
        }
        self.torn = read > 0 && !whole;
        Ok(read > 0)
    }
}

impl Iterator for HistoryReader {
    type Item = Result<Record, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.read_line() {
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
            Ok(false) => {
                self.ended = true;
                None
            }
            // A line is whole only with its line end: a cut number would still parse.
            Ok(true) if self.torn => {
                self.ended = true;
                None
            }
            Ok(true) => Some(serde_json::from_slice(&self.line).map_err(|source| {
                self.ended = true;
                HistoryError::Line {
                    path: self.path.clone(),
                    line: self.line_number,
                    source,
                }
            })),
        }
    }
}
