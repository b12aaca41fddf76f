//! A TCP proxy between two processes of a cluster, to take the network away and give it back.
//!
//! What it does with the bytes is its [`Way`], which may change at any time, for connections that
//! stand and for new ones. One in front of a NATS server can also lose single messages ([`Loss`]).

mod nats;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::limits::{PROXY_CHUNKS_MAX, PROXY_READ_BYTES};
pub use nats::Loss;
use nats::{Filter, Losing};

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// They pass.
    Open,
    /// Connections are reset, new ones at once.
    Cut,
    /// Connections stand and are accepted, and nothing gets through.
    Stalled,
    /// What the client sends arrives, answers do not.
    OnlyToServer,
    /// What the server sends arrives, questions do not.
    OnlyToClient,
    /// They pass this much later, in order.
    Delayed(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Way {
    /// How long bytes are kept in this direction; `None`: until the way changes.
    fn keeps(self, direction: Direction) -> Option<Duration> {
        match (self, direction) {
            (Self::Open | Self::Cut, _)
            | (Self::OnlyToServer, Direction::ToServer)
            | (Self::OnlyToClient, Direction::ToClient) => Some(Duration::ZERO),
            (Self::Delayed(delay), _) => Some(delay),
            (Self::Stalled, _)
            | (Self::OnlyToServer, Direction::ToClient)
            | (Self::OnlyToClient, Direction::ToServer) => None,
        }
    }
}

/// See the module's words. Ends with its value.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    loss: Option<Arc<Losing>>,
    /// The task that accepts, and in it those that carry.
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Listens there (port 0: any) and carries to `server`, which need not be there yet.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn start(listen: SocketAddr, server: SocketAddr) -> io::Result<Self> {
        Self::with(listen, server, None).await
    }

    /// The same in front of a NATS server: it can lose messages that clients publish.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn start_for_nats(listen: SocketAddr, server: SocketAddr) -> io::Result<Self> {
        Self::with(listen, server, Some(Arc::default())).await
    }

    async fn with(
        listen: SocketAddr,
        server: SocketAddr,
        loss: Option<Arc<Losing>>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (way, watched) = watch::channel(Way::Open);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, server, watched, loss.clone()));
        Ok(Self {
            address,
            way,
            loss,
            _accepting: accepting,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what becomes of the bytes.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Changes which published messages are lost.
    ///
    /// # Panics
    /// The proxy is not one [for NATS](Self::start_for_nats).
    pub fn lose(&self, loss: Loss) {
        let losing = self.loss.as_ref();
        losing.expect("the proxy is one for NATS").set(loss);
    }

    /// How many published messages were lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.loss.as_ref().map_or(0, |losing| losing.count())
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    way: watch::Receiver<Way>,
    loss: Option<Arc<Losing>>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(carry(client, server, way.clone(), loss.clone()));
                }
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn carry(
    mut client: TcpStream,
    server: SocketAddr,
    mut way: watch::Receiver<Way>,
    loss: Option<Arc<Losing>>,
) {
    let cutting = cut(way.clone());
    let carried = async {
        way.wait_for(|way| *way != Way::Stalled).await.ok()?;
        let mut server = TcpStream::connect(server).await.ok()?;
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
        }
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            () = pump(from_client, to_server, way.clone(), Direction::ToServer, loss) => {}
            () = pump(from_server, to_client, way.clone(), Direction::ToClient, None) => {}
        }
        Some(())
    };
    let was_cut = tokio::select! {
        biased;
        () = cutting => true,
        _ = carried => false,
    };
    if was_cut {
        // A reset, not a farewell.
        let _ = client.set_zero_linger();
    }
}

/// Returns when connections are to end.
async fn cut(mut way: watch::Receiver<Way>) {
    // An error means that the proxy is gone: the same.
    let _ = way.wait_for(|way| *way == Way::Cut).await;
}

/// Carries until one side ends. What is read is kept for as long as the way says; a pump that
/// keeps much stops to read, so the sender feels it.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: watch::Receiver<Way>,
    direction: Direction,
    loss: Option<Arc<Losing>>,
) {
    let mut filter = loss.map(Filter::new);
    let (keep, mut kept) = mpsc::channel::<(Instant, Vec<u8>)>(PROXY_CHUNKS_MAX);
    let reading = async {
        let mut buffer = vec![0; PROXY_READ_BYTES];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let bytes = match &mut filter {
                Some(filter) => filter.pass(&buffer[..count]),
                None => buffer[..count].to_vec(),
            };
            if keep.send((Instant::now(), bytes)).await.is_err() {
                return;
            }
        }
        drop(keep);
        // The writer ends when it has written what is left.
        std::future::pending::<()>().await;
    };
    let writing = async {
        let mut way = way;
        while let Some((read_at, bytes)) = kept.recv().await {
            if !due(&mut way, read_at, direction).await || to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}

/// Waits until bytes read then may go on; false when the proxy is gone.
async fn due(way: &mut watch::Receiver<Way>, read_at: Instant, direction: Direction) -> bool {
    loop {
        let keeps = way.borrow_and_update().keeps(direction);
        let passing = async {
            match keeps {
                // A timer that is due at once still waits for the next millisecond.
                Some(Duration::ZERO) => {}
                Some(delay) => sleep_until(read_at + delay).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = passing => return true,
            changed = way.changed() => if changed.is_err() { return false; },
        }
    }
}

#[cfg(test)]
mod tests;
