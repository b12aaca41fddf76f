//! The worker's end of a socket.

use std::{
    io,
    net::Shutdown,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::net::TcpStream;

use super::wheel::Millis;

/// What a worker does to a connection: nothing of it waits. Tests put their own in its place.
pub(crate) trait Wire: Clone + Send + 'static {
    /// Writes what the socket takes now.
    ///
    /// # Errors
    /// `WouldBlock` when that is nothing; any other error means the connection is gone.
    fn write(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize>;

    /// Ends one or both directions. The reader sees the end and reports it.
    fn shutdown(&self, how: Shutdown);

    /// When the last byte was received.
    fn heard(&self) -> Millis;
}

/// A connection as its reader and its worker share it.
#[derive(Clone, Debug)]
pub(crate) struct Socket(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stream: TcpStream,
    heard: AtomicU64,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, now: Millis) -> Self {
        let heard = AtomicU64::new(now);
        Self(Arc::new(Shared { stream, heard }))
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.0.stream
    }

    /// Notes that bytes were received.
    pub(crate) fn hear(&self, now: Millis) {
        self.0.heard.store(now, Ordering::Relaxed);
    }
}

impl Wire for Socket {
    fn write(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [one] => self.0.stream.try_write(one),
            many => self.0.stream.try_write_vectored(many),
        }
    }

    fn shutdown(&self, how: Shutdown) {
        // An error says that the connection is gone already.
        let _ = socket2::SockRef::from(&self.0.stream).shutdown(how);
    }

    fn heard(&self) -> Millis {
        self.0.heard.load(Ordering::Relaxed)
    }
}
