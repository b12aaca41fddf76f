//! The shell around the users of one shard.

use std::{collections::hash_map, sync::Arc};

use ractor::{Actor, ActorProcessingErr, ActorRef, async_trait};
use rookery_cluster::{
    Clock, EndpointId,
    task::{TaskKind, spawn},
};
use rookery_proto::{
    errors::chain,
    ids::{RoomId, UserId},
    link::{UserRequest, user_request},
    v1,
};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::{
    admission::{Admitted, Gauge},
    outbox::Outbox,
    rooms,
    schedule::Schedule,
    store_calls::StoreCalls,
    told::{GatewayChange, ShardMessage, address, device},
};
use crate::{
    metrics,
    push::{self, PushEvent, PushSink},
    refusal::Refusal,
    user::{Address, Choice, Command, Effect, Now, Rules, User},
};

/// What the actors of a node share.
pub(crate) struct ShardPorts {
    pub(crate) outbox: Outbox,
    pub(crate) store: StoreCalls,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) push: Arc<dyn PushSink>,
}

/// An actor for the users of one shard.
pub(crate) struct ShardActor {
    pub(crate) ports: Arc<ShardPorts>,
    pub(crate) rules: Rules,
    pub(crate) gauge: Arc<Gauge>,
}

#[derive(Default)]
struct Entry {
    user: User,
    /// The earliest wake-up in the schedule.
    wakes_at: Option<Instant>,
}

#[derive(Default)]
pub(crate) struct Users {
    /// Boxed: up to half of the table's places are empty.
    entries: FxHashMap<UserId, Box<Entry>>,
    schedule: Schedule,
}

#[async_trait]
impl Actor for ShardActor {
    type Msg = ShardMessage;
    type State = Users;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<ShardMessage>,
        (): (),
    ) -> Result<Users, ActorProcessingErr> {
        Ok(Users::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<ShardMessage>,
        message: ShardMessage,
        users: &mut Users,
    ) -> Result<(), ActorProcessingErr> {
        let shell = Shell {
            actor: self,
            myself: &myself,
            now: self.now(),
        };
        let place = shell.handle(message, users);
        self.gauge
            .report(users.entries.len(), users.schedule.next());
        // Given back after the report, so that an empty queue means a true report.
        drop(place);
        Ok(())
    }
}

impl ShardActor {
    fn now(&self) -> Now {
        Now {
            instant: Instant::now(),
            wall_ms: self.ports.clock.now_ms(),
        }
    }
}

/// One message's handling.
struct Shell<'a> {
    actor: &'a ShardActor,
    myself: &'a ActorRef<ShardMessage>,
    now: Now,
}

impl Shell<'_> {
    fn handle(&self, message: ShardMessage, users: &mut Users) -> Option<Admitted> {
        match message {
            ShardMessage::Request {
                from,
                user,
                request,
                place,
            } => {
                return self.request(users, from, user, *request, place);
            }
            ShardMessage::Work {
                from,
                user,
                work,
                place,
            } => {
                self.apply(users, user, work.into_command(from));
                return Some(place);
            }
            ShardMessage::Gateway { gateway, change } => self.gateway(users, &gateway, change),
            ShardMessage::Tick => {
                self.actor.gauge.ticked();
                self.tick(users);
            }
            ShardMessage::Read { user, stored_ms } => {
                self.apply(users, user, Command::LastSeenRead { stored_ms });
            }
            ShardMessage::Written {
                user,
                last_seen_ms,
                stored,
            } => {
                self.apply(
                    users,
                    user,
                    Command::LastSeenWritten {
                        last_seen_ms,
                        stored,
                    },
                );
            }
            ShardMessage::Leave { reply } => {
                let unsaved = users.entries.iter().filter_map(|(user, entry)| {
                    let last_seen_ms = entry.user.last_seen_at_stop(self.now)?;
                    Some((user.clone(), last_seen_ms))
                });
                // A host that no longer waits has given up on the grace period.
                let _ = reply.send(unsaved.collect());
            }
        }
        None
    }

    fn request(
        &self,
        users: &mut Users,
        from: EndpointId,
        user: UserId,
        request: UserRequest,
        place: Admitted,
    ) -> Option<Admitted> {
        let UserRequest {
            request,
            caller,
            user: _,
            command,
        } = request;
        let caller = caller.unwrap_or_default();
        let at = address(from, &caller);
        let own = caller.user == user.as_str();
        let refused = match command {
            Some(user_request::Command::Watch(_)) => {
                metrics::request("watch");
                self.apply(users, user, Command::Watch { at, request, own });
                return Some(place);
            }
            Some(user_request::Command::Unwatch(_)) => {
                metrics::request("unwatch");
                self.apply(
                    users,
                    user,
                    Command::Unwatch {
                        session: at.key.clone(),
                    },
                );
                self.done(&at, request);
                return Some(place);
            }
            None => Refusal::NoCommand,
            Some(_) if !own => Refusal::NotTheCaller,
            Some(user_request::Command::SetPresence(set)) => {
                metrics::request("set_presence");
                if let Some(choice) = Choice::from_wire(set.status) {
                    let device = device(&caller);
                    self.apply(
                        users,
                        user,
                        Command::Choose {
                            at: at.clone(),
                            device,
                            choice,
                        },
                    );
                    self.done(&at, request);
                    return Some(place);
                }
                let reason = "must be ONLINE, AWAY, DND or INVISIBLE".to_owned();
                Refusal::Invalid {
                    field: "setPresence.status",
                    reason,
                }
            }
            Some(user_request::Command::Rooms(rooms)) => {
                metrics::request("rooms");
                match rooms::check(&rooms) {
                    Ok((after, limit)) => {
                        self.read_rooms(at, request, user, after, limit, place);
                        return None;
                    }
                    Err(refusal) => refusal,
                }
            }
        };
        self.actor.ports.outbox.refuse(&at, request, refused);
        Some(place)
    }

    fn done(&self, to: &Address, request: u64) {
        self.actor
            .ports
            .outbox
            .ack(to, request, v1::ack::Result::Done(v1::Done {}));
    }

    /// Reads in a task that keeps the request's place until it is answered.
    fn read_rooms(
        &self,
        at: Address,
        request: u64,
        user: UserId,
        after: Option<RoomId>,
        limit: usize,
        place: Admitted,
    ) {
        let ports = Arc::clone(&self.actor.ports);
        spawn(TaskKind::Passing, "presence rooms", async move {
            match ports.store.rooms(&user, after, limit).await {
                Ok(page) => ports.outbox.ack(&at, request, v1::ack::Result::Rooms(page)),
                Err(refusal) => ports.outbox.refuse(&at, request, refusal),
            }
            drop(place);
        });
    }

    fn gateway(&self, users: &mut Users, gateway: &EndpointId, change: GatewayChange) {
        let all: Vec<_> = users.entries.keys().cloned().collect();
        for user in all {
            let gateway = gateway.clone();
            let command = match change {
                GatewayChange::Silent => Command::GatewaySilent { gateway },
                GatewayChange::Doubted => Command::GatewayDoubted { gateway },
                GatewayChange::Swept => Command::GatewaySwept { gateway },
                GatewayChange::Gone => Command::GatewayGone { gateway },
            };
            self.apply(users, user, command);
        }
    }

    fn tick(&self, users: &mut Users) {
        while let Some((at, user)) = users.schedule.pop_due(self.now.instant) {
            if let Some(entry) = users.entries.get_mut(&user)
                && entry.wakes_at == Some(at)
            {
                entry.wakes_at = None;
                self.apply(users, user, Command::Tick);
            }
        }
    }

    /// Applies a command to a user, performs its effects, and schedules or forgets the user.
    fn apply(&self, users: &mut Users, user: UserId, command: Command) {
        let rules = &self.actor.rules;
        let mut place = match users.entries.entry(user.clone()) {
            hash_map::Entry::Occupied(place) => place,
            hash_map::Entry::Vacant(place) => place.insert_entry(Box::default()),
        };
        let entry = place.get_mut();
        let effects = entry.user.apply(command, self.now, rules);
        if entry.user.is_idle() {
            place.remove();
        } else if let Some(deadline) = entry.user.deadline(self.now, rules)
            && entry.wakes_at.is_none_or(|wakes_at| deadline < wakes_at)
        {
            entry.wakes_at = Some(deadline);
            users.schedule.add(deadline, &user);
        }
        for effect in effects {
            self.perform(&user, effect);
        }
    }

    fn perform(&self, user: &UserId, effect: Effect) {
        let ports = &self.actor.ports;
        match effect {
            Effect::Answer { to, request, shown } => {
                ports.outbox.answer(&to, request, user, shown);
            }
            Effect::Refuse {
                to,
                request,
                refusal,
            } => ports.outbox.refuse(&to, request, refusal),
            Effect::Show { shown, to } => ports.outbox.show(user, shown, &to),
            Effect::Deliver { notice, to } => ports.outbox.deliver(notice, &to),
            Effect::Push { notice } => {
                push::offer(
                    &*ports.push,
                    PushEvent {
                        user: user.clone(),
                        notice,
                    },
                );
            }
            Effect::SessionRefused => {
                metrics::session_refused();
                tracing::warn!(user.id = %user, "session not tracked: user has too many");
            }
            Effect::Read => self.read_last_seen(user.clone()),
            Effect::Write { last_seen_ms } => self.write_last_seen(user.clone(), last_seen_ms),
        }
    }

    fn read_last_seen(&self, user: UserId) {
        let store = self.actor.ports.store.clone();
        let myself = self.myself.clone();
        spawn(TaskKind::Passing, "presence read", async move {
            let stored_ms = match store.last_seen(&user).await {
                Ok(stored_ms) => Some(stored_ms),
                Err(error) => {
                    tracing::warn!(user.id = %user, error = %chain(&error), "last seen not read");
                    None
                }
            };
            // An actor that is gone has nothing to do with it.
            let _ = myself.cast(ShardMessage::Read { user, stored_ms });
        });
    }

    fn write_last_seen(&self, user: UserId, last_seen_ms: u64) {
        let store = self.actor.ports.store.clone();
        let myself = self.myself.clone();
        spawn(TaskKind::Passing, "presence write", async move {
            let outcome = store.put_last_seen(&user, last_seen_ms).await;
            if let Err(error) = &outcome {
                tracing::warn!(user.id = %user, error = %chain(error), "last seen not stored");
            }
            let stored = outcome.is_ok();
            // An actor that is gone has nothing to do with it.
            let _ = myself.cast(ShardMessage::Written {
                user,
                last_seen_ms,
                stored,
            });
        });
    }
}
