//! Malformed input of every kind: an error frame or the right close code each time, and everyone
//! else unharmed.

use crate::support::{Client, Cluster, PATIENCE, Seen, eventually, start};
use rookery_proto::{errors::Code, v1::server_frame::Frame};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// A connection of bare bytes, upgraded, and its welcome read.
async fn raw(cluster: &Cluster, subprotocol: &str) -> TcpStream {
    let mut stream = TcpStream::connect(cluster.addr).await.unwrap();
    let request = format!(
        "GET /v1/ws?name=raw HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{subprotocol}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    let (opcode, _) = read_frame(&mut stream).await.expect("welcome");
    assert!(opcode == 1 || opcode == 2);
    stream
}

/// One frame of the server; `None` at the end.
async fn read_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let read = async {
        let first = stream.read_u8().await.ok()?;
        let len = match stream.read_u8().await.ok()? {
            126 => usize::from(stream.read_u16().await.ok()?),
            127 => usize::try_from(stream.read_u64().await.ok()?).unwrap(),
            len => usize::from(len),
        };
        let mut payload = vec![0; len];
        stream.read_exact(&mut payload).await.ok()?;
        Some((first & 0x0f, payload))
    };
    timeout(PATIENCE, read).await.expect("in time")
}

/// Reads up to the close frame and returns its code.
async fn close_code(stream: &mut TcpStream) -> u16 {
    loop {
        let (opcode, payload) = read_frame(stream)
            .await
            .expect("a close frame before the end");
        if opcode == 8 {
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
}

/// A client's frame: masked, with the key 1 2 3 4.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | u8::try_from(len).unwrap()),
        len @ ..65_536 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend([1, 2, 3, 4]);
    frame.extend(
        payload
            .iter()
            .zip([1, 2, 3, 4].iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_message_is_one_error_frame_and_the_connection_lives() {
    let cluster = start(|_| ()).await;
    let mut client = Client::login(cluster.addr, "ada").await;
    let cases = [
        ("", "", Code::Invalid, ""),
        ("nonsense", "", Code::Invalid, ""),
        ("{\"id\":\"1\"", "1", Code::Invalid, ""),
        ("[]", "", Code::Invalid, ""),
        (r#"{"id":"2","fly":{}}"#, "2", Code::Unsupported, "fly"),
        (r#"{"id":"3"}"#, "3", Code::Invalid, ""),
        (
            r#"{"id":"4","send":{"room":"r","text":4}}"#,
            "4",
            Code::Invalid,
            "send.text",
        ),
        (
            r#"{"id":"5","join":{"room":"r","last":"x"}}"#,
            "5",
            Code::Invalid,
            "join.last",
        ),
        (r#"{"id":5,"ping":{}}"#, "", Code::Invalid, "id"),
        (r#"{"ping":{}}"#, "", Code::Invalid, "id"),
        (
            r#"{"id":"6","join":{"room":"a b"}}"#,
            "6",
            Code::Invalid,
            "join.room",
        ),
        (
            r#"{"id":"7","createRoom":{}}"#,
            "7",
            Code::Invalid,
            "createRoom.kind",
        ),
    ];
    for (text, id, code, field) in cases {
        client.send(text).await;
        let error = client.error().await;
        let seen = (error.id.as_str(), error.code(), error.field.as_str());
        assert_eq!(seen, (id, code, field), "{text}: {}", error.message);
        assert_eq!(error.correlation_id.len(), 16);
        assert!(!error.message.is_empty());
    }
    client.check_alive().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_protocol_closes_with_its_code_and_nobody_else() {
    let cluster = start(|_| ()).await;
    let mut bystander = Client::login(cluster.addr, "ada").await;
    let long = vec![b'x'; 70_000];
    let protobuf = "Sec-WebSocket-Protocol: rookery.v1.protobuf\r\n";
    let cases: [(&str, Vec<u8>, u16); 10] = [
        ("", frame(0x82, b"binary on json"), 1003),
        (protobuf, frame(0x81, b"text on protobuf"), 1003),
        ("", frame(0x81, b"\xff\xfe"), 1007),
        ("", frame(0x81, &long), 1009),
        (protobuf, frame(0x82, &long), 1009),
        ("", b"\x81\x02hi".to_vec(), 1002),
        ("", frame(0xc1, b"reserved bit"), 1002),
        ("", frame(0x83, b"reserved opcode"), 1002),
        ("", frame(0x80, b"continues nothing"), 1002),
        ("", frame(0x88, b"\x00"), 1002),
    ];
    for (subprotocol, bytes, code) in cases {
        let mut stream = raw(&cluster, subprotocol).await;
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(close_code(&mut stream).await, code, "{:x?}", &bytes[..6]);
        bystander.check_alive().await;
    }
    eventually("only the bystander is left", || {
        cluster.gateway.connections() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_invalid_frames_close_and_a_rate_is_kept() {
    let cluster = start(|config| {
        config.commands_burst = 50;
        config.commands_per_second = 50;
    })
    .await;
    let mut broken = Client::login(cluster.addr, "ada").await;
    for _ in 0..100 {
        broken.send("nonsense").await;
    }
    assert_eq!(broken.close_code().await, 4200);
    let mut hasty = Client::login(cluster.addr, "bob").await;
    for n in 0..200 {
        hasty.send(&format!(r#"{{"id":"{n}","ping":{{}}}}"#)).await;
    }
    let (mut acked, mut limited) = (0, 0);
    while acked + limited < 200 {
        match hasty.next().await {
            Seen::Frame(Frame::Ack(_)) => acked += 1,
            Seen::Frame(Frame::Error(error)) => {
                assert_eq!(error.code(), Code::RateLimited);
                assert!(error.retry_after_ms > 0);
                limited += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(acked >= 50 && limited > 0, "{acked} {limited}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frame_cut_at_every_byte_is_read_whole_or_ends_quietly() {
    let cluster = start(|config| config.commands_burst = 1_000).await;
    let bytes = frame(0x81, br#"{"id":"1","ping":{}}"#);
    for cut in 1..bytes.len() {
        // In two pieces, with the second only after the first has been read.
        let mut stream = raw(&cluster, "").await;
        stream.set_nodelay(true).unwrap();
        stream.write_all(&bytes[..cut]).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(&bytes[cut..]).await.unwrap();
        let (opcode, payload) = read_frame(&mut stream).await.expect("an answer");
        assert_eq!(opcode, 1);
        assert!(payload.starts_with(br#"{"ack":{"id":"1""#));
        // And cut off for good.
        stream.write_all(&bytes[..cut]).await.unwrap();
    }
    eventually("all are gone", || cluster.gateway.connections() == 0).await;
    Client::login(cluster.addr, "ada").await.check_alive().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_random_byte_strings_harm_nobody() {
    let cluster = start(|_| ()).await;
    let mut bystander = Client::login(cluster.addr, "ada").await;
    let mut random = fastrand::Rng::with_seed(7);
    let protobuf = "Sec-WebSocket-Protocol: rookery.v1.protobuf\r\n";
    let mut stream = raw(&cluster, protobuf).await;
    let mut on_this = 0;
    for n in 0..10_000 {
        let bytes: Vec<u8> = (0..random.usize(0..200)).map(|_| random.u8(..)).collect();
        // As messages, which are refused one by one; and now and then as frames, which break
        // the protocol at once.
        let as_frame = n % 100 == 99;
        let bytes = if as_frame { bytes } else { frame(0x82, &bytes) };
        let written = stream.write_all(&bytes).await;
        on_this += 1;
        if written.is_err() || as_frame || on_this == 90 {
            stream = raw(&cluster, protobuf).await;
            on_this = 0;
        }
    }
    drop(stream);
    bystander.check_alive().await;
    eventually("only the bystander is left", || {
        cluster.gateway.connections() == 1
    })
    .await;
}
