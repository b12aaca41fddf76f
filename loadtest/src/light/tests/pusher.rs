//! Engines against a server that speaks Pusher channels as far as the load needs it: frames as Sockudo sends
//! them, joins refused that are not signed, client events to all of a channel but who sent them.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use futures_util::{SinkExt as _, StreamExt as _};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{self, UnboundedSender},
    task::JoinSet,
};
use tokio_tungstenite::{accept_async, tungstenite::Message};

use super::{LISTENERS, SMALL};
use crate::light::{
    harness::{Light, task},
    orders::{Order, Task, Wire},
};

/// Who listens: number and what is sent there, by channel.
type Channels = Arc<Mutex<HashMap<String, Vec<(u32, UnboundedSender<String>)>>>>;

/// Ends with its value.
struct PusherServer {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl PusherServer {
    async fn start(secret: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let channels = Channels::default();
            let mut sessions = JoinSet::new();
            for number in 1.. {
                let (stream, _) = listener.accept().await.unwrap();
                sessions.spawn(serve(stream, secret, number, Arc::clone(&channels)));
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }

    fn task(&self, changes: &[&str]) -> Task {
        Task {
            wire: Wire::Pusher,
            ..task(self.address, &[&SMALL[..], changes].concat())
        }
    }
}

async fn serve(stream: TcpStream, secret: &str, number: u32, channels: Channels) {
    let (mut sink, mut stream) = accept_async(stream).await.unwrap().split();
    let (out, mut frames) = mpsc::unbounded_channel::<String>();
    let socket = format!("{number}.7");
    let data = format!("{{\"socket_id\":\"{socket}\",\"activity_timeout\":120}}");
    let established = json!({"event": "pusher:connection_established", "data": data});
    out.send(established.to_string()).unwrap();
    loop {
        tokio::select! {
            Some(frame) = frames.recv() => {
                if sink.send(Message::text(frame)).await.is_err() {
                    return;
                }
            }
            said = stream.next() => match said {
                Some(Ok(Message::Text(text))) => {
                    for (to, frame) in answer(&text, secret, (number, &socket), &out, &channels) {
                        // One that is gone hears nothing more.
                        let _ = to.send(frame);
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    }
}

fn answer(
    text: &str,
    secret: &str,
    (number, socket): (u32, &str),
    own: &UnboundedSender<String>,
    channels: &Channels,
) -> Vec<(UnboundedSender<String>, String)> {
    let frame: Value = serde_json::from_str(text).unwrap();
    let mut channels = channels.lock().unwrap();
    let event = frame["event"].as_str().unwrap();
    if event == "pusher:subscribe" {
        let channel = frame["data"]["channel"].as_str().unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{socket}:{channel}").as_bytes());
        let signed = mac.finalize().into_bytes();
        let signed: String = signed.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = "pusher_internal:subscription_succeeded";
        let said = if frame["data"]["auth"] == format!("app-key:{signed}") {
            let listeners = channels.entry(channel.to_owned()).or_default();
            listeners.push((number, own.clone()));
            json!({"event": name, "channel": channel, "data": "{}"})
        } else {
            let message = "Authentication error: Channel requires authentication";
            json!({"event": "pusher:error", "data": {"code": 4009, "message": message}})
        };
        return vec![(own.clone(), said.to_string())];
    }
    assert!(event.starts_with("client-"), "{text}");
    let channel = frame["channel"].as_str().unwrap();
    let listeners = channels.get(channel).into_iter().flatten();
    let others = listeners.filter(|(other, _)| *other != number);
    others
        .map(|(_, out)| (out.clone(), text.to_owned()))
        .collect()
}

#[tokio::test]
async fn all_but_the_sender_hear_what_is_due() {
    let server = PusherServer::start("app-secret").await;
    let mut light = Light::joined(&server.task(&[])).await;
    light.measuring().await;
    let (part, settled) = light.settled().await;
    assert_eq!((part.counts.due, part.counts.acked), (100, 0));
    assert_eq!(part.counts.delivered, 100 * (LISTENERS - 1));
    assert_eq!((part.counts.failed, part.counts.dropped), (0, 0));
    assert_eq!((settled.lost, settled.doubled), (0, 0));
}

#[tokio::test]
async fn sends_in_flight_go_by_what_is_heard_where_nothing_is_acknowledged() {
    let server = PusherServer::start("app-secret").await;
    let changes = [
        "stage.0.rates.sends=0",
        "stage.0.sends_in_flight=2",
        "people.active=3",
    ];
    let mut light = Light::joined(&server.task(&changes)).await;
    light.measuring().await;
    let (part, _) = light.settled().await;
    assert!(part.counts.due > 6, "{:?}", part.counts);
    assert_eq!(part.counts.delivered, part.counts.due * (LISTENERS - 1));
}

#[tokio::test]
async fn a_join_that_is_refused_ends_the_run_with_the_servers_words() {
    let server = PusherServer::start("another").await;
    let mut light = Light::start(&server.task(&[]));
    light.orders.give(Order::Connect).unwrap();
    let why = light.fails().await;
    assert!(
        why.contains("joining was refused") && why.contains("4009"),
        "{why}"
    );
}
