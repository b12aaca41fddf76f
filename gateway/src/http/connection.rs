//! One connection while it speaks HTTP.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{HttpShared, limits, metrics, router::Router};

/// Serves requests until the client is done, the server stops, or the connection is a session.
pub(super) async fn run(
    stream: TcpStream,
    peer: SocketAddr,
    open: OpenHttp,
    mut stop: watch::Receiver<bool>,
) {
    let shared = &open.0;
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_READ_TIMEOUT)
        .max_buf_size(limits::HEADER_BYTES_MAX)
        .max_headers(limits::HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), Router::new(Arc::clone(shared), peer));
    let ended = tokio::select! {
        biased;
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => Some(ended),
        () = stopped(&mut stop) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    if let Err(error) = &ended {
        tracing::debug!(
            peer.addr = %peer,
            error = error as &dyn std::error::Error,
            "http connection failed"
        );
    }
    let parts = connection.into_parts();
    let stream = parts.io.into_inner();
    let Some(hello) = parts.service.into_hello().filter(|_| ended.is_ok()) else {
        close(stream).await;
        return;
    };
    // An empty rest would still keep hyper's whole buffer alive.
    let leftover = if parts.read_buf.is_empty() {
        Bytes::new()
    } else {
        parts.read_buf
    };
    metrics::upgraded();
    shared.sessions.start(stream, leftover, hello);
}

/// Closes a socket so that what was written is read: one closed with unread bytes would reset the
/// connection, and the client might never see the answer. Waits a moment for the client to close.
pub(super) async fn close(mut stream: TcpStream) {
    let lingering = async {
        stream.shutdown().await?;
        let mut unread = [0; 512];
        while stream.read(&mut unread).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    // Whatever goes wrong here, the connection is closed, which is what we want.
    let _ = timeout(limits::LINGER, lingering).await;
}

/// Waits until the server stops, or whoever could stop it is gone.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Counts a connection as HTTP for as long as it lives.
pub(super) struct OpenHttp(Arc<HttpShared>);

impl OpenHttp {
    /// `None` when the bound on connections is reached.
    pub(super) fn acquire(shared: &Arc<HttpShared>) -> Option<Self> {
        let http = shared.open_http.fetch_add(1, Ordering::Relaxed);
        let open = Self(Arc::clone(shared));
        (http + shared.sessions.open() < shared.connections_max).then_some(open)
    }
}

impl Drop for OpenHttp {
    fn drop(&mut self) {
        self.0.open_http.fetch_sub(1, Ordering::Relaxed);
    }
}
