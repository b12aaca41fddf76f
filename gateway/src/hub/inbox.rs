//! The task that reads the gateway's inbox and hands its packets to the lanes.
//!
//! A packet is prepared once and shared by the lanes that need it.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use rookery_cluster::{EndpointId, Inbound, Inbox};
use rookery_proto::{
    ids::SessionId,
    link::{self, Packet, packet, user_delivery},
    shard::Shard,
    v1::{Event, Notice, Signal, event, notice, signal},
};
use rustc_hash::FxHashSet;

use super::{
    input::{Delivery, Input, LinkPacket, Resynced, RoomEvent, RoomSignal},
    lane::Lanes,
};
use crate::{
    limits::PEERS_REMEMBERED_MAX,
    protocol::{Body, SharedFrame},
};

/// Runs until the bus is gone.
pub(crate) async fn run(mut inbox: Inbox, lanes: Lanes) {
    // Peers that were silent may have dropped what they knew of us, also where their stream to us
    // begins anew without a hole.
    let mut silent = FxHashSet::default();
    while let Some(inbound) = inbox.next().await {
        match inbound {
            Inbound::Packets { from, packets } => hand_over(&lanes, &from, packets).await,
            // What it said from its first batch on is whole; otherwise `Lost` follows.
            Inbound::Opened { from } => {
                tracing::info!(peer.id = %from, "peer heard");
                if silent.remove(&from) {
                    tell(&lanes, &from, &LinkPacket::Lost).await;
                }
            }
            Inbound::Lost { from } => {
                tracing::warn!(peer.id = %from, "link lost packets");
                tell(&lanes, &from, &LinkPacket::Lost).await;
            }
            Inbound::Silent { from } => {
                tracing::warn!(peer.id = %from, "peer is silent");
                tell(&lanes, &from, &LinkPacket::Silent).await;
                if silent.len() >= PEERS_REMEMBERED_MAX {
                    silent.clear();
                }
                silent.insert(from);
            }
        }
    }
}

async fn tell(lanes: &Lanes, from: &EndpointId, packet: &LinkPacket) {
    lanes
        .tell(|| Input::Link {
            from: from.clone(),
            packets: vec![packet.clone()],
        })
        .await;
}

async fn hand_over(lanes: &Lanes, from: &EndpointId, packets: Vec<Packet>) {
    let mut sorted: Vec<Vec<LinkPacket>> = lanes.iter().map(|_| Vec::new()).collect();
    for packet in packets {
        match packet.body {
            Some(body) => sort(body, from, &mut sorted),
            None => tracing::error!(peer.id = %from, "packet without body"),
        }
    }
    for (lane, packets) in lanes.iter().zip(sorted) {
        if !packets.is_empty() {
            let from = from.clone();
            lane.send(Input::Link { from, packets }).await;
        }
    }
}

/// Puts a packet to the lanes it is for.
fn sort(body: packet::Body, from: &EndpointId, lanes: &mut [Vec<LinkPacket>]) {
    match body {
        packet::Body::RoomEvent(event) => {
            let mask = event.lanes;
            share(mask, LinkPacket::Event(Arc::new(room_event(event))), lanes);
        }
        packet::Body::RoomSignal(signal) => {
            let shared = RoomSignal {
                room: signal.room,
                except: SessionId(signal.except_session),
                frame: SharedFrame::new(Body::Signal, signal.signal),
            };
            share(signal.lanes, LinkPacket::Signal(Arc::new(shared)), lanes);
        }
        packet::Body::Reply(reply) => {
            let lane = reply.lane;
            put(lane, LinkPacket::Reply(Box::new(reply)), lanes);
        }
        // Not its owner: the resync is repeated, also at once when the owner becomes known.
        packet::Body::RoomEvents(events) if events.not_owner.is_some() => {}
        packet::Body::RoomEvents(events) => {
            let lane = events.lane;
            put(
                lane,
                LinkPacket::Resynced(Arc::new(resynced(events))),
                lanes,
            );
        }
        packet::Body::RoomRefused(refused) => {
            let lane = refused.lane;
            put(lane, LinkPacket::Refused(Box::new(refused)), lanes);
        }
        packet::Body::UserDelivery(user_delivery) => {
            let lane = user_delivery.lane;
            match delivery(user_delivery) {
                Some(delivery) => put(lane, LinkPacket::Delivery(Arc::new(delivery)), lanes),
                None => tracing::error!(peer.id = %from, "delivery without body"),
            }
        }
        packet::Body::Reannounce(link::Reannounce {}) => {
            share(u64::MAX, LinkPacket::Lost, lanes);
        }
        packet::Body::RoomRequest(_)
        | packet::Body::RoomDetach(_)
        | packet::Body::RoomResync(_)
        | packet::Body::UserRequest(_)
        | packet::Body::SessionOpened(_)
        | packet::Body::SessionClosed(_)
        | packet::Body::ToUser(_) => {
            tracing::error!(peer.id = %from, "packet is not for gateways");
        }
    }
}

fn put(lane: u32, packet: LinkPacket, lanes: &mut [Vec<LinkPacket>]) {
    match lanes.get_mut(lane as usize) {
        Some(packets) => packets.push(packet),
        None => tracing::error!(lane, "packet for a lane that is not there"),
    }
}

/// To every lane whose bit is set.
fn share(mask: u64, packet: LinkPacket, lanes: &mut [Vec<LinkPacket>]) {
    for (number, packets) in lanes.iter_mut().enumerate() {
        if mask >> number & 1 == 1 {
            packets.push(packet.clone());
        }
    }
}

fn room_event(event: link::RoomEvent) -> RoomEvent {
    RoomEvent {
        left: who_left(&event.event),
        room: event.room,
        epoch: event.epoch,
        offset: event.offset,
        frame: SharedFrame::new(Body::Event, event.event),
    }
}

fn resynced(events: link::RoomEvents) -> Resynced {
    let room = events.room.clone();
    let decoded = events.events.into_iter().filter_map(|encoded| {
        let event = Event::decode(encoded.clone())
            .inspect_err(|error| tracing::error!(error = %error, "unreadable event"))
            .ok()?;
        Some(Arc::new(RoomEvent {
            left: left_of(&event),
            room: room.clone(),
            epoch: event.epoch,
            offset: event.offset,
            frame: SharedFrame::new(Body::Event, encoded),
        }))
    });
    Resynced {
        events: decoded.collect(),
        room: events.room,
        epoch: events.epoch,
        head: events.head,
        reset: events.reset,
        number: events.number,
    }
}

fn delivery(delivery: link::UserDelivery) -> Option<Delivery> {
    let (mut left_room, mut told_of) = (None, None);
    let frame = match delivery.body? {
        user_delivery::Body::Signal(signal) => {
            let body = Signal::decode(signal.clone()).ok().and_then(|it| it.body);
            if let Some(signal::Body::Presence(presence)) = body {
                told_of = Some(Shard::of(&presence.user));
            }
            SharedFrame::new(Body::Signal, signal)
        }
        user_delivery::Body::Notice(notice) => {
            let body = Notice::decode(notice.clone()).ok().and_then(|it| it.body);
            if let Some(notice::Body::LeftRoom(left)) = body {
                left_room = Some(left);
            }
            SharedFrame::new(Body::Notice, notice)
        }
    };
    Some(Delivery {
        sessions: delivery.sessions.into_iter().map(SessionId).collect(),
        frame,
        left_room,
        told_of,
    })
}

/// Field of `Event.member_left`; a test holds it against the wire.
const MEMBER_LEFT: u32 = 13;

/// Who left by this encoded event. Only looks at the fields' keys unless somebody did.
fn who_left(encoded: &Bytes) -> Option<String> {
    let mut rest = &encoded[..];
    while let Ok((tag, wire_type)) = prost::encoding::decode_key(&mut rest) {
        if tag == MEMBER_LEFT {
            return left_of(&Event::decode(encoded.clone()).ok()?);
        }
        let context = prost::encoding::DecodeContext::default();
        prost::encoding::skip_field(wire_type, tag, &mut rest, context).ok()?;
    }
    None
}

fn left_of(event: &Event) -> Option<String> {
    match &event.body {
        Some(event::Body::MemberLeft(left)) => Some(left.user.as_ref()?.id.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rookery_proto::v1;

    use super::*;

    fn event(body: event::Body) -> Bytes {
        let event = Event {
            room: "general".into(),
            offset: 7,
            body: Some(body),
            ..Event::default()
        };
        event.encode_to_vec().into()
    }

    #[test]
    fn only_member_left_names_who_left() {
        let user = Some(v1::User {
            id: "ada".into(),
            name: String::new(),
        });
        let left = event(event::Body::MemberLeft(v1::MemberLeft { user }));
        assert_eq!(who_left(&left), Some("ada".into()));
        let message = event(event::Body::Message(v1::Message::default()));
        assert_eq!(who_left(&message), None);
        assert_eq!(who_left(&Bytes::from_static(b"\xff\xff\xff")), None);
    }

    #[test]
    fn presence_in_a_delivery_names_the_shard_of_its_user() {
        let told_of = |body| {
            let signal = Signal {
                room: String::new(),
                body: Some(body),
            };
            let delivered = delivery(link::UserDelivery {
                body: Some(user_delivery::Body::Signal(signal.encode_to_vec().into())),
                ..link::UserDelivery::default()
            });
            delivered.unwrap().told_of
        };
        let bob = v1::Presence {
            user: "bob".into(),
            ..v1::Presence::default()
        };
        assert_eq!(told_of(signal::Body::Presence(bob)), Some(Shard::of("bob")));
        let typing = v1::TypingSignal::default();
        assert_eq!(told_of(signal::Body::Typing(typing)), None);
    }

    #[test]
    fn event_goes_to_the_lanes_of_its_mask() {
        let packet = link::RoomEvent {
            lanes: 0b101,
            ..link::RoomEvent::default()
        };
        let mut lanes = [const { Vec::new() }; 4];
        let from = EndpointId::from_wire("rooms-1");
        sort(packet::Body::RoomEvent(packet), &from, &mut lanes);
        assert_eq!(lanes.map(|packets| packets.len()), [1, 0, 1, 0]);
    }
}
