//! A client that watches the presence of all users of a workload, so that ghosts are in its history.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use rookery_proto::v1::{self, ack::Result as Answer, presence::Status};
use tokio::time::{Instant, timeout_at};

use crate::{
    client::{Command, command},
    limits::GHOST_MAX,
    recorder::{RecordingClient, Step},
};

/// How often it asks for a sign of life: a session that stands and tells nothing shows nobody.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// How long it waits for an answer before it looks for another gateway.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long it tries to connect before it looks up.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// When what is wrong is a ghost, and somewhat more so that the history shows it.
const WAIT_MAX: Duration = Duration::from_secs(GHOST_MAX.as_secs() + 5);

pub(super) struct Watcher {
    client: RecordingClient,
    users: Vec<String>,
    watches: bool,
    shown: HashMap<String, Status>,
    /// When it asks again, or gives the connection up if an answer is due.
    due: Instant,
}

impl Watcher {
    pub(super) fn new(client: RecordingClient, users: Vec<String>) -> Self {
        Self {
            client,
            users,
            watches: false,
            shown: HashMap::new(),
            due: Instant::now(),
        }
    }

    /// Watches for ever, over reconnects.
    ///
    /// # Cancel safety
    /// It can go on later.
    pub(super) async fn watch(&mut self) -> Infallible {
        loop {
            self.look().await;
        }
    }

    /// Watches until everybody is shown as online, or as offline; gives up when the history
    /// holds a ghost.
    pub(super) async fn until(&mut self, online: bool) {
        let deadline = Instant::now() + WAIT_MAX;
        let right = |status: Option<&Status>| match status {
            None => false,
            Some(Status::Offline) => !online,
            Some(_) => online,
        };
        while !self.users.iter().all(|user| right(self.shown.get(user))) {
            if timeout_at(deadline, self.look()).await.is_err() {
                return;
            }
        }
    }

    pub(super) fn end(&mut self) {
        self.client.cut();
    }

    /// Takes one step.
    async fn look(&mut self) {
        let now = Instant::now();
        if !self.client.is_connected() {
            self.shown.clear();
            self.watches = false;
            self.due = now;
            // Without a session there is nothing to be told, and it is tried again.
            let _ = self.client.connect(now + CONNECT_MAX).await;
            return;
        }
        if now >= self.due {
            if self.client.in_flight() > 0 {
                return self.client.cut();
            }
            let ask = if self.watches {
                Command::Ping(v1::Ping::default())
            } else {
                command::watch_presence(&self.users)
            };
            self.due = now + ANSWER_MAX;
            self.client.invoke(ask).await;
        }
        match timeout_at(self.due, self.client.step()).await {
            Ok(Step::Answered { answer, .. }) => {
                self.due = Instant::now() + PING_INTERVAL;
                if let Ok(Answer::Presence(list)) = answer {
                    self.watches = true;
                    list.users.into_iter().for_each(|told| self.note(told));
                }
            }
            Ok(Step::Presence(told)) => self.note(told),
            Ok(_) | Err(_) => {}
        }
    }

    fn note(&mut self, told: v1::Presence) {
        match told.status() {
            // The answer to a watch may be older than what was told before it came.
            Status::Unspecified => {}
            status => {
                self.shown.insert(told.user, status);
            }
        }
    }
}
