//! The room's actor: a thin shell that reads what the machine needs, applies, and does what comes
//! out. While it reads, the room waits, so the order of requests is the order of their effects.

mod wake;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rookery_cluster::{EndpointId, LinkSender, Role, holdings::Held};
use rookery_persistence::{RoomWrite, StoreError};
use rookery_proto::{
    errors::{WireError, chain},
    ids::RoomId,
    link::{self, packet, room_request::Command},
    shard::Shard,
    v1,
};
use rustc_hash::FxHashMap;
use slab::Slab;
use tokio::{
    sync::{mpsc, watch},
    time::{Duration, Instant, timeout},
};

use super::{
    command::{Fact, Need, Now, ResyncAsk, Ticket, Who},
    effects::{Effects, Output},
    sent,
    state::RoomState,
};
use crate::{
    commit::{RoomKey, Submission},
    health::Health,
    host::{HostMsg, Shared},
    limits::{READ_DEADLINE, SENT_LOAD_MAX, TIMERS_INTERVAL},
    metrics,
    request::{ReplyTo, unavailable},
};

/// What a room's actor is told. Only its host and the commit pipeline send; nothing here has a
/// reply port: requests are answered over their link, at the latest when they are dropped.
pub(crate) enum RoomMsg {
    /// From the host: what gateways want, in their order. Lost with the actor: each request in it
    /// is then answered `UNAVAILABLE`.
    Work(Vec<Work>),
    /// From the host: write what is left and say so (`HostMsg::Quiet`), when nobody listens or
    /// `stopping`. Void once more work comes. Lost with the actor: the host asks again.
    PrepareSleep { stopping: bool },
    /// From the host: it need not end after all, though it was told `stopping`.
    Stay,
    /// From the commit pipeline: everything up to this write is durable and the fence was read.
    /// Only a pipeline that ends loses it, and then no room goes on.
    Committed { seq: u64 },
    /// From the commit pipeline: the store fails; whoever waits is told so.
    StoreFailing,
    /// From the actor to itself: a roster signal or cursors are due.
    Timer,
    /// From tests: panic.
    #[cfg(test)]
    Crash,
}

/// One thing a gateway wants of a room.
pub(crate) enum Work {
    Request {
        reply: ReplyTo,
        who: Who,
        command: Command,
    },
    Detach {
        gateway: EndpointId,
        session: u64,
    },
    Resync {
        gateway: EndpointId,
        sessions: Vec<Who>,
        ask: ResyncAsk,
    },
    /// The gateway is gone, or its stream to us has a hole: it announces its sessions again.
    GatewayGone(EndpointId),
}

/// What the host sees of a room without asking.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    pub(crate) listeners: AtomicUsize,
    /// The room has a first event, or is about to.
    pub(crate) exists: AtomicBool,
}

/// With what a room starts.
pub(crate) struct RoomArgs {
    pub(crate) room: RoomId,
    pub(crate) key: RoomKey,
    pub(crate) shared: Arc<Shared>,
    pub(crate) host: mpsc::UnboundedSender<HostMsg>,
    pub(crate) gauge: Arc<Gauge>,
    /// How the shard is held: no earlier run of this room here that failed had this epoch.
    pub(crate) held: Held,
}

/// Why a room's actor ends by itself. Its host wakes it again, under a new epoch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoomError {
    #[error("store: {what}")]
    Store {
        what: &'static str,
        #[source]
        source: StoreError,
    },
    #[error("the room cannot be woken")]
    Recover(#[from] super::wake::RecoverError),
    #[error("this node was fenced")]
    Fenced,
}

impl RoomError {
    fn store(what: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |source| Self::Store { what, source }
    }
}

pub(crate) struct RoomActor;

#[ractor::async_trait]
impl Actor for RoomActor {
    type Msg = RoomMsg;
    type State = Shell;
    type Arguments = RoomArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<RoomMsg>,
        args: RoomArgs,
    ) -> Result<Shell, ActorProcessingErr> {
        Ok(Shell::new(myself, args))
    }

    /// Wakes the room. Requests wait in the mailbox meanwhile; an error reaches the host.
    async fn post_start(
        &self,
        _myself: ActorRef<RoomMsg>,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        shell.wake().await.map_err(|error| chain(&error).into())
    }

    async fn handle(
        &self,
        _myself: ActorRef<RoomMsg>,
        message: RoomMsg,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        shell
            .handle(message)
            .await
            .map_err(|error| chain(&error).into())
    }
}

/// The actor's state: the machine once it is awake, and what the shell knows for it.
pub(crate) struct Shell {
    myself: ActorRef<RoomMsg>,
    args: RoomArgs,
    awake: Option<Awake>,
}

/// A room that serves.
struct Awake {
    state: RoomState,
    /// The list that names this epoch is durable. A room that never was is claimed by its first write.
    claimed: bool,
    /// Requests that wait for their answer.
    replies: Slab<ReplyTo>,
    /// Work that waits because too many events are in flight.
    waiting: VecDeque<Work>,
    effects: Effects,
    links: FxHashMap<EndpointId, LinkSender>,
    health: watch::Receiver<Health>,
    timer: Option<Instant>,
    /// Messages taken from the host.
    handled: u64,
    /// The host wants to know when nothing is left to do (`Some(stopping)`).
    sleep_wanted: Option<bool>,
}

impl Shell {
    fn new(myself: ActorRef<RoomMsg>, args: RoomArgs) -> Self {
        Self {
            myself,
            args,
            awake: None,
        }
    }

    async fn handle(&mut self, message: RoomMsg) -> Result<(), RoomError> {
        let Some(awake) = &mut self.awake else {
            unreachable!("messages are handled after post_start");
        };
        awake.heed_health();
        match message {
            RoomMsg::Work(work) => {
                awake.count_host_message();
                awake.waiting.extend(work);
            }
            RoomMsg::PrepareSleep { stopping } => {
                awake.count_host_message();
                // Who looks for idle rooms may not know that this one must end.
                let must_end = awake.sleep_wanted == Some(true);
                awake.sleep_wanted = Some(stopping || must_end);
            }
            RoomMsg::Stay => {
                awake.count_host_message();
                awake.sleep_wanted = None;
            }
            RoomMsg::Committed { seq } => {
                let before = awake.state.head();
                awake
                    .state
                    .committed(seq, self.args.shared.now(), &mut awake.effects);
                metrics::events_committed(awake.state.head().0 - before.0);
            }
            RoomMsg::StoreFailing => {
                let refusal = awake.health.borrow().refusal();
                let refusal = refusal.unwrap_or_else(|| unavailable("storage unavailable"));
                awake.state.answer_waiting(&refusal, &mut awake.effects);
            }
            RoomMsg::Timer => awake.timer = None,
            #[cfg(test)]
            RoomMsg::Crash => panic!("a test asked for it"),
        }
        self.perform().await;
        self.work().await;
        self.finish().await
    }

    /// Takes work as long as no more than allowed is in flight.
    async fn work(&mut self) {
        loop {
            let awake = self.awake.as_mut().expect("handle checked it");
            if awake.state.is_full() {
                return;
            }
            let Some(work) = awake.waiting.pop_front() else {
                return;
            };
            self.take(work).await;
            self.perform().await;
        }
    }

    async fn take(&mut self, work: Work) {
        let Self { args, awake, .. } = self;
        let awake = awake.as_mut().expect("handle checked it");
        match work {
            Work::Request {
                reply,
                who,
                command,
            } => {
                let now = args.shared.now();
                let read = awake
                    .read_all(args, |state| state.needs(&command, &who, now))
                    .await;
                match read {
                    Ok(()) => {
                        let ticket = Ticket(awake.replies.insert(reply));
                        awake
                            .state
                            .apply(ticket, who, command, now, &mut awake.effects);
                    }
                    Err(error) => reply.answer(Err(error)),
                }
            }
            Work::Detach { gateway, session } => {
                awake.state.detach(&gateway, session, &mut awake.effects);
            }
            Work::GatewayGone(gateway) => {
                awake.state.detach_gateway(&gateway, &mut awake.effects);
                awake.links.remove(&gateway);
            }
            Work::Resync {
                gateway,
                sessions,
                ask,
            } => {
                // An error leaves the machine without the rows: it answers `reset`.
                let _ = awake
                    .read_all(args, |state| state.needs_resync(ask, &sessions))
                    .await;
                let fx = &mut awake.effects;
                awake.state.resync(&gateway, ask, &sessions, fx);
            }
        }
    }

    /// Does what came out. Joins that became possible come last: their answers are as of now.
    async fn perform(&mut self) {
        let Self { args, awake, .. } = self;
        let awake = awake.as_mut().expect("handle checked it");
        while !awake.effects.outputs.is_empty() {
            let mut outputs = std::mem::take(&mut awake.effects.outputs);
            let mut joins = Vec::new();
            for output in outputs.drain(..) {
                match output {
                    Output::Reply { ticket, result } => {
                        awake.replies.remove(ticket.0).answer(result);
                    }
                    Output::ToGateway { gateway, body } => awake.send(args, gateway, body),
                    Output::ToUser {
                        user,
                        notice,
                        except_session,
                    } => {
                        args.shared.to_user(&user, notice, except_session);
                    }
                    Output::FinishJoin { ticket, who, from } => joins.push((ticket, who, from)),
                }
            }
            // Keeps the buffer.
            awake.effects.outputs = outputs;
            for (ticket, who, from) in joins {
                awake.finish_join(args, ticket, &who, from).await;
            }
        }
    }

    /// Hands over what was added, arms the timer, tells the host.
    async fn finish(&mut self) -> Result<(), RoomError> {
        let Self {
            args,
            awake,
            myself,
        } = self;
        let awake = awake.as_mut().expect("handle checked it");
        let now = Instant::now();
        awake.state.tick(now, &mut awake.effects);
        for output in awake.effects.outputs.drain(..) {
            if let Output::ToGateway { gateway, body } = output {
                let link = awake.links.entry(gateway);
                let link = link.or_insert_with_key(|gateway| args.shared.links.to(gateway));
                link.send(body);
            }
        }
        let flush = awake.sleep_wanted.is_some();
        if let Some((seq, write)) = awake.state.take_write(now, flush) {
            awake.claim(args, &write).await?;
            let room = myself.clone();
            args.shared.committer.submit(Submission {
                key: args.key,
                room,
                seq,
                write,
            });
        }
        awake.arm_timer(myself, now, args.shared.clock.now_ms());
        args.gauge
            .listeners
            .store(awake.state.listener_count(), Ordering::Relaxed);
        args.gauge
            .exists
            .store(awake.state.exists(), Ordering::Relaxed);
        if awake.is_at_rest() {
            awake.release_buffers();
        }
        if awake.may_sleep() {
            awake.sleep_wanted = None;
            let quiet = HostMsg::Quiet {
                room: args.room.clone(),
                key: args.key,
                handled: awake.handled,
            };
            // A host that is gone has no use for it.
            let _ = args.host.send(quiet);
        }
        Ok(())
    }
}

impl Awake {
    fn count_host_message(&mut self) {
        self.handled += 1;
        if self.sleep_wanted != Some(true) {
            self.sleep_wanted = None;
        }
    }

    /// Takes note of whether the node takes writes now.
    fn heed_health(&mut self) {
        if self.health.has_changed().unwrap_or(false) {
            let refusal = self.health.borrow_and_update().refusal();
            self.state.refuse_writes(refusal);
        }
    }

    fn may_sleep(&self) -> bool {
        let Some(stopping) = self.sleep_wanted else {
            return false;
        };
        self.state.is_settled()
            && self.waiting.is_empty()
            && (stopping || self.state.listener_count() == 0)
    }

    /// Nothing is under way, and nothing will be until somebody asks.
    fn is_at_rest(&self) -> bool {
        self.timer.is_none()
            && self.waiting.is_empty()
            && self.replies.is_empty()
            && self.state.is_settled()
    }

    /// Gives back what was kept for the next message: most rooms are at rest most of the time, and
    /// three empty queues were a quarter of what such a room held. A busy room has a timer, and
    /// keeps them.
    fn release_buffers(&mut self) {
        self.waiting = VecDeque::new();
        self.replies = Slab::new();
        self.effects.outputs = Vec::new();
        self.state.release_buffers();
    }

    /// Timers of all rooms go off at the same few moments of a second: the cursors of many rooms
    /// are then one commit, where each would be one of its own.
    fn arm_timer(&mut self, myself: &ActorRef<RoomMsg>, now: Instant, now_ms: u64) {
        let Some(due) = self.state.timer_due(now) else {
            return;
        };
        let due = due + until_common(now_ms, due.saturating_duration_since(now));
        if self.timer.is_none_or(|armed| due < armed) {
            self.timer = Some(due);
            myself.send_after(due.saturating_duration_since(now), || RoomMsg::Timer);
        }
    }

    fn send(&mut self, args: &RoomArgs, gateway: EndpointId, body: packet::Body) {
        let link = self.links.entry(gateway);
        link.or_insert_with_key(|gateway| args.shared.links.to(gateway))
            .send(body);
    }

    async fn finish_join(
        &mut self,
        args: &RoomArgs,
        ticket: Ticket,
        who: &Who,
        from: Option<v1::join::From>,
    ) {
        match self
            .read_all(args, |state| state.needs_join(who, from))
            .await
        {
            Ok(()) => self.state.finish_join(ticket, who, from, &mut self.effects),
            Err(error) => self.replies.remove(ticket.0).answer(Err(error)),
        }
    }

    /// The first write of a room that never was: the list first, then the fence.
    async fn claim(&mut self, args: &RoomArgs, write: &RoomWrite) -> Result<(), RoomError> {
        if self.claimed || write.log.is_empty() {
            return Ok(());
        }
        wake::claim(args, self.state.epochs()).await?;
        self.claimed = true;
        Ok(())
    }

    /// Reads until the machine needs nothing more.
    async fn read_all(
        &mut self,
        args: &RoomArgs,
        needs: impl Fn(&RoomState) -> Option<Need>,
    ) -> Result<(), WireError> {
        let mut last = None;
        while let Some(need) = needs(&self.state) {
            assert!(
                last.as_ref() != Some(&need),
                "what was read is still needed"
            );
            metrics::store_read(need.name());
            let fact = match timeout(READ_DEADLINE, read(args, need.clone())).await {
                Ok(Ok(fact)) => fact,
                Ok(Err(RoomError::Fenced)) => {
                    // A host that is gone has dropped the room already.
                    let _ = args.host.send(HostMsg::Fenced);
                    return Err(unavailable("the room has moved"));
                }
                Ok(Err(error)) => {
                    let error = chain(&error);
                    tracing::warn!(room.id = %args.room, need = need.name(), error, "read failed");
                    return Err(unavailable("storage unavailable"));
                }
                Err(_) => {
                    tracing::warn!(room.id = %args.room, need = need.name(), "read timed out");
                    return Err(unavailable("storage unavailable"));
                }
            };
            self.state.learn(fact)?;
            last = Some(need);
        }
        Ok(())
    }
}

/// How much later than this the rooms' next common moment is.
fn until_common(now_ms: u64, wait: Duration) -> Duration {
    let step = u64::try_from(TIMERS_INTERVAL.as_millis()).expect("milliseconds");
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let due_ms = now_ms.saturating_add(wait_ms);
    Duration::from_millis((step - due_ms % step) % step)
}

async fn read(args: &RoomArgs, need: Need) -> Result<Fact, RoomError> {
    let store = &args.shared.store;
    let room = &args.room;
    let failed = |source| RoomError::Store {
        what: "read",
        source,
    };
    Ok(match need {
        Need::Message(target) => {
            let (rows, marks) = tokio::try_join!(
                store.log_range(room, target, target),
                store.marks(room, target, target)
            )
            .map_err(failed)?;
            Fact::Message {
                target,
                rows,
                marks,
            }
        }
        Need::Page(from, to) => {
            let (rows, marks) =
                tokio::try_join!(store.log_range(room, from, to), store.marks(room, from, to))
                    .map_err(failed)?;
            Fact::Page {
                from,
                to,
                rows,
                marks,
            }
        }
        Need::Sender(user) => {
            let since = sent::since_ms(args.shared.clock.now_ms());
            let rows = store
                .sent_ids(room, &user, since, SENT_LOAD_MAX)
                .await
                .map_err(failed)?;
            Fact::Sender { user, rows }
        }
        Need::SentId(user, client_id) => {
            let rows = store
                .sent_id(room, &user, &client_id)
                .await
                .map_err(failed)?;
            Fact::SentId {
                user,
                client_id,
                rows,
            }
        }
        Need::Count(offset) => {
            let rows = store
                .log_range(room, offset, offset)
                .await
                .map_err(failed)?;
            Fact::Count { offset, rows }
        }
        Need::Fence => {
            let fenced = store
                .is_fenced(args.shared.incarnation)
                .await
                .map_err(failed)?;
            if fenced {
                return Err(RoomError::Fenced);
            }
            Fact::NotFenced
        }
    })
}

impl Shared {
    fn now(&self) -> Now {
        Now {
            ms: self.clock.now_ms(),
            at: Instant::now(),
        }
    }

    /// Sends a notice by way of the user's presence shard. Nobody there: nobody to tell.
    fn to_user(
        &self,
        user: &rookery_proto::ids::UserId,
        notice: v1::notice::Body,
        except_session: u64,
    ) {
        let Some(owner) = self
            .placement
            .owner(Role::Presence, Shard::of(user.as_str()))
        else {
            return;
        };
        let body = link::ToUser {
            user: user.as_str().to_owned(),
            notice: Some(v1::Notice { body: Some(notice) }),
            except_session,
        };
        self.links.to(&owner).send(packet::Body::ToUser(body));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_that_are_due_within_one_step_go_off_together() {
        let step = TIMERS_INTERVAL.as_millis() as u64;
        let goes_off = |now_ms: u64, wait_ms: u64| {
            let more = until_common(now_ms, Duration::from_millis(wait_ms));
            assert!(more < TIMERS_INTERVAL);
            now_ms + wait_ms + more.as_millis() as u64
        };
        let first = goes_off(1_000 * step + 1, 1_000);
        assert_eq!(first % step, 0);
        assert_eq!(goes_off(1_000 * step + step - 1, 1_001), first);
        assert_eq!(goes_off(first, 0), first, "none is later than it must");
        assert_eq!(goes_off(first, 1), first + step);
    }
}
