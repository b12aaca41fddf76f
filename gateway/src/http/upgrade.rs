//! From upgrade request to session.
//!
//! What a browser's script cannot see in a failed handshake (the status and body) is no use for
//! telling it that its token is bad. So a bad token does not fail the handshake: it travels in
//! [`Hello::auth`], and the session says what is wrong and closes with the code for a new token.

use std::net::SocketAddr;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use rookery_proto::errors::{Code, WireError};
use rookery_proto::limits::DEVICE_BYTES_MAX;

use super::{
    HttpShared, query,
    reply::{self, Reply},
};
use crate::{
    auth::{AuthError, Claims},
    conn::Hello,
    ws::handshake::{self, Refusal},
};

/// Why a request does not become a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UpgradeError {
    /// It is no good WebSocket handshake.
    #[error(transparent)]
    Handshake(Refusal),
    /// It comes from a page of a foreign origin.
    #[error("pages of this origin may not connect")]
    Origin,
    /// The `device` parameter cannot be used.
    #[error("must have at most {DEVICE_BYTES_MAX} bytes and no control characters")]
    Device,
}

impl UpgradeError {
    pub(super) fn into_reply(self) -> Reply {
        let (status, code, field) = match self {
            Self::Handshake(refusal) => (refusal.status(), Code::Unsupported, refusal.field()),
            Self::Origin => (StatusCode::FORBIDDEN, Code::Forbidden, Some("Origin")),
            Self::Device => (StatusCode::BAD_REQUEST, Code::Invalid, Some("device")),
        };
        let mut error = WireError::new(code, self.to_string());
        error.field = field;
        let reply = reply::error(status, error);
        match self {
            Self::Handshake(refusal) => match refusal.header() {
                Some((name, value)) => reply::with(reply, name, value),
                None => reply,
            },
            Self::Origin | Self::Device => reply,
        }
    }
}

/// Judges an upgrade request: the answer (101) and the session's beginnings.
///
/// # Errors
/// [`UpgradeError`] when it does not become a session.
pub(super) fn upgrade(
    shared: &HttpShared,
    request: &Request<Incoming>,
    peer: SocketAddr,
) -> Result<(Reply, Hello), UpgradeError> {
    let headers = request.headers();
    let accepted = handshake::judge(request.method(), request.version(), headers)
        .map_err(UpgradeError::Handshake)?;
    if !shared.origins.allow(headers) {
        return Err(UpgradeError::Origin);
    }
    let query = request.uri().query().unwrap_or_default();
    let hello = Hello {
        encoding: accepted.encoding,
        auth: authenticate(shared, headers, query),
        device: device(query)?,
        peer,
    };

    let mut reply = reply::bare(StatusCode::SWITCHING_PROTOCOLS);
    let headers = reply.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accepted.accept);
    if let Some(subprotocol) = accepted.subprotocol {
        headers.insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(subprotocol),
        );
    }
    Ok((reply, hello))
}

/// The token of the `Authorization` header, else of the `token` parameter, else the name of the
/// `name` parameter. None of them: the first frame will say who it is.
fn authenticate(
    shared: &HttpShared,
    headers: &HeaderMap,
    query: &str,
) -> Result<Option<Claims>, AuthError> {
    let now_s = shared.clock.now_ms() / 1000;
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or(AuthError::Malformed {
                what: "the Authorization header must be Bearer and a token",
            })?;
        return shared.verifier.verify(token, now_s).map(Some);
    }
    if let Some(token) = query::value(query, "token") {
        return shared.verifier.verify(&token, now_s).map(Some);
    }
    if let Some(name) = query::value(query, "name") {
        return shared.verifier.verify_name(&name).map(Some);
    }
    Ok(None)
}

/// The `device` parameter.
fn device(query: &str) -> Result<Option<String>, UpgradeError> {
    let Some(device) = query::value(query, "device").filter(|device| !device.is_empty()) else {
        return Ok(None);
    };
    if device.len() > DEVICE_BYTES_MAX || device.chars().any(char::is_control) {
        return Err(UpgradeError::Device);
    }
    Ok(Some(device))
}
