//! A client with a gateway of its own: it speaks the link protocol as a gateway does, and keeps
//! the history of what its one session asked and was told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use fastrand::Rng;
use rookery_cluster::{Bus, EndpointId, Inbound, Inbox, Links, Membership, Role};
use rookery_loadtest::{
    client::{Closed, Command, command, maybe},
    history::{Purpose, What},
    replica::Replica,
};
use rookery_proto::{
    link::{self, packet::Body, reply, room_request},
    shard::Shard,
    v1::{self, ack, error::Code, server_frame::Frame},
};
use tokio::time::{Duration, Instant, sleep_until};

use crate::{
    cluster::{Cluster, Moving, Target, View},
    mutation::Mutation,
    net::NetPort,
    node,
    stream::Stream,
    world::Process,
};

/// When a command is tried again that did not find its owner.
const RETRY: Duration = Duration::from_millis(40);
/// How often timers are looked at.
const TICK: Duration = Duration::from_millis(20);

/// A command without an answer yet.
struct Pending {
    command: Command,
    deadline: Instant,
    /// When it is sent again, where the owner was not found.
    again: Option<Instant>,
}

/// What a client is connected to.
struct Gateway {
    process: Arc<Process>,
    owners: Owners,
    inbox: Inbox,
    links: Links,
}

/// How a gateway knows who owns what.
pub(crate) enum Owners {
    Driven(Arc<View>),
    Real(Membership),
}

impl Owners {
    pub(crate) async fn new(cluster: &Arc<Cluster>, process: &Arc<Process>, name: &str) -> Self {
        match cluster.moving {
            Moving::Driven | Moving::Planned => Self::Driven(cluster.view(process)),
            Moving::Real => Self::Real(node::join(cluster, process, name, Role::Gateway).await.0),
        }
    }

    /// The owner, and the epoch under which it is known to be that.
    pub(crate) fn under(&self, target: Target) -> Option<(EndpointId, u64)> {
        match self {
            Self::Driven(view) => view.under(target),
            Self::Real(membership) => {
                let owners = membership.placement().owners();
                let owner = owners.owner(target.0, target.1)?.clone();
                let epoch = owners.epoch(target.0, target.1)?;
                Some((owner, epoch.0))
            }
        }
    }
}

/// One client.
pub(crate) struct Client {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) number: u32,
    pub(crate) user: String,
    pub(crate) dice: Rng,
    purpose: Purpose,
    pub(crate) session: u32,
    session_id: u64,
    gateway: Gateway,
    pub(crate) streams: BTreeMap<String, Stream>,
    /// The newest epoch whose events were shown, by room: an older answer is of no owner.
    pub(crate) floors: BTreeMap<String, u64>,
    pub(crate) replicas: BTreeMap<String, Replica>,
    pending: BTreeMap<u64, Pending>,
    pub(crate) retries: VecDeque<Command>,
    next_id: u64,
    /// Counts refusals and losses, so that nothing passes what is asked again.
    turn: u64,
    /// The highest epoch under which something was acknowledged, by room.
    acked: BTreeMap<String, u64>,
}

impl Client {
    pub(crate) async fn new(
        cluster: &Arc<Cluster>,
        number: u32,
        user: String,
        purpose: Purpose,
    ) -> Self {
        let gateway = Gateway::start(cluster, number).await;
        let mut client = Self {
            cluster: Arc::clone(cluster),
            number,
            user,
            dice: cluster.world.own_dice(),
            purpose,
            session: 0,
            session_id: 0,
            gateway,
            streams: BTreeMap::new(),
            floors: BTreeMap::new(),
            replicas: BTreeMap::new(),
            pending: BTreeMap::new(),
            retries: VecDeque::new(),
            next_id: 0,
            turn: 1,
            acked: BTreeMap::new(),
        };
        client.open();
        client
    }

    fn open(&mut self) {
        self.session += 1;
        self.session_id = self.cluster.world.number();
        self.record(What::Opened {
            user: self.user.clone(),
            purpose: self.purpose,
            session_id: self.session_id.to_string(),
        });
    }

    pub(crate) fn record(&self, what: What) {
        self.cluster.record(self.number, self.session, what);
    }

    /// Its gateway is killed; it goes to another and resumes every room.
    pub(crate) async fn reconnect(&mut self) {
        self.gateway.process.kill();
        self.streams.clear();
        for (id, pending) in std::mem::take(&mut self.pending) {
            self.record(What::GaveUp { id: id.to_string() });
            self.keep_for_retry(pending.command);
        }
        self.record(What::Closed(Closed::cut("gateway killed")));
        self.gateway = Gateway::start(&self.cluster, self.number).await;
        self.open();
        let heads: Vec<_> = self.replicas.values().map(resume).collect();
        for join in heads {
            self.invoke(join);
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Whether a join of the room is under way.
    pub(crate) fn is_joining(&self, room: &str) -> bool {
        self.pending
            .values()
            .any(|it| matches!(&it.command, Command::Join(join) if join.room == room))
    }

    /// Sends a command.
    pub(crate) fn invoke(&mut self, command: Command) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        if let Command::Join(join) = &command {
            let replica = self.replicas.entry(join.room.clone());
            replica.or_insert_with(|| Replica::new(&join.room));
        }
        self.record(What::Sent(Box::new(v1::ClientFrame {
            id: id.to_string(),
            command: Some(command.clone()),
        })));
        let now = Instant::now();
        let pending = Pending {
            command,
            deadline: now + self.cluster.plan.deadline,
            again: None,
        };
        self.pending.insert(id, pending);
        self.send(id, now);
        id
    }

    fn send(&mut self, id: u64, now: Instant) {
        let Some(pending) = self.pending.get_mut(&id) else {
            return;
        };
        let room = command::room_of(&pending.command).unwrap_or_default();
        let room = room.to_owned();
        let Some(owner) = self.gateway.owner(&room) else {
            pending.again = Some(now + RETRY);
            return;
        };
        pending.again = None;
        let mut command = room_command(&pending.command);
        if let Some(room_request::Command::Join(join)) = &mut command {
            join.resume &= self.cluster.mutation != Some(Mutation::ResumeJoins);
        }
        let request = link::RoomRequest {
            request: id,
            room,
            caller: Some(self.caller()),
            command,
            turn: self.turn,
        };
        self.post(&owner, Body::RoomRequest(request));
    }

    pub(crate) fn caller(&self) -> link::Caller {
        link::Caller {
            session: self.session_id,
            user: self.user.clone(),
            name: self.user.to_uppercase(),
            device: format!("device {}", self.number),
            lane: 0,
            grant: link::Grant::None.into(),
        }
    }

    pub(crate) fn owner(&self, room: &str) -> Option<EndpointId> {
        self.gateway.owner(room)
    }

    /// Something came that shows who owns a room.
    pub(crate) fn saw(&self, room: &str, epoch: u64, owner: &EndpointId) {
        if let Owners::Driven(view) = &self.gateway.owners {
            view.saw(room, epoch, owner);
        }
    }

    pub(crate) fn post(&self, to: &EndpointId, body: Body) {
        self.gateway.links.to(to).send(body);
    }

    /// Waits for the next thing that comes, or a moment.
    pub(crate) async fn step(&mut self) {
        let until = Instant::now() + TICK;
        tokio::select! {
            biased;
            inbound = self.gateway.inbox.next() => {
                if let Some(inbound) = inbound {
                    self.receive(inbound);
                }
            }
            () = sleep_until(until) => {}
        }
        self.look_at_time(Instant::now());
    }

    fn receive(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Packets { from, packets } => {
                for packet in packets {
                    self.take(&from, packet.body);
                }
            }
            Inbound::Opened { .. } => {}
            Inbound::Lost { from } | Inbound::Silent { from } => {
                self.turn += 1;
                self.stream_lost(&from);
            }
        }
    }

    fn take(&mut self, from: &EndpointId, body: Option<Body>) {
        match body {
            Some(Body::Reply(reply)) => self.replied(from, reply),
            Some(Body::RoomEvent(event)) => self.on_event(from, &event),
            Some(Body::RoomEvents(events)) => self.on_resynced(from, &events),
            Some(Body::RoomRefused(refused)) => self.on_refused(&refused),
            Some(Body::Reannounce(_)) => {
                self.turn += 1;
                self.stream_lost(from);
            }
            _ => {}
        }
    }

    fn replied(&mut self, from: &EndpointId, reply: link::Reply) {
        let now = Instant::now();
        let Some(pending) = self.pending.get_mut(&reply.request) else {
            return;
        };
        match reply.result {
            Some(reply::Result::NotOwner(_)) => {
                pending.again = Some(now + RETRY);
                self.turn += 1;
            }
            Some(reply::Result::Ack(ack)) => self.acked(from, reply.request, ack),
            Some(reply::Result::Error(error)) => self.refused(reply.request, error),
            None => {}
        }
    }

    fn acked(&mut self, from: &EndpointId, id: u64, ack: v1::Ack) {
        if let Some(ack::Result::Appended(appended)) = &ack.result {
            let acked = self.acked.entry(appended.room.clone()).or_default();
            if appended.epoch < *acked && !appended.duplicate {
                // Of a former owner, later than the answers of the next: taken for lost.
                return;
            }
            *acked = appended.epoch.max(*acked);
            if !appended.duplicate {
                self.saw(&appended.room, appended.epoch, from);
            }
        }
        if let Some(ack::Result::History(page)) = &ack.result
            && let Some(newest) = page.events.last()
        {
            self.saw(&page.room, newest.epoch, from);
        }
        let Some(pending) = self.pending.remove(&id) else {
            return;
        };
        let Some(result) = ack.result.clone() else {
            return;
        };
        self.received(Frame::Ack(v1::Ack {
            id: id.to_string(),
            ..ack
        }));
        match (pending.command, result) {
            (Command::Join(join), ack::Result::Joined(joined)) => {
                self.joined(from, &join, &joined);
            }
            (Command::Leave(leave), _) => drop(self.streams.remove(&leave.room)),
            _ => {}
        }
    }

    fn refused(&mut self, id: u64, error: v1::Error) {
        let Some(pending) = self.pending.remove(&id) else {
            return;
        };
        let unknown = maybe(error.code());
        if let Command::Join(join) = &pending.command
            && join.resume
            && error.code() == Code::NotMember
        {
            self.drop_room(&join.room);
        }
        self.received(Frame::Error(v1::Error {
            id: id.to_string(),
            ..error
        }));
        if unknown {
            self.keep_for_retry(pending.command);
        }
    }

    pub(crate) fn received(&self, frame: Frame) {
        let frame = v1::ServerFrame { frame: Some(frame) };
        self.record(What::Received(Box::new(frame)));
    }

    /// Only what may be repeated without harm.
    fn keep_for_retry(&mut self, command: Command) {
        if matches!(&command, Command::Send(_) | Command::CreateRoom(_)) {
            self.retries.push_back(command);
        }
    }

    fn look_at_time(&mut self, now: Instant) {
        let late: Vec<u64> = self.ids(|it| it.deadline <= now);
        for id in late {
            let error = v1::Error {
                code: Code::Unavailable.into(),
                message: "no answer in time".to_owned(),
                ..v1::Error::default()
            };
            self.refused(id, error);
        }
        let again: Vec<u64> = self.ids(|it| it.again.is_some_and(|again| again <= now));
        for id in again {
            self.send(id, now);
        }
        self.tend_streams(now);
    }

    fn ids(&self, which: impl Fn(&Pending) -> bool) -> Vec<u64> {
        let found = self.pending.iter().filter(|(_, it)| which(it));
        found.map(|(id, _)| *id).collect()
    }

    /// Asks until it is answered for good; the answer.
    pub(crate) async fn insist(&mut self, command: &Command) -> Option<Frame> {
        for _ in 0..40 {
            let id = self.invoke(command.clone());
            let before = self.cluster.history_len();
            while self.pending.contains_key(&id) {
                self.step().await;
            }
            self.retries.clear();
            let answer = self
                .cluster
                .answer_since(before, self.number, &id.to_string());
            match answer {
                Some(Frame::Error(error)) if maybe(error.code()) => {}
                other => return other,
            }
        }
        None
    }

    /// Records the state of every room and ends.
    pub(crate) fn finish(mut self) {
        for replica in std::mem::take(&mut self.replicas).into_values() {
            self.record(What::Replica(Box::new(replica)));
        }
        self.record(What::Closed(Closed::cut("the end")));
        self.gateway.process.kill();
    }
}

/// Takes a room up again, from where a replica stands.
pub(crate) fn resume(replica: &Replica) -> Command {
    command::resume(replica.room(), replica.head())
}

impl Gateway {
    async fn start(cluster: &Arc<Cluster>, number: u32) -> Self {
        let name = format!("gateway-{number}");
        let process = Process::new(&cluster.world, &name);
        let me = EndpointId::new(Role::Gateway, process.incarnation);
        let bus: Arc<dyn Bus> = Arc::new(NetPort::new(&cluster.net, &process));
        let inbox = Inbox::open(&bus, &me).await.expect("the bus takes it");
        let links = Links::new(bus, me, process.incarnation << 32);
        let owners = Owners::new(cluster, &process, &name).await;
        Self {
            process,
            owners,
            inbox,
            links,
        }
    }

    fn owner(&self, room: &str) -> Option<EndpointId> {
        let owner = self.owners.under((Role::Rooms, Shard::of(room)));
        owner.map(|(owner, _)| owner)
    }
}

fn room_command(command: &Command) -> Option<room_request::Command> {
    use room_request::Command as To;
    Some(match command.clone() {
        Command::CreateRoom(it) => To::CreateRoom(it),
        Command::Join(it) => To::Join(it),
        Command::Leave(it) => To::Leave(it),
        Command::Send(it) => To::Send(it),
        Command::Edit(it) => To::Edit(it),
        Command::Delete(it) => To::Delete(it),
        Command::React(it) => To::React(it),
        Command::Unreact(it) => To::Unreact(it),
        Command::MarkRead(it) => To::MarkRead(it),
        Command::Typing(it) => To::Typing(it),
        Command::History(it) => To::History(it),
        _ => return None,
    })
}
