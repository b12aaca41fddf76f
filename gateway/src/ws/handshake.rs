//! The upgrade request (RFC 6455 §4.2), judged without doing anything.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Version};
use sha1::{Digest as _, Sha1};

use crate::protocol::Encoding;

/// The subprotocol whose messages are JSON; also spoken when none is asked for.
pub(crate) const SUBPROTOCOL_JSON: &str = "rookery.v1.json";
/// The subprotocol whose messages are protobuf.
pub(crate) const SUBPROTOCOL_PROTOBUF: &str = "rookery.v1.protobuf";

/// Appended to the key, as RFC 6455 §1.3 says.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A good upgrade request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Value of `Sec-WebSocket-Accept`.
    pub(crate) accept: HeaderValue,
    /// How messages are written.
    pub(crate) encoding: Encoding,
    /// Value of `Sec-WebSocket-Protocol`; none when none was asked for.
    pub(crate) subprotocol: Option<&'static str>,
}

/// What is wrong with an upgrade request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Not a GET request.
    #[error("method must be GET")]
    Method,
    /// Older than HTTP/1.1.
    #[error("must be HTTP/1.1")]
    HttpVersion,
    /// No `websocket` in `Upgrade`: most likely a browser's address bar.
    #[error("this is a WebSocket endpoint: Upgrade must be websocket")]
    Upgrade,
    /// No `upgrade` in `Connection`.
    #[error("must contain Upgrade")]
    Connection,
    /// Not WebSocket version 13.
    #[error("must be 13")]
    WebSocketVersion,
    /// Not 16 bytes in base64.
    #[error("must be 16 bytes in base64")]
    Key,
    /// None of the subprotocols asked for is ours.
    #[error("must offer rookery.v1.json or rookery.v1.protobuf, or be left out")]
    Subprotocol,
}

impl Refusal {
    /// The status to answer with.
    #[must_use]
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Upgrade | Self::WebSocketVersion => StatusCode::UPGRADE_REQUIRED,
            Self::HttpVersion | Self::Connection | Self::Key | Self::Subprotocol => {
                StatusCode::BAD_REQUEST
            }
        }
    }

    /// The header at fault, as its standard spells it.
    #[must_use]
    pub(crate) const fn field(self) -> Option<&'static str> {
        match self {
            Self::Method | Self::HttpVersion => None,
            Self::Upgrade => Some("Upgrade"),
            Self::Connection => Some("Connection"),
            Self::WebSocketVersion => Some("Sec-WebSocket-Version"),
            Self::Key => Some("Sec-WebSocket-Key"),
            Self::Subprotocol => Some("Sec-WebSocket-Protocol"),
        }
    }

    /// A header the answer must carry.
    #[must_use]
    pub(crate) const fn header(self) -> Option<(HeaderName, &'static str)> {
        match self {
            Self::Method => Some((header::ALLOW, "GET")),
            Self::Upgrade => Some((header::UPGRADE, "websocket")),
            Self::WebSocketVersion => Some((header::SEC_WEBSOCKET_VERSION, "13")),
            Self::HttpVersion | Self::Connection | Self::Key | Self::Subprotocol => None,
        }
    }
}

/// Judges an upgrade request.
///
/// # Errors
/// The first [`Refusal`] that applies.
pub(crate) fn judge(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
) -> Result<Accepted, Refusal> {
    if method != Method::GET {
        return Err(Refusal::Method);
    }
    if version != Version::HTTP_11 {
        return Err(Refusal::HttpVersion);
    }
    if !items(headers, &header::UPGRADE).any(|item| item.eq_ignore_ascii_case("websocket")) {
        return Err(Refusal::Upgrade);
    }
    if !items(headers, &header::CONNECTION).any(|item| item.eq_ignore_ascii_case("upgrade")) {
        return Err(Refusal::Connection);
    }
    if single(headers, &header::SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(Refusal::WebSocketVersion);
    }
    let key = single(headers, &header::SEC_WEBSOCKET_KEY)
        .filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16))
        .ok_or(Refusal::Key)?;
    let (encoding, subprotocol) = choose_subprotocol(headers)?;
    Ok(Accepted {
        accept: accept(key),
        encoding,
        subprotocol,
    })
}

/// The client's first choice among ours; JSON when it asks for none.
fn choose_subprotocol(headers: &HeaderMap) -> Result<(Encoding, Option<&'static str>), Refusal> {
    if !headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        return Ok((Encoding::Json, None));
    }
    items(headers, &header::SEC_WEBSOCKET_PROTOCOL)
        .find_map(|item| match item {
            SUBPROTOCOL_JSON => Some((Encoding::Json, Some(SUBPROTOCOL_JSON))),
            SUBPROTOCOL_PROTOBUF => Some((Encoding::Protobuf, Some(SUBPROTOCOL_PROTOBUF))),
            _ => None,
        })
        .ok_or(Refusal::Subprotocol)
}

/// `Sec-WebSocket-Accept` for a key.
fn accept(key: &str) -> HeaderValue {
    let digest = Sha1::new()
        .chain_update(key.as_bytes())
        .chain_update(ACCEPT_GUID)
        .finalize();
    HeaderValue::try_from(STANDARD.encode(digest)).expect("base64 is a header value")
}

/// The items of a comma-separated header, over all its lines.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

/// The value of a header that must stand once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut lines = headers.get_all(name).into_iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().ok().map(str::trim),
        _ => None,
    }
}
