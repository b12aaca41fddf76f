//! What gateways send: admitted, checked, grouped by room.

use prost::Message as _;
use rookery_cluster::{
    EndpointId, LinkSender,
    holdings::{Held, Place},
};
use rookery_proto::{
    errors::WireError,
    ids::{Epoch, Offset, RoomId},
    link::{self, Packet, RoomDetach, RoomRequest, RoomResync, packet::Body},
    shard::Shard,
};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::{Host, rooms::NoRoom};
use crate::{
    health::Health,
    metrics,
    request::{ReplyTo, unavailable},
    room::{
        actor::Work,
        command::{ResyncAsk, Who},
    },
};

/// Work of one batch, by room: one message to each room's mailbox.
type Grouped = FxHashMap<String, Vec<Work>>;

impl Host {
    pub(super) fn receive_packets(&mut self, from: &EndpointId, packets: Vec<Packet>) {
        let link = self.shared.links.to(from);
        let mut grouped = Grouped::default();
        let mut requests = 0;
        for packet in packets {
            match packet.body {
                Some(Body::RoomRequest(request)) => {
                    requests += 1;
                    self.route_request(from, &link, request, &mut grouped);
                }
                Some(Body::RoomDetach(detach)) => self.route_detach(from, detach, &mut grouped),
                Some(Body::RoomResync(resync)) => self.route_resync(from, resync, &mut grouped),
                Some(other) => {
                    tracing::warn!(peer.id = %from, packet = kind(&other), "packet not for rooms");
                }
                // A newer peer's packet.
                None => {}
            }
        }
        self.commands += requests;
        metrics::requests_taken(requests);
        let now = Instant::now();
        for (room, work) in grouped {
            self.rooms.send(&room, work, now);
        }
    }

    /// As [`place`](Self::place), but a room that is awake serves while its shard's epoch changes.
    fn place_room(&mut self, room: &str) -> Place {
        let shard = Shard::of(room);
        match (self.place(shard), self.holdings.held(shard)) {
            (Place::Soon, Some(held)) if self.rooms.is_awake(room) => Place::Here(held),
            (place, _) => place,
        }
    }

    fn route_request(
        &mut self,
        from: &EndpointId,
        link: &LinkSender,
        request: RoomRequest,
        grouped: &mut Grouped,
    ) {
        let reply = |request: &RoomRequest| {
            let lane = request.caller.as_ref().map_or(0, |caller| caller.lane);
            ReplyTo::new(link.clone(), request.request, lane)
        };
        let place = self.place_room(&request.room);
        let lane = request.caller.as_ref().map_or(0, |caller| caller.lane);
        let shard = Shard::of(&request.room);
        let owned = !matches!(place, Place::Elsewhere { .. });
        let admitted = self.turns.admits(from, lane, shard, request.turn, owned);
        if owned && !admitted {
            // Ours, but something before it is asked again.
            let me = Some(self.shared.links.me().clone());
            return reply(&request).not_owner(not_owner(Epoch::default(), me));
        }
        match place {
            Place::Here(held) => {
                let reply = reply(&request);
                self.take_request(from, reply, held, request, grouped);
            }
            Place::Soon => {
                let parked = self.parking.park(shard, from, Body::RoomRequest(request));
                if let Some(Body::RoomRequest(request)) = parked {
                    reply(&request).overloaded("parked");
                }
            }
            Place::Elsewhere { epoch, to } => reply(&request).not_owner(not_owner(epoch, to)),
        }
    }

    fn take_request(
        &mut self,
        from: &EndpointId,
        reply: ReplyTo,
        held: Held,
        request: RoomRequest,
        grouped: &mut Grouped,
    ) {
        let bytes = request.encoded_len();
        let RoomRequest {
            request: _,
            turn: _,
            room,
            caller,
            command,
        } = request;
        let Some(command) = command else {
            return reply.answer(Err(WireError::invalid("command", "is not known here")));
        };
        let who = Who::new(from, caller.unwrap_or_default());
        let (who, id) = match (who, RoomId::parse(&room)) {
            (Ok(who), Ok(id)) => (who, id),
            (Err(error), _) => return reply.answer(Err(error)),
            (_, Err(error)) => {
                return reply.answer(Err(WireError::invalid("room", error.to_string())));
            }
        };
        let counter = match self
            .may_wake(&room)
            .and_then(|()| self.rooms.counter(&id, held))
        {
            Ok(counter) => counter,
            Err(NoRoom::Full) => return reply.overloaded("rooms_awake"),
            Err(NoRoom::Failed) => {
                metrics::request_refused("room_failed");
                return reply.answer(Err(unavailable("the room is not available")));
            }
        };
        match self.admission.admit(&counter, bytes) {
            Ok(admitted) => {
                let reply = reply.admitted(admitted);
                let work = Work::Request {
                    reply,
                    who,
                    command,
                };
                grouped.entry(room).or_default().push(work);
            }
            Err(bound) => reply.overloaded(bound),
        }
    }

    fn route_detach(&mut self, from: &EndpointId, detach: RoomDetach, grouped: &mut Grouped) {
        match self.place_room(&detach.room) {
            // A room that sleeps has no listeners.
            Place::Here(_) if !self.rooms.is_awake(&detach.room) => {}
            Place::Here(_) => {
                let gateway = from.clone();
                let work = Work::Detach {
                    gateway,
                    session: detach.session,
                };
                grouped.entry(detach.room).or_default().push(work);
            }
            // Behind the join that it may undo. When full the session stays listed until its
            // gateway resyncs the room or goes.
            Place::Soon => {
                let shard = Shard::of(&detach.room);
                let _ = self.parking.park(shard, from, Body::RoomDetach(detach));
            }
            Place::Elsewhere { .. } => {}
        }
    }

    fn route_resync(&mut self, from: &EndpointId, resync: RoomResync, grouped: &mut Grouped) {
        match self.place_room(&resync.room) {
            Place::Here(held) => self.take_resync(from, held, resync, grouped),
            Place::Soon => {
                let shard = Shard::of(&resync.room);
                let parked = self.parking.park(shard, from, Body::RoomResync(resync));
                if let Some(Body::RoomResync(resync)) = parked {
                    self.answer_resync(from, resync, None);
                }
            }
            Place::Elsewhere { epoch, to } => {
                self.answer_resync(from, resync, Some(not_owner(epoch, to)));
            }
        }
    }

    /// Without rows: go elsewhere, or join again and learn by that what is the matter.
    fn answer_resync(
        &self,
        from: &EndpointId,
        resync: RoomResync,
        elsewhere: Option<link::NotOwner>,
    ) {
        // The first part of the resync is answered so, too.
        if resync.adds {
            return;
        }
        let body = link::RoomEvents {
            room: resync.room,
            lane: resync.lane,
            number: resync.number,
            reset: elsewhere.is_none(),
            not_owner: elsewhere,
            ..link::RoomEvents::default()
        };
        self.shared.links.to(from).send(Body::RoomEvents(body));
    }

    fn take_resync(
        &mut self,
        from: &EndpointId,
        held: Held,
        resync: RoomResync,
        grouped: &mut Grouped,
    ) {
        let here = RoomId::parse(&resync.room).is_ok_and(|id| {
            self.may_wake(&resync.room)
                .and_then(|()| self.rooms.counter(&id, held))
                .is_ok()
        });
        if !here {
            return self.answer_resync(from, resync, None);
        }
        let RoomResync {
            room,
            lane,
            after_offset,
            sessions,
            number,
            adds,
        } = resync;
        let sessions = sessions
            .into_iter()
            .filter_map(|caller| Who::new(from, caller).ok());
        let work = Work::Resync {
            gateway: from.clone(),
            sessions: sessions.collect(),
            ask: ResyncAsk {
                lane,
                after: (!adds).then_some(Offset(after_offset)),
                number,
            },
        };
        grouped.entry(room).or_default().push(work);
    }

    /// A node that stops or was fenced wakes nothing.
    fn may_wake(&self, room: &str) -> Result<(), NoRoom> {
        match *self.health.borrow() {
            Health::Ready | Health::Failing { .. } | Health::Suspended { .. } => Ok(()),
            Health::Stopping if self.rooms.is_awake(room) => Ok(()),
            Health::Stopping | Health::Fenced => Err(NoRoom::Failed),
        }
    }
}

fn not_owner(epoch: Epoch, to: Option<EndpointId>) -> link::NotOwner {
    link::NotOwner {
        epoch: epoch.0,
        owner: to.map_or_else(String::new, |owner| owner.as_str().to_owned()),
    }
}

const fn kind(body: &Body) -> &'static str {
    match body {
        Body::RoomRequest(_) => "room_request",
        Body::RoomDetach(_) => "room_detach",
        Body::RoomResync(_) => "room_resync",
        Body::UserRequest(_) => "user_request",
        Body::SessionOpened(_) => "session_opened",
        Body::SessionClosed(_) => "session_closed",
        Body::Reply(_) => "reply",
        Body::RoomEvent(_) => "room_event",
        Body::RoomEvents(_) => "room_events",
        Body::RoomSignal(_) => "room_signal",
        Body::UserDelivery(_) => "user_delivery",
        Body::ToUser(_) => "to_user",
        Body::Reannounce(_) => "reannounce",
        Body::RoomRefused(_) => "room_refused",
    }
}
