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

/// Judges an upgrade request: the answer, and the session's beginnings when it is 101.
///
/// # Errors
/// The answer to a request that does not become a session.
pub(super) fn upgrade(
    shared: &HttpShared,
    request: &Request<Incoming>,
    peer: SocketAddr,
) -> Result<(Reply, Hello), Reply> {
    let headers = request.headers();
    let accepted =
        handshake::judge(request.method(), request.version(), headers).map_err(refuse)?;
    if !shared.origins.allow(headers) {
        let error = WireError::new(Code::Forbidden, "pages of this origin may not connect");
        return Err(reply::error(StatusCode::FORBIDDEN, error.at("Origin")));
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

/// The answer to a request that is no good handshake.
fn refuse(refusal: Refusal) -> Reply {
    let mut error = WireError::new(Code::Unsupported, refusal.to_string());
    error.field = refusal.field();
    let reply = reply::error(refusal.status(), error);
    match refusal.header() {
        Some((name, value)) => reply::with(reply, name, value),
        None => reply,
    }
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
fn device(query: &str) -> Result<Option<String>, Reply> {
    let Some(device) = query::value(query, "device").filter(|device| !device.is_empty()) else {
        return Ok(None);
    };
    if device.len() > DEVICE_BYTES_MAX || device.chars().any(char::is_control) {
        let error = WireError::invalid(
            "device",
            format!("must have at most {DEVICE_BYTES_MAX} bytes and no control characters"),
        );
        return Err(reply::error(StatusCode::BAD_REQUEST, error));
    }
    Ok(Some(device))
}
