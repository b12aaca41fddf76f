//! Holes in rooms' streams: what is missing is asked for again, and who listens is said with it.

use std::sync::Arc;

use rookery_cluster::{EndpointId, Role, membership::ShardSet};
use rookery_proto::{
    ids::{RoomId, SessionId},
    link::{RoomDetach, RoomRefused, RoomResync, packet},
    v1::{self, notice},
};

use super::{
    input::Resynced,
    room::{Room, Verdict, count},
    session::millis,
    uplink::Uplink,
    wire::Wire,
    worker::{Timer, Worker},
};
use crate::limits::{RESYNC_RETRY, RESYNC_RETRY_MAX, RESYNC_SESSIONS_MAX};

impl<W: Wire, U: Uplink> Worker<W, U> {
    /// Asks for what is missing, unless that is under way.
    pub(super) fn open_hole(&mut self, key: u32) {
        let room = &mut self.rooms[key as usize];
        let hole = room.hole.get_or_insert_default();
        if hole.retry_at <= self.now {
            let pause = millis(RESYNC_RETRY) << hole.tries.min(8);
            hole.retry_at = self.now + pause.min(millis(RESYNC_RETRY_MAX));
            hole.tries += 1;
            let timer = Timer::Hole {
                room: key,
                number: room.number,
            };
            self.wheel.set(hole.retry_at, timer);
            self.resync(key);
        }
    }

    /// Asks for what is missing, and says who listens, even if that is under way: it may be lost,
    /// or the owner is another.
    fn resync_now(&mut self, key: u32) {
        let hole = self.rooms[key as usize].hole.get_or_insert_default();
        hole.retry_at = 0;
        hole.tries = 0;
        hole.again = false;
        self.open_hole(key);
    }

    /// The owner may not know all listeners. While a resync is under way it comes after it, so
    /// that many such joins cost one.
    pub(super) fn relist(&mut self, key: u32) {
        match &mut self.rooms[key as usize].hole {
            Some(hole) if hole.retry_at > self.now => hole.again = true,
            Some(_) | None => self.open_hole(key),
        }
    }

    /// Asks the room's owner for everything after the last event, and tells it who listens.
    fn resync(&mut self, key: u32) {
        self.counts.resyncs += 1;
        self.resyncs += 1;
        let room = &mut self.rooms[key as usize];
        room.resync = self.resyncs;
        let room = &self.rooms[key as usize];
        let Some(owner) = self.routes.owner((Role::Rooms, room.shard)) else {
            return;
        };
        let Ok(id) = RoomId::parse(&room.name) else {
            return;
        };
        let mut adds = false;
        for listeners in room.listeners.chunks(RESYNC_SESSIONS_MAX) {
            let keys = listeners.iter().map(|listener| listener.session);
            let sessions = keys.filter_map(|key| self.room_caller(key, &id)).collect();
            let resync = RoomResync {
                room: (*room.name).to_owned(),
                lane: self.lane,
                after_offset: room.last,
                sessions,
                number: self.resyncs,
                adds,
            };
            let offered = self.uplink.offer(owner, packet::Body::RoomResync(resync));
            if offered.is_err() {
                // Not taken now: the timer asks again, also where a part of it is answered.
                if let Some(hole) = &mut self.rooms[key as usize].hole {
                    hole.again |= adds;
                }
                return;
            }
            adds = true;
        }
    }

    /// The rooms of these shards have a new owner, which knows of none of their listeners.
    pub(super) fn resync_shards(&mut self, shards: &ShardSet) {
        if shards.is_empty() {
            return;
        }
        let moved = |(key, room): (usize, &Room)| shards.contains(room.shard).then_some(count(key));
        let rooms: Vec<u32> = self.rooms.iter().filter_map(moved).collect();
        self.counts.rooms_moved += rooms.len() as u64;
        for room in rooms {
            self.resync_now(room);
        }
    }

    pub(super) fn on_hole_due(&mut self, key: u32, number: u32) {
        let Some(room) = self.rooms.get(key as usize) else {
            return;
        };
        if room.number == number
            && room
                .hole
                .as_ref()
                .is_some_and(|hole| hole.retry_at <= self.now)
        {
            self.open_hole(key);
        }
    }

    pub(super) fn on_resynced(&mut self, resynced: &Resynced) {
        let Some(&key) = self.by_name.get(resynced.room.as_str()) else {
            return;
        };
        let room = &self.rooms[key as usize];
        let before = room.last;
        if resynced.epoch < room.epoch {
            // Also from a node that is not, or not yet, the owner: the timer asks again.
            return;
        }
        let newest = resynced.number == room.resync;
        if resynced.reset {
            if newest {
                self.reset_room(key);
            }
            return;
        }
        for event in &resynced.events {
            let Some(room) = self.rooms.get_mut(key as usize) else {
                return;
            };
            if room.judge(event.epoch.max(room.epoch), event.offset) == Verdict::Deliver {
                self.deliver(key, Arc::clone(event));
            }
        }
        self.deliver_held(key);
        let Some(room) = self.rooms.get_mut(key as usize) else {
            return;
        };
        room.epoch = room.epoch.max(resynced.epoch);
        let last = room.last;
        let Some(hole) = &mut room.hole else {
            return;
        };
        let whole = last >= resynced.head && hole.held.is_empty();
        if whole && newest && !hole.again {
            room.hole = None;
        } else if newest && (whole || last > before) {
            // Another hole behind this one, or other listeners: ask at once. Without progress, the
            // timer does.
            self.resync_now(key);
        }
    }

    /// Sessions that a resync named do not listen there: who they are of has left meanwhile. They are
    /// told so, and nothing more of the room.
    pub(super) fn on_refused(&mut self, refused: &RoomRefused) {
        for &session in &refused.sessions {
            // The room is forgotten with its last listener.
            let room = self.by_name.get(refused.room.as_str());
            let Some(&room) = room else {
                return;
            };
            let state = &self.rooms[room as usize];
            // Of an older resync it may not be true any more; the newest names them again.
            if refused.epoch < state.epoch || refused.number != state.resync {
                return;
            }
            if let Some(key) = self.find_open(SessionId(session))
                && let Some(seat) = self.seat(key, room)
            {
                self.catch_up_seat(key, seat);
                self.unseat(key, seat);
                let left = v1::LeftRoom {
                    room: refused.room.clone(),
                    offset: 0,
                };
                self.notice(key, notice::Body::LeftRoom(left));
            }
        }
    }

    /// The stream cannot be made whole: every listener is told to join again.
    fn reset_room(&mut self, key: u32) {
        let name = Arc::clone(&self.rooms[key as usize].name);
        let target = (Role::Rooms, self.rooms[key as usize].shard);
        while let Some(room) = self.rooms.get(key as usize)
            && let Some(listener) = room.listeners.last()
        {
            let session = listener.session;
            let seat = self.seat(session, key).expect("a listener has a seat");
            self.catch_up_seat(session, seat);
            self.unseat(session, seat);
            self.resume_room(session, &name);
            let detach = RoomDetach {
                room: (*name).to_owned(),
                session: self.sessions[session as usize].id.0,
            };
            self.tell_owner(target, packet::Body::RoomDetach(detach));
        }
    }

    /// The stream from a node had a hole, or starts anew, or the node forgot us: nothing it said or
    /// knew is trusted to be whole.
    pub(super) fn on_lost(&mut self, node: &EndpointId) {
        let routes = &self.routes;
        let theirs = |(key, room): (usize, &Room)| {
            routes
                .leads_to((Role::Rooms, room.shard), node)
                .then_some(count(key))
        };
        let rooms: Vec<u32> = self.rooms.iter().filter_map(theirs).collect();
        for room in rooms {
            self.resync_now(room);
        }
        self.doubt_all_at(node);
        self.announce_again(node);
    }
}
