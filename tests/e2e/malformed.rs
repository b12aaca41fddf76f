//! Whatever comes in, the answer is an error frame or the right close code, and nobody else notices.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rookery_loadtest::{
    server::{Server, ServerOptions},
    wait,
};
use rookery_proto::close::CloseCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    UNLIMITED, binary,
    raw::{Frame, RawSocket, frame},
    socket_address, start,
};

const LOG_DEADLINE: Duration = Duration::from_secs(10);
const PING: &str = r#"{"id":"p","ping":{}}"#;
/// Memory may grow by this much over all that follows: buffers that the allocator keeps.
const GROWTH_BYTES_MAX: u64 = 24 * 1024 * 1024;

fn answer(socket: &mut RawSocket) -> Result<Value> {
    match socket.next()? {
        Frame::Text(text) => Ok(serde_json::from_str(&text)?),
        other => bail!("expected an answer, got {other:?}"),
    }
}

/// The connection still works.
fn check_alive(socket: &mut RawSocket) -> Result<()> {
    socket.text(PING)?;
    let pong = answer(socket)?;
    assert_eq!(pong["ack"]["id"], "p", "{pong}");
    Ok(())
}

/// A text message that is not a valid command is answered by one error frame.
fn check_error(socket: &mut RawSocket, message: &str, code: &str, field: &str) -> Result<()> {
    socket.text(message)?;
    let error = &answer(socket)?["error"];
    assert_eq!(error["code"], code, "{message} → {error}");
    if !field.is_empty() {
        assert_eq!(error["field"], field, "{message} → {error}");
    }
    let correlation = error["correlationId"].as_str().unwrap_or_default();
    assert!(
        !correlation.is_empty() && error["message"].is_string(),
        "{error}"
    );
    check_alive(socket)
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_stands_in_the_log_under_its_correlation_id() -> Result<()> {
    let (_folder, server) = start(&[]).await?;
    let mut socket = RawSocket::log_in(socket_address(&server)?, "mallory")?;
    let refused = [
        "nonsense",
        r#"{"id":"1","fly":{}}"#,
        r#"{"id":"1","send":{"room":"nowhere","text":"?"}}"#,
        r#"{"id":"1","setPresence":{"status":"OFFLINE"}}"#,
    ];
    for message in refused {
        socket.text(message)?;
        let answer = answer(&mut socket)?;
        let id = answer["error"]["correlationId"].as_str();
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            bail!("{message} → {answer}");
        };
        let what = format!("{message} → {answer} in the log");
        wait::eventually(&what, LOG_DEADLINE, || server.log().contains(id)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn message_that_is_no_command_costs_one_error_frame() -> Result<()> {
    let (_folder, server) = start(&[]).await?;
    let mut socket = RawSocket::log_in(socket_address(&server)?, "mallory")?;
    let long = "x".repeat(65);
    let text = "x".repeat(16 * 1024 + 1);
    let socket = &mut socket;
    for message in [
        "",
        "{",
        "nonsense",
        "[]",
        "null",
        "7",
        "\"send\"",
        r#"{"id":"1""#,
    ] {
        check_error(socket, message, "INVALID", "")?;
    }
    check_error(socket, r#"{"id":"1"}"#, "INVALID", "")?;
    check_error(socket, r#"{"id":"1","fly":{}}"#, "UNSUPPORTED", "")?;
    check_error(socket, r#"{"ping":{}}"#, "INVALID", "id")?;
    check_error(
        socket,
        &format!(r#"{{"id":"{long}","ping":{{}}}}"#),
        "INVALID",
        "id",
    )?;
    check_error(socket, r#"{"id":7,"ping":{}}"#, "INVALID", "id")?;
    check_error(socket, r#"{"id":"1","send":7}"#, "INVALID", "send")?;
    check_error(
        socket,
        r#"{"id":"1","send":{"room":1}}"#,
        "INVALID",
        "send.room",
    )?;
    check_error(
        socket,
        r#"{"id":"1","edit":{"target":"x"}}"#,
        "INVALID",
        "edit.target",
    )?;
    check_error(
        socket,
        r#"{"id":"1","edit":{"target":-1}}"#,
        "INVALID",
        "edit.target",
    )?;
    check_error(
        socket,
        r#"{"id":"1","join":{"room":"a b"}}"#,
        "INVALID",
        "join.room",
    )?;
    check_error(
        socket,
        r#"{"id":"1","join":{"room":""}}"#,
        "INVALID",
        "join.room",
    )?;
    check_error(
        socket,
        r#"{"id":"1","join":{"room":"none"}}"#,
        "NOT_FOUND",
        "join.room",
    )?;
    check_error(
        socket,
        r#"{"id":"1","setPresence":{"status":"GONE"}}"#,
        "INVALID",
        "setPresence.status",
    )?;
    check_error(
        socket,
        r#"{"id":"1","history":{"room":"none","limit":201}}"#,
        "INVALID",
        "history.limit",
    )?;
    let send = json!({"id": "1", "send": {"room": "none", "text": text}}).to_string();
    check_error(socket, &send, "TOO_LARGE", "send.text")?;
    check_error(
        socket,
        r#"{"id":"1","send":{"room":"none","text":" "}}"#,
        "INVALID",
        "send.text",
    )?;
    // Unknown fields are no error: the protocol can grow.
    socket.text(r#"{"id":"p","ping":{"soon":1},"later":[{}]}"#)?;
    assert_eq!(answer(socket)?["ack"]["id"], "p");
    let deep = format!(r#"{{"id":"1","send":{}"#, "[".repeat(20_000));
    check_error(socket, &deep, "INVALID", "")
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_websocket_is_closed_with_the_right_code() -> Result<()> {
    let (_folder, server) = start(&[]).await?;
    let address = socket_address(&server)?;
    let cases: [(&str, Vec<u8>, CloseCode); 9] = [
        (
            "text that is not UTF-8",
            frame(1, b"{\"id\":\"\xff\"}"),
            CloseCode::InvalidUtf8,
        ),
        (
            "oversize message",
            frame(1, &vec![b' '; 64 * 1024 + 1]),
            CloseCode::TooLarge,
        ),
        (
            "oversize announced",
            vec![0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            CloseCode::TooLarge,
        ),
        (
            "binary on JSON",
            frame(2, b"\x0a\x01\x31"),
            CloseCode::UnsupportedData,
        ),
        ("reserved opcode", frame(3, b""), CloseCode::Protocol),
        (
            "reserved bit",
            vec![0xc1, 0x80, 1, 2, 3, 4],
            CloseCode::Protocol,
        ),
        ("no mask", vec![0x81, 0x02, b'{', b'}'], CloseCode::Protocol),
        (
            "continuation of nothing",
            frame(0, b"x"),
            CloseCode::Protocol,
        ),
        (
            "long control frame",
            frame(9, &[0; 126]),
            CloseCode::Protocol,
        ),
    ];
    for (what, bytes, code) in cases {
        let mut socket = RawSocket::log_in(address, "mallory")?;
        socket.write(&bytes)?;
        assert_eq!(socket.close_code()?, code.number(), "{what}");
    }
    let (status, _) =
        RawSocket::upgrade(address, "?name=mallory", "Sec-WebSocket-Protocol: soap\r\n")?;
    assert_eq!(status, 400, "only unknown subprotocols");
    let (status, _) = RawSocket::upgrade(address, "?name=mallory", "Origin: http://evil.test\r\n")?;
    assert_eq!(status, 403, "a page of another site");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn token_that_is_not_ours_is_closed_with_a_code_for_a_new_one() -> Result<()> {
    let folder = TempDir::new()?;
    let secret = "a secret of thirty-two bytes, no less";
    let config = folder.path().join("rookery.toml");
    std::fs::write(
        &config,
        format!("[[auth.keys]]\nalg = \"HS256\"\nsecret = \"{secret}\"\n"),
    )?;
    let mut options = ServerOptions::dev(folder.path()).arg("--config");
    options.dev = false;
    let options = options.arg(&config.display().to_string());
    let server = Server::start(binary(), options).await?;
    let address = socket_address(&server)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let token = |secret: &str, expires: u64| {
        let claims = json!({"sub": "ada", "name": "Ada", "exp": expires});
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
    };
    let good = token(secret, now + 600)?;
    let forged = token("another secret of thirty-two bytes", now + 600)?;
    let expired = token(secret, now - 600)?;
    // {"alg":"none"} with a body that would be fine.
    let unsigned = format!(
        "eyJhbGciOiJub25lIn0.{}.",
        good.split('.').nth(1).unwrap_or_default()
    );
    for bad in [forged.as_str(), expired.as_str(), unsigned.as_str(), "junk"] {
        let (status, mut socket) = RawSocket::upgrade(address, &format!("?token={bad}"), "")?;
        assert_eq!(status, 101, "browsers cannot see a status");
        assert_eq!(answer(&mut socket)?["error"]["code"], "UNAUTHENTICATED");
        assert_eq!(socket.close_code()?, CloseCode::TokenInvalid.number());
    }
    let (_, mut socket) =
        RawSocket::upgrade(address, "", &format!("Authorization: Bearer {good}\r\n"))?;
    assert_eq!(answer(&mut socket)?["welcome"]["user"]["name"], "Ada");
    check_alive(&mut socket)?;
    let (_, mut socket) = RawSocket::upgrade(address, "", "")?;
    socket.text(PING)?;
    assert_eq!(socket.close_code()?, CloseCode::NotAuthenticated.number());
    let (_, mut socket) = RawSocket::upgrade(address, "?name=ada", "")?;
    assert_ne!(
        socket.close_code()?,
        CloseCode::Normal.number(),
        "a name is not enough here"
    );
    Ok(())
}

/// 10,000 random byte strings and a frame cut at every byte; a witness talks all the while.
#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_and_cut_frames_harm_nobody() -> Result<()> {
    let (_folder, server) = start(&UNLIMITED).await?;
    let address = socket_address(&server)?;
    let mut witness = RawSocket::log_in(address, "witness")?;
    let mut random = random_bytes(11);
    // A first round fills caches and pools; what counts is growth after it.
    check_random_messages(address, &mut random, 1_000)?;
    check_random_streams(address, &mut random, 300)?;
    let before = server.memory_bytes()?;
    check_random_messages(address, &mut random, 7_000)?;
    check_alive(&mut witness)?;
    check_random_streams(address, &mut random, 1_700)?;
    check_alive(&mut witness)?;

    let whole = frame(1, PING.as_bytes());
    for cut in 0..whole.len() {
        let mut socket = RawSocket::log_in(address, "cut")?;
        socket.write(&whole[..cut])?;
        if cut % 2 == 0 {
            // Gone for good.
            socket.finish()?;
            continue;
        }
        // Late, but whole.
        socket.write(&whole[cut..])?;
        assert_eq!(answer(&mut socket)?["ack"]["id"], "p", "cut at {cut}");
        check_alive(&mut witness)?;
    }
    let growth = server.memory_bytes()?.saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "memory grew by {growth} bytes");
    check_alive(&mut witness)
}

/// Random payloads in well-formed frames: each is answered by an error or closes.
fn check_random_messages(
    address: std::net::SocketAddr,
    random: &mut impl FnMut(usize) -> Vec<u8>,
    count: usize,
) -> Result<()> {
    let mut socket = RawSocket::log_in(address, "noise")?;
    for number in 0..count {
        let bytes = random(300);
        // Every other one is text, so that it gets past the check for UTF-8.
        let payload = if number % 2 == 0 {
            String::from_utf8_lossy(&bytes).into_owned().into_bytes()
        } else {
            bytes
        };
        let answered = socket.send(1, &payload).and_then(|()| socket.next());
        match answered {
            Ok(Frame::Text(text)) => assert!(text.starts_with("{\"error\""), "{text}"),
            Ok(Frame::Close(code)) => {
                let expected = [CloseCode::InvalidUtf8, CloseCode::TooManyErrors];
                assert!(
                    expected.iter().any(|one| one.number() == code),
                    "closed with {code}"
                );
                socket = RawSocket::log_in(address, "noise")?;
            }
            Ok(Frame::End) | Err(_) => bail!("no answer and no close code"),
        }
    }
    Ok(())
}

/// Random bytes instead of frames.
fn check_random_streams(
    address: std::net::SocketAddr,
    random: &mut impl FnMut(usize) -> Vec<u8>,
    count: usize,
) -> Result<()> {
    for _ in 0..count {
        let mut socket = RawSocket::log_in(address, "noise")?;
        // The server may have closed before all was written.
        let _ = socket.write(&random(300));
        let _ = socket.finish();
        loop {
            match socket.next() {
                Ok(Frame::Text(_)) => {}
                Ok(Frame::Close(_) | Frame::End) => break,
                // Bytes the server had not read when it closed reset the connection.
                Err(error) if error.downcast_ref::<std::io::Error>().is_some() => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Byte strings of up to so many bytes, from a seed (xorshift64*).
fn random_bytes(seed: u64) -> impl FnMut(usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    move |bytes_max| {
        let length = usize::try_from(next() % bytes_max as u64).expect("below a usize") + 1;
        (0..length).map(|_| next().to_le_bytes()[7]).collect()
    }
}
