//! A listener on a free port, requests to it, and what it answers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rookery_cluster::clock::SystemClock;
use rookery_cluster::task::{TaskKind, spawn};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::auth::{Algorithm, AuthConfig, KeyConfig, MintClaims, Secret, SigningKey, mint};
use crate::http::*;

pub(super) const SECRET: &str = "a secret of the tests, long enough";
/// For anything that must happen.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// An upgraded connection, as [`Sessions::start`] got it.
pub(super) struct Started {
    pub(super) stream: TcpStream,
    pub(super) leftover: Bytes,
    pub(super) hello: Hello,
}

/// Hands upgraded connections to the test.
pub(super) struct Recorder {
    pub(super) started: mpsc::UnboundedSender<Started>,
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

pub(super) struct Sandbox {
    pub(super) addr: std::net::SocketAddr,
    pub(super) shared: Arc<HttpShared>,
    pub(super) started: mpsc::UnboundedReceiver<Started>,
    pub(super) sessions_open: Arc<AtomicUsize>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) serving: JoinHandle<()>,
}

/// A server that takes tokens of [`SECRET`], and names when `dev`.
pub(super) async fn sandbox(change: impl FnOnce(&mut GatewayConfig)) -> Sandbox {
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
    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends a request with these header lines and reads until the server closes.
    pub(super) async fn request(&self, line: &str, headers: &[&str]) -> Answer {
        let mut stream = self.connect().await;
        let host = format!("Host: {}", self.addr);
        let lines = [&[line, &host, "Connection: close"], headers].concat();
        let request = format!("{}\r\n\r\n", lines.join("\r\n"));
        stream.write_all(request.as_bytes()).await.unwrap();
        Answer::read(&mut stream).await
    }

    /// Sends a good upgrade request, with the lines given added or in place of ours.
    pub(super) async fn upgrade(&self, path: &str, headers: &[&str]) -> (TcpStream, Answer) {
        let mut stream = self.connect().await;
        stream
            .write_all(upgrade_request(path, headers).as_bytes())
            .await
            .unwrap();
        let answer = Answer::read_head(&mut stream).await;
        (stream, answer)
    }

    pub(super) async fn started(&mut self) -> Started {
        timeout(SOON, self.started.recv()).await.unwrap().unwrap()
    }

    /// What the server made of an upgrade request it must accept.
    pub(super) async fn hello(&mut self, path: &str, headers: &[&str]) -> Hello {
        let (_client, answer) = self.upgrade(path, headers).await;
        assert_eq!(answer.status, 101, "{path} {headers:?}");
        self.started().await.hello
    }
}

pub(super) fn upgrade_request(path: &str, headers: &[&str]) -> String {
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
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) async fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        timeout(SOON, stream.read_to_end(&mut bytes))
            .await
            .unwrap()
            .unwrap();
        Self::parse(&bytes)
    }

    /// Reads the head alone, as of a 101.
    pub(super) async fn read_head(stream: &mut TcpStream) -> Self {
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

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The `field` and `code` of an error's body.
    pub(super) fn error(&self) -> (String, String) {
        let body: serde_json::Value =
            serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        let text = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
        assert!(!text("message").is_empty(), "{self:?}");
        (text("code"), text("field"))
    }
}

/// Polls until it holds.
pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let poll = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, poll)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

pub(super) fn token(expires_in_s: i64) -> String {
    let now_s = i64::try_from(SystemClock.now_ms() / 1000).unwrap();
    let claims = MintClaims {
        sub: "ada".to_owned(),
        exp: u64::try_from(now_s + expires_in_s).unwrap(),
        ..MintClaims::default()
    };
    mint(&SigningKey::from_secret(&Secret::new(SECRET)), &claims).unwrap()
}
