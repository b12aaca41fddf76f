//! A client that was away against one that stayed.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use fastrand::Rng;
use rookery_proto::v1::{error::Code, server_frame::Frame};

use super::Weights;
use crate::{
    client::{CallError, Client, ConnectOptions, Encoding, Incoming, ServerAddress, command},
    replica::{Difference, Replica},
};

/// How long one frame may take to come.
const FRAME_DEADLINE: Duration = Duration::from_secs(10);
/// Refused attempts in a row before the scenario fails.
const REFUSALS_MAX: usize = 200;

/// Two clients see `before` events, one leaves without a word, `events` more happen (messages,
/// edits, deletes, reactions of three users), it comes back and resumes.
#[derive(Clone, Debug)]
pub struct Away {
    /// Decides every choice.
    pub seed: u64,
    /// The room, which must not exist; users are named after it.
    pub room: String,
    /// Events both see live.
    pub before: u64,
    /// Events one of them misses.
    pub events: u64,
    /// The encoding of the client that leaves.
    pub encoding: Encoding,
}

/// How it ended.
#[derive(Clone, Debug)]
pub struct AwayReport {
    /// The state of the one that stayed.
    pub stayed: Replica,
    /// The state of the one that resumed.
    pub returned: Replica,
    /// The state by the whole log, read at the end.
    pub log: Replica,
    /// Where the client left.
    pub left_at: u64,
    /// Whether resuming gave a reset and a snapshot.
    pub reset: bool,
    /// Events in the answer to resuming.
    pub resumed_events: usize,
}

impl AwayReport {
    /// What differs between the one that stayed, the one that returned, and the log.
    #[must_use]
    pub fn difference(&self) -> Option<Difference> {
        self.stayed
            .difference(&self.returned)
            .or_else(|| self.log.difference(&self.stayed))
            .or_else(|| self.log.difference(&self.returned))
    }
}

impl Away {
    /// Runs it on a development server.
    ///
    /// # Errors
    /// Any step that does not work.
    pub async fn run(&self, server: &ServerAddress) -> anyhow::Result<AwayReport> {
        let name = |who: &str| format!("{}-{who}", self.room);
        let options = |who: &str| ConnectOptions::named(server, &name(who));
        let (ann, mut ann_incoming) = Client::connect(&options("ann")).await?;
        ann.create(command::create_group(&self.room, true, &[], "open"))
            .await?;
        let mut writers = vec![ann];
        for who in ["cyd", "dan"] {
            let (client, incoming) = Client::connect(&options(who)).await?;
            drop(incoming);
            client.join(command::join(&self.room)).await?;
            writers.push(client);
        }
        let bob_options = options("bob").encoding(self.encoding);
        let (bob, mut bob_incoming) = Client::connect(&bob_options).await?;
        bob.join(command::join(&self.room)).await?;
        let mut returned = Replica::new(&self.room);
        bob.resume(&mut returned).await?;
        let mut stayed = Replica::new(&self.room);
        writers[0].resume(&mut stayed).await?;

        let mut random = Rng::with_seed(self.seed);
        let mut serial = 0;
        let mut head = stayed.head();
        let until = head + self.before;
        while head < until {
            head = write(&writers, &stayed, &mut random, &mut serial).await?;
            follow(&mut ann_incoming, &mut stayed, head).await?;
        }
        follow(&mut bob_incoming, &mut returned, head).await?;
        bob.cut();
        let left_at = head;
        let until = head + self.events;
        while head < until {
            head = write(&writers, &stayed, &mut random, &mut serial).await?;
            follow(&mut ann_incoming, &mut stayed, head).await?;
        }
        let (bob, mut bob_incoming) = Client::connect(&bob_options).await?;
        let joined = bob.resume(&mut returned).await?;
        follow(&mut bob_incoming, &mut returned, head).await?;
        let log = Replica::from_log(&self.room, &bob.whole_log(&self.room).await?);
        Ok(AwayReport {
            stayed,
            returned,
            log,
            left_at,
            reset: joined.reset,
            resumed_events: joined.events.len(),
        })
    }
}

/// Makes one event by one of the writers; gives its offset.
async fn write(
    writers: &[Client],
    seen: &Replica,
    random: &mut Rng,
    serial: &mut u64,
) -> anyhow::Result<u64> {
    let weights = Weights {
        mark_read: 0,
        history: 0,
        rooms: 0,
        rejoin: 0,
        leave: 0,
        ..Weights::default()
    };
    for _ in 0..REFUSALS_MAX {
        let writer = &writers[random.usize(0..writers.len())];
        let user = writer.welcome().user.clone().context("a user in welcome")?;
        *serial += 1;
        let change = weights.choose(seen, &user.id, *serial, random);
        match writer.append(change).await {
            Ok(appended) if appended.offset > 0 => return Ok(appended.offset),
            Ok(_) => {}
            Err(CallError::Refused(error)) if error.code() == Code::RateLimited => {
                let pause = Duration::from_millis(u64::from(error.retry_after_ms.max(1)));
                tokio::time::sleep(pause).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::bail!("{REFUSALS_MAX} attempts in a row changed nothing")
}

/// Applies live events until the replica has come to `head`.
async fn follow(incoming: &mut Incoming, replica: &mut Replica, head: u64) -> anyhow::Result<()> {
    while replica.head() < head {
        let event = incoming
            .wait_for(FRAME_DEADLINE, |frame| match frame {
                Frame::Event(event) => Some(event),
                _ => None,
            })
            .await?;
        let applied = replica.apply(&event);
        ensure!(
            !matches!(applied, crate::replica::Applied::Gap { .. }),
            "event {} came at head {}",
            event.offset,
            replica.head()
        );
    }
    Ok(())
}
