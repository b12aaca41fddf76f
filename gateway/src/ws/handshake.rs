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

#[cfg(test)]
mod tests {
    use super::*;

    /// A good request of RFC 6455 §1.3, changed.
    fn request(changes: &[(&'static str, &[&str])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        for &(name, values) in changes {
            headers.remove(name);
            for value in values {
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
        }
        headers
    }

    fn check(
        changes: &[(&'static str, &[&str])],
        expected: Result<(Encoding, Option<&'static str>), Refusal>,
    ) {
        let judged = judge(&Method::GET, Version::HTTP_11, &request(changes));
        let judged = judged.map(|accepted| {
            assert_eq!(accepted.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
            (accepted.encoding, accepted.subprotocol)
        });
        assert_eq!(judged, expected, "{changes:?}");
    }

    #[test]
    fn handshake_in_any_usual_spelling_is_accepted() {
        let json = Ok((Encoding::Json, None));
        check(&[], json);
        check(&[("upgrade", &["WebSocket"])], json);
        check(&[("upgrade", &["h2c, websocket"])], json);
        check(&[("connection", &["keep-alive, Upgrade"])], json);
        check(&[("connection", &["keep-alive", "upgrade"])], json);
        check(
            &[("sec-websocket-extensions", &["permessage-deflate"])],
            json,
        );
    }

    #[test]
    fn handshake_subprotocol_is_the_first_of_ours() {
        let protocol = "sec-websocket-protocol";
        let json = Ok((Encoding::Json, Some(SUBPROTOCOL_JSON)));
        let protobuf = Ok((Encoding::Protobuf, Some(SUBPROTOCOL_PROTOBUF)));
        check(&[(protocol, &["rookery.v1.json"])], json);
        check(&[(protocol, &["rookery.v1.protobuf"])], protobuf);
        check(
            &[(
                protocol,
                &["rookery.v2.json, rookery.v1.protobuf,rookery.v1.json"],
            )],
            protobuf,
        );
        check(&[(protocol, &["other", "rookery.v1.json"])], json);
        for unknown in ["", "rookery", "rookery.v2.json", "Rookery.v1.json"] {
            check(&[(protocol, &[unknown])], Err(Refusal::Subprotocol));
        }
    }

    #[test]
    fn handshake_that_is_wrong_says_where() {
        let table: [(&'static str, &[&str], Refusal); 14] = [
            ("upgrade", &[], Refusal::Upgrade),
            ("upgrade", &["h2c"], Refusal::Upgrade),
            ("connection", &[], Refusal::Connection),
            ("connection", &["keep-alive"], Refusal::Connection),
            ("sec-websocket-version", &[], Refusal::WebSocketVersion),
            ("sec-websocket-version", &["12"], Refusal::WebSocketVersion),
            (
                "sec-websocket-version",
                &["13", "8"],
                Refusal::WebSocketVersion,
            ),
            ("sec-websocket-key", &[], Refusal::Key),
            ("sec-websocket-key", &[""], Refusal::Key),
            (
                "sec-websocket-key",
                &["dGhlIHNhbXBsZSBub25jZQ"],
                Refusal::Key,
            ),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25j"], Refusal::Key),
            (
                "sec-websocket-key",
                &["!!!!IHNhbXBsZSBub25jZQ=="],
                Refusal::Key,
            ),
            (
                "sec-websocket-key",
                &["dGhlIHNhbXBsZSBub25jZQ==", "x"],
                Refusal::Key,
            ),
            (
                "sec-websocket-key",
                &["dGhlIHNhbXBsZSBub25jZTEyMw=="],
                Refusal::Key,
            ),
        ];
        for (name, values, refusal) in table {
            check(&[(name, values)], Err(refusal));
            let field = refusal.field().unwrap();
            assert!(field.eq_ignore_ascii_case(name), "{field} {name}");
        }
        let judge = |method, version| judge(&method, version, &request(&[])).unwrap_err();
        assert_eq!(judge(Method::POST, Version::HTTP_11), Refusal::Method);
        assert_eq!(judge(Method::HEAD, Version::HTTP_11), Refusal::Method);
        assert_eq!(judge(Method::GET, Version::HTTP_10), Refusal::HttpVersion);
    }

    #[test]
    fn handshake_refused_for_its_version_names_ours() {
        let refusal = Refusal::WebSocketVersion;
        assert_eq!(refusal.status(), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(
            refusal.header(),
            Some((header::SEC_WEBSOCKET_VERSION, "13"))
        );
    }
}
