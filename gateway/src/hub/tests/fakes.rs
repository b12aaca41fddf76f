//! A worker with fake ends: sockets that take what they are told to, links that keep packets.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    net::Shutdown,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use rookery_cluster::{EndpointId, Owners, Role};
use rookery_proto::{
    errors::Code,
    ids::{Epoch, SessionId, UserId},
    link::{self, packet::Body as Packet},
    shard::Shard,
    v1::{self, ServerFrame, ack, client_frame::Command, server_frame::Frame},
};

use super::super::{
    input::{Input, LinkPacket, NewOwners, Opened, Resynced, RoomEvent},
    session::Settings,
    uplink::Uplink,
    wheel::Millis,
    wire::Wire,
    worker::Worker,
};
use crate::{
    auth::{AuthConfig, AuthError, Claims, Grants, Verifier},
    config::GatewayConfig,
    protocol::{Body, Encoding, SharedFrame},
};

/// The test's Unix time at worker time 0.
pub(super) const WALL_MS: u64 = 1_700_000_000_000;

/// A socket whose other end the test reads.
#[derive(Clone, Debug, Default)]
pub(super) struct FakeWire(Arc<FakeState>);

#[derive(Debug, Default)]
struct FakeState {
    sent: Mutex<BytesMut>,
    /// Bytes it still takes; `u64::MAX`: any number.
    room: AtomicU64,
    broken: AtomicBool,
    heard: AtomicU64,
    shutdown: Mutex<Option<Shutdown>>,
}

impl Wire for FakeWire {
    type End<'a> = &'a Self;

    fn end(&self) -> &Self {
        self
    }

    fn put(end: &Self, bytes: &[u8]) -> io::Result<usize> {
        end.write(&[io::IoSlice::new(bytes)])
    }

    fn write(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        if self.0.broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut written = 0;
        let mut sent = self.0.sent.lock().unwrap();
        for slice in slices {
            let room = self.0.room.load(Ordering::Relaxed);
            let bytes = slice.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            sent.extend_from_slice(&slice[..bytes]);
            if room != u64::MAX {
                self.0.room.store(room - bytes as u64, Ordering::Relaxed);
            }
            written += bytes;
        }
        if written == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(written)
    }

    fn shutdown(&self, how: Shutdown) {
        *self.0.shutdown.lock().unwrap() = Some(how);
    }

    fn heard(&self) -> Millis {
        self.0.heard.load(Ordering::Relaxed)
    }
}

impl FakeWire {
    pub(super) fn open() -> Self {
        let wire = Self::default();
        wire.set_room(u64::MAX);
        wire
    }

    pub(super) fn set_room(&self, bytes: u64) {
        self.0.room.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn break_it(&self) {
        self.0.broken.store(true, Ordering::Relaxed);
    }

    pub(super) fn hear(&self, now: Millis) {
        self.0.heard.store(now, Ordering::Relaxed);
    }

    pub(super) fn shut(&self) -> Option<Shutdown> {
        *self.0.shutdown.lock().unwrap()
    }

    /// Takes the whole frames sent so far, as (opcode, payload).
    pub(super) fn frames(&self) -> Vec<(u8, Bytes)> {
        let mut sent = self.0.sent.lock().unwrap();
        let mut frames = Vec::new();
        loop {
            let Some(&[first, second]) = sent.first_chunk::<2>() else {
                return frames;
            };
            let (header, len) = match second {
                126 if sent.len() >= 4 => (4, usize::from(u16::from_be_bytes([sent[2], sent[3]]))),
                127 if sent.len() >= 10 => {
                    let bytes: [u8; 8] = sent[2..10].try_into().unwrap();
                    (10, usize::try_from(u64::from_be_bytes(bytes)).unwrap())
                }
                126 | 127 => return frames,
                len => (2, usize::from(len)),
            };
            if sent.len() < header + len {
                return frames;
            }
            let _ = sent.split_to(header);
            frames.push((first & 0x0f, sent.split_to(len).freeze()));
        }
    }

    /// Takes what was sent so far, decoded.
    pub(super) fn got(&self) -> Vec<Got> {
        let frames = self.frames();
        frames
            .into_iter()
            .map(|(opcode, payload)| Got::read(opcode, &payload))
            .collect()
    }
}

/// What a client sees.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Got {
    Frame(Frame),
    Ping,
    Pong(Vec<u8>),
    Close(u16),
}

impl Got {
    fn read(opcode: u8, payload: &[u8]) -> Self {
        let frame = match opcode {
            1 => serde_json::from_slice::<ServerFrame>(payload).unwrap(),
            2 => ServerFrame::decode(payload).unwrap(),
            8 => {
                let code: [u8; 2] = payload[..2].try_into().unwrap();
                return Self::Close(u16::from_be_bytes(code));
            }
            9 => return Self::Ping,
            10 => return Self::Pong(payload.to_vec()),
            other => panic!("opcode {other}"),
        };
        Self::Frame(frame.frame.unwrap())
    }

    /// Short words for comparing: `event 5`, `ack 1`, `error 1 INVALID field`, …
    pub(super) fn words(&self) -> String {
        match self {
            Self::Ping => "ping".to_owned(),
            Self::Pong(_) => "pong".to_owned(),
            Self::Close(code) => format!("close {code}"),
            Self::Frame(Frame::Welcome(welcome)) => {
                format!("welcome {}", welcome.user.as_ref().unwrap().id)
            }
            Self::Frame(Frame::Ack(ack)) => format!("ack {}", ack.id),
            Self::Frame(Frame::Error(error)) => {
                let code = error.code().as_str_name();
                format!("error {} {code} {}", error.id, error.field)
                    .trim_end()
                    .to_owned()
            }
            Self::Frame(Frame::Event(event)) => format!("event {}", event.offset),
            Self::Frame(Frame::Signal(_)) => "signal".to_owned(),
            Self::Frame(Frame::Notice(notice)) => {
                let body = notice.body.as_ref().unwrap();
                let name = match body {
                    v1::notice::Body::AddedToRoom(_) => "addedToRoom",
                    v1::notice::Body::CursorMoved(_) => "cursorMoved",
                    v1::notice::Body::GoingAway(_) => "goingAway",
                    v1::notice::Body::ResumeRoom(_) => "resumeRoom",
                    v1::notice::Body::LeftRoom(_) => "leftRoom",
                    v1::notice::Body::TokenExpiring(_) => "tokenExpiring",
                };
                format!("notice {name}")
            }
        }
    }
}

/// Links that keep what is offered.
#[derive(Clone, Default)]
pub(super) struct FakeUplink {
    pub(super) packets: Rc<RefCell<VecDeque<(EndpointId, Packet)>>>,
    pub(super) refuses: Rc<Cell<bool>>,
}

impl Uplink for FakeUplink {
    fn offer(&self, to: &EndpointId, body: Packet) -> Result<(), Box<Packet>> {
        if self.refuses.get() {
            return Err(Box::new(body));
        }
        self.packets.borrow_mut().push_back((to.clone(), body));
        Ok(())
    }

    fn send(&self, to: &EndpointId, body: Packet) {
        // A refused packet is dropped.
        let _ = self.offer(to, body);
    }
}

pub(super) fn node(role: Role) -> EndpointId {
    EndpointId::new(role, 1)
}

/// Another node than [`node`].
pub(super) fn other(role: Role) -> EndpointId {
    EndpointId::new(role, 2)
}

/// Who owns all rooms and all users, under these epochs.
pub(super) fn owned(
    rooms: Option<EndpointId>,
    rooms_epoch: u64,
    presence: Option<EndpointId>,
    presence_epoch: u64,
) -> Owners {
    let mut owners = Owners::default();
    for (role, owner, epoch) in [
        (Role::Rooms, rooms, rooms_epoch),
        (Role::Presence, presence, presence_epoch),
    ] {
        if let Some(owner) = owner {
            let claims = Shard::all().map(|shard| (shard, Epoch(epoch))).collect();
            owners.claim(role, &owner, &claims);
        }
    }
    owners
}

/// A worker and everything around it.
pub(super) struct Bench {
    pub(super) worker: Worker<FakeWire, FakeUplink>,
    pub(super) uplink: FakeUplink,
    pub(super) owners: Arc<Owners>,
    pub(super) now: Millis,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(super) fn with(change: impl FnOnce(&mut GatewayConfig)) -> Self {
        let mut config = GatewayConfig {
            dev: true,
            heartbeat_interval: Duration::from_secs(10),
            authenticate_timeout: Duration::from_secs(5),
            ..GatewayConfig::default()
        };
        change(&mut config);
        let verifier = Verifier::dev(&AuthConfig::default()).unwrap();
        let settings = Arc::new(Settings::new(&config, Arc::new(verifier)));
        let uplink = FakeUplink::default();
        let owners = Arc::new(owned(
            Some(node(Role::Rooms)),
            1,
            Some(node(Role::Presence)),
            1,
        ));
        let mut worker = Worker::new(3, settings, uplink.clone(), Arc::clone(&owners));
        worker.begin(0, WALL_MS);
        Self {
            worker,
            uplink,
            owners,
            now: 0,
        }
    }

    /// From now on these own everything.
    pub(super) fn own(&mut self, owners: Owners) {
        let owners = Arc::new(owners);
        let changes = owners.changes_since(&self.owners);
        self.owners = Arc::clone(&owners);
        self.give(Input::Owners(Arc::new(NewOwners { owners, changes })));
    }

    /// From now on this one owns all rooms under that epoch.
    pub(super) fn own_rooms(&mut self, rooms: Option<EndpointId>, epoch: u64) {
        self.own(owned(rooms, epoch, Some(node(Role::Presence)), 1));
    }

    /// One batch of one input.
    pub(super) fn give(&mut self, input: Input<FakeWire>) {
        self.worker.handle(input);
        self.worker.flush();
    }

    pub(super) fn wait(&mut self, time: Millis) {
        self.now += time;
        self.worker.begin(self.now, WALL_MS + self.now);
        self.worker.flush();
    }

    pub(super) fn connect(
        &mut self,
        session: u64,
        encoding: Encoding,
        auth: Result<Option<Claims>, AuthError>,
    ) -> FakeWire {
        let wire = FakeWire::open();
        wire.hear(self.now);
        self.give(Input::Opened(Box::new(Opened {
            session: SessionId(session),
            wire: wire.clone(),
            encoding,
            auth,
            device: None,
        })));
        wire
    }

    /// A welcomed session; what that sent is taken away.
    pub(super) fn login(&mut self, session: u64, user: &str) -> FakeWire {
        let encoding = if session.is_multiple_of(2) {
            Encoding::Json
        } else {
            Encoding::Protobuf
        };
        let wire = self.connect(session, encoding, Ok(Some(claims(user, None))));
        check(&wire, &[&format!("welcome {user}")]);
        assert!(matches!(self.packet(), Packet::SessionOpened(_)));
        wire
    }

    pub(super) fn command(&mut self, session: u64, id: &str, command: Command) {
        self.give(Input::Command {
            session: SessionId(session),
            id: id.to_owned(),
            command,
        });
    }

    /// The next packet sent.
    pub(super) fn packet(&mut self) -> Packet {
        self.uplink
            .packets
            .borrow_mut()
            .pop_front()
            .expect("a packet")
            .1
    }

    pub(super) fn no_packet(&self) {
        let packets = self.uplink.packets.borrow();
        assert!(packets.is_empty(), "{packets:?}");
    }

    pub(super) fn room_request(&mut self) -> link::RoomRequest {
        match self.packet() {
            Packet::RoomRequest(request) => request,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn user_request(&mut self) -> link::UserRequest {
        match self.packet() {
            Packet::UserRequest(request) => request,
            other => panic!("{other:?}"),
        }
    }

    /// The next packet, and to whom it went.
    pub(super) fn packet_to(&mut self) -> (EndpointId, Packet) {
        let packet = self.uplink.packets.borrow_mut().pop_front();
        packet.expect("a packet")
    }

    pub(super) fn link(&mut self, role: Role, packets: Vec<LinkPacket>) {
        self.link_from(node(role), packets);
    }

    pub(super) fn link_from(&mut self, from: EndpointId, packets: Vec<LinkPacket>) {
        self.give(Input::Link { from, packets });
    }

    pub(super) fn reply(&mut self, role: Role, request: u64, result: link::reply::Result) {
        self.link(role, vec![reply(request, result)]);
    }

    /// A session that listens to a room up to `head`.
    pub(super) fn join(&mut self, session: u64, room: &str, epoch: u64, head: u64) {
        self.command(session, "j", join(room));
        let request = self.room_request().request;
        self.reply(Role::Rooms, request, joined(room, epoch, head));
    }
}

/// Compares what a client got, and takes it.
pub(super) fn check(wire: &FakeWire, expected: &[&str]) {
    let got: Vec<String> = wire.got().iter().map(Got::words).collect();
    assert_eq!(got, expected);
}

pub(super) fn claims(user: &str, expires_s: Option<u64>) -> Claims {
    Claims {
        user: UserId::parse(user).unwrap(),
        name: user.to_uppercase().into(),
        grants: Grants::everywhere(link::Grant::Write),
        expires_s,
    }
}

pub(super) fn join(room: &str) -> Command {
    Command::Join(v1::Join {
        room: room.to_owned(),
        ..v1::Join::default()
    })
}

/// Takes a room up after an offset.
pub(super) fn resume(room: &str, after: u64) -> Command {
    Command::Join(v1::Join {
        room: room.to_owned(),
        from: Some(v1::join::From::AfterOffset(after)),
        resume: true,
    })
}

pub(super) fn send(room: &str, text: &str) -> Command {
    Command::Send(v1::Send {
        room: room.to_owned(),
        text: text.to_owned(),
        client_id: String::new(),
    })
}

pub(super) fn reply(request: u64, result: link::reply::Result) -> LinkPacket {
    LinkPacket::Reply(Box::new(link::Reply {
        request,
        lane: 3,
        result: Some(result),
    }))
}

pub(super) fn acked(result: ack::Result) -> link::reply::Result {
    link::reply::Result::Ack(v1::Ack {
        id: String::new(),
        result: Some(result),
    })
}

pub(super) fn refused(code: Code) -> link::reply::Result {
    link::reply::Result::Error(v1::Error {
        code: code.into(),
        ..v1::Error::default()
    })
}

pub(super) fn joined(room: &str, epoch: u64, head: u64) -> link::reply::Result {
    acked(ack::Result::Joined(v1::Joined {
        room: Some(v1::Room {
            id: room.to_owned(),
            ..v1::Room::default()
        }),
        head,
        epoch,
        ..v1::Joined::default()
    }))
}

pub(super) fn room_event(room: &str, epoch: u64, offset: u64) -> Arc<RoomEvent> {
    let event = v1::Event {
        room: room.to_owned(),
        epoch,
        offset,
        body: Some(v1::event::Body::Message(v1::Message {
            text: format!("text of {offset}"),
            ..v1::Message::default()
        })),
        ..v1::Event::default()
    };
    Arc::new(RoomEvent {
        room: room.to_owned(),
        epoch,
        offset,
        frame: SharedFrame::new(Body::Event, event.encode_to_vec().into()),
        left: None,
    })
}

pub(super) fn event(room: &str, epoch: u64, offset: u64) -> LinkPacket {
    LinkPacket::Event(room_event(room, epoch, offset))
}

/// The owner names these sessions of a resync: their users are no members.
pub(super) fn room_refused(asked: &link::RoomResync, epoch: u64, sessions: &[u64]) -> LinkPacket {
    LinkPacket::Refused(Box::new(link::RoomRefused {
        room: asked.room.clone(),
        lane: asked.lane,
        epoch,
        number: asked.number,
        sessions: sessions.to_vec(),
    }))
}

/// The owner's answer to a resync after `after`.
pub(super) fn resynced(asked: &link::RoomResync, epoch: u64, head: u64) -> LinkPacket {
    let (room, after) = (asked.room.as_str(), asked.after_offset);
    LinkPacket::Resynced(Arc::new(Resynced {
        room: room.to_owned(),
        epoch,
        head,
        reset: false,
        events: (after + 1..=head)
            .map(|offset| room_event(room, epoch, offset))
            .collect(),
        number: asked.number,
    }))
}
