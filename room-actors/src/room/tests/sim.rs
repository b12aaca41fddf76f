//! The machine with a store in memory, commits that complete when told to, and clients that fold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use prost::Message as _;
use rookery_cluster::{EndpointId, Role};
use rookery_persistence::{
    CursorRow, EpochList, LogRow, MarkRow, MemberRow, RoomRow, RoomWrite, SentRow,
};
use rookery_proto::{
    errors::WireError,
    ids::{Epoch, Offset, RoomId, UserId},
    link::{self, Grant, packet, room_request::Command},
    v1::{self, ack, event::Body},
};
use tokio::time::{Duration, Instant};

use crate::{
    limits::{Memory, RoomLimits, WAKE_TAIL_OFFSETS},
    room::{
        command::{Fact, Need, Now, Ticket, Who},
        effects::{Effects, Output},
        state::RoomState,
        wake::{recover, rewrite},
        woken::Woken,
    },
};

pub(in crate::room) type Answer = Result<ack::Result, WireError>;

/// What a store keeps of one room; rows are never removed.
#[derive(Clone, Debug, Default)]
pub(in crate::room) struct Rows {
    pub(in crate::room) log: BTreeMap<(Offset, Epoch), LogRow>,
    pub(in crate::room) list: EpochList,
    settings: Vec<RoomRow>,
    members: Vec<MemberRow>,
    pub(in crate::room) sent: Vec<SentRow>,
    cursors: BTreeMap<UserId, CursorRow>,
}

impl Rows {
    pub(in crate::room) fn write(&mut self, write: RoomWrite) {
        for row in write.log {
            self.log.insert((row.offset, row.epoch), row);
        }
        self.settings.extend(write.settings);
        self.members.extend(write.members);
        self.sent.extend(write.sent);
        for row in write.cursors {
            let known = self.cursors.get(&row.user);
            if known.is_none_or(|known| known.offset < row.offset) {
                self.cursors.insert(row.user.clone(), row);
            }
        }
    }

    fn range(&self, from: Offset, to: Offset) -> Vec<LogRow> {
        let rows = self
            .log
            .values()
            .filter(|row| from <= row.offset && row.offset <= to);
        rows.cloned().collect()
    }

    fn marks(&self, from: Offset, to: Offset) -> Vec<MarkRow> {
        let rows = self
            .log
            .values()
            .filter(|row| from <= row.target && row.target <= to);
        rows.map(|row| MarkRow {
            target: row.target,
            offset: row.offset,
            epoch: row.epoch,
            kind: row.kind,
            event: row.event.clone(),
        })
        .collect()
    }

    fn answer(&self, need: Need, memory: Memory) -> Fact {
        match need {
            Need::Message(target) => Fact::Message {
                target,
                rows: self.range(target, target),
                marks: self.marks(target, target),
            },
            Need::Page(from, to) => Fact::Page {
                from,
                to,
                rows: self.range(from, to),
                marks: self.marks(from, to),
            },
            Need::Count(offset) => Fact::Count {
                offset,
                rows: self.range(offset, offset),
            },
            Need::Sender(user) => {
                let mut rows: Vec<_> = self
                    .sent
                    .iter()
                    .filter(|row| row.user == user)
                    .cloned()
                    .collect();
                rows.sort_by_key(|row| std::cmp::Reverse((row.offset, row.epoch)));
                rows.truncate(memory.sent_load_max as usize);
                Fact::Sender { user, rows }
            }
            Need::SentId(user, client_id) => {
                let rows = self.sent.iter();
                let rows = rows.filter(|row| row.user == user && row.client_id == client_id);
                Fact::SentId {
                    rows: rows.cloned().collect(),
                    user,
                    client_id,
                }
            }
            Need::Fence => Fact::NotFenced,
        }
    }

    pub(in crate::room) fn wake(
        &mut self,
        epoch: Epoch,
        limits: RoomLimits,
        memory: Memory,
    ) -> RoomState {
        let tail: Vec<_> = self.log.values().cloned().collect();
        let recovery = recover(self.list.clone(), tail, WAKE_TAIL_OFFSETS, epoch).unwrap();
        if let Some(claim) = &recovery.claim {
            self.write(rewrite(&room(), &recovery.adopted, claim.rewrite_from));
            self.list = recovery.epochs.clone();
        }
        let deletions = self
            .log
            .values()
            .filter(|row| row.kind == rookery_persistence::EventKind::Deleted);
        let woken = Woken {
            room: room(),
            epoch,
            epochs: recovery.epochs,
            tail: recovery.adopted,
            settings: self.settings.clone(),
            members: self.members.clone(),
            cursors: self.cursors.values().cloned().collect(),
            deletions: deletions
                .map(|row| (row.target, row.offset, row.epoch))
                .collect(),
        };
        RoomState::new(woken, limits, memory)
    }
}

pub(in crate::room) fn room() -> RoomId {
    RoomId::parse("r").unwrap()
}

pub(in crate::room) fn user_name(user: usize) -> String {
    format!("user-{user}")
}

/// One message as a client shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::room) struct Shown {
    pub(in crate::room) actor: String,
    pub(in crate::room) text: String,
    pub(in crate::room) deleted: bool,
    pub(in crate::room) reactions: BTreeSet<(String, String)>,
    revision: u64,
}

/// A client: folds what it receives, in order, and asserts that nothing is missing.
#[derive(Clone, Debug, Default)]
pub(in crate::room) struct Client {
    user: String,
    pub(in crate::room) listening: bool,
    pub(in crate::room) last: u64,
    pub(in crate::room) messages: BTreeMap<u64, Shown>,
}

impl Client {
    pub(in crate::room) fn take(&mut self, event: v1::Event) {
        assert_eq!(
            event.offset,
            self.last + 1,
            "events come dense and in order"
        );
        self.last = event.offset;
        self.fold(event);
    }

    fn fold(&mut self, event: v1::Event) {
        let actor = event.actor.unwrap_or_default().id;
        let offset = event.offset;
        let mut mark = |target: u64, change: &dyn Fn(&mut Shown)| {
            if let Some(message) = self.messages.get_mut(&target)
                && offset > message.revision
            {
                change(message);
            }
        };
        match event.body.expect("every event has a body") {
            Body::Message(message) => {
                let reactions = message.reactions.into_iter().flat_map(|reaction| {
                    let users = reaction.users.into_iter();
                    users
                        .map(move |user| (reaction.emoji.clone(), user))
                        .collect::<Vec<_>>()
                });
                let shown = Shown {
                    actor,
                    text: message.text,
                    deleted: message.deleted,
                    reactions: reactions.collect(),
                    revision: message.revision,
                };
                self.messages.insert(offset, shown);
            }
            Body::MessageEdited(edit) => {
                mark(edit.target, &|message| message.text.clone_from(&edit.text));
            }
            Body::MessageDeleted(delete) => mark(delete.target, &|message| {
                message.deleted = true;
                message.text.clear();
                message.reactions.clear();
            }),
            Body::ReactionAdded(added) => mark(added.target, &|message| {
                message
                    .reactions
                    .insert((added.emoji.clone(), actor.clone()));
            }),
            Body::ReactionRemoved(removed) => mark(removed.target, &|message| {
                message
                    .reactions
                    .remove(&(removed.emoji.clone(), actor.clone()));
            }),
            Body::RoomOpened(_) | Body::MemberJoined(_) | Body::MemberLeft(_) => {}
        }
    }

    pub(in crate::room) fn joined(&mut self, user: &UserId, joined: v1::Joined) {
        self.user = user.as_str().to_owned();
        if joined.reset {
            self.messages.clear();
            self.last = joined
                .events
                .first()
                .map_or(joined.head, |event| event.offset - 1);
        }
        // An earlier join of the same session may have brought some of them.
        let known = self.last;
        for event in joined
            .events
            .into_iter()
            .filter(|event| event.offset > known)
        {
            self.take(event);
        }
        assert_eq!(self.last, joined.head, "a join ends at the head");
        self.listening = true;
    }

    /// Equal but for revisions, which only pages carry.
    pub(in crate::room) fn shows(&self) -> BTreeMap<u64, Shown> {
        let shown = |message: &Shown| Shown {
            revision: 0,
            ..message.clone()
        };
        self.messages
            .iter()
            .map(|(offset, message)| (*offset, shown(message)))
            .collect()
    }
}

pub(in crate::room) struct Sim {
    pub(in crate::room) rows: Rows,
    pub(in crate::room) state: RoomState,
    pub(in crate::room) epoch: Epoch,
    limits: RoomLimits,
    memory: Memory,
    /// Handed over and not durable.
    pub(in crate::room) flying: VecDeque<(u64, RoomWrite)>,
    /// Derived rows handed over and not durable.
    pub(in crate::room) derived: Option<RoomWrite>,
    pub(in crate::room) answers: BTreeMap<usize, Answer>,
    pub(in crate::room) signals: Vec<(u64, v1::Signal)>,
    pub(in crate::room) notices: Vec<(String, v1::notice::Body)>,
    /// By session.
    pub(in crate::room) clients: BTreeMap<u64, Client>,
    pub(in crate::room) now: Now,
    next_ticket: usize,
}

impl Sim {
    pub(in crate::room) fn new(memory: Memory) -> Self {
        let limits = RoomLimits {
            sends_per_second: 1_000_000,
            ..RoomLimits::default()
        };
        Self::with_limits(limits, memory)
    }

    pub(in crate::room) fn with_limits(limits: RoomLimits, memory: Memory) -> Self {
        let mut rows = Rows::default();
        let epoch = Epoch(1);
        let state = rows.wake(epoch, limits, memory);
        Self {
            rows,
            state,
            epoch,
            limits,
            memory,
            flying: VecDeque::new(),
            derived: None,
            answers: BTreeMap::new(),
            signals: Vec::new(),
            notices: Vec::new(),
            clients: BTreeMap::new(),
            now: Now {
                ms: 1_000_000,
                at: Instant::now(),
            },
            next_ticket: 0,
        }
    }

    pub(in crate::room) fn who(user: usize, session: u64, grant: Grant) -> Who {
        Who {
            user: UserId::parse(&user_name(user)).unwrap(),
            name: format!("Name {user}"),
            session,
            lane: (session % 3) as u32,
            gateway: gateway(),
            grant,
        }
    }

    /// Applies a command; its ticket, to look for the answer.
    pub(in crate::room) fn apply(&mut self, who: Who, command: Command) -> usize {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        self.now.at += Duration::from_millis(1);
        self.now.ms += 1;
        let now = self.now;
        while let Some(need) = self.state.needs(&command, &who, now) {
            let fact = self.rows.answer(need, self.memory);
            self.state.learn(fact).unwrap();
        }
        let mut fx = Effects::default();
        self.state.apply(Ticket(ticket), who, command, now, &mut fx);
        self.perform(fx);
        self.hand_over(false);
        ticket
    }

    /// Applies a command, commits everything and returns the answer.
    pub(in crate::room) fn run(&mut self, who: Who, command: Command) -> Answer {
        let ticket = self.apply(who, command);
        self.commit_all();
        self.answers
            .remove(&ticket)
            .expect("answered once everything is durable")
    }

    pub(in crate::room) fn hand_over(&mut self, flush: bool) {
        self.flying.extend(self.state.take_write());
        if let Some(derived) = self.state.take_derived(self.now.at, flush) {
            assert!(self.derived.is_none(), "one at a time");
            let head = self.state.head();
            let mut sent = derived.write.sent.iter();
            assert!(
                sent.all(|row| row.offset <= head),
                "only of what is committed"
            );
            self.derived = Some(derived.write);
        }
    }

    /// The derived rows on their way become durable.
    pub(in crate::room) fn write_derived(&mut self) {
        if let Some(write) = self.derived.take() {
            self.rows.write(write);
            self.state.derived_written();
            self.hand_over(false);
        }
    }

    /// The oldest writes become durable and are completed in one call, as one group.
    pub(in crate::room) fn commit(&mut self, count: usize) {
        let mut last = None;
        for (seq, write) in self.flying.drain(..count.min(self.flying.len())) {
            self.rows.write(write);
            last = Some(seq);
        }
        if let Some(seq) = last {
            let mut fx = Effects::default();
            self.state.committed(seq, &mut fx);
            self.perform(fx);
            self.hand_over(false);
        }
    }

    pub(in crate::room) fn commit_all(&mut self) {
        while !self.flying.is_empty() || self.derived.is_some() {
            self.commit(usize::MAX);
            self.write_derived();
        }
    }

    pub(in crate::room) fn perform(&mut self, mut fx: Effects) {
        let head = self.state.head().0;
        let mut joins = Vec::new();
        for output in fx.outputs.drain(..) {
            match output {
                Output::Reply { ticket, result } => {
                    if let Ok(ack::Result::Appended(appended)) = &result {
                        assert!(
                            appended.offset <= head,
                            "nothing is acknowledged before its commit"
                        );
                    }
                    let again = self.answers.insert(ticket.0, result);
                    assert!(again.is_none(), "one answer a request");
                }
                Output::ToGateway { body, .. } => self.receive(body),
                Output::ToUser { user, notice, .. } => {
                    self.notices.push((user.as_str().to_owned(), notice));
                }
                Output::FinishJoin { ticket, who, from } => joins.push((ticket, who, from)),
            }
        }
        for (ticket, who, from) in joins {
            while let Some(need) = self.state.needs_join(&who, from) {
                let fact = self.rows.answer(need, self.memory);
                self.state.learn(fact).unwrap();
            }
            self.state.finish_join(ticket, &who, from, &mut fx);
            if let Some(Output::Reply {
                result: Ok(ack::Result::Joined(joined)),
                ..
            }) = fx.outputs.last()
            {
                self.clients
                    .entry(who.session)
                    .or_default()
                    .joined(&who.user, joined.clone());
            }
            self.perform(std::mem::take(&mut fx));
        }
    }

    fn receive(&mut self, body: packet::Body) {
        match body {
            packet::Body::RoomEvent(link::RoomEvent {
                offset,
                event,
                lanes,
                ..
            }) => {
                assert!(
                    offset <= self.state.head().0,
                    "nothing is visible before its commit"
                );
                let event = v1::Event::decode(event).unwrap();
                for (session, client) in &mut self.clients {
                    if client.listening {
                        assert_ne!(lanes & (1 << (session % 3)), 0, "the lane is told");
                        client.take(event.clone());
                        // As gateways do: who left is told nothing more.
                        if let Some(Body::MemberLeft(left)) = &event.body {
                            client.listening = left.user.as_ref().unwrap().id != client.user;
                        }
                    }
                }
            }
            packet::Body::RoomSignal(signal) => {
                let except = signal.except_session;
                self.signals
                    .push((except, v1::Signal::decode(signal.signal).unwrap()));
            }
            packet::Body::RoomEvents(events) => {
                assert!(!events.reset, "tests resync only within reach");
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Joins and lets the session's client take what comes.
    pub(in crate::room) fn join(&mut self, user: usize, session: u64, after: u64) -> usize {
        self.enter(user, session, after, false)
    }

    /// The same without becoming a member.
    pub(in crate::room) fn resume(&mut self, user: usize, session: u64, after: u64) -> usize {
        self.enter(user, session, after, true)
    }

    fn enter(&mut self, user: usize, session: u64, after: u64, resume: bool) -> usize {
        let join = v1::Join {
            room: "r".into(),
            from: Some(v1::join::From::AfterOffset(after)),
            resume,
        };
        let ticket = self.apply(Self::who(user, session, Grant::None), Command::Join(join));
        if let Some(Ok(ack::Result::Joined(joined))) = self.answers.get(&ticket) {
            let joined = joined.clone();
            self.clients
                .entry(session)
                .or_default()
                .joined(&UserId::parse(&user_name(user)).unwrap(), joined);
        }
        ticket
    }

    pub(in crate::room) fn detach(&mut self, session: u64) {
        let mut fx = Effects::default();
        self.state.detach(&gateway(), session, &mut fx);
        self.perform(fx);
        if let Some(client) = self.clients.get_mut(&session) {
            client.listening = false;
        }
    }

    /// Everything is written; the room leaves memory and wakes under the same epoch.
    pub(in crate::room) fn passivate(&mut self) {
        self.commit_all();
        self.hand_over(true);
        self.commit_all();
        assert!(self.state.is_settled());
        self.stop_listening();
        self.state = self.rows.wake(self.epoch, self.limits, self.memory);
    }

    /// The owner is killed. Its first `landed` writes landed; the others land after the next owner
    /// has claimed the room, and are void. Derived rows land before, after or never.
    pub(in crate::room) fn crash(&mut self, landed: usize) {
        for (_, write) in self.flying.drain(..landed.min(self.flying.len())) {
            self.rows.write(write);
        }
        let mut derived = self.derived.take();
        if landed % 3 == 1
            && let Some(write) = derived.take()
        {
            self.rows.write(write);
        }
        self.stop_listening();
        self.epoch = Epoch(self.epoch.0 + 1);
        self.state = self.rows.wake(self.epoch, self.limits, self.memory);
        for (_, mut write) in self.flying.drain(..) {
            // Cursors are only written for committed events: they count whenever they land.
            write.cursors.clear();
            self.rows.write(write);
        }
        if landed % 3 == 2
            && let Some(write) = derived
        {
            self.rows.write(write);
        }
    }

    fn stop_listening(&mut self) {
        for client in self.clients.values_mut() {
            client.listening = false;
        }
    }

    /// The whole log by pages of `limit`, as one client reads it.
    pub(in crate::room) fn history(&mut self, user: usize, limit: u32) -> Client {
        let mut client = Client::default();
        loop {
            let history = v1::History {
                room: "r".into(),
                limit,
                from: Some(v1::history::From::AfterOffset(client.last)),
            };
            let who = Self::who(user, 999, Grant::None);
            let ticket = self.apply(who, Command::History(history));
            let answer = self.answers.remove(&ticket).expect("answered at once");
            let Ok(ack::Result::History(page)) = answer else {
                panic!("not a page: {answer:?}")
            };
            if page.events.is_empty() {
                assert_eq!(client.last, page.head);
                return client;
            }
            for event in page.events {
                client.take(event);
            }
        }
    }

    pub(in crate::room) fn summary(&mut self, user: usize) -> Option<v1::RoomSummary> {
        let who = Self::who(user, 999, Grant::None);
        let ticket = self.apply(who, Command::Summary(link::Summary {}));
        match self.answers.remove(&ticket).expect("answered at once") {
            Ok(ack::Result::Rooms(mut page)) => page.rooms.pop(),
            Ok(other) => panic!("not a summary: {other:?}"),
            Err(_) => None,
        }
    }
}

pub(in crate::room) fn gateway() -> EndpointId {
    EndpointId::new(Role::Gateway, 1)
}

pub(in crate::room) fn create(kind: v1::room::Kind, members: &[usize], public: bool) -> Command {
    Command::CreateRoom(v1::CreateRoom {
        room: "r".into(),
        kind: kind.into(),
        name: "Room".into(),
        members: members.iter().map(|&user| user_name(user)).collect(),
        public,
        client_id: "create".into(),
    })
}
