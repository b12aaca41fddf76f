//! What a light process is told on its standard input and says on its standard output: one JSON
//! value a line.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    outcome::{Counts, Latencies},
    scenario::Scenario,
};

/// What a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wire {
    /// Rookery's; the floor speaks it too.
    #[default]
    Rookery,
    /// Socket.IO 4 over a WebSocket.
    SocketIo,
    /// Pusher channels, protocol 7.
    Pusher,
    /// Centrifuge's JSON protocol.
    Centrifuge,
}

/// A process's whole task; the first line it reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// The load, of all processes together.
    pub scenario: Scenario,
    /// What the server speaks.
    pub wire: Wire,
    /// Where to connect; connection n to gateway n modulo their number.
    pub gateways: Vec<SocketAddr>,
    /// Which part of the connections is this process's: those n with n modulo `parts` = `part`.
    pub part: u32,
    /// Light processes of this run.
    pub parts: u32,
    /// Starts the names of rooms and users, so that runs on one server do not meet.
    pub prefix: String,
}

/// What it is told after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Open the rooms; told to the first process alone. Answered by [`Report::Opened`].
    Open,
    /// Connect, log in, join. Answered by [`Report::Joined`].
    Connect,
    /// Put the load of this stage on, its warm-up first. Answered by [`Report::Stage`].
    Stage(usize),
    /// After each stage, when no process sends any more: ask each room's head, wait (10 s at most)
    /// until every listener has come to it; what is missing then is lost. Answered by
    /// [`Report::Settled`].
    Settle,
    /// Close all and end.
    End,
}

/// What it says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// Once a second at most, while rooms are opened or joined: how many are, so far.
    Progress(u64),
    /// The rooms are there.
    Opened,
    /// All of its connections are joined.
    Joined,
    /// The warm-up is over: what is counted begins now.
    Measuring(usize),
    /// Once a second while a stage runs, warm-up excluded.
    Tick(TickPart),
    /// The stage is over.
    Stage(StagePart),
    /// What was found missing or doubled since the stage's report; added to that stage.
    Settled(Counts),
    /// It cannot go on.
    Failed(String),
}

/// A second of one process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TickPart {
    /// Counts since the tick before.
    pub counts: Counts,
    /// Connections that are joined now.
    pub connections: u64,
    /// Latencies since the tick before: only `ack` and `delivery` are filled.
    pub latency: Latencies,
}

/// A stage of one process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StagePart {
    /// Which.
    pub stage: usize,
    /// How long it was measured, ms.
    pub took_ms: u64,
    /// Its counts.
    pub counts: Counts,
    /// Its latencies.
    pub latency: Latencies,
}
