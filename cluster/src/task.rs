//! Long-lived tasks, started in one way.

use std::{future::Future, sync::LazyLock};

use tokio::{sync::watch, task::JoinHandle};

/// The last service of this process that panicked.
static FAILED: LazyLock<watch::Sender<Option<&'static str>>> =
    LazyLock::new(|| watch::Sender::new(None));

/// What the end of a task means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Lives as long as one connection or one request; aborted with the runtime.
    Passing,
    /// Lives as long as what it serves; when it panics the process is no longer whole, and
    /// [`failed_service`] tells who started it.
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

/// The name of a service that panicked, once one did: the process should stop and be started anew.
#[must_use]
pub fn failed_service() -> watch::Receiver<Option<&'static str>> {
    FAILED.subscribe()
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
            match self.kind {
                TaskKind::Service => drop(FAILED.send_replace(Some(self.name))),
                TaskKind::Passing => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_of_a_service_is_told_and_one_of_a_passing_task_is_not() {
        let mut failed = failed_service();
        let passing = spawn(TaskKind::Passing, "passing", async { panic!("on purpose") });
        assert!(passing.await.is_err());
        assert_eq!(*failed.borrow_and_update(), None);
        let service = spawn(TaskKind::Service, "service", async { panic!("on purpose") });
        assert!(service.await.is_err());
        assert_eq!(*failed.borrow_and_update(), Some("service"));
    }
}
