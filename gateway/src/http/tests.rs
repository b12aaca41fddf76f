//! Real requests to a real listener.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rookery_cluster::clock::SystemClock;
use rookery_cluster::task::{TaskKind, spawn};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

use super::*;
use crate::auth::{
    Algorithm, AuthConfig, AuthError, KeyConfig, MintClaims, Secret, SigningKey, mint,
};
use crate::protocol::Encoding;
use crate::ws::{Decoder, Incoming, Input, frame};

const SECRET: &str = "a secret of the tests, long enough";
/// For anything that must happen.
const SOON: Duration = Duration::from_secs(10);

/// An upgraded connection, as [`Sessions::start`] got it.
struct Started {
    stream: TcpStream,
    leftover: Bytes,
    hello: Hello,
}

/// Hands upgraded connections to the test.
struct Recorder {
    started: mpsc::UnboundedSender<Started>,
    open: Arc<AtomicUsize>,
}

impl Sessions for Recorder {
    fn start(&self, stream: TcpStream, leftover: Bytes, hello: Hello) {
        let started = Started {
            stream,
            leftover,
            hello,
        };
        self.started.send(started).expect("the test waits for it");
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

struct Sandbox {
    addr: std::net::SocketAddr,
    shared: Arc<HttpShared>,
    started: mpsc::UnboundedReceiver<Started>,
    sessions_open: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

/// A server that takes tokens of [`SECRET`], and names when `dev`.
async fn sandbox(change: impl FnOnce(&mut GatewayConfig)) -> Sandbox {
    let mut config = GatewayConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        auth: AuthConfig {
            keys: vec![KeyConfig {
                alg: Algorithm::HS256,
                kid: None,
                secret: Some(Secret::new(SECRET)),
                secret_base64: None,
                public_key_pem: None,
            }],
            ..AuthConfig::default()
        },
        server_version: "1.2.3".to_owned(),
        ..GatewayConfig::default()
    };
    change(&mut config);
    assert_eq!(config.validate(), []);
    let verifier = if config.dev {
        Verifier::dev(&config.auth)
    } else {
        Verifier::new(&config.auth)
    };
    let verifier = verifier.unwrap_or_else(|problems| panic!("{problems:?}"));
    let (sender, started) = mpsc::unbounded_channel();
    let sessions_open = Arc::new(AtomicUsize::new(0));
    let recorder = Recorder {
        started: sender,
        open: Arc::clone(&sessions_open),
    };
    let shared = Arc::new(HttpShared::new(
        &config,
        Arc::new(verifier),
        Arc::new(SystemClock),
        Box::new(recorder),
    ));
    let listener = bind(config.listen).unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let serving = spawn(
        TaskKind::Service,
        "http",
        serve(listener, Arc::clone(&shared), stopped),
    );
    Sandbox {
        addr,
        shared,
        started,
        sessions_open,
        stop,
        serving,
    }
}

impl Sandbox {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends a request with these header lines and reads until the server closes.
    async fn request(&self, line: &str, headers: &[&str]) -> Answer {
        let mut stream = self.connect().await;
        let host = format!("Host: {}", self.addr);
        let lines = [&[line, &host, "Connection: close"], headers].concat();
        let request = format!("{}\r\n\r\n", lines.join("\r\n"));
        stream.write_all(request.as_bytes()).await.unwrap();
        Answer::read(&mut stream).await
    }

    /// Sends a good upgrade request, with the lines given added or in place of ours.
    async fn upgrade(&self, path: &str, headers: &[&str]) -> (TcpStream, Answer) {
        let mut stream = self.connect().await;
        stream
            .write_all(upgrade_request(path, headers).as_bytes())
            .await
            .unwrap();
        let answer = Answer::read_head(&mut stream).await;
        (stream, answer)
    }

    async fn started(&mut self) -> Started {
        timeout(SOON, self.started.recv()).await.unwrap().unwrap()
    }

    /// What the server made of an upgrade request it must accept.
    async fn hello(&mut self, path: &str, headers: &[&str]) -> Hello {
        let (_client, answer) = self.upgrade(path, headers).await;
        assert_eq!(answer.status, 101, "{path} {headers:?}");
        self.started().await.hello
    }
}

fn upgrade_request(path: &str, headers: &[&str]) -> String {
    let request_line = format!("GET {path} HTTP/1.1");
    let ours = [
        "Host: chat.example",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let name = |line: &str| line.split(':').next().map(str::to_ascii_lowercase);
    let mut lines = vec![request_line.as_str()];
    lines.extend(
        ours.into_iter()
            .filter(|our| headers.iter().all(|line| name(line) != name(our))),
    );
    lines.extend(headers);
    format!("{}\r\n\r\n", lines.join("\r\n"))
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    async fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        timeout(SOON, stream.read_to_end(&mut bytes))
            .await
            .unwrap()
            .unwrap();
        Self::parse(&bytes)
    }

    /// Reads the head alone, as of a 101.
    async fn read_head(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let byte = timeout(SOON, stream.read_u8()).await.unwrap();
            bytes.push(byte.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&bytes))));
        }
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Self {
            status: status.unwrap_or_else(|| panic!("no status in {text:?}")),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The `field` and `code` of an error's body.
    fn error(&self) -> (String, String) {
        let body: serde_json::Value =
            serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        let text = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
        assert!(!text("message").is_empty(), "{self:?}");
        (text("code"), text("field"))
    }
}

/// Polls until it holds.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let poll = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, poll)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

fn token(expires_in_s: i64) -> String {
    let now_s = i64::try_from(SystemClock.now_ms() / 1000).unwrap();
    let claims = MintClaims {
        sub: "ada".to_owned(),
        exp: u64::try_from(now_s + expires_in_s).unwrap(),
        ..MintClaims::default()
    };
    mint(&SigningKey::from_secret(&Secret::new(SECRET)), &claims).unwrap()
}

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

#[tokio::test]
async fn listener_ends_when_whoever_could_stop_it_is_gone() {
    let sandbox = sandbox(|_| ()).await;
    drop(sandbox.stop);
    timeout(SOON, sandbox.serving).await.unwrap().unwrap();
}
