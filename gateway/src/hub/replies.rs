//! Asking owners, and what their replies, or their silence, mean.

use rookery_cluster::{EndpointId, Role, membership::ShardSet};
use rookery_proto::{
    errors::{self, Code, WireError},
    ids::{RoomId, SessionId, UserId},
    link::{self, Reply, RoomDetach, reply, room_request},
    shard::Shard,
    v1::{self, ack, server_frame::Frame},
};

use super::{
    requests::{Ask, Parts, Request, Then, key_and_try},
    session::millis,
    uplink::Uplink,
    wire::Wire,
    worker::{Timer, Worker},
};
use crate::{
    limits::{
        LANE_REQUEST_BYTES_MAX, LANE_REQUESTS_MAX, OVERLOADED_RETRY, REQUEST_DEADLINE,
        REWATCH_PAUSE, REWATCHES_MAX, SESSION_REQUESTS_MAX, SUMMARY_DEADLINE, UNAVAILABLE_RETRY,
    },
    protocol::{Body, SharedFrame},
};

/// Why a request gets no result of its kind.
enum Failure {
    /// The owner said so.
    Refused(Box<v1::Error>),
    /// Nobody answered in time.
    Unanswered,
}

impl<W: Wire, U: Uplink> Worker<W, U> {
    /// Sends a request to its owner. The id comes back with the error when there is no room for it.
    pub(super) fn ask(
        &mut self,
        key: u32,
        id: String,
        then: Then,
        ask: Ask,
    ) -> Result<(), (String, WireError)> {
        let overloaded = || {
            WireError::new(Code::Overloaded, "too many requests wait").retry_after(OVERLOADED_RETRY)
        };
        let bytes = ask.bytes();
        let full = self.requests.len() >= LANE_REQUESTS_MAX
            || self.requests.bytes() + bytes > LANE_REQUEST_BYTES_MAX;
        let session = &self.sessions[key as usize];
        // The parts of one command count once, as that command.
        let part = matches!(then, Then::Part { .. } | Then::Rewatch);
        if full || (!part && session.waiting >= SESSION_REQUESTS_MAX) {
            return Err((id, overloaded()));
        }
        let within = match &ask {
            Ask::Room(request)
                if matches!(request.command, Some(room_request::Command::Summary(_))) =>
            {
                SUMMARY_DEADLINE
            }
            _ => REQUEST_DEADLINE,
        };
        let deadline = self.now + millis(within);
        let request_key = self.requests.next_key();
        let request = Request::new(session.id, id, then, ask);
        if let Err(request) = self.dispatch(request_key, request) {
            return Err((request.id, overloaded()));
        }
        self.wheel.set(deadline, Timer::Deadline(request_key));
        let session = &mut self.sessions[key as usize];
        session.waiting += u16::from(!part);
        session.joining += u16::from(then == Then::Join);
        self.rewatching += usize::from(then == Then::Rewatch);
        Ok(())
    }

    pub(super) fn on_reply(&mut self, from: &EndpointId, reply: Reply) {
        let (key, tries) = key_and_try(reply.request);
        let Some(request) = self.requests.get(key) else {
            return;
        };
        let newest = request.tries == tries;
        // Who listens is what the newest try of joining or leaving made of it; how a user is, what
        // the newest try was told, which the owner takes for known; and that try may be lost, with
        // what it would have changed there.
        let counts = newest
            || match request.then {
                Then::Answer | Then::RoomList => true,
                Then::Join | Then::Leave | Then::Status(_) | Then::Rewatch => false,
                Then::Part { .. } => matches!(request.ask, Ask::Room(_)),
            };
        match reply.result {
            Some(reply::Result::Ack(_)) if !counts => {}
            Some(reply::Result::Ack(ack)) => {
                if let Some(request) = self.take_request(key) {
                    self.on_ack(from, request, ack);
                }
            }
            Some(reply::Result::NotOwner(not_owner)) if newest => {
                self.on_not_owner(from, key, &not_owner);
            }
            Some(reply::Result::Error(error)) if newest => {
                if let Some(request) = self.take_request(key) {
                    self.on_failure(request, Failure::Refused(Box::new(error)));
                }
            }
            // An earlier try did not do it: the newest decides.
            Some(reply::Result::NotOwner(_) | reply::Result::Error(_)) => {}
            None => tracing::error!(peer.id = %from, "reply without result"),
        }
    }

    pub(super) fn on_deadline(&mut self, number: u64) {
        if let Some(request) = self.take_request(number) {
            self.counts.unanswered += 1;
            self.detach_unlistening(&request);
            self.on_failure(request, Failure::Unanswered);
        }
    }

    pub(super) fn take_request(&mut self, key: u64) -> Option<Request> {
        let request = self.requests.take(key)?;
        self.rewatching -= usize::from(request.then == Then::Rewatch);
        self.unhold(key, &request);
        if let Some(key) = self.find(request.session) {
            let session = &mut self.sessions[key as usize];
            let part = matches!(request.then, Then::Part { .. } | Then::Rewatch);
            session.waiting -= u16::from(!part);
            session.joining -= u16::from(request.then == Then::Join);
        }
        Some(request)
    }

    /// The owner may list the session, which does not listen: it never will by this request.
    fn detach_unlistening(&self, request: &Request) {
        let room = request.ask.room();
        let listens = self
            .find_open(request.session)
            .is_some_and(|key| self.listens(key, room));
        if request.then != Then::Join || listens {
            return;
        }
        if let Some(owner) = self.routes.owner(request.ask.target()) {
            let detach = RoomDetach {
                room: room.to_owned(),
                session: request.session.0,
            };
            self.uplink
                .send(owner, link::packet::Body::RoomDetach(detach));
        }
    }

    fn on_ack(&mut self, from: &EndpointId, mut request: Request, mut ack: v1::Ack) {
        let Some(key) = self.find_open(request.session) else {
            self.detach_unlistening(&request);
            return;
        };
        let room = request.ask.room();
        match request.then {
            Then::Part { gathering, slot } => return self.on_part(gathering, slot, Some(ack)),
            Then::Rewatch => return self.on_rewatched(key, ack),
            Then::RoomList => {
                if let Some(ack::Result::Rooms(page)) = ack.result {
                    return self.ask_summaries(key, request.id, page);
                }
            }
            Then::Status(status) => {
                if let Some(who) = &mut self.sessions[key as usize].who {
                    who.status = status;
                }
            }
            // In the room's own order: what came before this answer is queued before it.
            Then::Answer | Then::Join | Then::Leave => self.catch_up(key, room),
        }
        ack.id = std::mem::take(&mut request.id);
        match (request.then, &ack.result) {
            (Then::Join, Some(ack::Result::Joined(joined))) => {
                let from_here = (joined.epoch, joined.head);
                self.answer(key, Frame::Ack(ack));
                self.listen(key, from, &request, from_here);
            }
            (Then::Leave, _) => {
                self.unlisten(key, room);
                self.answer(key, Frame::Ack(ack));
            }
            _ => self.answer(key, Frame::Ack(ack)),
        }
    }

    fn on_failure(&mut self, mut request: Request, failure: Failure) {
        match failure {
            Failure::Refused(error)
                if request.then == Then::Leave
                    && request.maybe_done
                    && error.code() == Code::NotMember =>
            {
                // An earlier try did it, and its answer was lost.
                if let Some(key) = self.find_open(request.session) {
                    let room = request.ask.room();
                    self.catch_up(key, room);
                    self.unlisten(key, room);
                    let id = std::mem::take(&mut request.id);
                    self.answer_ack(key, id, ack::Result::Done(v1::Done {}));
                }
            }
            Failure::Refused(error) => {
                // Who is no member, as a resume found, listens no more.
                if request.then == Then::Join
                    && error.code() == Code::NotMember
                    && let Some(key) = self.find_open(request.session)
                {
                    self.unlisten(key, request.ask.room());
                }
                self.fail(request, *error, "refused by the owner");
            }
            Failure::Unanswered => {
                let error = WireError::new(Code::Unavailable, "no answer in time")
                    .retry_after(UNAVAILABLE_RETRY);
                self.give_up(request, error, "deadline");
            }
        }
    }

    /// Answers a request with an error of our own.
    pub(super) fn give_up(&mut self, request: Request, error: WireError, cause: &'static str) {
        let correlation_id = errors::correlation_id(fastrand::u64(..));
        self.fail(request, error.into_frame(correlation_id), cause);
    }

    fn fail(&mut self, request: Request, error: v1::Error, cause: &'static str) {
        match request.then {
            Then::Part { gathering, slot } => return self.on_part(gathering, slot, None),
            Then::Rewatch => {
                if let Ask::User(ask) = &request.ask {
                    self.rewatch_later(request.session, &ask.user);
                }
                return;
            }
            Then::Answer | Then::Join | Then::Leave | Then::Status(_) | Then::RoomList => {}
        }
        if let Some(key) = self.find_open(request.session) {
            self.catch_up(key, request.ask.room());
            self.answer_error_frame(key, request.id, error, cause);
        }
    }

    // ---- commands that need several replies ------------------------------------------------

    /// The user's rooms are known; head, cursor and unread of each are its owner's to say.
    fn ask_summaries(&mut self, key: u32, id: String, mut page: v1::RoomPage) {
        let mut asks = Vec::with_capacity(page.rooms.len());
        for summary in &mut page.rooms {
            summary.unavailable = true;
            let room = summary.room.as_ref().map_or("", |room| room.id.as_str());
            if RoomId::parse(room).is_ok() {
                let command = room_request::Command::Summary(link::Summary {});
                asks.extend(self.room_ask(key, room, command));
            }
        }
        if asks.len() != page.rooms.len() {
            tracing::error!(session.id = %self.sessions[key as usize].id, "room list names no room");
            page.rooms.retain(|summary| {
                let room = summary.room.as_ref().map_or("", |room| room.id.as_str());
                RoomId::parse(room).is_ok()
            });
        }
        let gathered = self.gather(key, id, Parts::Rooms(page), asks);
        debug_assert!(
            gathered.is_ok(),
            "parts that cannot be asked count as unanswered"
        );
    }

    /// One part is answered (`None`: it is not, and will not be).
    pub(super) fn on_part(&mut self, number: u64, slot: usize, ack: Option<v1::Ack>) {
        let Some(gathering) = self.requests.gathering(number) else {
            return;
        };
        let answered = ack.is_some();
        match (&mut gathering.parts, ack.and_then(|ack| ack.result)) {
            (Parts::Rooms(page), Some(ack::Result::Rooms(answer))) => {
                if let Some(summary) = answer.rooms.into_iter().next() {
                    page.rooms[slot] = summary;
                }
            }
            (Parts::Watch { users, answered }, Some(ack::Result::Presence(answer))) => {
                if let Some(presence) = answer.users.into_iter().next() {
                    users[slot] = presence;
                    *answered = true;
                }
            }
            (Parts::Rooms(_) | Parts::Watch { .. } | Parts::Unwatch, _) => {}
        }
        // Nobody told of this user: it is still watched, so somebody will.
        let unwatched = match (&gathering.parts, answered) {
            (Parts::Watch { users, .. }, false) => Some(users[slot].user.clone()),
            _ => None,
        };
        let session = gathering.session;
        gathering.missing -= 1;
        if gathering.missing == 0 {
            self.end_gathering(number);
        }
        if let Some(user) = unwatched {
            self.rewatch_later(session, &user);
        }
    }

    pub(super) fn end_gathering(&mut self, number: u64) {
        let Some(gathering) = self.requests.end_gathering(number) else {
            return;
        };
        let Some(key) = self.find_open(gathering.session) else {
            return;
        };
        let result = match gathering.parts {
            Parts::Rooms(page) => ack::Result::Rooms(page),
            Parts::Unwatch => ack::Result::Done(v1::Done {}),
            Parts::Watch { users, answered } => {
                if !answered && !users.is_empty() {
                    let error = WireError::new(Code::Unavailable, "no answer in time")
                        .retry_after(UNAVAILABLE_RETRY);
                    self.answer_error(key, gathering.id, error, "no watched user's owner answered");
                    return;
                }
                ack::Result::Presence(v1::PresenceList { users })
            }
        };
        self.answer_ack(key, gathering.id, result);
    }

    // ---- after a presence node lost what it knew, or another owns its shards ----------------

    /// Announces the sessions whose user that node owns, and what they watch there.
    pub(super) fn announce_again(&mut self, node: &EndpointId) {
        self.announce_where(|worker, user| {
            let target = (Role::Presence, Shard::of(user.as_str()));
            worker.routes.leads_to(target, node)
        });
    }

    /// Announces the sessions of users in these shards, and who watches such users.
    pub(super) fn announce_shards(&mut self, shards: &ShardSet) {
        if !shards.is_empty() {
            self.announce_where(|_, user| shards.contains(Shard::of(user.as_str())));
        }
    }

    fn announce_where(&mut self, concerned: impl Fn(&Self, &UserId) -> bool) {
        let keys: Vec<u32> = self.by_id.values().copied().collect();
        let mut rewatch = std::mem::take(&mut self.rewatch);
        rewatch.retain(|(_, user)| !concerned(self, user));
        let mut unwatched = std::mem::take(&mut self.unwatched);
        unwatched.retain(|(_, user)| !concerned(self, user));
        for key in keys {
            let session = &self.sessions[key as usize];
            let Some(who) = &session.who else {
                continue;
            };
            let watched = who.watched.iter().filter(|user| concerned(self, user));
            rewatch.extend(watched.map(|user| (session.id, user.clone())));
            if concerned(self, &who.user) {
                self.announce(key);
            }
        }
        self.rewatch = rewatch;
        self.unwatched = unwatched;
        self.rewatch_some();
    }

    /// The owner refused or did not answer, and may not know who watches: it is asked again after a
    /// pause.
    fn rewatch_later(&mut self, session: SessionId, user: &str) {
        let Ok(user) = UserId::parse(user) else {
            return;
        };
        if self.unwatched.is_empty() {
            let due = self.now + millis(REWATCH_PAUSE);
            self.wheel.set(due, Timer::Rewatch);
        }
        self.unwatched.push((session, user));
    }

    /// Asks for watched users whose owner may have forgotten who watches them: so many at once that
    /// clients' own requests have room beside them.
    pub(super) fn rewatch_some(&mut self) {
        use link::{WatchUser, user_request::Command};
        while self.rewatching < REWATCHES_MAX
            && let Some((session, user)) = self.rewatch.pop_front()
        {
            let Some(key) = self.find_open(session) else {
                continue;
            };
            let who = self.sessions[key as usize].who.as_ref();
            if !who.is_some_and(|who| who.watched.contains(&user)) {
                continue;
            }
            let ask = self.user_ask(key, user.as_str(), Command::Watch(WatchUser {}));
            if self.ask(key, String::new(), Then::Rewatch, ask).is_err() {
                self.rewatch.push_front((session, user));
                return;
            }
        }
    }

    fn on_rewatched(&mut self, key: u32, ack: v1::Ack) {
        use prost::Message as _;
        let Some(ack::Result::Presence(list)) = ack.result else {
            return;
        };
        for presence in list.users {
            let signal = v1::Signal {
                room: String::new(),
                body: Some(v1::signal::Body::Presence(presence)),
            };
            let frame = SharedFrame::new(Body::Signal, signal.encode_to_vec().into());
            let encoding = self.sessions[key as usize].encoding;
            self.push(key, frame.frame(encoding).clone());
        }
    }
}
