//! Appends records.

use std::{
    borrow::Cow,
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{Header, HistoryError, Record, What};
use crate::limits::HISTORY_BUFFER_BYTES;

/// Appends records to a file or keeps them in memory; shared by all clients of a process.
///
/// Writes go through a bounded buffer under one lock; the lock also orders the time stamps. A
/// failed write is kept and told by [`HistoryWriter::finish`], so that recording never has to be
/// handled in the middle of a client.
#[derive(Debug)]
pub struct HistoryWriter {
    began: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    sink: Sink,
    failed: Option<HistoryError>,
    records: u64,
}

impl Inner {
    fn append(&mut self, record: Cow<'_, Record>) {
        self.records += 1;
        if self.failed.is_some() {
            return;
        }
        let outcome = match &mut self.sink {
            Sink::Memory(records) => {
                records.push(record.into_owned());
                Ok(())
            }
            Sink::File { path, file } => serde_json::to_writer(&mut *file, &*record)
                .map_err(std::io::Error::from)
                .and_then(|()| file.write_all(b"\n"))
                .map_err(|source| HistoryError::Io {
                    path: path.clone(),
                    source,
                }),
        };
        self.failed = outcome.err();
    }
}

#[derive(Debug)]
enum Sink {
    File {
        path: PathBuf,
        file: BufWriter<File>,
    },
    Memory(Vec<Record>),
}

impl HistoryWriter {
    /// Creates the file (an existing one is replaced) and writes its header.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(path: &Path, header: &Header) -> Result<Self, HistoryError> {
        let broken = |source| HistoryError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::create(path).map_err(broken)?;
        let mut file = BufWriter::with_capacity(HISTORY_BUFFER_BYTES, file);
        serde_json::to_writer(&mut file, header).map_err(|error| broken(error.into()))?;
        file.write_all(b"\n").map_err(broken)?;
        Ok(Self::with(Sink::File {
            path: path.to_owned(),
            file,
        }))
    }

    /// Keeps the records in memory, for tests: see [`HistoryWriter::into_records`].
    #[must_use]
    pub fn memory() -> Self {
        Self::with(Sink::Memory(Vec::new()))
    }

    fn with(sink: Sink) -> Self {
        Self {
            began: Instant::now(),
            inner: Mutex::new(Inner {
                sink,
                failed: None,
                records: 0,
            }),
        }
    }

    /// Appends what a client did or saw, stamped now.
    pub fn record(&self, client: u32, session: u32, what: What) {
        let mut inner = self.lock();
        let at = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        inner.append(Cow::Owned(Record {
            at,
            client,
            session,
            what,
        }));
    }

    /// Appends a record that has its time already.
    pub fn append(&self, record: &Record) {
        self.lock().append(Cow::Borrowed(record));
    }

    /// How many records there are.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.lock().records
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// This or an earlier write failed.
    pub fn finish(&self) -> Result<(), HistoryError> {
        let mut inner = self.lock();
        if let Some(failed) = inner.failed.take() {
            return Err(failed);
        }
        match &mut inner.sink {
            Sink::Memory(_) => Ok(()),
            Sink::File { path, file } => file.flush().map_err(|source| HistoryError::Io {
                path: path.clone(),
                source,
            }),
        }
    }

    /// The records kept in memory; none when they went to a file.
    #[must_use]
    pub fn into_records(self) -> Vec<Record> {
        let inner = self
            .inner
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        match inner.sink {
            Sink::Memory(records) => records,
            Sink::File { .. } => Vec::new(),
        }
    }

    /// A copy of the records kept in memory so far; none when they go to a file.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Record> {
        match &self.lock().sink {
            Sink::Memory(records) => records.clone(),
            Sink::File { .. } => Vec::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
