//! The node's commit pipeline.
//!
//! ```text
//! rooms ──submit──► waiting ─► group (rows, bytes bounded) ─► commit ─► read own fence ─► rooms
//!           │          ▲       up to `commits_in_flight_max` at once    with the commit    in order
//!           └► gathered┘                                                or after it
//! ```
//! Events are waited for, and learned of in their order. Rows derived from them are not: those of
//! many rooms are gathered for a moment.
//!
//! A group that fails, or whose outcome is not known, is written again as it is until it succeeds:
//! its rows may be there already, and offsets behind it are taken. Meanwhile nothing new is taken
//! ([`Health::Failing`](crate::Health)) and whoever waits is told "maybe".

mod order;

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use ractor::ActorRef;
use rookery_cluster::task::{TaskKind, spawn};
use rookery_persistence::{Incarnation, RoomWrite, Store, StoreError};
use rookery_proto::errors::chain;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Duration, Instant, sleep},
};

use self::order::Order;
use crate::{
    health::HealthCell,
    limits::{
        COMMIT_BACKOFF_MAX, COMMIT_BACKOFF_MIN, GATHER_AFTER, GROUP_BYTES_MAX, GROUP_ROWS_MAX,
    },
    metrics,
    room::actor::RoomMsg,
};

/// Names one run of one room's actor on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RoomKey(pub(crate) u64);

/// What one room adds.
pub(crate) struct Submission {
    pub(crate) key: RoomKey,
    pub(crate) room: ActorRef<RoomMsg>,
    pub(crate) write: RoomWrite,
    pub(crate) part: Part,
}

/// What a room's write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Events and what somebody waits for. The numbers ascend per key, and the room learns of them
    /// in this order.
    Events { seq: u64 },
    /// Rows derived from committed events. Not urgent ones are gathered.
    Derived { urgent: bool },
}

/// Where rooms hand over their writes. Cloning shares it.
///
/// The queue is bounded by what rooms may have in flight
/// ([`IN_FLIGHT_EVENTS_MAX`](crate::limits::IN_FLIGHT_EVENTS_MAX) each) and by admission.
#[derive(Clone)]
pub(crate) struct Committer {
    queue: mpsc::UnboundedSender<Submission>,
}

impl Committer {
    /// Starts the pipeline.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        incarnation: Incarnation,
        health: HealthCell,
    ) -> (Self, JoinHandle<()>) {
        let (queue, submissions) = mpsc::unbounded_channel();
        let (trouble, troubles) = mpsc::unbounded_channel();
        let pipeline = Pipeline {
            groups_max: store.commits_in_flight_max().max(1),
            store,
            incarnation,
            health,
            waiting: VecDeque::new(),
            gathered: Vec::new(),
            groups: FuturesUnordered::new(),
            order: Order::default(),
            trouble,
            failing: 0,
        };
        let task = spawn(
            TaskKind::Service,
            "commit pipeline",
            pipeline.run(submissions, troubles),
        );
        (Self { queue }, task)
    }

    /// Hands over. When the pipeline has ended (fenced, stopped) the room ends, too.
    pub(crate) fn submit(&self, submission: Submission) {
        // A closed queue means that the host is dropping all rooms.
        let _ = self.queue.send(submission);
    }
}

/// How a group ended.
enum Outcome {
    Done,
    Fenced,
    Closed,
}

/// Why a group failed.
struct Trouble {
    /// For people who run the node.
    reason: String,
    /// For clients.
    told: &'static str,
}

impl Trouble {
    fn of(error: &StoreError) -> Self {
        Self {
            reason: chain(error),
            told: match error {
                StoreError::Full { .. } => "storage full",
                StoreError::Unknown { .. }
                | StoreError::Failed { .. }
                | StoreError::Corrupt { .. }
                | StoreError::Closed => "storage unavailable",
            },
        }
    }
}

struct Group {
    /// Whose events these were, in the order of the group.
    events: Vec<(RoomKey, u64)>,
    /// Whose derived rows.
    derived: Vec<ActorRef<RoomMsg>>,
    rows: usize,
    began: Instant,
    /// It failed at least once.
    failed: bool,
    outcome: Outcome,
}

type GroupFuture = Pin<Box<dyn Future<Output = Group> + Send>>;

struct Pipeline {
    store: Arc<dyn Store>,
    incarnation: Incarnation,
    health: HealthCell,
    groups_max: usize,
    waiting: VecDeque<Submission>,
    /// What nobody waits for, until [`GATHER_AFTER`] after the first of it.
    gathered: Vec<Submission>,
    groups: FuturesUnordered<GroupFuture>,
    order: Order,
    /// First failures of groups.
    trouble: mpsc::UnboundedSender<Trouble>,
    /// Groups that have failed and not succeeded yet.
    failing: usize,
}

impl Pipeline {
    async fn run(
        mut self,
        mut submissions: mpsc::UnboundedReceiver<Submission>,
        mut troubles: mpsc::UnboundedReceiver<Trouble>,
    ) {
        let mut taken = Vec::new();
        let gather_end = sleep(GATHER_AFTER);
        tokio::pin!(gather_end);
        loop {
            let gathers = !self.gathered.is_empty();
            tokio::select! {
                biased;
                Some(trouble) = troubles.recv() => self.group_failed(trouble),
                Some(group) = self.groups.next(), if !self.groups.is_empty() => {
                    if !self.group_ended(group) {
                        return;
                    }
                }
                () = &mut gather_end, if gathers => self.waiting.extend(self.gathered.drain(..)),
                count = submissions.recv_many(&mut taken, GROUP_ROWS_MAX) => {
                    if count == 0 {
                        return;
                    }
                    for submission in taken.drain(..) {
                        self.take(submission);
                    }
                }
            }
            if !gathers && !self.gathered.is_empty() {
                gather_end.as_mut().reset(Instant::now() + GATHER_AFTER);
            }
            while self.groups.len() < self.groups_max && !self.waiting.is_empty() {
                self.start_group();
            }
        }
    }

    fn take(&mut self, submission: Submission) {
        if self.failing > 0 {
            // The room did not know yet.
            tell(&submission.room, RoomMsg::StoreFailing);
        }
        match submission.part {
            Part::Events { seq } => self.order.submitted(&submission, seq),
            Part::Derived { urgent: true } => {}
            Part::Derived { urgent: false } => return self.gathered.push(submission),
        }
        self.waiting.push_back(submission);
    }

    fn start_group(&mut self) {
        let mut events = Vec::new();
        let mut derived = Vec::new();
        let mut writes = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        while let Some(next) = self.waiting.front() {
            let write = &next.write;
            let more_rows =
                write.log.len() + write.members.len() + write.sent.len() + write.cursors.len();
            let more_bytes: usize = write.log.iter().map(|row| row.event.len()).sum();
            let full = rows + more_rows > GROUP_ROWS_MAX || bytes + more_bytes > GROUP_BYTES_MAX;
            if full && !writes.is_empty() {
                break;
            }
            rows += more_rows;
            bytes += more_bytes;
            let next = self.waiting.pop_front().expect("looked at above");
            match next.part {
                Part::Events { seq } => events.push((next.key, seq)),
                Part::Derived { .. } => derived.push(next.room),
            }
            writes.push(next.write);
        }
        let group = Group {
            events,
            derived,
            rows,
            began: Instant::now(),
            failed: false,
            outcome: Outcome::Closed,
        };
        let writer = GroupWriter {
            store: Arc::clone(&self.store),
            incarnation: self.incarnation,
            trouble: self.trouble.clone(),
            group,
        };
        self.groups.push(Box::pin(writer.run(writes.into())));
    }

    fn group_failed(&mut self, trouble: Trouble) {
        self.failing += 1;
        self.health.failing(trouble.reason, trouble.told);
        for room in self.order.rooms() {
            tell(room, RoomMsg::StoreFailing);
        }
    }

    /// Tells rooms what is durable; false when the pipeline ends.
    fn group_ended(&mut self, group: Group) -> bool {
        match group.outcome {
            Outcome::Done => {}
            Outcome::Fenced => {
                self.health.fenced();
                return false;
            }
            Outcome::Closed => {
                tracing::info!("store closed, commit pipeline ends");
                return false;
            }
        }
        metrics::group_committed(group.rows, group.began.elapsed());
        if group.failed {
            self.failing = self.failing.saturating_sub(1);
            if self.failing == 0 {
                self.health.recovered();
            }
        }
        for room in &group.derived {
            tell(room, RoomMsg::DerivedWritten);
        }
        for (key, seq) in group.events {
            if let Some((room, seq)) = self.order.done(key, seq) {
                tell(&room, RoomMsg::Committed { seq });
            }
        }
        true
    }
}

/// A room that has ended needs to know nothing more.
fn tell(room: &ActorRef<RoomMsg>, message: RoomMsg) {
    let _ = room.send_message(message);
}

struct GroupWriter {
    store: Arc<dyn Store>,
    incarnation: Incarnation,
    trouble: mpsc::UnboundedSender<Trouble>,
    group: Group,
}

impl GroupWriter {
    async fn run(mut self, writes: Arc<[RoomWrite]>) -> Group {
        let mut backoff = COMMIT_BACKOFF_MIN;
        let mut fenced = loop {
            match self.store.commit_as(self.incarnation, &writes).await {
                Ok(fenced) => break fenced,
                Err(error) => {
                    if !self.wait_after(&error, &mut backoff).await {
                        return self.group;
                    }
                }
            }
        };
        backoff = COMMIT_BACKOFF_MIN;
        self.group.outcome = loop {
            match fenced {
                Some(false) => break Outcome::Done,
                Some(true) => break Outcome::Fenced,
                None => {}
            }
            match self.store.is_fenced(self.incarnation).await {
                Ok(read) => fenced = Some(read),
                Err(error) => {
                    if !self.wait_after(&error, &mut backoff).await {
                        return self.group;
                    }
                }
            }
        };
        self.group
    }

    /// Reports and waits; false when there is no point in another try.
    async fn wait_after(&mut self, error: &StoreError, backoff: &mut Duration) -> bool {
        metrics::commit_failed();
        if matches!(error, StoreError::Closed) {
            self.group.outcome = Outcome::Closed;
            return false;
        }
        if !self.group.failed {
            self.group.failed = true;
            // The pipeline outlives its groups.
            let _ = self.trouble.send(Trouble::of(error));
        }
        sleep(*backoff).await;
        *backoff = (*backoff * 2).min(COMMIT_BACKOFF_MAX);
        true
    }
}
