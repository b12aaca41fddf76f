//! Many connections that join one room and count what they are sent.

use std::{
    cell::RefCell,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prost::Message as _;
use rookery_proto::v1::{self, server_frame::Frame as Body};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream, lookup_host},
    task::JoinSet,
};

use crate::{
    client::{Command, Encoding, ServerAddress, command},
    light::frames::{
        Frame, FrameError, FrameReader, OPCODE_BINARY, OPCODE_CLOSE, OPCODE_PING, OPCODE_PONG,
        OPCODE_TEXT, push_masked,
    },
};

/// Bytes of the buffer each thread reads into.
const SHARED_BUFFER_BYTES: usize = 64 * 1024;
/// Handshakes under way at once: fewer than a listener's usual backlog.
const HANDSHAKES_MAX: usize = 64;
/// Connections from one source address, below the usual range of ephemeral ports.
const CONNECTIONS_PER_SOURCE: usize = 20_000;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SHARED_BUFFER_BYTES]);
}

/// Called with the payload of each event frame, on the thread that read it.
pub type Observe = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// What to connect.
#[derive(Clone, Debug)]
pub struct ListenersOptions {
    /// Where the server is.
    pub address: ServerAddress,
    /// JSON or protobuf.
    pub encoding: Encoding,
    /// The room all of them join: public.
    pub room: String,
    /// How many.
    pub count: usize,
    /// Starts their development names, `NAME-0` and so on.
    pub name: String,
}

/// What all listeners together were sent since they joined.
#[derive(Debug, Default)]
pub struct Tally {
    events: AtomicU64,
    bytes: AtomicU64,
    ended: AtomicU64,
}

impl Tally {
    /// Event frames.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events.load(Relaxed)
    }

    /// Bytes of all frames, with their headers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Connections that ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended.load(Relaxed)
    }
}

/// Listeners that are joined; dropped together.
#[derive(Debug)]
pub struct Listeners {
    tally: Arc<Tally>,
    connections: JoinSet<()>,
}

/// A listener could not join.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// TCP.
    #[error("connection failed")]
    Io(#[from] io::Error),
    /// The upgrade was refused.
    #[error("upgrade refused: {0:.100}")]
    Upgrade(String),
    /// The server's bytes.
    #[error("the server's frames cannot be read")]
    Frame(#[from] FrameError),
    /// An error frame, or a close, instead of the join's ack.
    #[error("not joined: {0}")]
    NotJoined(String),
}

impl Listeners {
    /// Connects and joins all of them. `observe` is called with the payload of every event frame
    /// after the join, on the thread that read it: for latencies.
    ///
    /// # Errors
    /// The first that fails.
    pub async fn connect(
        options: &ListenersOptions,
        observe: Observe,
    ) -> Result<Self, ListenError> {
        let server = lookup_host(options.address.authority())
            .await?
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?;
        let tally = Arc::new(Tally::default());
        let mut connections = JoinSet::new();
        let mut joining = JoinSet::new();
        for number in 0..options.count {
            if joining.len() >= HANDSHAKES_MAX {
                let joined = joining.join_next().await.expect("some are joining");
                start(
                    &mut connections,
                    joined.expect("no panic"),
                    &tally,
                    &observe,
                )?;
            }
            let options = options.clone();
            joining.spawn(async move { Listener::join(&options, server, number).await });
        }
        while let Some(joined) = joining.join_next().await {
            start(
                &mut connections,
                joined.expect("no panic"),
                &tally,
                &observe,
            )?;
        }
        Ok(Self { tally, connections })
    }

    /// What they were sent.
    #[must_use]
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.connections.len()
    }
}

fn start(
    connections: &mut JoinSet<()>,
    joined: Result<Listener, ListenError>,
    tally: &Arc<Tally>,
    observe: &Observe,
) -> Result<(), ListenError> {
    let listener = joined?;
    let (tally, observe) = (Arc::clone(tally), Arc::clone(observe));
    connections.spawn(listener.count(tally, observe));
    Ok(())
}

#[derive(Debug)]
struct Listener {
    stream: TcpStream,
    encoding: Encoding,
    reader: FrameReader,
}

impl Listener {
    async fn join(
        options: &ListenersOptions,
        server: SocketAddr,
        number: usize,
    ) -> Result<Self, ListenError> {
        let mut listener = Self {
            stream: reach(server, number).await?,
            encoding: options.encoding,
            reader: FrameReader::default(),
        };
        let request = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cm9va2VyeSBsb2FkdGVzdA==\r\n\
             Sec-WebSocket-Protocol: {}\r\n\r\n",
            options.address.authority(),
            options.encoding.subprotocol()
        );
        listener.stream.write_all(request.as_bytes()).await?;
        let rest = listener.upgraded().await?;
        let login = Command::Authenticate(v1::Authenticate {
            name: format!("{}-{number}", options.name),
            ..v1::Authenticate::default()
        });
        let mut hello = listener.encoded("login", login);
        hello.extend(listener.encoded("join", command::join(&options.room)));
        listener.stream.write_all(&hello).await?;
        listener.joined(rest).await?;
        Ok(listener)
    }

    fn encoded(&self, id: &str, command: Command) -> Vec<u8> {
        let frame = v1::ClientFrame {
            id: id.to_owned(),
            command: Some(command),
        };
        match self.encoding {
            Encoding::Json => masked(
                OPCODE_TEXT,
                &serde_json::to_vec(&frame).expect("a frame has only string keys"),
            ),
            Encoding::Protobuf => masked(OPCODE_BINARY, &frame.encode_to_vec()),
        }
    }

    /// Reads the answer to the upgrade; gives what came behind it.
    async fn upgraded(&mut self) -> Result<Vec<u8>, ListenError> {
        let mut head = Vec::new();
        loop {
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = head.split_off(end + 4);
                return if head.starts_with(b"HTTP/1.1 101") {
                    Ok(rest)
                } else {
                    Err(ListenError::Upgrade(
                        String::from_utf8_lossy(&head).into_owned(),
                    ))
                };
            }
            self.more(&mut head).await?;
        }
    }

    async fn more(&self, into: &mut Vec<u8>) -> Result<(), ListenError> {
        loop {
            self.stream.readable().await?;
            let read = BUFFER.with_borrow_mut(|buffer| {
                let read = self.stream.try_read(buffer)?;
                into.extend_from_slice(&buffer[..read]);
                Ok::<_, io::Error>(read)
            });
            match read {
                Ok(0) => return Err(ListenError::NotJoined("end of stream".to_owned())),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for the join's ack; events behind it are not counted.
    async fn joined(&mut self, mut bytes: Vec<u8>) -> Result<(), ListenError> {
        let encoding = self.encoding;
        loop {
            let mut result = None;
            self.reader.feed(&bytes, |frame| {
                result = result.take().or_else(|| outcome(encoding, frame));
            })?;
            match result {
                Some(Ok(())) => return Ok(()),
                Some(Err(why)) => return Err(ListenError::NotJoined(why)),
                None => {}
            }
            bytes.clear();
            self.more(&mut bytes).await?;
        }
    }

    /// Counts until the connection ends. What this future holds across its await is what a
    /// listener costs.
    async fn count(mut self, tally: Arc<Tally>, observe: Observe) {
        while self.stream.readable().await.is_ok() {
            match self.read_once(&tally, &observe) {
                Ok(true) => {}
                Ok(false) | Err(_) => break,
            }
        }
        tally.ended.fetch_add(1, Relaxed);
    }

    /// Reads what is there; false at the end of the stream or after a close.
    fn read_once(&mut self, tally: &Tally, observe: &Observe) -> Result<bool, ListenError> {
        let Self {
            stream,
            encoding,
            reader,
        } = self;
        BUFFER.with_borrow_mut(|buffer| {
            let read = match stream.try_read(buffer) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error.into()),
            };
            tally.bytes.fetch_add(read as u64, Relaxed);
            let mut events = 0;
            let mut open = true;
            reader.feed(&buffer[..read], |frame| match frame.opcode {
                OPCODE_PING => {
                    // A full socket loses the pong; the server pings again.
                    let _ = stream.try_write(&masked(OPCODE_PONG, frame.payload));
                }
                OPCODE_CLOSE => open = false,
                _ if is_event(*encoding, frame.payload) => {
                    events += 1;
                    observe(frame.payload);
                }
                _ => {}
            })?;
            tally.events.fetch_add(events, Relaxed);
            Ok(open)
        })
    }
}

async fn reach(server: SocketAddr, number: usize) -> Result<TcpStream, ListenError> {
    let socket = if server.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if server.ip().is_loopback() && server.is_ipv4() {
        // All of 127.0.0.0/8 is local: each address has its own ports.
        let host = u8::try_from(number / CONNECTIONS_PER_SOURCE).unwrap_or(u8::MAX - 2) + 1;
        socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into())?;
    }
    let stream = socket.connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether a frame ends the wait for the join.
fn outcome(encoding: Encoding, frame: Frame<'_>) -> Option<Result<(), String>> {
    let decoded = match (encoding, frame.opcode) {
        (_, OPCODE_CLOSE) => {
            let reason = frame.payload.get(2..).unwrap_or_default();
            return Some(Err(format!("closed: {}", String::from_utf8_lossy(reason))));
        }
        (Encoding::Json, OPCODE_TEXT) => {
            serde_json::from_slice::<v1::ServerFrame>(frame.payload).ok()?
        }
        (Encoding::Protobuf, OPCODE_BINARY) => v1::ServerFrame::decode(frame.payload).ok()?,
        _ => return None,
    };
    match decoded.frame? {
        Body::Ack(ack) if ack.id == "join" => Some(Ok(())),
        Body::Error(error) => Some(Err(format!("{:?}: {}", error.code(), error.message))),
        _ => None,
    }
}

fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    push_masked(&mut frame, opcode, payload);
    frame
}

/// Whether a frame is an event, by its first bytes: decoding each would cost more than reading it.
fn is_event(encoding: Encoding, payload: &[u8]) -> bool {
    match encoding {
        Encoding::Json => payload.starts_with(b"{\"event\""),
        // Field 4 of `ServerFrame`, length-delimited.
        Encoding::Protobuf => payload.first() == Some(&0x22),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        client::{Client, ConnectOptions},
        fake::FakeServer,
        wait::eventually,
    };

    #[tokio::test]
    async fn every_listener_counts_every_event() {
        let server = FakeServer::start().await;
        let options = ConnectOptions::named(&server.address, "speaker");
        let (speaker, _incoming) = Client::connect(&options).await.unwrap();
        speaker
            .create(command::create_group("hall", true, &[], ""))
            .await
            .unwrap();
        for encoding in Encoding::ALL {
            let observed = Arc::new(AtomicU64::new(0));
            let counting = Arc::clone(&observed);
            let options = ListenersOptions {
                address: server.address.clone(),
                encoding,
                room: "hall".to_owned(),
                count: 30,
                name: format!("{encoding:?}"),
            };
            let observe = move |_: &[u8]| {
                counting.fetch_add(1, Relaxed);
            };
            let listeners = Listeners::connect(&options, Arc::new(observe))
                .await
                .unwrap();
            assert_eq!(listeners.count(), 30);
            // Those that joined early also count the later ones' joins.
            let before = speaker
                .history(command::history_newest("hall", 1))
                .await
                .unwrap();
            for text in 0..10 {
                speaker
                    .send("hall", &format!("text {text}"), "")
                    .await
                    .unwrap();
            }
            let tally = listeners.tally();
            eventually("all counted", Duration::from_secs(10), || {
                tally.events() >= 300 && observed.load(Relaxed) >= tally.events()
            })
            .await;
            assert!(before.head >= 30);
            assert_eq!(tally.ended(), 0);
            assert!(tally.bytes() > 300);
        }
    }

    #[tokio::test]
    async fn listener_of_an_unknown_room_is_an_error() {
        let server = FakeServer::start().await;
        let options = ListenersOptions {
            address: server.address.clone(),
            encoding: Encoding::Json,
            room: "nowhere".to_owned(),
            count: 1,
            name: "x".to_owned(),
        };
        let error = Listeners::connect(&options, Arc::new(|_: &[u8]| {})).await;
        assert!(matches!(error, Err(ListenError::NotJoined(_))), "{error:?}");
    }
}
