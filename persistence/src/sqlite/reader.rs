//! Two threads with a connection each, for reads.

use std::{
    io, iter,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Instant,
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{Hold, error::read_failed};
use crate::{StoreError, limits, metrics};

type Job = Box<dyn FnOnce(&Connection) + Send>;

enum Request {
    Read(Job),
    Close,
}

/// The way to the readers.
#[derive(Debug)]
pub(super) struct Readers {
    requests: mpsc::Sender<Request>,
}

impl Readers {
    /// Starts a thread for each connection.
    pub(super) fn start(connections: Vec<Connection>, hold: &Hold) -> io::Result<Self> {
        let (requests, queue) = mpsc::channel(limits::SQLITE_READS_WAITING_MAX);
        let queue = Arc::new(Mutex::new(queue));
        for (number, connection) in iter::zip(1.., connections) {
            let (queue, hold) = (Arc::clone(&queue), hold.clone());
            thread::Builder::new()
                .name(format!("sqlite-reader-{number}"))
                .spawn(move || run(connection, &queue, hold))?;
        }
        Ok(Self { requests })
    }

    /// Runs one read. Dropping the future does not stop a read that has begun.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, result) = oneshot::channel();
        let job = Box::new(move |connection: &Connection| {
            if !answer.is_closed() {
                // The caller may have gone meanwhile; then nobody wants the answer.
                drop(answer.send(read(connection)));
            }
        });
        self.requests
            .send(Request::Read(job))
            .await
            .map_err(|_| StoreError::Closed)?;
        result
            .await
            .map_err(|_| StoreError::Closed)?
            .map_err(|error| read_failed(what, error))
    }

    /// Lets the readers end after what is queued.
    pub(super) async fn close(&self) {
        // An error means that they have ended already.
        drop(self.requests.send(Request::Close).await);
    }
}

fn run(connection: Connection, queue: &Mutex<mpsc::Receiver<Request>>, hold: Hold) {
    while let Some(job) = next(queue) {
        let started = Instant::now();
        job(&connection);
        metrics::read_done(started.elapsed());
    }
    drop(connection);
    drop(hold);
}

/// The next read; `None` after the last. The lock is the place in line: its holder waits for the
/// queue, the other readers for the lock.
fn next(queue: &Mutex<mpsc::Receiver<Request>>) -> Option<Job> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        match queue.blocking_recv()? {
            Request::Read(job) => return Some(job),
            Request::Close => queue.close(),
        }
    }
}
