//! Taking connections in.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rookery_cluster::task::{TaskKind, spawn};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{
    HttpShared,
    connection::{self, OpenHttp, close, stopped},
    limits, metrics,
};

/// Why the address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}")]
pub(crate) struct BindError {
    /// The address asked for.
    pub(crate) addr: SocketAddr,
    #[source]
    source: io::Error,
}

/// Opens the listener. Accepted sockets inherit its `TCP_NODELAY`. Must be called in a runtime.
///
/// # Errors
/// [`BindError`] when the address is taken, not ours, or not allowed.
pub(crate) fn bind(addr: SocketAddr) -> Result<TcpListener, BindError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(limits::BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|source| BindError { addr, source })
}

/// Accepts until `stop` is true or its sender gone; connections that are still HTTP then finish
/// the request at hand. Sessions are not concerned.
pub(crate) async fn serve(
    listener: TcpListener,
    shared: Arc<HttpShared>,
    mut stop: watch::Receiver<bool>,
) {
    warn_if_files_are_few(shared.connections_max);
    let mut failures = Failures::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                failures.end();
                take_in(stream, peer, &shared, &stop);
            }
            Err(error) => {
                let pause = failures.add(&error);
                tokio::select! {
                    biased;
                    () = stopped(&mut stop) => return,
                    () = sleep(pause) => {}
                }
            }
        }
    }
}

fn take_in(
    stream: TcpStream,
    peer: SocketAddr,
    shared: &Arc<HttpShared>,
    stop: &watch::Receiver<bool>,
) {
    metrics::accepted();
    match OpenHttp::acquire(shared) {
        Some(open) => {
            let serving = connection::run(stream, peer, open, stop.clone());
            spawn(TaskKind::Passing, "http connection", serving);
        }
        None => refuse(stream, shared),
    }
}

/// Tells a client that the server is full, unless too many are being told already.
fn refuse(stream: TcpStream, shared: &Arc<HttpShared>) {
    metrics::refused();
    let refusing = Refusing::new(Arc::clone(shared));
    if refusing.others >= limits::REFUSING_MAX {
        return;
    }
    spawn(TaskKind::Passing, "http refusal", async move {
        tell_full(stream).await;
        drop(refusing);
    });
}

/// Answers 503 without reading the request.
async fn tell_full(mut stream: TcpStream) {
    let body = r#"{"error":{"code":"OVERLOADED","message":"the server is full"}}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nRetry-After: {}\r\nConnection: close\r\n\r\n{body}",
        body.len(),
        limits::RETRY_AFTER_S
    );
    // A fresh socket has room for it: a failure says that the client is gone.
    if stream.write_all(answer.as_bytes()).await.is_ok() {
        close(stream).await;
    }
}

/// Counts a refusal under way.
struct Refusing {
    shared: Arc<HttpShared>,
    others: usize,
}

impl Refusing {
    fn new(shared: Arc<HttpShared>) -> Self {
        let others = shared.refusing.fetch_add(1, Ordering::Relaxed);
        Self { shared, others }
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        self.shared.refusing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A run of failed accepts: logged once when it begins and once when it ends.
#[derive(Default)]
struct Failures {
    count: u64,
}

impl Failures {
    /// How long to pause after this one.
    fn add(&mut self, error: &io::Error) -> Duration {
        metrics::accept_failed();
        // The client gave up while it waited for us: nothing is wrong here.
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
        ) {
            return Duration::ZERO;
        }
        if self.count == 0 {
            tracing::error!(error = error as &dyn std::error::Error, "accept failed");
        }
        let doublings = u32::try_from(self.count.min(16)).expect("at most 16");
        self.count += 1;
        (limits::ACCEPT_BACKOFF_MIN * 2_u32.pow(doublings)).min(limits::ACCEPT_BACKOFF_MAX)
    }

    fn end(&mut self) {
        if self.count > 0 {
            tracing::info!(accept.failures = self.count, "accept works again");
            self.count = 0;
        }
    }
}

/// The bound on connections means nothing when the system gives us fewer files.
fn warn_if_files_are_few(connections_max: usize) {
    let Some(files_max) = std::fs::read_to_string("/proc/self/limits")
        .ok()
        .as_deref()
        .and_then(open_files_max)
    else {
        return;
    };
    if connections_max > files_max {
        tracing::warn!(
            connections.max = connections_max,
            files.max = files_max,
            "fewer open files allowed than connections: raise the limit (ulimit -n) or lower \
             connections_max"
        );
    }
}

/// The soft limit on open files in the text of `/proc/<pid>/limits`; `None` when unlimited.
fn open_files_max(limits: &str) -> Option<usize> {
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_failures_back_off_to_a_second_and_start_over() {
        let emfile = io::Error::from_raw_os_error(24);
        let mut failures = Failures::default();
        let pauses: Vec<Duration> = (0..40).map(|_| failures.add(&emfile)).collect();
        assert_eq!(pauses[0], limits::ACCEPT_BACKOFF_MIN);
        assert_eq!(pauses[1], 2 * limits::ACCEPT_BACKOFF_MIN);
        assert_eq!(pauses[39], limits::ACCEPT_BACKOFF_MAX);
        failures.end();
        assert_eq!(failures.add(&emfile), limits::ACCEPT_BACKOFF_MIN);
    }

    #[test]
    fn accept_of_a_client_that_gave_up_goes_on_at_once() {
        let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
        assert_eq!(Failures::default().add(&aborted), Duration::ZERO);
    }

    #[test]
    fn open_files_limit_is_read_as_linux_writes_it() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max processes             7823                 7823                 processes\n\
                    Max open files            1024                 524288               files\n";
        assert_eq!(open_files_max(text), Some(1024));
        assert_eq!(
            open_files_max("Max open files  unlimited unlimited files"),
            None
        );
        assert_eq!(open_files_max(""), None);
    }
}
