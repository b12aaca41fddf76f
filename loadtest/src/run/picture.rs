//! How a run is at this moment, in a line.

use std::{fmt, time::Duration};

use crate::{
    outcome::Tick,
    shown::{number, quantity},
};

/// See the module's words.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// The side.
    pub side: String,
    /// Which round of how many.
    pub round: (u32, u32),
    /// What is done: `connecting`, or a stage's name.
    pub doing: String,
    /// For how long.
    pub since: Duration,
    /// Connections of the scenario.
    pub connections: u32,
    /// What is done piece by piece: how many are, of how many, and what they are.
    pub done: Option<(u64, u64, &'static str)>,
    /// The newest second of a stage.
    pub tick: Option<Tick>,
    /// CPU of the server's processes, percent of one processor.
    pub server_cpu_percent: Option<f64>,
    /// The same of the load's own.
    pub load_cpu_percent: Option<f64>,
    /// Memory of the server's processes.
    pub server_memory_bytes: Option<u64>,
}

#[expect(clippy::cast_precision_loss, reason = "numbers for people")]
impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { side, doing, .. } = self;
        if let (round, 2..) = self.round {
            write!(f, "{round}/{} ", self.round.1)?;
        }
        write!(f, "{side} {doing} {} s", self.since.as_secs())?;
        match (&self.tick, self.done) {
            (None, None) => write!(f, "  {} connections", number(self.connections.into()))?,
            (None, Some((done, all, what))) => {
                let (done, all) = (number(done as f64), number(all as f64));
                write!(f, "  {done} of {all} {what}")?;
            }
            (Some(tick), _) => write!(
                f,
                "  {} of {} connections  due {}/s  acked {}/s  delivered {}/s  ack p50 {} p99 {}",
                number(tick.connections as f64),
                number(self.connections.into()),
                number(tick.due as f64),
                number(tick.acked as f64),
                number(tick.delivered as f64),
                quantity(tick.ack_p50_us as f64, "µs"),
                quantity(tick.ack_p99_us as f64, "µs"),
            )?,
        }
        if let Some(percent) = self.server_cpu_percent {
            write!(f, "  server CPU {percent:.0} %")?;
        }
        if let Some(percent) = self.load_cpu_percent {
            write!(f, "  load CPU {percent:.0} %")?;
        }
        match self.server_memory_bytes {
            Some(bytes) => write!(f, "  memory {}", quantity(bytes as f64, "bytes")),
            None => Ok(()),
        }
    }
}
