//! Long-lived tasks, started in one way.

use std::future::Future;

use tokio::task::JoinHandle;

/// What the end of a task means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Lives as long as one connection or one request; aborted with the runtime.
    Passing,
    /// Lives as long as the process; its end before shutdown is an error.
    Service,
}

/// Starts a task under a name. A panic in it is logged and counted, never silent.
#[expect(clippy::disallowed_methods, reason = "the one place that may")]
pub fn spawn<F>(kind: TaskKind, name: &'static str, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        let watch = PanicWatch { kind, name };
        future.await;
        drop(watch);
    })
}

/// Dropped by unwinding when the task panics.
struct PanicWatch {
    kind: TaskKind,
    name: &'static str,
}

impl Drop for PanicWatch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            crate::metrics::task_panicked(self.name);
            tracing::error!(task.name = self.name, task.kind = ?self.kind, "task panicked");
        }
    }
}
