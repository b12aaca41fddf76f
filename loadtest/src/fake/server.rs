//! The model behind real sockets, by the accepting side of the WebSocket library.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use rookery_proto::v1::{self, server_frame::Frame};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        http::HeaderValue,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{Model, who_left};
use crate::client::{Command, Encoding, ServerAddress};

/// Ends with its value.
pub(crate) struct FakeServer {
    pub(crate) address: ServerAddress,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

/// What the next event does to one of its listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not sent there.
    Skipped,
    /// It is sent there twice.
    Doubled,
}

struct Shared {
    state: Mutex<State>,
    /// Whether commands wait.
    stalls: watch::Sender<bool>,
    /// Counts up: every session that sees it change is cut.
    cuts: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    model: Model,
    sessions: HashMap<u64, Session>,
    next_session: u64,
    fault: Option<Fault>,
}

struct Session {
    user: String,
    rooms: BTreeSet<String>,
    out: mpsc::UnboundedSender<Frame>,
}

impl FakeServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().into();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            stalls: watch::channel(false).0,
            cuts: watch::channel(0).0,
        });
        let mut tasks = JoinSet::new();
        let accepting = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut sessions = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                sessions.spawn(serve(stream, Arc::clone(&accepting)));
            }
        });
        Self {
            address,
            shared,
            _tasks: tasks,
        }
    }

    /// While it stalls, commands wait.
    pub(crate) fn stall(&self, stalls: bool) {
        self.shared.stalls.send_replace(stalls);
    }

    /// Breaks its word once.
    pub(crate) fn break_next_event(&self, fault: Fault) {
        self.shared.state.lock().unwrap().fault = Some(fault);
    }

    /// Cuts every session without a close frame, whatever it has in flight.
    pub(crate) fn cut_all(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut encoding = Encoding::Json;
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    let choose = |request: &Request, mut response: Response| {
        if let Some(asked) = request.headers().get("sec-websocket-protocol") {
            let protobuf = asked.to_str().unwrap().contains("protobuf");
            encoding = if protobuf {
                Encoding::Protobuf
            } else {
                Encoding::Json
            };
            response.headers_mut().insert(
                "sec-websocket-protocol",
                HeaderValue::from_static(encoding.subprotocol()),
            );
        }
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, choose).await else {
        return;
    };
    let mut cuts = shared.cuts.subscribe();
    let mut stalls = shared.stalls.subscribe();
    let (out, mut frames) = mpsc::unbounded_channel();
    let mut login = None;
    loop {
        tokio::select! {
            _ = cuts.changed() => break,
            frame = frames.recv() => {
                let frame = v1::ServerFrame { frame };
                if socket.send(encoded(encoding, &frame)).await.is_err() { break }
            }
            message = socket.next() => {
                let frame = match message {
                    Some(Ok(Message::Text(text))) => serde_json::from_str(&text).ok(),
                    Some(Ok(Message::Binary(data))) => v1::ClientFrame::decode(data).ok(),
                    Some(Ok(Message::Close(_))) => continue,
                    Some(Ok(_)) => continue,
                    None | Some(Err(_)) => break,
                };
                let Some(frame) = frame else {
                    out.send(Frame::Error(v1::Error { code: 5, ..v1::Error::default() })).unwrap();
                    continue;
                };
                let Some((user, session)) = &login else {
                    let Some(Command::Authenticate(v1::Authenticate { name, .. })) = frame.command else {
                        let code = CloseCode::from(4201);
                        let reason = "first frame must be authenticate".into();
                        let _ = socket.close(Some(CloseFrame { code, reason })).await;
                        break;
                    };
                    login = Some((name.clone(), shared.login(&name, &out)));
                    continue;
                };
                let _ = stalls.wait_for(|stalls| !stalls).await;
                shared.handle(user, *session, frame);
            }
        }
    }
    if let Some((_, session)) = login {
        shared.state.lock().unwrap().sessions.remove(&session);
    }
}

fn encoded(encoding: Encoding, frame: &v1::ServerFrame) -> Message {
    match encoding {
        Encoding::Json => Message::text(serde_json::to_string(frame).unwrap()),
        Encoding::Protobuf => Message::Binary(frame.encode_to_vec().into()),
    }
}

impl Shared {
    fn login(&self, name: &str, out: &mpsc::UnboundedSender<Frame>) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.next_session += 1;
        let session = state.next_session;
        state.sessions.insert(
            session,
            Session {
                user: name.to_owned(),
                rooms: BTreeSet::new(),
                out: out.clone(),
            },
        );
        let user = v1::User {
            id: name.to_owned(),
            name: name.to_owned(),
        };
        let welcome = v1::Welcome {
            session_id: session.to_string(),
            user: Some(user),
            ..v1::Welcome::default()
        };
        out.send(Frame::Welcome(welcome)).unwrap();
        session
    }

    fn handle(&self, user: &str, session: u64, frame: v1::ClientFrame) {
        let mut state = self.state.lock().unwrap();
        let Some(command) = frame.command else { return };
        let outcome = state.model.apply(user, &command);
        for event in outcome.events {
            let mut fault = state.fault.take();
            for listener in state.sessions.values_mut() {
                if listener.rooms.contains(&event.room) {
                    let times = match fault.take() {
                        Some(Fault::Skipped) => 0,
                        Some(Fault::Doubled) => 2,
                        None => 1,
                    };
                    for _ in 0..times {
                        // Its task ended just now.
                        let _ = listener.out.send(Frame::Event(event.clone()));
                    }
                }
                if who_left(&event) == Some(listener.user.as_str()) {
                    listener.rooms.remove(&event.room);
                }
            }
        }
        let me = state.sessions.get_mut(&session).unwrap();
        if let (Command::Join(join), true) = (&command, outcome.answer.is_ok()) {
            me.rooms.insert(join.room.clone());
        }
        let answer = match outcome.answer {
            Ok(result) => Frame::Ack(v1::Ack {
                id: frame.id,
                result: Some(result),
            }),
            Err(code) => Frame::Error(v1::Error {
                id: frame.id,
                code: code.into(),
                ..v1::Error::default()
            }),
        };
        let _ = me.out.send(answer);
    }
}
