//! The task around [`Member`]: clock, bus and table.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use rookery_proto::{
    ids::Epoch,
    link::{Control, Heartbeat, Load, control},
    shard::Shard,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    beat::Beat,
    hand_over::HandOver,
    keeper::Duty,
    member::{Effect, Input, Member, Myself, Told},
    observer::Life,
    ports::{Liveness, LivenessError, LivenessRow, MembershipConfig, MembershipPorts},
    standing::Standing,
};
use crate::{
    bus::{Broadcast, BusError, Subscription},
    endpoint::Role,
    limits::{ANNOUNCEMENTS_MAX, DUTIES_MAX, MEMBERSHIP_INBOX_MAX, MEMBERSHIP_TICK, TABLE_TIMEOUT},
    metrics,
    placement::{ClusterPlacement, Owners},
    task::{TaskKind, spawn},
};

/// One node as seen from here.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSeen {
    /// What it said last.
    pub beat: Beat,
    /// Whether it lives.
    pub life: Life,
}

/// The node's part in the cluster. Cloning shares it; it ends when all clones are gone.
#[derive(Clone)]
pub struct Membership {
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) placement: ClusterPlacement,
}

/// What must be done about shards, in order. Whoever performs them answers through [`Membership`].
pub struct Duties {
    pub(super) duties: mpsc::Receiver<Duty>,
}

impl Duties {
    /// The next one; `None` when membership has ended.
    ///
    /// # Cancel safety
    /// Nothing is lost when dropped.
    pub async fn next(&mut self) -> Option<Duty> {
        self.duties.recv().await
    }
}

pub(super) enum Request {
    Input(Input),
    CommitsFailing(bool),
    Nodes(tokio::sync::oneshot::Sender<Vec<NodeSeen>>),
}

/// Joins the cluster.
///
/// # Errors
/// When the bus is unreachable.
pub async fn start(
    config: MembershipConfig,
    ports: MembershipPorts,
) -> Result<(Membership, Duties), BusError> {
    let heard = ports.bus.listen().await?;
    let (requests, asked) = mpsc::channel(MEMBERSHIP_INBOX_MAX);
    let (duties_in, duties) = mpsc::channel(DUTIES_MAX);
    let (standing_in, standing) = watch::channel(Standing::Joining);
    let (owners_in, owners) = watch::channel(Arc::<Owners>::default());
    let (say, said) = mpsc::channel(ANNOUNCEMENTS_MAX);
    let (table_in, table_out) = mpsc::channel(MEMBERSHIP_INBOX_MAX);
    let myself = Myself {
        node: config.node,
        role: config.role,
        incarnation: config.incarnation,
        has_table: ports.table.is_some(),
    };
    // The roles of a node start together; their moves need not keep step.
    let first_tick = match config.role {
        Role::Gateway | Role::Rooms => Duration::ZERO,
        Role::Presence => MEMBERSHIP_TICK / 2,
    };
    let shell = Shell {
        member: Member::new(myself, Instant::now()),
        bus: Arc::clone(&ports.bus),
        table: ports.table,
        duties: duties_in,
        standing: standing_in,
        owners: owners_in,
        say,
        table_in,
    };
    spawn(
        TaskKind::Service,
        "membership speaker",
        speak(ports.bus, said),
    );
    spawn(
        TaskKind::Service,
        "membership",
        shell.run(Instant::now() + first_tick, heard, asked, table_out),
    );
    let membership = Membership {
        requests,
        standing,
        placement: ClusterPlacement::new(owners),
    };
    Ok((membership, Duties { duties }))
}

impl Membership {
    /// Who owns what.
    #[must_use]
    pub fn placement(&self) -> ClusterPlacement {
        self.placement.clone()
    }

    /// Whether this node may serve, and why not.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Everybody else who is known.
    pub async fn nodes(&self) -> Vec<NodeSeen> {
        let (answer, nodes) = tokio::sync::oneshot::channel();
        self.request(Request::Nodes(answer)).await;
        nodes.await.unwrap_or_default()
    }

    /// [`Duty::Take`] succeeded, under this epoch.
    pub async fn taken(&self, shard: Shard, epoch: Epoch) {
        self.tell(Input::Taken { shard, epoch }).await;
    }

    /// [`Duty::Take`] was refused: the database says this incarnation has it under this epoch.
    pub async fn take_refused(&self, shard: Shard, owner: u64, epoch: Epoch) {
        self.tell(Input::TakeRefused {
            shard,
            owner,
            epoch,
        })
        .await;
    }

    /// It is not known how [`Duty::Take`] ended, or the database was not reached.
    pub async fn take_failed(&self, shard: Shard) {
        self.tell(Input::TakeFailed { shard }).await;
    }

    /// [`Duty::StopAdmitting`] is done: nothing of the shard is in flight.
    pub async fn finished(&self, shard: Shard) {
        self.tell(Input::Finished { shard }).await;
    }

    /// [`Duty::Release`] is done: the shard is not ours. `given`: it is known to be the next
    /// owner's, under the next epoch.
    pub async fn released(&self, shard: Shard, given: bool) {
        self.tell(Input::Released { shard, given }).await;
    }

    /// It is not known how [`Duty::Release`] ended, or the database was not reached.
    pub async fn release_failed(&self, shard: Shard) {
        self.tell(Input::ReleaseFailed { shard }).await;
    }

    /// Commits begin to fail, or succeed again.
    pub async fn commits_failing(&self, failing: bool) {
        self.request(Request::CommitsFailing(failing)).await;
    }

    /// What people see in heartbeats.
    pub async fn load(&self, load: Load) {
        self.tell(Input::Load(load)).await;
    }

    /// Hands over everything; [`Standing::Left`] says when that is done.
    pub async fn leave(&self) {
        self.tell(Input::Leave).await;
    }

    /// This incarnation was seen to be fenced.
    pub async fn fenced(&self) {
        self.tell(Input::Fenced).await;
    }

    async fn tell(&self, input: Input) {
        self.request(Request::Input(input)).await;
    }

    async fn request(&self, request: Request) {
        // The task lives as long as this handle; where it panicked, that was logged.
        let _ = self.requests.send(request).await;
    }
}

/// Says on the bus what is told, one after the other.
async fn speak(bus: Arc<dyn Broadcast>, mut said: mpsc::Receiver<Bytes>) {
    while let Some(payload) = said.recv().await {
        if let Err(error) = bus.announce(payload).await {
            tracing::debug!(error = %error, "not announced");
        }
    }
}

struct Shell {
    member: Member,
    bus: Arc<dyn Broadcast>,
    table: Option<Arc<dyn Liveness>>,
    duties: mpsc::Sender<Duty>,
    standing: watch::Sender<Standing>,
    owners: watch::Sender<Arc<Owners>>,
    say: mpsc::Sender<Bytes>,
    table_in: mpsc::Sender<Input>,
}

impl Shell {
    async fn run(
        mut self,
        mut tick: Instant,
        mut heard: Subscription,
        mut asked: mpsc::Receiver<Request>,
        mut table_out: mpsc::Receiver<Input>,
    ) {
        loop {
            let input = tokio::select! {
                biased;
                request = asked.recv() => match request {
                    None => return,
                    Some(Request::Input(input)) => input,
                    Some(Request::CommitsFailing(failing)) => {
                        Input::CommitsFailing(failing.then(Instant::now))
                    }
                    Some(Request::Nodes(answer)) => {
                        let seen = self.member.lives(Instant::now()).map(|(beat, life)| NodeSeen {
                            beat: beat.clone(),
                            life,
                        });
                        // Who asked may have gone.
                        let _ = answer.send(seen.collect());
                        continue;
                    }
                },
                Some(input) = table_out.recv() => input,
                payload = heard.next() => match payload {
                    Some(payload) => match read(payload) {
                        Some(told) => Input::Heard(told),
                        None => continue,
                    },
                    None => match self.listen_again().await {
                        Some(subscription) => {
                            heard = subscription;
                            continue;
                        }
                        None => continue,
                    },
                },
                () = sleep_until(tick) => {
                    tick = Instant::now() + self.member.tick_interval();
                    Input::Tick
                }
            };
            let effects = self.member.handle(input, Instant::now());
            for effect in effects {
                self.perform(effect);
            }
        }
    }

    /// The subscription ended: the bus must give another, or this node stays deaf.
    async fn listen_again(&mut self) -> Option<Subscription> {
        tracing::error!("heartbeats are no longer heard, subscribing again");
        let again = self.bus.listen().await;
        if again.is_err() {
            tokio::time::sleep(MEMBERSHIP_TICK).await;
        }
        let effects = self.member.handle(Input::Tick, Instant::now());
        for effect in effects {
            self.perform(effect);
        }
        again.ok()
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Say(told) => {
                let body = match told {
                    Told::Beat(beat) => control::Body::Heartbeat(beat.to_wire()),
                    Told::HandOver(told) => control::Body::HandOver(told.to_wire()),
                };
                let control = Control { body: Some(body) };
                // When full the bus is stuck, and all of it is told again.
                if self.say.try_send(control.encode_to_vec().into()).is_err() {
                    metrics::announcement_dropped();
                }
            }
            Effect::WriteRow(beat) => self.write_row(&beat),
            Effect::ReadTable => self.read_table(),
            Effect::Duty(duty) => {
                metrics::duty(&duty);
                if let Err(error) = self.duties.try_send(duty) {
                    tracing::error!(error = %error, "nobody performs what shards need");
                }
            }
            Effect::Standing(standing) => {
                match standing {
                    Standing::Suspended(why) => {
                        tracing::warn!(member.reason = why.reason(), "node does not serve");
                    }
                    other => tracing::info!(member.standing = ?other, "node stands"),
                }
                metrics::standing(standing);
                self.standing.send_replace(standing);
            }
            Effect::Owners(owners) => {
                self.owners.send_replace(owners);
            }
        }
    }

    fn write_row(&self, beat: &Beat) {
        let Some(table) = self.table.clone() else {
            return;
        };
        let row = LivenessRow {
            endpoint: beat.endpoint(),
            heartbeat: beat.to_wire().encode_to_vec().into(),
        };
        let answer = self.table_in.clone();
        spawn(TaskKind::Passing, "membership row", async move {
            let done = within(table.write(row)).await.is_some();
            // The membership may have ended.
            let _ = answer.send(Input::RowWritten { done }).await;
        });
    }

    fn read_table(&self) {
        let Some(table) = self.table.clone() else {
            return;
        };
        let answer = self.table_in.clone();
        spawn(TaskKind::Passing, "membership read", async move {
            let started = Instant::now();
            let rows = within(table.read()).await;
            let rows = rows.map(|rows| rows.iter().filter_map(read_row).collect());
            // The membership may have ended.
            let _ = answer.send(Input::TableRead { started, rows }).await;
        });
    }
}

/// What the table answers in time.
async fn within<T>(answer: impl Future<Output = Result<T, LivenessError>>) -> Option<T> {
    const LIMIT: Duration = TABLE_TIMEOUT;
    match timeout(LIMIT, answer).await {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            metrics::table_failed();
            tracing::debug!(error = %error, cause = %error.source, "table of heartbeats failed");
            None
        }
        Err(_) => {
            metrics::table_failed();
            tracing::debug!("table of heartbeats timed out");
            None
        }
    }
}

fn read(payload: Bytes) -> Option<Told> {
    let control = Control::decode(payload).ok().and_then(|it| it.body);
    let told = match &control {
        Some(control::Body::Heartbeat(beat)) => Beat::from_wire(beat).map(Told::Beat),
        Some(control::Body::HandOver(told)) => HandOver::from_wire(told).map(Told::HandOver),
        None => None,
    };
    if told.is_none() {
        tracing::warn!("announcement not readable");
    }
    told
}

fn read_row(row: &LivenessRow) -> Option<Beat> {
    let wire = Heartbeat::decode(row.heartbeat.clone()).ok();
    let beat = wire.as_ref().and_then(Beat::from_wire);
    let sound = beat.filter(|beat| beat.endpoint() == row.endpoint);
    if sound.is_none() {
        tracing::warn!(node.endpoint = %row.endpoint, "row of the table of heartbeats not readable");
    }
    sound
}
