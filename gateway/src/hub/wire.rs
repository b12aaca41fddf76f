//! The worker's end of a socket.

use std::{
    io,
    net::Shutdown,
    os::fd::{AsFd as _, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use libc::{MSG_DONTWAIT, MSG_NOSIGNAL};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::wheel::Millis;

/// What a worker does to a connection: nothing of it waits. Tests put their own in its place.
pub(crate) trait Wire: Clone + Send + 'static {
    /// Where bytes are put in.
    type End<'a>;

    /// The end to put bytes in. Looked up for many connections before the first is written to, so
    /// that what it takes from memory comes at once.
    fn end(&self) -> Self::End<'_>;

    /// Writes what the socket takes now, like [`write`](Self::write). Says only how it went: who
    /// wants to wait for room has to write once more.
    ///
    /// # Errors
    /// Any: a `write` finds them again.
    fn put(end: Self::End<'_>, bytes: &[u8]) -> io::Result<usize>;

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

/// Never waits, and a connection that is gone is an error and no signal.
const SEND_FLAGS: i32 = MSG_DONTWAIT | MSG_NOSIGNAL;

impl Wire for Socket {
    type End<'a> = BorrowedFd<'a>;

    fn end(&self) -> BorrowedFd<'_> {
        self.0.stream.as_fd()
    }

    fn put(end: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        SockRef::from(&end).send_with_flags(bytes, SEND_FLAGS)
    }

    /// Writes without a look at what tokio knows of the socket, which was not in any cache since the
    /// last write. Only a full socket is tokio's, which learns of it by a write of its own, and
    /// without that would never tell that the socket takes bytes again.
    fn write(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let socket = SockRef::from(&self.0.stream);
        let written = match slices {
            [one] => socket.send_with_flags(one, SEND_FLAGS),
            many => socket.send_vectored_with_flags(many, SEND_FLAGS),
        };
        match (written, slices) {
            (Err(error), [one]) if error.kind() == io::ErrorKind::WouldBlock => {
                self.0.stream.try_write(one)
            }
            (Err(error), many) if error.kind() == io::ErrorKind::WouldBlock => {
                self.0.stream.try_write_vectored(many)
            }
            (written, _) => written,
        }
    }

    fn shutdown(&self, how: Shutdown) {
        // An error says that the connection is gone already.
        let _ = SockRef::from(&self.0.stream).shutdown(how);
    }

    fn heard(&self) -> Millis {
        self.0.heard.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::ready, io::ErrorKind, time::Duration};

    use tokio::{net::TcpListener, time::timeout};

    use super::*;

    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap());
        let (peer, accepted) = tokio::join!(peer, listener.accept());
        (Socket::new(accepted.unwrap().0, 0), peer.unwrap())
    }

    #[tokio::test]
    async fn full_socket_is_waited_for_until_its_reader_reads() {
        let (socket, peer) = pair().await;
        let bytes = vec![0; 64 * 1024];
        // As a socket that takes bytes is known to tokio, before it is full.
        socket.stream().writable().await.unwrap();
        let mut written = 0;
        let full = loop {
            match Socket::put(socket.end(), &bytes) {
                Ok(some) => written += some,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        for slices in [1, 2] {
            let slices = vec![io::IoSlice::new(&bytes); slices];
            let full = socket.write(&slices).unwrap_err();
            assert_eq!(full.kind(), ErrorKind::WouldBlock);
        }
        tokio::select! {
            biased;
            _ = socket.stream().writable() => panic!("it is full"),
            () = ready(()) => {}
        }
        let reads = async {
            let mut buffer = vec![0; 64 * 1024];
            while written > 0 {
                peer.readable().await.unwrap();
                written -= peer.try_read(&mut buffer).unwrap_or(0);
            }
        };
        let both = async { tokio::join!(reads, socket.stream().writable()) };
        let ((), writable) = timeout(Duration::from_secs(10), both).await.unwrap();
        writable.unwrap();
        assert_eq!(socket.write(&[io::IoSlice::new(b"x")]).unwrap(), 1);
    }

    #[tokio::test]
    async fn socket_whose_peer_is_gone_fails_and_kills_nobody() {
        let (socket, peer) = pair().await;
        drop(peer);
        let failed = timeout(Duration::from_secs(10), async {
            loop {
                if let Err(error) = Socket::put(socket.end(), b"x") {
                    return error;
                }
                tokio::task::yield_now().await;
            }
        });
        let failed = failed.await.unwrap();
        assert!(
            matches!(
                failed.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ),
            "{failed}"
        );
        assert!(socket.write(&[io::IoSlice::new(b"x")]).is_err());
    }
}
