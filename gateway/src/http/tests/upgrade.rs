//! From a request to a socket without HTTP.

use std::sync::atomic::Ordering;

use futures_util::{SinkExt as _, StreamExt as _};
use rookery_cluster::task::{TaskKind, spawn};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

use super::sandbox::*;
use crate::auth::AuthError;
use crate::http::*;
use crate::protocol::Encoding;
use crate::ws::{Decoder, Incoming, Input, frame};

#[tokio::test]
async fn upgrade_hands_over_the_socket_and_leaves_no_http_behind() {
    let mut sandbox = sandbox(|_| ()).await;
    let mut client = sandbox.connect().await;
    let request = upgrade_request("/v1/ws?device=phone", &[]);
    let eager = [request.as_bytes(), b"first bytes"].concat();
    client.write_all(&eager).await.unwrap();
    let answer = Answer::read_head(&mut client).await;
    assert_eq!(answer.status, 101);
    assert_eq!(
        answer.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(answer.header("sec-websocket-protocol"), None);

    let mut started = sandbox.started().await;
    assert_eq!(started.hello.device.as_deref(), Some("phone"));
    assert_eq!(started.hello.peer, client.local_addr().unwrap());
    assert!(started.stream.nodelay().unwrap(), "inherited");
    let mut received = started.leftover.to_vec();
    client.write_all(b", then more").await.unwrap();
    while received.len() < 22 {
        let read = started.stream.read_buf(&mut received);
        timeout(SOON, read).await.unwrap().unwrap();
    }
    assert_eq!(received, b"first bytes, then more");
    started.stream.write_all(b"back").await.unwrap();
    let mut back = [0; 4];
    client.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"back");
    eventually("http forgets the connection", || {
        sandbox.shared.open_http.load(Ordering::Relaxed) == 0
    })
    .await;
}

#[tokio::test]
async fn upgrade_answers_the_subprotocol_it_chose() {
    let mut sandbox = sandbox(|_| ()).await;
    for (asked, encoding) in [
        ("rookery.v1.json", Encoding::Json),
        ("rookery.v1.protobuf", Encoding::Protobuf),
    ] {
        let line = format!("Sec-WebSocket-Protocol: other, {asked}");
        let (_client, answer) = sandbox.upgrade("/v1/ws", &[&line]).await;
        assert_eq!(answer.header("sec-websocket-protocol"), Some(asked));
        assert_eq!(sandbox.started().await.hello.encoding, encoding);
    }
    let hello = sandbox.hello("/v1/ws", &[]).await;
    assert_eq!(hello.encoding, Encoding::Json);
}

#[tokio::test]
async fn upgrade_takes_the_token_from_where_it_is() {
    let mut sandbox = sandbox(|config| config.dev = true).await;
    let token = token(60);
    let user = |hello: Hello| {
        hello
            .auth
            .map(|claims| claims.map(|claims| claims.user.to_string()))
    };
    let ada = Ok(Some("ada".to_owned()));

    let bearer = format!("Authorization: Bearer {token}");
    assert_eq!(user(sandbox.hello("/v1/ws", &[&bearer]).await), ada);
    let query = format!("/v1/ws?x=1&token={token}");
    assert_eq!(user(sandbox.hello(&query, &[]).await), ada);
    let hello = sandbox.hello("/v1/ws?name=Bob+B.", &[]).await;
    assert_eq!(user(hello), Ok(Some("Bob B.".to_owned())));
    assert_eq!(user(sandbox.hello("/v1/ws", &[]).await), Ok(None));

    let hello = sandbox.hello("/v1/ws?token=x&name=bob", &[&bearer]).await;
    assert_eq!(user(hello), ada, "the header goes first");
    let hello = sandbox.hello(&format!("{query}&name=bob"), &[]).await;
    assert_eq!(user(hello), ada, "then the token");
}

#[tokio::test]
async fn upgrade_with_a_bad_token_is_left_to_the_session() {
    let mut sandbox = sandbox(|_| ()).await;
    let malformed = |error: &AuthError| matches!(error, AuthError::Malformed { .. });
    let expired = format!("/v1/ws?token={}", token(-60));
    let hello = sandbox.hello(&expired, &[]).await;
    assert_eq!(hello.auth, Err(AuthError::Expired));
    let hello = sandbox.hello("/v1/ws?name=ada", &[]).await;
    assert_eq!(hello.auth, Err(AuthError::NameNotAllowed));
    let error = sandbox.hello("/v1/ws?token=", &[]).await.auth.unwrap_err();
    assert!(malformed(&error), "{error}");
    for line in [
        "Authorization: Basic YTpi",
        "Authorization: Bearer",
        "Authorization: Bearer x",
    ] {
        let error = sandbox.hello("/v1/ws", &[line]).await.auth.unwrap_err();
        assert!(malformed(&error), "{line}: {error}");
    }
}

#[tokio::test]
async fn upgrade_that_is_refused_says_why() {
    let mut sandbox = sandbox(|_| ()).await;
    let check = async |path: &str, line: &str, status: u16, field: &str| {
        let mut client = sandbox.connect().await;
        let request = upgrade_request(path, &[line, "X-Last: 1"]);
        client.write_all(request.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let answer = Answer::read(&mut client).await;
        assert_eq!(answer.status, status, "{line} {answer:?}");
        assert_eq!(answer.error().1, field, "{line}");
        answer
    };
    let version = "Sec-WebSocket-Version: 8";
    let answer = check("/v1/ws", version, 426, "Sec-WebSocket-Version").await;
    assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    check("/v1/ws", "Upgrade: h2c", 426, "Upgrade").await;
    check(
        "/v1/ws",
        "Sec-WebSocket-Key: eA==",
        400,
        "Sec-WebSocket-Key",
    )
    .await;
    let protocol = "Sec-WebSocket-Protocol: graphql-ws";
    check("/v1/ws", protocol, 400, "Sec-WebSocket-Protocol").await;
    let origin = "Origin: https://evil.example";
    let answer = check("/v1/ws", origin, 403, "Origin").await;
    assert_eq!(answer.error().0, "FORBIDDEN");
    let path = format!("/v1/ws?device={}", "x".repeat(65));
    check(&path, "X-Other: 1", 400, "device").await;
    let post = sandbox.request("POST /v1/ws HTTP/1.1", &[]).await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET")));

    // Same host: the page itself.
    let hello = sandbox.hello("/v1/ws", &["Origin: https://chat.example"]);
    assert_eq!(hello.await.auth, Ok(None));
    assert!(
        sandbox.started.try_recv().is_err(),
        "no refused one started"
    );
}

/// Echoes with our decoder and frames until the client closes; answers its close.
async fn echo(started: Started) {
    let mut stream = started.stream;
    let mut decoder = Decoder::new(1024 * 1024);
    let mut bytes = started.leftover.to_vec();
    loop {
        let mut input = Input::new(&mut bytes);
        let mut answers = Vec::new();
        let mut closed = false;
        while let Some(message) = decoder.next(&mut input).unwrap() {
            answers.push(match message {
                Incoming::Text(text) => frame::text(text.as_bytes()),
                Incoming::Binary(bytes) => frame::binary(bytes),
                Incoming::Ping(payload) => frame::pong(payload),
                Incoming::Pong(_) => continue,
                Incoming::Close(close) => {
                    closed = true;
                    frame::close_answer(close.map(|(code, _)| code))
                }
            });
        }
        stream.write_all(&answers.concat()).await.unwrap();
        if closed {
            return;
        }
        bytes.clear();
        bytes.reserve(4096);
        stream.read_buf(&mut bytes).await.unwrap();
    }
}

#[tokio::test]
async fn foreign_client_talks_to_our_codec() {
    let mut sandbox = sandbox(|_| ()).await;
    let mut request = format!("ws://{}/v1/ws", sandbox.addr)
        .into_client_request()
        .unwrap();
    request.headers_mut().insert(
        "sec-websocket-protocol",
        "rookery.v1.protobuf".parse().unwrap(),
    );
    let stream = sandbox.connect().await;
    let (mut client, answer) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    assert_eq!(
        answer.headers().get("sec-websocket-protocol").unwrap(),
        "rookery.v1.protobuf"
    );
    let echoing = spawn(TaskKind::Passing, "echo", echo(sandbox.started().await));
    for len in [0, 1, 125, 126, 4_000, 65_535, 65_536, 300_000] {
        let text = Message::text("é".repeat(len / 2));
        let binary = Message::binary(vec![0xFF; len]);
        for message in [text, binary] {
            client.send(message.clone()).await.unwrap();
            let back = timeout(SOON, client.next()).await.unwrap();
            assert_eq!(back.unwrap().unwrap(), message, "{len}");
        }
    }
    client
        .send(Message::Ping("are you there".into()))
        .await
        .unwrap();
    let back = timeout(SOON, client.next()).await.unwrap();
    assert_eq!(
        back.unwrap().unwrap(),
        Message::Pong("are you there".into())
    );
    client.close(None).await.unwrap();
    while let Some(message) = timeout(SOON, client.next()).await.unwrap() {
        assert!(message.unwrap().is_close());
    }
    echoing.await.unwrap();
}
