//! The one thread that writes: everything that waits becomes one transaction and one sync.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc as std_mpsc,
    },
    thread,
    time::Instant,
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{
    Hold,
    checkpoint::{self, Checkpoints},
    error::{Outcome, WriteError},
    statements::{Answer, Statements, WriteOp},
};
use crate::{StoreError, limits, metrics};

struct Write {
    op: WriteOp,
    answer: oneshot::Sender<Result<Answer, StoreError>>,
}

enum Request {
    Write(Write),
    Close,
}

/// The way to the writer thread.
#[derive(Debug)]
pub(super) struct Writer {
    requests: mpsc::Sender<Request>,
    transactions: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread, and returns when its statements are prepared.
    pub(super) fn start(
        connection: Connection,
        checkpoints: Checkpoints,
        hold: Hold,
    ) -> io::Result<Result<Self, rusqlite::Error>> {
        let (requests, queue) = mpsc::channel(limits::SQLITE_WRITES_WAITING_MAX);
        let (ready, is_ready) = std_mpsc::sync_channel(1);
        let transactions = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&transactions);
        thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || {
                match Statements::prepare(&connection) {
                    Ok(statements) => {
                        // The receiver waits for exactly this message.
                        drop(ready.send(Ok(())));
                        let commits = Committer {
                            statements,
                            connection: &connection,
                            transactions: &counter,
                            answers: Vec::new(),
                        };
                        run(queue, commits, &checkpoints);
                        checkpoint::finish(&connection);
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
                drop(checkpoints);
                drop(connection);
                drop(hold);
            })?;
        let prepared = is_ready.recv().map_err(io::Error::other)?;
        Ok(prepared.map(|()| Self {
            requests,
            transactions,
        }))
    }

    /// Queues one write and waits for the transaction it becomes part of.
    pub(super) async fn write(&self, op: WriteOp) -> Result<Answer, StoreError> {
        let what = op.what();
        let (answer, result) = oneshot::channel();
        let request = Request::Write(Write { op, answer });
        self.requests
            .send(request)
            .await
            .map_err(|_| StoreError::Closed)?;
        result.await.unwrap_or_else(|error| {
            // Only a panic of the thread drops an answer.
            Err(StoreError::Unknown {
                what,
                source: Box::new(error),
            })
        })
    }

    /// Lets the thread end after what is queued.
    pub(super) async fn close(&self) {
        // An error means that it has ended already.
        drop(self.requests.send(Request::Close).await);
    }

    /// Transactions committed so far.
    pub(super) fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }
}

fn run(
    mut queue: mpsc::Receiver<Request>,
    mut committer: Committer<'_>,
    checkpoints: &Checkpoints,
) {
    let mut group = Vec::new();
    while let Some(first) = queue.blocking_recv() {
        let waiting = queue.len();
        fill_group(&mut queue, first, &mut group);
        if group.is_empty() {
            continue;
        }
        metrics::writes_waiting(waiting);
        committer.commit_group(&mut group);
        checkpoints.after_commit(committer.connection);
    }
}

/// Takes what waits, up to the bounds of one transaction.
fn fill_group(queue: &mut mpsc::Receiver<Request>, first: Request, group: &mut Vec<Write>) {
    let (mut rows, mut bytes) = (0, 0);
    let mut next = Some(first);
    while let Some(request) = next {
        match request {
            Request::Write(write) => {
                let weight = write.op.weight();
                rows += weight.0;
                bytes += weight.1;
                group.push(write);
            }
            Request::Close => queue.close(),
        }
        let full = rows >= limits::SQLITE_GROUP_ROWS_MAX || bytes >= limits::SQLITE_GROUP_BYTES_MAX;
        next = if full { None } else { queue.try_recv().ok() };
    }
}

/// A transaction that failed.
struct Failure {
    error: Arc<WriteError>,
    outcome: Outcome,
}

struct Committer<'c> {
    statements: Statements<'c>,
    connection: &'c Connection,
    transactions: &'c AtomicU64,
    /// Reused between groups.
    answers: Vec<Answer>,
}

impl Committer<'_> {
    /// Commits a group and answers each of its writes; leaves the group empty.
    ///
    /// When one write is to blame, each is tried alone, so that it fails alone.
    fn commit_group(&mut self, group: &mut Vec<Write>) {
        match self.attempt(group) {
            Ok(()) => {
                for (write, answer) in group.drain(..).zip(self.answers.drain(..)) {
                    // The caller may have gone; the write is done all the same.
                    drop(write.answer.send(Ok(answer)));
                }
            }
            Err(failure) if group.len() > 1 && !failure.error.is_environmental() => {
                tracing::warn!(
                    error = %failure.error,
                    group.writes = group.len(),
                    "one write spoils its transaction, each goes alone"
                );
                for write in group.drain(..) {
                    self.commit_group(&mut vec![write]);
                }
            }
            Err(failure) => fail(group, &failure),
        }
    }

    /// One transaction. On `Ok` the answers stand beside their writes.
    fn attempt(&mut self, group: &[Write]) -> Result<(), Failure> {
        let started = Instant::now();
        self.answers.clear();
        let done = self.apply_all(group);
        if let Err(error) = done {
            self.leave_transaction();
            let outcome = Outcome::before_commit(&error);
            return Err(Failure {
                error: Arc::new(error),
                outcome,
            });
        }
        if let Err(error) = self.statements.commit() {
            self.leave_transaction();
            let outcome = Outcome::at_commit(&error);
            return Err(Failure {
                error: Arc::new(error.into()),
                outcome,
            });
        }
        self.transactions.fetch_add(1, Ordering::Relaxed);
        let rows = group.iter().map(|write| write.op.weight().0).sum();
        metrics::committed(group.len(), rows, started.elapsed());
        Ok(())
    }

    fn apply_all(&mut self, group: &[Write]) -> Result<(), WriteError> {
        self.leave_transaction();
        self.statements.begin()?;
        for write in group {
            let answer = self.statements.apply(&write.op)?;
            self.answers.push(answer);
        }
        Ok(())
    }

    /// Rolls back unless SQLite has done so itself.
    fn leave_transaction(&mut self) {
        if self.connection.is_autocommit() {
            return;
        }
        if let Err(error) = self.statements.rollback() {
            tracing::error!(error = %error, "a failed transaction could not be rolled back");
        }
    }
}

fn fail(group: &mut Vec<Write>, failure: &Failure) {
    metrics::commit_failed(failure.outcome.label());
    tracing::error!(
        error = %failure.error,
        outcome = failure.outcome.label(),
        group.writes = group.len(),
        "transaction failed"
    );
    for write in group.drain(..) {
        let answer = failure.outcome.answer(write.op.what(), &failure.error);
        drop(write.answer.send(Err(answer)));
    }
}
