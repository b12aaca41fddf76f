//! The HTTP side: takes connections in, serves the page, and turns upgrade requests into sessions.
//!
//! [`bind`] opens the listener and [`serve`] accepts until told to stop. Each connection is served
//! by a small task that ends with its upgrade: the socket is taken back from hyper and handed to
//! [`Sessions::start`] with what the request said, so nothing of HTTP stays with a session.

mod assets;
mod connection;
mod limits;
mod listener;
pub(crate) mod metrics;
mod origin;
mod query;
mod reply;
mod router;
#[cfg(test)]
mod tests;
mod upgrade;

use std::sync::{Arc, atomic::AtomicUsize};

use bytes::Bytes;
use rookery_cluster::clock::Clock;
use tokio::net::TcpStream;

use crate::{auth::Verifier, config::GatewayConfig, conn::Hello};

pub(crate) use listener::{bind, serve};
pub(crate) use origin::Origins;

/// Takes upgraded connections over.
pub(crate) trait Sessions: Send + Sync + 'static {
    /// Starts the connection's own task and returns at once. `leftover` is what was read behind
    /// the request.
    fn start(&self, stream: TcpStream, leftover: Bytes, hello: Hello);

    /// Sessions open now, for the bound on connections.
    fn open(&self) -> usize;
}

/// What all connections share.
pub(crate) struct HttpShared {
    verifier: Arc<Verifier>,
    origins: Origins,
    server_version: String,
    connections_max: usize,
    clock: Arc<dyn Clock>,
    sessions: Box<dyn Sessions>,
    /// Connections that are still HTTP.
    open_http: AtomicUsize,
    /// Connections that are being told that the server is full.
    refusing: AtomicUsize,
}

impl HttpShared {
    /// Takes what it needs of a validated configuration.
    pub(crate) fn new(
        config: &GatewayConfig,
        verifier: Arc<Verifier>,
        clock: Arc<dyn Clock>,
        sessions: Box<dyn Sessions>,
    ) -> Self {
        Self {
            verifier,
            origins: Origins::parse(&config.allowed_origins)
                .expect("GatewayConfig::validate has checked every origin"),
            server_version: config.server_version.clone(),
            connections_max: config.connections_max,
            clock,
            sessions,
            open_http: AtomicUsize::new(0),
            refusing: AtomicUsize::new(0),
        }
    }
}
