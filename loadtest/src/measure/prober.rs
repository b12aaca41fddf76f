//! One client in one room: sends a message, waits for its ack however long that takes, sends the
//! next.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rookery_proto::{
    errors::retryable,
    v1::{self, event::Body},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::client::{CallError, Client, ConnectOptions, command};

/// How long a prober looks for a gateway.
const CONNECT_MAX: Duration = Duration::from_secs(60);
/// Pause before the next try when the server named none.
const RETRY: Duration = Duration::from_millis(20);

/// A message that was acknowledged.
#[derive(Clone, Debug)]
pub struct Ack {
    /// Where.
    pub offset: u64,
    /// Under which ownership.
    pub epoch: u64,
    /// Its text.
    pub text: String,
    /// When it was sent first.
    pub asked: Instant,
    /// When the ack came.
    pub at: Instant,
    /// Tries that were refused.
    pub refused: u32,
    /// Tries without an answer.
    pub unknown: u32,
}

#[derive(Debug, Default)]
struct Log {
    acks: Vec<Ack>,
    stopped: bool,
}

/// See the module's words. Ends with its value.
#[derive(Debug)]
pub struct Prober {
    room: String,
    log: Arc<Mutex<Log>>,
    tasks: JoinSet<()>,
}

impl Prober {
    /// Starts to send in a room that anybody may join.
    #[must_use]
    pub fn start(room: String, options: ConnectOptions, pace: Duration) -> Self {
        let log = Arc::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(probe(room.clone(), options, pace, Arc::clone(&log)));
        Self { room, log, tasks }
    }

    /// Its room.
    #[must_use]
    pub fn room(&self) -> &str {
        &self.room
    }

    /// How many acks there are.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.log).acks.len()
    }

    /// The acks from one on.
    #[must_use]
    pub fn acks_from(&self, first: usize) -> Vec<Ack> {
        lock(&self.log)
            .acks
            .get(first..)
            .unwrap_or_default()
            .to_vec()
    }

    /// Stops after the next ack and gives all of them.
    pub async fn stop(mut self) -> Vec<Ack> {
        lock(&self.log).stopped = true;
        while self.tasks.join_next().await.is_some() {}
        std::mem::take(&mut lock(&self.log).acks)
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The text of a message.
pub(super) fn text_of(event: &v1::Event) -> Option<&str> {
    match &event.body {
        Some(Body::Message(message)) => Some(&message.text),
        _ => None,
    }
}

async fn probe(room: String, mut options: ConnectOptions, pace: Duration, log: Arc<Mutex<Log>>) {
    options.call_deadline = Duration::from_secs(12);
    let mut client = None;
    for number in 0u64.. {
        if lock(&log).stopped {
            return;
        }
        let text = format!("{room} {number}");
        let asked = Instant::now();
        let (mut refused, mut unknown) = (0, 0);
        let appended = loop {
            let Some(live) = connected(&mut client, &room, &options).await else {
                return;
            };
            match live.send(&room, &text, &format!("m{number}")).await {
                Ok(appended) => break appended,
                Err(CallError::Refused(error)) if retryable(error.code()) => {
                    refused += 1;
                    let hint = Duration::from_millis(error.retry_after_ms.into());
                    sleep(hint.max(RETRY)).await;
                }
                Err(CallError::Refused(_) | CallError::WrongResult(_)) => return,
                Err(CallError::Disconnected(_)) => {
                    unknown += 1;
                    client = None;
                }
                Err(CallError::Deadline(_)) => unknown += 1,
            }
        };
        lock(&log).acks.push(Ack {
            offset: appended.offset,
            epoch: appended.epoch,
            text,
            asked,
            at: Instant::now(),
            refused,
            unknown,
        });
        sleep(pace).await;
    }
}

/// The connection, made again where it has ended; `None`: there is no gateway.
async fn connected<'a>(
    client: &'a mut Option<Client>,
    room: &str,
    options: &ConnectOptions,
) -> Option<&'a Client> {
    while client.is_none() {
        let deadline = Instant::now() + CONNECT_MAX;
        let (live, incoming) = Client::connect_until(options, deadline).await.ok()?;
        // Only acks are wanted.
        drop(incoming);
        if live.call(command::join(room)).await.is_ok() {
            *client = Some(live);
        } else if Instant::now() > deadline {
            return None;
        } else {
            sleep(RETRY).await;
        }
    }
    client.as_ref()
}
