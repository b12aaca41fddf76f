//! Connections: one reader task each.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::net::TcpStream;

use crate::{
    auth::{AuthError, Authenticated},
    hub::Lanes,
    protocol::Encoding,
};

/// What the upgrade request said.
#[derive(Debug)]
pub(crate) struct Hello {
    /// The subprotocol agreed on.
    pub(crate) encoding: Encoding,
    /// The token of header or query: good, bad, or none yet (the first frame brings it).
    pub(crate) auth: Result<Option<Authenticated>, AuthError>,
    /// Device name from the query, where given.
    pub(crate) device: Option<String>,
    /// The other end, for the log.
    pub(crate) peer: SocketAddr,
}

/// Takes over a connection after its upgrade: starts its reader and opens its session.
/// `leftover` is what was read behind the request.
pub(crate) fn start(_stream: TcpStream, _leftover: Bytes, _hello: Hello, _lanes: &Lanes) {}
