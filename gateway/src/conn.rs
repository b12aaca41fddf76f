//! Connections after their upgrade: one reader task each, and nothing else.

mod reader;

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use rookery_cluster::task::{TaskKind, spawn};
use rookery_proto::ids::SessionId;
use tokio::net::TcpStream;

use crate::{
    auth::{AuthError, Claims},
    http,
    hub::{Input, Lanes, Opened, Socket},
    protocol::Encoding,
};
use reader::{Reader, ReaderTask};

/// What the upgrade request said.
#[derive(Debug)]
pub(crate) struct Hello {
    /// The subprotocol agreed on.
    pub(crate) encoding: Encoding,
    /// The token of header or query: good, bad, or none yet (the first frame brings it).
    pub(crate) auth: Result<Option<Claims>, AuthError>,
    /// Device name from the query, where given.
    pub(crate) device: Option<String>,
    /// The other end, for the log.
    pub(crate) peer: SocketAddr,
}

/// Takes connections over after their upgrade.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    lanes: Lanes,
    frame_bytes_max: u32,
}

impl Connections {
    pub(crate) fn new(lanes: Lanes, frame_bytes_max: u32) -> Self {
        Self {
            lanes,
            frame_bytes_max,
        }
    }
}

impl http::Sessions for Connections {
    /// Opens the session on its lane and starts its reader. `leftover` is what was read behind the
    /// request.
    fn start(&self, stream: TcpStream, leftover: Bytes, hello: Hello) {
        let lane = self.lanes.pick();
        let socket = Socket::new(stream, lane.now());
        let session = random_session();
        tracing::debug!(session.id = %session, peer.addr = %hello.peer, "connection upgraded");
        let opened = Opened {
            session,
            wire: socket.clone(),
            encoding: hello.encoding,
            auth: hello.auth,
            device: hello.device,
        };
        let reader = Reader::new(
            socket,
            Arc::clone(&lane),
            session,
            hello.encoding,
            self.frame_bytes_max,
        );
        let opened = Input::Opened(Box::new(opened));
        // Boxed: `spawn` holds what it is given twice over, and this lives as long as the
        // connection.
        let task = Box::pin(ReaderTask::new(reader, opened, &leftover));
        spawn(TaskKind::Passing, "connection", task);
    }

    fn open(&self) -> usize {
        self.lanes.readers()
    }
}

/// A session id that nobody can guess, and that is not 0, which means "none" on links.
fn random_session() -> SessionId {
    loop {
        let random = getrandom::u64().expect("the system has randomness");
        if random != 0 {
            return SessionId(random);
        }
    }
}
