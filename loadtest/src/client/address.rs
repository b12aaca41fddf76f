//! Where a server is.

use std::{fmt, str::FromStr};

/// A server's host and port, from a URL such as `http://127.0.0.1:8080`.
///
/// Plain text only: TLS ends at a load balancer, and the load test talks to what is behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    authority: String,
}

/// The text is not a URL the load test can connect to.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not an address: want http://HOST:PORT or ws://HOST:PORT")]
pub struct AddressError(String);

impl ServerAddress {
    /// Host and port, as a connect call wants them.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.authority
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok())
            .expect("checked by from_str")
    }

    /// The WebSocket endpoint.
    #[must_use]
    pub fn websocket_url(&self) -> String {
        format!("ws://{}/v1/ws", self.authority)
    }
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = || AddressError(text.to_owned());
        let rest = ["http://", "ws://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .ok_or_else(bad)?;
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(bad());
        }
        Ok(Self {
            authority: format!("{host}:{port}"),
        })
    }
}

impl From<std::net::SocketAddr> for ServerAddress {
    fn from(address: std::net::SocketAddr) -> Self {
        Self {
            authority: address.to_string(),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_become_addresses_and_nonsense_is_refused() {
        for (text, want) in [
            ("http://127.0.0.1:8080", Some("ws://127.0.0.1:8080/v1/ws")),
            ("http://127.0.0.1:8080/", Some("ws://127.0.0.1:8080/v1/ws")),
            ("ws://localhost:1/v1/ws", Some("ws://localhost:1/v1/ws")),
            ("http://chat.example", Some("ws://chat.example:80/v1/ws")),
            ("http://[::1]:9/", Some("ws://[::1]:9/v1/ws")),
            ("https://127.0.0.1:8080", None),
            ("127.0.0.1:8080", None),
            ("http://:80", None),
            ("http://host:port", None),
        ] {
            let got = text.parse::<ServerAddress>().ok();
            assert_eq!(
                got.map(|address| address.websocket_url()).as_deref(),
                want,
                "{text}"
            );
        }
    }
}
