//! Sends as fast as they are acknowledged, or at a given rate, and how long each took.
//!
//! Nothing is recorded or judged here: [`crate::workload`] does that. Senders are members of
//! their room and do not listen, so what is measured is the way to the ack alone.

use std::{fmt, num::NonZeroU32, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use rookery_proto::{errors::Code, v1};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at},
};

use crate::{
    client::{
        CallError, Client, Command, ConnectError, ConnectOptions, Encoding, Incoming,
        ServerAddress, command,
    },
    histogram::Histogram,
};

/// What is asked; each way is part of the next one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// A `ping`: only the gateway answers.
    Ping,
    /// The newest event of the room: the room's owner answers, from memory.
    Read,
    /// A message: answered when it is durable.
    #[default]
    Send,
}

/// What to send.
#[derive(Clone, Debug)]
pub struct Load {
    /// What is asked.
    pub asked: Asked,
    /// Starts the names of users and rooms, so that runs on one server do not meet.
    pub prefix: String,
    /// Rooms, each opened by its first sender.
    pub rooms: u32,
    /// Connections; sender n is in room n modulo `rooms`.
    pub senders: u32,
    /// Sends one connection has in flight at most.
    pub in_flight_max: usize,
    /// Bytes of each message's text.
    pub text_bytes: usize,
    /// Sends a second of all senders together; `None`: the next when one is acknowledged. At a
    /// rate, latency counts from when a send was due, so that a stall is not left out.
    pub rate: Option<NonZeroU32>,
    /// Not measured at the beginning.
    pub warm_up: Duration,
    /// Measured after that.
    pub measure: Duration,
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Sends acknowledged in the measured time.
    pub acked: u64,
    /// Sends refused as OVERLOADED or RATE_LIMITED in the measured time.
    pub refused: u64,
    /// Microseconds from send (or from when it was due) to ack.
    pub latency_us: Histogram,
    /// The measured time.
    pub elapsed: Duration,
}

impl LoadReport {
    /// Acknowledged sends a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of sends")]
    pub fn per_second(&self) -> f64 {
        self.acked as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} acks/s, refused {}, latency in us: {}",
            self.per_second(),
            self.refused,
            self.latency_us
        )
    }
}

/// The load could not be put on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No session.
    #[error("sender {sender} cannot connect")]
    Connect {
        /// Which.
        sender: u32,
        /// Why.
        #[source]
        source: Box<ConnectError>,
    },
    /// Neither acknowledged nor refused for being too much.
    #[error("sender {sender} could not {what}")]
    Call {
        /// Which.
        sender: u32,
        /// What it tried.
        what: &'static str,
        /// What came.
        #[source]
        source: CallError,
    },
    /// A sender's task panicked.
    #[error("a sender's task failed")]
    Task(#[from] tokio::task::JoinError),
}

impl Load {
    /// Puts the load on these gateways, senders spread over them, and measures.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn run(&self, gateways: &[ServerAddress]) -> Result<LoadReport, LoadError> {
        let mut clients = Vec::new();
        for sender in 0..self.senders {
            clients.push(self.enter(sender, gateways).await?);
        }
        let start = Instant::now() + self.warm_up;
        let mut sending = JoinSet::new();
        for (sender, client) in (0..).zip(clients) {
            sending.spawn(self.clone().send(sender, client, start));
        }
        let mut report = LoadReport {
            elapsed: self.measure,
            ..LoadReport::default()
        };
        while let Some(sent) = sending.join_next().await {
            let sent = sent??;
            report.acked += sent.acked;
            report.refused += sent.refused;
            report.latency_us.merge(&sent.latency_us);
        }
        Ok(report)
    }

    fn room(&self, sender: u32) -> String {
        format!("{}-{}", self.prefix, sender % self.rooms)
    }

    /// Connects a sender and makes it a member that does not listen.
    async fn enter(
        &self,
        sender: u32,
        gateways: &[ServerAddress],
    ) -> Result<(Client, Incoming), LoadError> {
        let gateway = &gateways[sender as usize % gateways.len()];
        let mut options = ConnectOptions::named(gateway, &format!("{}-u{sender}", self.prefix));
        options.encoding = Encoding::Protobuf;
        let (client, incoming) =
            Client::connect(&options)
                .await
                .map_err(|source| LoadError::Connect {
                    sender,
                    source: Box::new(source),
                })?;
        let room = self.room(sender);
        let failed = |what| {
            move |source| LoadError::Call {
                sender,
                what,
                source,
            }
        };
        if sender < self.rooms {
            let create = command::create_group(&room, true, &[], &room);
            client
                .create(create)
                .await
                .map_err(failed("create its room"))?;
        }
        let join = client.join(command::join(&room)).await;
        join.map_err(failed("join its room"))?;
        let leave = client.call(command::leave(&room, true)).await;
        leave.map_err(failed("stop listening"))?;
        Ok((client, incoming))
    }

    async fn send(
        self,
        sender: u32,
        (client, mut incoming): (Client, Incoming),
        start: Instant,
    ) -> Result<LoadReport, LoadError> {
        let mut report = LoadReport::default();
        let (room, text) = (self.room(sender), "x".repeat(self.text_bytes));
        let end = start + self.measure;
        let mut pace = self.rate.map(|rate| {
            let each = Duration::from_secs(1) * self.senders / rate.get();
            // Senders take turns within a period.
            let first = Instant::now() + each * sender / self.senders;
            let mut ticks = interval_at(first, each);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            ticks
        });
        let mut in_flight = FuturesUnordered::new();
        let one = |number: u64, due: Instant| {
            let (client, room, text) = (&client, &room, &text);
            async move {
                let answer = match self.asked {
                    Asked::Ping => client.call(Command::Ping(v1::Ping {})).await.map(drop),
                    Asked::Read => client
                        .history(command::history_newest(room, 1))
                        .await
                        .map(drop),
                    Asked::Send => client.send(room, text, &number.to_string()).await.map(drop),
                };
                (due, answer)
            }
        };
        let mut number = 0;
        while Instant::now() < end {
            let may_send = in_flight.len() < self.in_flight_max;
            tokio::select! {
                due = next_due(&mut pace), if may_send => {
                    number += 1;
                    in_flight.push(one(number, due));
                }
                Some((due, outcome)) = in_flight.next() => {
                    self.count(sender, &mut report, start..end, due, outcome)?;
                }
                // What the server says by itself is taken and not looked at.
                Some(_) = incoming.next() => {}
            }
        }
        while let Some((due, outcome)) = in_flight.next().await {
            self.count(sender, &mut report, start..end, due, outcome)?;
        }
        Ok(report)
    }

    fn count(
        &self,
        sender: u32,
        report: &mut LoadReport,
        measured: std::ops::Range<Instant>,
        due: Instant,
        outcome: Result<(), CallError>,
    ) -> Result<(), LoadError> {
        let now = Instant::now();
        let counts = measured.contains(&now);
        match outcome {
            Ok(()) if counts => {
                report.acked += 1;
                let took = now.saturating_duration_since(due).as_micros();
                report
                    .latency_us
                    .record(u64::try_from(took).unwrap_or(u64::MAX));
            }
            Ok(()) => {}
            Err(error) if matches!(error.code(), Some(Code::Overloaded | Code::RateLimited)) => {
                report.refused += u64::from(counts);
            }
            Err(source) => {
                let what = "be answered";
                return Err(LoadError::Call {
                    sender,
                    what,
                    source,
                });
            }
        }
        Ok(())
    }
}

/// When the next send is due: now, without a pace.
async fn next_due(pace: &mut Option<tokio::time::Interval>) -> Instant {
    match pace {
        Some(ticks) => ticks.tick().await,
        None => Instant::now(),
    }
}
