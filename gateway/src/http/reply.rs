//! Answers.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use rookery_proto::errors::{WireError, correlation_id};
use rookery_proto::v1::{ServerFrame, server_frame};
use serde::Serialize;

use super::assets::Asset;

/// An answer: its body is in memory.
pub(super) type Reply = Response<Full<Bytes>>;

/// What a page of ours may load and do. It is self-contained, and nobody may frame it.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; connect-src 'self' ws: wss:; style-src 'self'; img-src 'self' data:; \
     base-uri 'none'; frame-ancestors 'none'",
);

/// An answer of that status, with the headers every answer has.
pub(super) fn bare(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = status;
    reply.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    reply
}

/// A file, or 304 when the client has this very content.
pub(super) fn asset(asset: &Asset, request_headers: &HeaderMap) -> Reply {
    let fresh = has_etag(request_headers, asset.etag);
    let mut reply = bare(if fresh {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::OK
    });
    let headers = reply.headers_mut();
    headers.insert(header::ETAG, HeaderValue::from_static(asset.etag));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    if !fresh {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(asset.content_type),
        );
        *reply.body_mut() = Full::new(Bytes::from_static(asset.bytes));
    }
    reply
}

fn has_etag(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .into_iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*")
}

/// A JSON body.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    let mut reply = bare(status);
    let headers = reply.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let body = serde_json::to_vec(body).expect("our own types have text keys and finite numbers");
    *reply.body_mut() = Full::new(Bytes::from(body));
    reply
}

/// An error, as the frame a session would get. `field` names a header or parameter.
pub(super) fn error(status: StatusCode, error: WireError) -> Reply {
    // Without randomness the id is 0: the answer matters more.
    let correlation_id = correlation_id(getrandom::u64().unwrap_or_default());
    tracing::debug!(
        error.status = status.as_u16(),
        error.code = ?error.code,
        error.message = %error.message,
        error.correlation_id = %correlation_id,
        "request refused"
    );
    let frame = server_frame::Frame::Error(error.into_frame(correlation_id));
    json(status, &ServerFrame { frame: Some(frame) })
}

/// Adds a header of a fixed value.
pub(super) fn with(mut reply: Reply, name: HeaderName, value: &'static str) -> Reply {
    reply
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
    reply
}
