//! Real requests to a real listener.

mod sandbox;
mod upgrade;

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::*;
use sandbox::*;

#[tokio::test]
async fn page_is_served_with_policy_and_etag() {
    let sandbox = sandbox(|_| ()).await;
    let page = sandbox.request("GET / HTTP/1.1", &[]).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<title>Rookery</title>"));
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");

    let etag = page.header("etag").unwrap().to_owned();
    for line in [
        format!("If-None-Match: {etag}"),
        format!("If-None-Match: \"x\", W/{etag}"),
        "If-None-Match: *".to_owned(),
    ] {
        let again = sandbox.request("GET / HTTP/1.1", &[&line]).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{line}");
        assert_eq!(again.header("etag"), Some(etag.as_str()));
    }
    let changed = ["If-None-Match: \"x\""];
    let changed = sandbox.request("GET / HTTP/1.1", &changed).await;
    assert_eq!(changed.status, 200);

    let head = sandbox.request("HEAD / HTTP/1.1", &[]).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("etag"), Some(etag.as_str()));
    assert_eq!(
        head.header("content-length"),
        Some(page.body.len().to_string().as_str())
    );
}

#[tokio::test]
async fn assets_are_served_with_their_type() {
    let sandbox = sandbox(|_| ()).await;
    for (path, content_type) in [
        ("/assets/web/app.js", "text/javascript; charset=utf-8"),
        ("/assets/web/style.css", "text/css; charset=utf-8"),
        ("/assets/web/favicon.svg", "image/svg+xml"),
        ("/assets/sdk/rookery.js", "text/javascript; charset=utf-8"),
        (
            "/assets/sdk/rookery.js?v=1",
            "text/javascript; charset=utf-8",
        ),
    ] {
        let answer = sandbox.request(&format!("GET {path} HTTP/1.1"), &[]).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
        assert!(!answer.body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn requests_for_nothing_are_answered_with_an_error_in_json() {
    let sandbox = sandbox(|_| ()).await;
    for path in [
        "/index.html",
        "/assets/",
        "/assets/web/none.js",
        "/assets/web/../web/app.js",
        "/assets/sdk/test/client.test.js",
        "/v1",
        "/v1/ws/",
    ] {
        let answer = sandbox.request(&format!("GET {path} HTTP/1.1"), &[]).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.error().0, "NOT_FOUND", "{path}");
    }
    for line in ["POST / HTTP/1.1", "DELETE /v1/info HTTP/1.1"] {
        let answer = sandbox.request(line, &["Content-Length: 0"]).await;
        assert_eq!(answer.status, 405, "{line}");
        assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{line}");
    }
}

#[tokio::test]
async fn info_says_version_and_whether_a_name_is_enough() {
    for dev in [false, true] {
        let sandbox = sandbox(|config| config.dev = dev).await;
        let info = sandbox.request("GET /v1/info HTTP/1.1", &[]).await;
        assert_eq!(info.status, 200);
        assert_eq!(info.header("cache-control"), Some("no-store"));
        let expected = format!(r#"{{"version":"1.2.3","dev":{dev}}}"#);
        assert_eq!(info.body, expected);
    }
}

#[tokio::test]
async fn connections_beyond_the_bound_are_told_to_come_back() {
    let mut sandbox = sandbox(|config| config.connections_max = 2).await;
    let refused = async || {
        let answer = sandbox.request("GET /v1/info HTTP/1.1", &[]).await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some("5"));
        assert_eq!(answer.error().0, "OVERLOADED");
    };
    let open_http = || sandbox.shared.open_http.load(Ordering::Relaxed);
    let one = sandbox.connect().await;
    let two = sandbox.connect().await;
    eventually("both are taken in", || open_http() == 2).await;
    refused().await;
    drop((one, two));
    eventually("both are gone", || open_http() == 0).await;

    // Sessions count as well.
    sandbox.sessions_open.store(2, Ordering::Relaxed);
    refused().await;
    sandbox.sessions_open.store(1, Ordering::Relaxed);
    eventually("the refused are gone", || open_http() == 0).await;
    assert_eq!(sandbox.hello("/v1/ws", &[]).await.auth, Ok(None));
}

#[tokio::test]
async fn headers_too_large_or_malformed_are_refused() {
    let sandbox = sandbox(|_| ()).await;
    let large = format!("X-Large: {}", "x".repeat(20_000));
    let answer = sandbox.request("GET / HTTP/1.1", &[&large]).await;
    assert_eq!(answer.status, 431);
    let many: Vec<String> = (0..100).map(|n| format!("X-{n}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(sandbox.request("GET / HTTP/1.1", &many).await.status, 431);
    let answer = sandbox.request("GET / HTTP/9.9", &[]).await;
    assert_eq!(answer.status, 400);
    assert_eq!(sandbox.request("GET / HTTP/1.1", &[]).await.status, 200);
}

/// Paused time jumps ahead whenever everything waits.
#[tokio::test(start_paused = true)]
async fn request_that_never_ends_is_cut_off() {
    let sandbox = sandbox(|_| ()).await;
    let began = tokio::time::Instant::now();
    let mut stream = sandbox.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let took = began.elapsed();
    assert!(took >= limits::HEADER_READ_TIMEOUT / 2, "{took:?}");
    assert!(took <= limits::HEADER_READ_TIMEOUT * 2, "{took:?}");
}

#[tokio::test]
async fn stop_ends_accepting_and_idle_connections_but_no_session() {
    let mut sandbox = sandbox(|_| ()).await;
    let (mut session, answer) = sandbox.upgrade("/v1/ws", &[]).await;
    assert_eq!(answer.status, 101);
    let mut started = sandbox.started().await;
    let mut idle = sandbox.connect().await;
    idle.write_all(b"GET /v1/info HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(Answer::read_head(&mut idle).await.status, 200);

    sandbox.stop.send(true).unwrap();
    timeout(SOON, &mut sandbox.serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(sandbox.addr).await.is_err());
    let mut rest = Vec::new();
    let closed = timeout(SOON, idle.read_to_end(&mut rest)).await;
    closed.expect("idle connections are closed").unwrap();

    started.stream.write_all(b"on").await.unwrap();
    let mut on = [0; 2];
    timeout(SOON, session.read_exact(&mut on))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&on, b"on");
}

#[tokio::test]
async fn bind_of_a_taken_address_names_it() {
    let taken = bind(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = taken.local_addr().unwrap();
    let error = bind(addr).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {addr}"));
}

#[tokio::test]
async fn listener_ends_when_whoever_could_stop_it_is_gone() {
    let sandbox = sandbox(|_| ()).await;
    drop(sandbox.stop);
    timeout(SOON, sandbox.serving).await.unwrap().unwrap();
}
