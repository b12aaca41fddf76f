//! Why NATS cannot be used, in words that name the setting to change.

use std::{io, path::PathBuf};

use async_nats::{ConnectError, ConnectErrorKind, rustls};

/// Why [`super::NatsBus::connect`] failed.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// No server is named.
    #[error("no NATS server is named (nats.servers)")]
    NoServers,
    /// An address cannot be read.
    #[error("{server:?} is not the address of a NATS server (nats.servers)")]
    Address {
        /// As configured.
        server: String,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// The prefix cannot start a subject.
    #[error(
        "{prefix:?} cannot start a subject: letters, digits, `-` and `_`, in parts divided by `.` (nats.subject_prefix)"
    )]
    Prefix {
        /// As configured.
        prefix: String,
    },
    /// A file of credentials, keys or certificates cannot be used.
    #[error("cannot use the file {} ({setting})", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The setting that names it.
        setting: &'static str,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// No server answers.
    #[error("NATS is not reachable at {servers} (nats.servers)")]
    Unreachable {
        /// As configured.
        servers: String,
        /// The last attempt's error.
        #[source]
        source: ConnectError,
    },
    /// The server does not believe who we are.
    #[error(
        "NATS at {servers} refuses the credentials (nats.user and nats.password, nats.token, nats.nkey_file or nats.credentials_file)"
    )]
    Refused {
        /// As configured.
        servers: String,
        /// What it said.
        #[source]
        source: ConnectError,
    },
    /// The connection cannot be secured.
    #[error("no TLS with NATS at {servers} (nats.tls_ca, nats.tls_cert, nats.tls_key)")]
    Tls {
        /// As configured.
        servers: String,
        /// Why.
        #[source]
        source: ConnectError,
    },
    /// Connected, but a message to ourselves did not come back.
    #[error(
        "NATS at {servers} does not carry messages on {subject}: allow {prefix}.> to publish and to subscribe, or change nats.subject_prefix{}",
        said.as_ref().map(|said| format!(" (it said: {said})")).unwrap_or_default()
    )]
    NotCarried {
        /// As configured.
        servers: String,
        /// Where it was sent.
        subject: String,
        /// As configured.
        prefix: String,
        /// The last error the server told, if any.
        said: Option<String>,
    },
    /// The server carries less than we need.
    #[error(
        "NATS at {servers} carries messages of {found} bytes at most, {needed} are needed (max_payload in the server's configuration)"
    )]
    PayloadLimit {
        /// As configured.
        servers: String,
        /// Its limit, in bytes.
        found: usize,
        /// Ours, in bytes.
        needed: usize,
    },
}

/// Sorts what the client says by the setting that is wrong.
pub(super) fn connect_error(servers: String, source: ConnectError) -> NatsError {
    match source.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            NatsError::Refused { servers, source }
        }
        ConnectErrorKind::Tls => NatsError::Tls { servers, source },
        _ if is_tls(&source) => NatsError::Tls { servers, source },
        ConnectErrorKind::ServerParse
        | ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => NatsError::Unreachable { servers, source },
    }
}

/// Handshakes fail as I/O errors that hold the real one.
fn is_tls(error: &ConnectError) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return true;
        }
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        cause = error.source();
    }
    false
}
