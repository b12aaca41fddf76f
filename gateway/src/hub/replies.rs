//! Asking owners, and what their replies, or their silence, mean.

use rookery_cluster::{EndpointId, Role};
use rookery_proto::{
    errors::{Code, WireError},
    ids::RoomId,
    link::{self, Reply, RoomDetach, reply, room_request},
    shard::Shard,
    v1::{self, ack, server_frame::Frame},
};

use super::{
    requests::{Ask, Parts, Request, Then},
    session::millis,
    uplink::Uplink,
    wheel::Millis,
    wire::Wire,
    worker::{Timer, Worker},
};
use crate::{
    limits::{
        LANE_REQUEST_BYTES_MAX, LANE_REQUESTS_MAX, OVERLOADED_RETRY, OWNER_RETRY, REQUEST_DEADLINE,
        SESSION_REQUESTS_MAX, SUMMARY_DEADLINE, UNAVAILABLE_RETRY,
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
        mut ask: Ask,
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
        let number = self.requests.next_number();
        ask.number(number);
        let (role, shard) = ask.target();
        let owner = self.uplink.owner(role, shard);
        if let Some(owner) = &owner
            && self.uplink.offer(owner, ask.body()).is_err()
        {
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
        if owner.is_none() {
            self.retry_later(number, deadline);
        }
        self.wheel.set(deadline, Timer::Deadline(number));
        let session = &mut self.sessions[key as usize];
        session.waiting += u16::from(!part);
        session.joining += u16::from(then == Then::Join);
        let request = Request {
            session: session.id,
            id,
            then,
            deadline,
            ask,
            bytes,
        };
        self.requests.insert(number, request);
        Ok(())
    }

    fn retry_later(&mut self, number: u64, deadline: Millis) {
        let at = self.now + millis(OWNER_RETRY);
        if at < deadline {
            self.wheel.set(at, Timer::Retry(number));
        }
    }

    /// Asks again: the owner of before was not the owner, or there was none.
    pub(super) fn on_retry(&mut self, number: u64) {
        let Some(request) = self.requests.get(number) else {
            return;
        };
        let deadline = request.deadline;
        let (role, shard) = request.ask.target();
        let sent = self
            .uplink
            .owner(role, shard)
            .is_some_and(|owner| self.uplink.offer(&owner, request.ask.body()).is_ok());
        if !sent {
            self.retry_later(number, deadline);
        }
    }

    pub(super) fn on_reply(&mut self, from: &EndpointId, reply: Reply) {
        match reply.result {
            Some(reply::Result::NotOwner(link::NotOwner { .. })) => {
                if let Some(deadline) = self.requests.get(reply.request).map(|r| r.deadline) {
                    self.retry_later(reply.request, deadline);
                }
            }
            Some(reply::Result::Ack(ack)) => {
                if let Some(request) = self.take_request(reply.request) {
                    self.on_ack(from, request, ack);
                }
            }
            Some(reply::Result::Error(error)) => {
                if let Some(request) = self.take_request(reply.request) {
                    self.on_failure(request, Failure::Refused(Box::new(error)));
                }
            }
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

    fn take_request(&mut self, number: u64) -> Option<Request> {
        let request = self.requests.take(number)?;
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
        let (role, shard) = request.ask.target();
        if let Some(owner) = self.uplink.owner(role, shard) {
            let detach = RoomDetach {
                room: room.to_owned(),
                session: request.session.0,
            };
            self.uplink
                .send(&owner, link::packet::Body::RoomDetach(detach));
        }
    }

    fn on_ack(&mut self, from: &EndpointId, request: Request, mut ack: v1::Ack) {
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
        ack.id = request.id;
        match (request.then, &ack.result) {
            (Then::Join, Some(ack::Result::Joined(joined))) => {
                let from_here = (joined.epoch, joined.head);
                self.answer(key, Frame::Ack(ack));
                self.listen(key, from, room, request.ask.sent_as(), from_here);
            }
            (Then::Leave, _) => {
                self.unlisten(key, room);
                self.answer(key, Frame::Ack(ack));
            }
            _ => self.answer(key, Frame::Ack(ack)),
        }
    }

    fn on_failure(&mut self, request: Request, failure: Failure) {
        if let Then::Part { gathering, slot } = request.then {
            return self.on_part(gathering, slot, None);
        }
        let Some(key) = self.find_open(request.session) else {
            return;
        };
        if request.then == Then::Rewatch {
            return;
        }
        self.catch_up(key, request.ask.room());
        match failure {
            Failure::Refused(error) => {
                self.answer_error_frame(key, request.id, *error, "refused by the owner");
            }
            Failure::Unanswered => {
                let error = WireError::new(Code::Unavailable, "no answer in time")
                    .retry_after(UNAVAILABLE_RETRY);
                self.answer_error(key, request.id, error, "deadline");
            }
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
        gathering.missing -= 1;
        if gathering.missing == 0 {
            self.end_gathering(number);
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

    // ---- after a presence node lost what it knew -------------------------------------------

    /// Announces the sessions whose user that node owns, and what they watch there.
    pub(super) fn announce_again(&mut self, node: &EndpointId) {
        use link::{WatchUser, user_request::Command};
        let keys: Vec<u32> = self.by_id.values().copied().collect();
        for key in keys {
            let Some(who) = &self.sessions[key as usize].who else {
                continue;
            };
            let owner = |name: &str| self.uplink.owner(Role::Presence, Shard::of(name));
            let own = owner(who.user.as_str()).as_ref() == Some(node);
            let watched: Vec<_> = who
                .watched
                .iter()
                .filter(|user| owner(user.as_str()).as_ref() == Some(node))
                .cloned()
                .collect();
            if own {
                self.announce(key);
            }
            for user in watched {
                let ask = self.user_ask(key, user.as_str(), Command::Watch(WatchUser {}));
                // Not asked now: the next announcement, or the client's next watch, repairs it.
                let _ = self.ask(key, String::new(), Then::Rewatch, ask);
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
