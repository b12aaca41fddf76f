//! What gateways send: admitted, checked, grouped by room.

use prost::Message as _;
use rookery_cluster::{EndpointId, LinkSender, Role};
use rookery_proto::{
    errors::WireError,
    ids::{Offset, RoomId},
    link::{self, Packet, RoomRequest, RoomResync, packet::Body},
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
                    self.take_request(from, &link, request, &mut grouped);
                }
                // A room that sleeps has no listeners.
                Some(Body::RoomDetach(detach)) if !self.rooms.is_awake(&detach.room) => {}
                Some(Body::RoomDetach(detach)) => {
                    let gateway = from.clone();
                    let work = Work::Detach {
                        gateway,
                        session: detach.session,
                    };
                    grouped.entry(detach.room).or_default().push(work);
                }
                Some(Body::RoomResync(resync)) => self.take_resync(from, resync, &mut grouped),
                Some(other) => {
                    tracing::warn!(peer.id = %from, packet = kind(&other), "packet not for rooms");
                }
                // A newer peer's packet.
                None => {}
            }
        }
        metrics::requests_taken(requests);
        let now = Instant::now();
        for (room, work) in grouped {
            self.rooms.send(&room, work, now);
        }
    }

    fn take_request(
        &mut self,
        from: &EndpointId,
        link: &LinkSender,
        request: RoomRequest,
        grouped: &mut Grouped,
    ) {
        let bytes = request.encoded_len();
        let RoomRequest {
            request,
            room,
            caller,
            command,
        } = request;
        let caller = caller.unwrap_or_default();
        let reply = ReplyTo::new(link.clone(), request, caller.lane);
        if let Some(owner) = self.other_owner(&room) {
            return reply.not_owner(owner);
        }
        let Some(command) = command else {
            return reply.answer(Err(WireError::invalid("command", "is not known here")));
        };
        let (who, id) = match (Who::new(from, caller), RoomId::parse(&room)) {
            (Ok(who), Ok(id)) => (who, id),
            (Err(error), _) => return reply.answer(Err(error)),
            (_, Err(error)) => {
                return reply.answer(Err(WireError::invalid("room", error.to_string())));
            }
        };
        let counter = match self.may_wake(&room).and_then(|()| self.rooms.counter(&id)) {
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

    fn take_resync(&mut self, from: &EndpointId, resync: RoomResync, grouped: &mut Grouped) {
        let RoomResync {
            room,
            lane,
            after_offset,
            sessions,
            number,
            adds,
        } = resync;
        let here = self.other_owner(&room).is_none()
            && RoomId::parse(&room).is_ok_and(|id| {
                self.may_wake(&room)
                    .and_then(|()| self.rooms.counter(&id))
                    .is_ok()
            });
        if !here && adds {
            return;
        }
        if !here {
            // The sessions join again, and learn by that what is the matter.
            let body = link::RoomEvents {
                room,
                lane,
                number,
                reset: true,
                ..link::RoomEvents::default()
            };
            return self.shared.links.to(from).send(Body::RoomEvents(body));
        }
        let sessions = sessions
            .into_iter()
            .filter_map(|caller| Who::new(from, caller).ok());
        let work = Work::Resync {
            gateway: from.clone(),
            lane,
            sessions: sessions.collect(),
            ask: (!adds).then_some(ResyncAsk {
                after: Offset(after_offset),
                number,
            }),
        };
        grouped.entry(room).or_default().push(work);
    }

    /// The endpoint that owns the room, when it is not this one.
    fn other_owner(&self, room: &str) -> Option<String> {
        let owner = self.shared.placement.owner(Role::Rooms, Shard::of(room));
        match owner {
            Some(owner) if owner == *self.shared.links.me() => None,
            Some(owner) => Some(owner.as_str().to_owned()),
            None => Some(String::new()),
        }
    }

    /// A node that stops or was fenced wakes nothing.
    fn may_wake(&self, room: &str) -> Result<(), NoRoom> {
        match *self.health.borrow() {
            Health::Ready | Health::Failing { .. } => Ok(()),
            Health::Stopping if self.rooms.is_awake(room) => Ok(()),
            Health::Stopping | Health::Fenced => Err(NoRoom::Failed),
        }
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
    }
}
