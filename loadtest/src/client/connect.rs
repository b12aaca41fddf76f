//! From an address to a welcomed session.

use std::{io, sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use rookery_proto::{
    close::Reconnect,
    v1::{self, server_frame::Frame},
};
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{
        self, Message,
        client::IntoClientRequest as _,
        http::{HeaderValue, Request, header},
        protocol::WebSocketConfig,
    },
};

use super::{
    Client, Closed, Command, DecodeError, Encoding, Incoming, ServerAddress,
    drive::{self, Socket, Waiting},
};
use crate::limits::{
    CALL_DEADLINE_DEFAULT, CONNECT_DEADLINE_DEFAULT, INCOMING_FRAMES_MAX, OUTGOING_FRAMES_MAX,
    READ_BUFFER_BYTES, RECONNECT_BACKOFF_MAX, RECONNECT_BACKOFF_MIN, SERVER_MESSAGE_BYTES_MAX,
};

/// How a client says who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A token in the `Authorization` header of the upgrade.
    Header(String),
    /// A token in the query of the upgrade.
    Query(String),
    /// A token in the first frame.
    Token(String),
    /// A development name in the first frame.
    Name(String),
    /// Nothing: the server is expected to close.
    None,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header(_) => "Header(…)",
            Self::Query(_) => "Query(…)",
            Self::Token(_) => "Token(…)",
            Self::Name(name) => return write!(f, "Name({name:?})"),
            Self::None => "None",
        })
    }
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Where the server is.
    pub address: ServerAddress,
    /// Further gateways of the same cluster, tried in turn by [`Client::connect_until`].
    pub others: Vec<ServerAddress>,
    /// JSON or protobuf.
    pub encoding: Encoding,
    /// Who we are.
    pub credentials: Credentials,
    /// Device name, stable over reconnects; empty: the session is the device.
    pub device: String,
    /// `Origin` header of the upgrade; browsers always send one.
    pub origin: Option<String>,
    /// Subprotocols asked for instead of the encoding's own; `Some(vec![])` asks for none.
    pub subprotocols: Option<Vec<String>>,
    /// Kernel receive buffer: a small one makes a paused reader back up at once.
    pub receive_buffer_bytes: Option<u32>,
    /// How long TCP, upgrade and `welcome` may take together.
    pub connect_deadline: Duration,
    /// How long a call may take.
    pub call_deadline: Duration,
}

impl ConnectOptions {
    /// JSON, default deadlines, no device name.
    #[must_use]
    pub fn new(address: &ServerAddress, credentials: Credentials) -> Self {
        Self {
            address: address.clone(),
            others: Vec::new(),
            encoding: Encoding::default(),
            credentials,
            device: String::new(),
            origin: None,
            subprotocols: None,
            receive_buffer_bytes: None,
            connect_deadline: CONNECT_DEADLINE_DEFAULT,
            call_deadline: CALL_DEADLINE_DEFAULT,
        }
    }

    /// A development login by name.
    #[must_use]
    pub fn named(address: &ServerAddress, name: &str) -> Self {
        Self::new(address, Credentials::Name(name.to_owned()))
    }

    /// With this encoding.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// With further gateways: one that is gone is passed over.
    #[must_use]
    pub fn others(mut self, others: &[ServerAddress]) -> Self {
        self.others = others.to_vec();
        self
    }

    /// The same with the next gateway first.
    pub(super) fn next_gateway(mut self) -> Self {
        if !self.others.is_empty() {
            let next = self.others.remove(0);
            self.others.push(std::mem::replace(&mut self.address, next));
        }
        self
    }

    /// As this device.
    #[must_use]
    pub fn device(mut self, device: &str) -> Self {
        device.clone_into(&mut self.device);
        self
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No TCP connection.
    #[error("cannot reach {address}")]
    Reach {
        /// Where to.
        address: ServerAddress,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The upgrade was answered by another HTTP status than 101.
    #[error("upgrade answered with HTTP status {status}: {body:.200}")]
    Http {
        /// The status.
        status: u16,
        /// The answer's text.
        body: String,
    },
    /// The WebSocket failed before `welcome`.
    #[error("the connection broke before welcome")]
    WebSocket(#[source] Box<tungstenite::Error>),
    /// A message that is no frame of the wire.
    #[error("the server's first message cannot be read")]
    Decode(#[from] DecodeError),
    /// The server chose another subprotocol than the one asked for.
    #[error("the server chose subprotocol {0:?}")]
    Subprotocol(Option<String>),
    /// An error frame instead of `welcome`.
    #[error("refused with {:?}: {}", .0.code(), .0.message)]
    Refused(Box<v1::Error>),
    /// The server closed instead of `welcome`.
    #[error("before welcome: {0}")]
    Closed(Closed),
    /// Another frame before `welcome`.
    #[error("a frame before welcome: {0:?}")]
    NotWelcome(Box<Frame>),
    /// It took too long.
    #[error("no session within {0:?}")]
    Deadline(Duration),
}

impl ConnectError {
    /// Whether the same attempt may work later.
    #[must_use]
    pub fn retry_helps(&self) -> bool {
        match self {
            Self::Reach { .. } | Self::WebSocket(_) | Self::Deadline(_) => true,
            Self::Http { status, .. } => *status >= 500,
            Self::Refused(error) => rookery_proto::errors::retryable(error.code()),
            Self::Closed(closed) => closed.reconnect() == Reconnect::Resume,
            Self::Decode(_) | Self::Subprotocol(_) | Self::NotWelcome(_) => false,
        }
    }
}

/// Growing, jittered pauses between attempts.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            next: RECONNECT_BACKOFF_MIN,
        }
    }
}

impl Backoff {
    /// The next pause: between half and all of a time that doubles up to its bound.
    pub fn pause(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(RECONNECT_BACKOFF_MAX);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

pub(super) async fn open(options: &ConnectOptions) -> Result<(Client, Incoming), ConnectError> {
    let stream = reach(options).await?;
    let request = request(options)?;
    let mut config = WebSocketConfig::default();
    config.read_buffer_size = READ_BUFFER_BYTES;
    config.write_buffer_size = READ_BUFFER_BYTES;
    config.max_message_size = Some(SERVER_MESSAGE_BYTES_MAX);
    config.max_frame_size = Some(SERVER_MESSAGE_BYTES_MAX);
    let (mut socket, response) = client_async_with_config(request, stream, Some(config))
        .await
        .map_err(upgrade_error)?;
    check_subprotocol(
        options,
        response.headers().get(header::SEC_WEBSOCKET_PROTOCOL),
    )?;
    authenticate(options, &mut socket).await?;
    let welcome = welcome(options.encoding, &mut socket).await?;

    let (outgoing, outgoing_rx) = mpsc::channel(OUTGOING_FRAMES_MAX);
    let (incoming_tx, incoming) = mpsc::channel(INCOMING_FRAMES_MAX);
    let (paused, paused_rx) = watch::channel(false);
    let (closed_tx, closed) = watch::channel(None);
    let waiting = Arc::new(Waiting::default());
    let mut driver = JoinSet::new();
    driver.spawn(drive::run(drive::Parts {
        socket,
        encoding: options.encoding,
        outgoing: outgoing_rx,
        incoming: incoming_tx,
        waiting: Arc::clone(&waiting),
        paused: paused_rx,
        closed: closed_tx,
    }));
    let client = Client {
        outgoing,
        waiting,
        paused,
        closed,
        welcome,
        next_id: 1.into(),
        call_deadline: options.call_deadline,
        _driver: driver,
    };
    Ok((client, Incoming::new(incoming)))
}

async fn reach(options: &ConnectOptions) -> Result<TcpStream, ConnectError> {
    let attempt = async {
        let address = lookup_host(options.address.authority())
            .await?
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?;
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if let Some(bytes) = options.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    attempt.await.map_err(|source| ConnectError::Reach {
        address: options.address.clone(),
        source,
    })
}

fn request(options: &ConnectOptions) -> Result<Request<()>, ConnectError> {
    let mut url = options.address.websocket_url();
    let mut query = Vec::new();
    if let Credentials::Query(token) = &options.credentials {
        query.push(format!("token={}", percent_encoded(token)));
    }
    let in_first_frame = matches!(
        options.credentials,
        Credentials::Token(_) | Credentials::Name(_) | Credentials::None
    );
    if !options.device.is_empty() && !in_first_frame {
        query.push(format!("device={}", percent_encoded(&options.device)));
    }
    if !query.is_empty() {
        url = format!("{url}?{}", query.join("&"));
    }
    let broken = |error| ConnectError::WebSocket(Box::new(error));
    let mut request = url.into_client_request().map_err(broken)?;
    let headers = request.headers_mut();
    let mut set = |name, value: &str| -> Result<(), ConnectError> {
        let value = HeaderValue::from_str(value)
            .map_err(|error| broken(tungstenite::Error::HttpFormat(error.into())))?;
        headers.insert(name, value);
        Ok(())
    };
    let subprotocols = match &options.subprotocols {
        Some(asked) => asked.join(", "),
        None => options.encoding.subprotocol().to_owned(),
    };
    if !subprotocols.is_empty() {
        set(header::SEC_WEBSOCKET_PROTOCOL, &subprotocols)?;
    }
    if let Credentials::Header(token) = &options.credentials {
        set(header::AUTHORIZATION, &format!("Bearer {token}"))?;
    }
    if let Some(origin) = &options.origin {
        set(header::ORIGIN, origin)?;
    }
    Ok(request)
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn upgrade_error(error: tungstenite::Error) -> ConnectError {
    match error {
        tungstenite::Error::Http(response) => ConnectError::Http {
            status: response.status().as_u16(),
            body: response
                .body()
                .as_deref()
                .map(|body| String::from_utf8_lossy(body).into_owned())
                .unwrap_or_default(),
        },
        other => ConnectError::WebSocket(Box::new(other)),
    }
}

fn check_subprotocol(
    options: &ConnectOptions,
    chosen: Option<&HeaderValue>,
) -> Result<(), ConnectError> {
    let chosen = chosen.and_then(|value| value.to_str().ok());
    let want = match &options.subprotocols {
        Some(asked) if asked.is_empty() => return Ok(()),
        _ => options.encoding.subprotocol(),
    };
    if chosen == Some(want) {
        Ok(())
    } else {
        Err(ConnectError::Subprotocol(chosen.map(str::to_owned)))
    }
}

async fn authenticate(options: &ConnectOptions, socket: &mut Socket) -> Result<(), ConnectError> {
    let (token, name) = match &options.credentials {
        Credentials::Token(token) => (token.clone(), String::new()),
        Credentials::Name(name) => (String::new(), name.clone()),
        Credentials::Header(_) | Credentials::Query(_) | Credentials::None => return Ok(()),
    };
    let frame = v1::ClientFrame {
        id: "login".to_owned(),
        command: Some(Command::Authenticate(v1::Authenticate {
            token,
            name,
            device: options.device.clone(),
        })),
    };
    socket
        .send(options.encoding.encode(&frame))
        .await
        .map_err(|error| ConnectError::WebSocket(Box::new(error)))
}

async fn welcome(encoding: Encoding, socket: &mut Socket) -> Result<v1::Welcome, ConnectError> {
    loop {
        let message = match socket.next().await {
            None => return Err(ConnectError::Closed(Closed::cut("end of stream"))),
            Some(Err(error)) => return Err(ConnectError::WebSocket(Box::new(error))),
            Some(Ok(message)) => message,
        };
        match message {
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            Message::Close(frame) => {
                return Err(ConnectError::Closed(Closed::from_frame(frame.as_ref())));
            }
            data @ (Message::Text(_) | Message::Binary(_)) => {
                return match encoding.decode(&data)?.frame {
                    Some(Frame::Welcome(welcome)) => Ok(welcome),
                    Some(Frame::Error(error)) => Err(refusal(error, socket).await),
                    Some(other) => Err(ConnectError::NotWelcome(Box::new(other))),
                    None => Err(ConnectError::NotWelcome(Box::new(Frame::Error(
                        v1::Error::default(),
                    )))),
                };
            }
        }
    }
}

/// A refused login is an error frame and then a close; the close code says more.
async fn refusal(error: v1::Error, socket: &mut Socket) -> ConnectError {
    match tokio::time::timeout(RECONNECT_BACKOFF_MAX, socket.next()).await {
        Ok(Some(Ok(Message::Close(frame)))) => {
            let mut closed = Closed::from_frame(frame.as_ref());
            closed.reason = format!("{} ({})", closed.reason, error.message);
            ConnectError::Closed(closed)
        }
        _ => ConnectError::Refused(Box::new(error)),
    }
}
