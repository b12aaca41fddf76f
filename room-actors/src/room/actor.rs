//! The room's actor: a thin shell that reads what the machine needs, applies, and does what comes
//! out. While it reads, the room waits, so the order of requests is the order of their effects.

mod awake;
mod reads;
mod told;
mod wake;

use std::sync::atomic::Ordering;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rookery_cluster::{EndpointId, Role};
use rookery_persistence::RoomWrite;
use rookery_proto::{
    errors::chain,
    link::{self, packet},
    shard::Shard,
    v1,
};
use tokio::time::Instant;

use super::{
    command::{Now, Ticket, Who},
    derived::Derived,
    effects::Output,
};
use crate::{
    commit::{Part, Submission},
    host::{HostMsg, Shared},
    metrics,
    request::unavailable,
};
use awake::Awake;
pub(crate) use told::{Gauge, RoomArgs, RoomError, RoomMsg, Work};

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
                awake.state.committed(seq, &mut awake.effects);
                metrics::events_committed(awake.state.head().0 - before.0);
            }
            RoomMsg::DerivedWritten => awake.state.derived_written(),
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
        let now = Instant::now();
        let awake = self.awake.as_mut().expect("handle checked it");
        awake.state.tick(now, &mut awake.effects);
        self.perform().await;
        let Self {
            args,
            awake,
            myself,
        } = self;
        let awake = awake.as_mut().expect("handle checked it");
        let submit = |write, part| {
            args.shared.committer.submit(Submission {
                key: args.key,
                room: myself.clone(),
                write,
                part,
            });
        };
        if let Some((seq, write)) = awake.state.take_write() {
            awake.claim(args, &write).await?;
            submit(write, Part::Events { seq });
        }
        let flush = awake.sleep_wanted.is_some();
        if let Some(Derived { write, urgent }) = awake.state.take_derived(now, flush) {
            submit(write, Part::Derived { urgent });
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
