//! A room's stream at a client: dense, of the newest owner; a hole is asked for again.

use std::collections::BTreeMap;

use prost::Message as _;
use rookery_cluster::EndpointId;
use rookery_loadtest::replica::Replica;
use rookery_proto::{
    link::{RoomEvent, RoomEvents, RoomRefused, RoomResync, packet::Body},
    v1::{self, notice, server_frame::Frame},
};
use tokio::time::{Duration, Instant};

use crate::{
    client::{Client, resume},
    mutation::Mutation,
};

/// How often a hole is asked for.
const RESYNC_RETRY: Duration = Duration::from_millis(700);
/// When it is asked for again after somebody said that it is not the owner.
const RESYNC_ELSEWHERE: Duration = Duration::from_millis(50);

/// What a gateway knows of a room somebody listens to.
pub(crate) struct Stream {
    node: EndpointId,
    epoch: u64,
    /// The last event delivered.
    last: u64,
    /// When to ask for what is missing; there while something is.
    hole: Option<Instant>,
    /// Number of the newest question for it.
    asked: u64,
    held: BTreeMap<u64, RoomEvent>,
}

impl Client {
    /// A join was answered: the stream goes on from there.
    pub(crate) fn joined(&mut self, from: &EndpointId, join: &v1::Join, joined: &v1::Joined) {
        self.saw(&join.room, joined.epoch, from);
        let after = match join.from {
            Some(v1::join::From::AfterOffset(after)) => Some(after),
            _ => None,
        };
        let known = self.streams.get(&join.room);
        let floor = self.floors.get(&join.room).copied().unwrap_or_default();
        let stale = joined.epoch < floor
            || known.is_some_and(|it| joined.epoch < it.epoch || joined.head < it.last);
        // What it held may have been dropped while this join was under way.
        let replica = self.replicas.entry(join.room.clone());
        let replica = replica.or_insert_with(|| Replica::new(&join.room));
        replica.join(joined, after);
        if stale {
            // Of an owner that is none any more.
            self.resume_room(&join.room);
            return;
        }
        let stream = Stream {
            node: from.clone(),
            epoch: joined.epoch,
            last: joined.head,
            hole: None,
            asked: 0,
            held: BTreeMap::new(),
        };
        self.streams.insert(join.room.clone(), stream);
    }

    /// Tells the session to join again, which it does.
    fn resume_room(&mut self, room: &str) {
        if let Some(stream) = self.streams.remove(room) {
            self.floors.insert(room.to_owned(), stream.epoch);
        }
        let body = notice::Body::ResumeRoom(v1::ResumeRoom {
            room: room.to_owned(),
        });
        self.received(Frame::Notice(v1::Notice { body: Some(body) }));
        if let Some(join) = self.replicas.get(room).map(resume) {
            self.invoke(join);
        }
    }

    pub(crate) fn on_event(&mut self, from: &EndpointId, event: &RoomEvent) {
        self.saw(&event.room, event.epoch, from);
        let Some(stream) = self.streams.get_mut(&event.room) else {
            return;
        };
        if event.epoch < stream.epoch || event.offset <= stream.last {
            return;
        }
        let waits = self.cluster.mutation != Some(Mutation::HoleDelivered);
        if event.offset > stream.last + 1 && waits {
            stream.hole.get_or_insert_with(Instant::now);
            let held = stream.held.entry(event.offset);
            let held = held.or_insert_with(|| event.clone());
            if held.epoch < event.epoch {
                *held = event.clone();
            }
            return;
        }
        stream.epoch = event.epoch;
        self.deliver(&event.room, &event.event);
        self.deliver_held(&event.room);
    }

    fn deliver(&mut self, room: &str, encoded: &[u8]) {
        let event = v1::Event::decode(encoded).expect("an event");
        if let Some(stream) = self.streams.get_mut(room) {
            stream.last = event.offset;
        }
        if let Some(replica) = self.replicas.get_mut(room) {
            replica.apply(&event);
        }
        let left = match &event.body {
            Some(v1::event::Body::MemberLeft(left)) => {
                left.user.as_ref().is_some_and(|user| user.id == self.user)
            }
            _ => false,
        };
        self.received(Frame::Event(event));
        if left {
            self.streams.remove(room);
        }
    }

    fn deliver_held(&mut self, room: &str) {
        while let Some(stream) = self.streams.get_mut(room) {
            let next = stream.last + 1;
            stream.held = stream.held.split_off(&next);
            match stream.held.remove(&next) {
                Some(event) if event.epoch >= stream.epoch => {
                    stream.epoch = event.epoch;
                    self.deliver(room, &event.event);
                }
                Some(_) => {}
                None => return,
            }
        }
    }

    pub(crate) fn on_resynced(&mut self, from: &EndpointId, events: &RoomEvents) {
        if !events.reset && events.not_owner.is_none() {
            self.saw(&events.room, events.epoch, from);
        }
        let Some(stream) = self.streams.get_mut(&events.room) else {
            return;
        };
        if events.number != stream.asked {
            return;
        }
        if events.not_owner.is_some() {
            stream.hole = Some(Instant::now() + RESYNC_ELSEWHERE);
            return;
        }
        if events.epoch < stream.epoch && !events.reset {
            return;
        }
        if events.reset {
            return self.resume_room(&events.room);
        }
        let before = stream.last;
        stream.node = from.clone();
        stream.epoch = events.epoch;
        for event in &events.events {
            let next = self.streams.get(&events.room).map(|stream| stream.last + 1);
            let offset = v1::Event::decode(event.clone()).expect("an event").offset;
            if next == Some(offset) {
                self.deliver(&events.room, event);
            }
        }
        self.deliver_held(&events.room);
        if let Some(stream) = self.streams.get_mut(&events.room) {
            let whole = stream.last >= events.head && stream.held.is_empty();
            if whole {
                stream.hole = None;
            } else if stream.last > before {
                // Without progress, its time comes.
                stream.hole = Some(Instant::now());
            }
        }
    }

    /// The room is not its user's any more: it forgets what it held of it.
    pub(crate) fn drop_room(&mut self, room: &str) {
        self.replicas.remove(room);
        if let Some(stream) = self.streams.remove(room) {
            self.floors.insert(room.to_owned(), stream.epoch);
        }
    }

    /// The owner named the session among those that a resync brings nothing.
    pub(crate) fn on_refused(&mut self, refused: &RoomRefused) {
        let stream = self.streams.get(&refused.room);
        let is_newest = |it: &Stream| it.asked == refused.number && it.epoch <= refused.epoch;
        if stream.is_some_and(is_newest) {
            self.drop_room(&refused.room);
            let body = notice::Body::LeftRoom(v1::LeftRoom {
                room: refused.room.clone(),
                offset: 0,
            });
            self.received(Frame::Notice(v1::Notice { body: Some(body) }));
        }
    }

    /// What came from that node has a hole, or its stream begins anew.
    pub(crate) fn stream_lost(&mut self, node: &EndpointId) {
        for stream in self.streams.values_mut() {
            if stream.node == *node {
                stream.hole = Some(Instant::now());
            }
        }
    }

    /// Asks for what is missing, and follows rooms to their new owners.
    pub(crate) fn tend_streams(&mut self, now: Instant) {
        let mut resyncs = Vec::new();
        let rooms: Vec<String> = self.streams.keys().cloned().collect();
        for room in rooms {
            let (Some(owner), Some(stream)) = (self.owner(&room), self.streams.get_mut(&room))
            else {
                continue;
            };
            if owner != stream.node {
                stream.hole.get_or_insert(now);
            }
            if stream.hole.is_some_and(|at| at <= now) {
                stream.hole = Some(now + RESYNC_RETRY);
                stream.asked = self.cluster.world.number();
                resyncs.push((owner, room, stream.last, stream.asked));
            }
        }
        for (owner, room, after_offset, number) in resyncs {
            let resync = RoomResync {
                room,
                lane: 0,
                after_offset,
                sessions: vec![self.caller()],
                number,
                adds: false,
            };
            self.post(&owner, Body::RoomResync(resync));
        }
    }

    /// Whether a replica has come to an offset.
    pub(crate) fn has(&self, room: &str, offset: u64) -> bool {
        self.replicas.get(room).map_or(0, Replica::head) >= offset
    }
}
