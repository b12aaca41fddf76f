//! Waiting for an answer, or for the end of a log.

use std::time::Duration;

use rookery_proto::v1::{self, ack::Result as Answer};
use tokio::time::{Instant, timeout_at};

use super::{RecordingClient, Step};
use crate::{client::Command, replica::Replica};

/// How a call of a recording client ended.
#[derive(Debug)]
pub enum Outcome {
    /// Acknowledged.
    Acked(Answer),
    /// Refused.
    Refused(Box<v1::Error>),
    /// No answer.
    Unknown,
}

/// A room did not come to the head it should.
#[derive(Debug, thiserror::Error)]
#[error("client {client} has {room} at offset {at} of {head}")]
pub struct Unsettled {
    /// Which client.
    pub client: u32,
    /// Which room.
    pub room: String,
    /// Where its replica stands.
    pub at: u64,
    /// Where it should.
    pub head: u64,
}

impl RecordingClient {
    /// Invokes a command and takes steps until it is answered.
    pub async fn call(&mut self, command: Command, within: Duration) -> Outcome {
        if !self.invoke(command).await {
            return Outcome::Unknown;
        }
        let id = self.next_id;
        let deadline = Instant::now() + within;
        loop {
            let Ok(step) = timeout_at(deadline, self.step()).await else {
                if let Some(command) = self.pending.remove(&id) {
                    self.give_up(id, command);
                }
                return Outcome::Unknown;
            };
            match step {
                Step::Answered { answer, .. } if !self.pending.contains_key(&id) => {
                    return match answer {
                        Ok(answer) => Outcome::Acked(answer),
                        Err(error) => Outcome::Refused(error),
                    };
                }
                Step::Disconnected(_) => return Outcome::Unknown,
                _ => {}
            }
        }
    }

    /// Takes steps until the room's replica has come to `head`, reconnecting where needed.
    ///
    /// # Errors
    /// The deadline passed before that, or the room is absent.
    pub async fn settle(
        &mut self,
        room: &str,
        head: u64,
        deadline: Instant,
    ) -> Result<(), Unsettled> {
        loop {
            let at = self.replica(room).map_or(0, Replica::head);
            if at >= head {
                return Ok(());
            }
            let unsettled = || Unsettled {
                client: self.number,
                room: room.to_owned(),
                at,
                head,
            };
            if self.is_absent(room) {
                return Err(unsettled());
            }
            if !self.is_connected() {
                let unsettled = unsettled();
                if self.connect(deadline).await.is_err() {
                    return Err(unsettled);
                }
                continue;
            }
            let unsettled = unsettled();
            if timeout_at(deadline, self.step()).await.is_err() {
                return Err(unsettled);
            }
        }
    }
}
