//! Rooms' streams: who listens, what is delivered.

use std::sync::Arc;

use rookery_cluster::{EndpointId, Role};
use rookery_proto::{
    shard::Shard,
    v1::{self, notice},
};

use super::{
    input::{Delivery, RoomEvent, RoomSignal},
    requests::Request,
    room::{Ahead, Fresh, Listener, Room, Verdict, count},
    session::Seat,
    uplink::Uplink,
    wire::Wire,
    worker::Worker,
};

impl<W: Wire, U: Uplink> Worker<W, U> {
    // ---- who listens -----------------------------------------------------------------------

    pub(super) fn seat(&self, key: u32, room: u32) -> Option<Seat> {
        let seats = &self.sessions[key as usize].rooms;
        seats.iter().copied().find(|seat| seat.room == room)
    }

    /// Whether the session listens to that room.
    pub(super) fn listens(&self, key: u32, room: &str) -> bool {
        let room = self.by_name.get(room);
        room.is_some_and(|&room| self.seat(key, room).is_some())
    }

    /// Puts what the room brought so far in this batch into the session's queue, so that an answer
    /// about the room comes in the room's own order.
    pub(super) fn catch_up(&mut self, key: u32, room: &str) {
        if let Some(&room) = self.by_name.get(room)
            && let Some(seat) = self.seat(key, room)
        {
            self.catch_up_seat(key, seat);
        }
    }

    pub(super) fn catch_up_seat(&mut self, key: u32, seat: Seat) {
        let session = &mut self.sessions[key as usize];
        let room = &mut self.rooms[seat.room as usize];
        let mut frames = 0;
        for frame in room.catch_up(seat.index as usize, session.encoding) {
            session.queue.push(frame);
            frames += 1;
        }
        if frames > 0 {
            self.counts.frames_out += frames;
            self.touch(key);
        }
    }

    /// The session has the room up to `head`, by this answer to its join, and listens from there.
    pub(super) fn listen(
        &mut self,
        key: u32,
        from: &EndpointId,
        join: &Request,
        (epoch, head): (u64, u64),
    ) {
        let name = join.ask.room();
        let room_key = match self.by_name.get(name) {
            Some(&room) => room,
            None => self.open_room(name, epoch, head),
        };
        let seated = self.seat(key, room_key).is_some();
        let room = &mut self.rooms[room_key as usize];
        if epoch < room.epoch || head < room.last {
            // Of an owner that is none any more: what it said is not where the stream is.
            self.resume_room(key, name);
            if !seated {
                return;
            }
            let seat = self.seat(key, room_key).expect("is seated");
            self.unseat(key, seat);
            return;
        }
        room.epoch = epoch;
        if !seated {
            let index = count(room.listeners.len());
            room.listeners.push(Listener {
                session: key,
                skip: count(room.fresh.len()),
            });
            let seat = Seat {
                room: room_key,
                index,
            };
            self.sessions[key as usize].rooms.push(seat);
        }
        let room = &mut self.rooms[room_key as usize];
        let behind = head > room.last;
        if behind {
            room.ahead.push(Ahead {
                session: key,
                offset: head,
            });
        }
        let listed = !join.relist
            && join.stamp.resyncs >= room.resync
            && self.routes.leads_to((Role::Rooms, room.shard), from);
        if !listed {
            self.relist(room_key);
        } else if behind {
            self.open_hole(room_key);
        }
    }

    fn open_room(&mut self, name: &str, epoch: u64, head: u64) -> u32 {
        let shard = Shard::of(name);
        let name: Arc<str> = name.into();
        self.rooms_opened = self.rooms_opened.wrapping_add(1);
        let room = Room {
            name: Arc::clone(&name),
            number: self.rooms_opened,
            shard,
            resync: self.resyncs_forgotten,
            epoch,
            last: head,
            listeners: Vec::new(),
            ahead: Vec::new(),
            fresh: Vec::new(),
            hole: None,
        };
        let key = count(self.rooms.insert(room));
        self.by_name.insert(name, key);
        key
    }

    /// The session no longer listens to the room; its owner knows.
    pub(super) fn unlisten(&mut self, key: u32, room: &str) {
        if let Some(&room) = self.by_name.get(room)
            && let Some(seat) = self.seat(key, room)
        {
            self.catch_up_seat(key, seat);
            self.unseat(key, seat);
        }
    }

    /// Takes a session from its seat. The last listener takes its seat over; a room without
    /// listeners is forgotten.
    pub(super) fn unseat(&mut self, key: u32, seat: Seat) {
        self.sessions[key as usize]
            .rooms
            .retain(|other| other.room != seat.room);
        let room = &mut self.rooms[seat.room as usize];
        room.listeners.swap_remove(seat.index as usize);
        room.ahead.retain(|ahead| ahead.session != key);
        if let Some(moved) = room.listeners.get(seat.index as usize) {
            let seats = &mut self.sessions[moved.session as usize].rooms;
            let moved = seats.iter_mut().find(|other| other.room == seat.room);
            moved.expect("a listener has a seat").index = seat.index;
        }
        if room.listeners.is_empty() {
            let room = self.rooms.remove(seat.room as usize);
            self.by_name.remove(&room.name);
            self.resyncs_forgotten = self.resyncs_forgotten.max(room.resync);
        }
    }

    /// Tells a session to join the room again from where it is.
    pub(super) fn resume_room(&mut self, key: u32, room: &str) {
        let resume = v1::ResumeRoom {
            room: room.to_owned(),
        };
        self.notice(key, notice::Body::ResumeRoom(resume));
    }

    // ---- what is delivered -----------------------------------------------------------------

    pub(super) fn on_event(&mut self, event: Arc<RoomEvent>) {
        let Some(&key) = self.by_name.get(event.room.as_str()) else {
            return;
        };
        let room = &mut self.rooms[key as usize];
        match room.judge(event.epoch, event.offset) {
            Verdict::Drop => {}
            Verdict::Hold => {
                self.open_hole(key);
                self.rooms[key as usize].hold(event);
            }
            Verdict::Deliver => {
                self.deliver(key, event);
                self.deliver_held(key);
            }
        }
    }

    /// Delivers what was held behind a hole, as far as it is dense now.
    pub(super) fn deliver_held(&mut self, key: u32) {
        while let Some(room) = self.rooms.get_mut(key as usize)
            && let Some(event) = room.next_held()
        {
            match room.judge(event.epoch, event.offset) {
                Verdict::Deliver => self.deliver(key, event),
                // Of an old owner; the new one's will come.
                Verdict::Drop | Verdict::Hold => {}
            }
        }
    }

    /// Appends the next event to the room's stream. The room may be gone afterwards.
    pub(super) fn deliver(&mut self, key: u32, event: Arc<RoomEvent>) {
        self.counts.events += 1;
        let room = &mut self.rooms[key as usize];
        room.epoch = room.epoch.max(event.epoch);
        room.last = event.offset;
        self.pass_over_ahead(key, event.offset);
        self.append(key, Fresh::Event(Arc::clone(&event)));
        if let Some(user) = &event.left {
            self.unseat_user(key, user, event.offset);
        }
    }

    /// Sessions that have this event already do not get it again.
    fn pass_over_ahead(&mut self, key: u32, offset: u64) {
        let room = &mut self.rooms[key as usize];
        if room.ahead.is_empty() {
            return;
        }
        let having: Vec<u32> = room
            .ahead
            .iter()
            .filter(|ahead| ahead.offset >= offset)
            .map(|ahead| ahead.session)
            .collect();
        room.ahead.retain(|ahead| ahead.offset > offset);
        for session in having {
            self.pass_over(session, key);
        }
    }

    /// The room's next fresh frame is not for this session.
    fn pass_over(&mut self, session: u32, room: u32) {
        if let Some(seat) = self.seat(session, room) {
            self.catch_up_seat(session, seat);
            let room = &mut self.rooms[room as usize];
            room.listeners[seat.index as usize].skip = count(room.fresh.len()) + 1;
        }
    }

    fn append(&mut self, key: u32, fresh: Fresh) {
        let room = &mut self.rooms[key as usize];
        if room.fresh.is_empty() {
            self.stirred.push(key);
        }
        room.fresh.push(fresh);
    }

    /// All sessions of a user who left by the event at that offset stop listening; the room's
    /// owner knows. A session whose join was answered beyond it is of a user who came back.
    fn unseat_user(&mut self, room: u32, user: &str, left_at: u64) {
        let is_theirs = |listener: &&Listener| {
            let who = self.sessions[listener.session as usize].who.as_ref();
            who.is_some_and(|who| who.user.as_str() == user)
        };
        let room_state = &self.rooms[room as usize];
        let came_back = |listener: &&Listener| {
            let mut ahead = room_state.ahead.iter();
            ahead.any(|it| it.session == listener.session && it.offset > left_at)
        };
        let theirs: Vec<u32> = room_state
            .listeners
            .iter()
            .filter(|listener| is_theirs(listener) && !came_back(listener))
            .map(|listener| listener.session)
            .collect();
        for session in theirs {
            let seat = self.seat(session, room).expect("a listener has a seat");
            self.catch_up_seat(session, seat);
            self.unseat(session, seat);
        }
    }

    /// Whether the session has joined again since its user left: this word of it comes late, by way
    /// of presence. Who listens beyond the leave does so by another join.
    fn came_back(&self, key: u32, left: &v1::LeftRoom) -> bool {
        let room = self.by_name.get(left.room.as_str());
        let Some(&room) = room.filter(|&&room| self.seat(key, room).is_some()) else {
            return false;
        };
        let room = &self.rooms[room as usize];
        let mut ahead = room.ahead.iter();
        let known = room
            .last
            .max(ahead.find(|it| it.session == key).map_or(0, |it| it.offset));
        left.offset > 0 && known >= left.offset
    }

    pub(super) fn on_signal(&mut self, signal: Arc<RoomSignal>) {
        let Some(&key) = self.by_name.get(signal.room.as_str()) else {
            return;
        };
        if let Some(except) = self.find(signal.except) {
            self.pass_over(except, key);
        }
        self.append(key, Fresh::Signal(signal));
    }

    pub(super) fn on_delivery(&mut self, from: &EndpointId, delivery: &Delivery) {
        // A former owner may not know yet that it is none. What it says late would be the last word:
        // the present owner has told us already, and says nothing again.
        let stands = |shard| self.routes.leads_to((Role::Presence, shard), from);
        if !delivery.told_of.is_none_or(stands) {
            return;
        }
        for &session in &delivery.sessions {
            let Some(key) = self.find_open(session) else {
                continue;
            };
            if let Some(left) = &delivery.left_room {
                if self.came_back(key, left) {
                    continue;
                }
                self.unlisten(key, &left.room);
            }
            let encoding = self.sessions[key as usize].encoding;
            self.push(key, delivery.frame.frame(encoding).clone());
        }
    }
}
