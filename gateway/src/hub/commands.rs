//! From a client's command to what is asked of a room or a user.
//!
//! Only what the gateway must know to route, and sizes, are checked here; rooms check the rest.

use rookery_proto::{
    close::CloseCode,
    errors::{Code, WireError},
    ids::{RoomId, SessionId, UserId},
    limits::{
        CLIENT_ID_BYTES_MAX, CREATE_MEMBERS_MAX, EMOJI_BYTES_MAX, NAME_BYTES_MAX, ROOM_PAGE_MAX,
        TEXT_BYTES_MAX,
    },
    link::{
        Caller, Grant, RoomRequest, UnwatchUser, UserRequest, WatchUser, room_request, user_request,
    },
    v1::{self, ack, client_frame::Command, presence::Status},
};

use super::{
    requests::{Ask, Gathering, Parts, Then},
    room_id::room_id_of,
    uplink::Uplink,
    wire::Wire,
    worker::Worker,
};
use crate::limits::RATE_LIMITED_FRAMES_MAX;

impl<W: Wire, U: Uplink> Worker<W, U> {
    pub(super) fn on_command(&mut self, session: SessionId, id: String, command: Command) {
        let Some(key) = self.find_not_closing(session) else {
            return;
        };
        self.counts.frames_in += 1;
        let session = &mut self.sessions[key as usize];
        session.invalid = 0;
        if !session.is_open() && !matches!(command, Command::Authenticate(_)) {
            let error = WireError::new(Code::Unauthenticated, "first frame must be authenticate");
            self.answer_error(key, id, error, "not authenticated");
            self.close(key, CloseCode::NotAuthenticated);
            return;
        }
        if let Err(after) = session.bucket.take(self.settings.rate, self.now) {
            session.limited += 1;
            let flood = session.limited >= RATE_LIMITED_FRAMES_MAX;
            let error = WireError::new(Code::RateLimited, "too many commands").retry_after(after);
            self.answer_error(key, id, error, "over the session's rate");
            if flood {
                self.close(key, CloseCode::TooManyErrors);
            }
            return;
        }
        session.limited = 0;
        if let Err((id, error)) = self.route(key, id, command) {
            self.answer_error(key, id, error, "refused by the gateway");
        }
    }

    /// Answers here or asks elsewhere. The id comes back with an error.
    fn route(&mut self, key: u32, id: String, command: Command) -> Result<(), (String, WireError)> {
        use room_request::Command as Room;
        let (room, then, command) = match command {
            Command::Authenticate(authenticate) => {
                self.on_authenticate(key, id, authenticate);
                return Ok(());
            }
            Command::RefreshToken(refresh) => {
                self.on_refresh(key, id, &refresh.token);
                return Ok(());
            }
            Command::Ping(v1::Ping {}) => {
                let time_ms = self.wall_ms;
                self.answer_ack(key, id, ack::Result::Pong(v1::Pong { time_ms }));
                return Ok(());
            }
            Command::CreateRoom(mut create) => {
                let who = self.sessions[key as usize].who.as_deref();
                let user = &who.expect("an open session has one").user;
                match check_create(&create).and_then(|()| room_id_of(user, &create)) {
                    Ok(room) => create.room = room.as_str().to_owned(),
                    Err(error) => return Err((id, error)),
                }
                (create.room.clone(), Then::Answer, Room::CreateRoom(create))
            }
            Command::Join(join) => {
                if let Err(error) = self.check_may_join(key, &join.room) {
                    return Err((id, error));
                }
                (join.room.clone(), Then::Join, Room::Join(join))
            }
            Command::Leave(leave) => (leave.room.clone(), Then::Leave, Room::Leave(leave)),
            Command::Send(send) => {
                if let Err(error) =
                    at_most(send.text.len(), TEXT_BYTES_MAX, "send.text").and_then(|()| {
                        at_most(send.client_id.len(), CLIENT_ID_BYTES_MAX, "send.clientId")
                    })
                {
                    return Err((id, error));
                }
                (send.room.clone(), Then::Answer, Room::Send(send))
            }
            Command::Edit(edit) => {
                if let Err(error) = at_most(edit.text.len(), TEXT_BYTES_MAX, "edit.text") {
                    return Err((id, error));
                }
                (edit.room.clone(), Then::Answer, Room::Edit(edit))
            }
            Command::Delete(delete) => (delete.room.clone(), Then::Answer, Room::Delete(delete)),
            Command::React(react) => {
                if let Err(error) = at_most(react.emoji.len(), EMOJI_BYTES_MAX, "react.emoji") {
                    return Err((id, error));
                }
                (react.room.clone(), Then::Answer, Room::React(react))
            }
            Command::Unreact(unreact) => {
                if let Err(error) = at_most(unreact.emoji.len(), EMOJI_BYTES_MAX, "unreact.emoji") {
                    return Err((id, error));
                }
                (unreact.room.clone(), Then::Answer, Room::Unreact(unreact))
            }
            Command::MarkRead(read) => (read.room.clone(), Then::Answer, Room::MarkRead(read)),
            Command::Typing(typing) => (typing.room.clone(), Then::Answer, Room::Typing(typing)),
            Command::History(history) => {
                (history.room.clone(), Then::Answer, Room::History(history))
            }
            Command::Rooms(rooms) => return self.ask_rooms(key, id, rooms),
            Command::SetPresence(set) => return self.ask_presence(key, id, set),
            Command::WatchPresence(watch) => return self.watch(key, id, &watch.users),
            Command::UnwatchPresence(unwatch) => return self.unwatch(key, id, &unwatch.users),
        };
        let ask = match self.room_ask(key, &room, command) {
            Ok(ask) => ask,
            Err(error) => return Err((id, error)),
        };
        self.ask(key, id, then, ask)
    }

    /// A request to a room's owner, with what the session's token grants there.
    pub(super) fn room_ask(
        &self,
        key: u32,
        room: &str,
        command: room_request::Command,
    ) -> Result<Ask, WireError> {
        let room_id = RoomId::parse(room)
            .map_err(|error| WireError::invalid(room_field(&command), error.to_string()))?;
        Ok(Ask::Room(Box::new(RoomRequest {
            request: 0,
            turn: 0,
            room: room.to_owned(),
            caller: self.room_caller(key, &room_id),
            command: Some(command),
        })))
    }

    /// Who speaks in a room; `None` before `welcome`.
    pub(super) fn room_caller(&self, key: u32, room: &RoomId) -> Option<Caller> {
        let session = &self.sessions[key as usize];
        let who = session.who.as_ref()?;
        let grant = who.grants.for_room(room);
        Some(who.caller(session.id, self.lane, grant))
    }

    /// A request to the owner of `user`.
    pub(super) fn user_ask(&self, key: u32, user: &str, command: user_request::Command) -> Ask {
        let session = &self.sessions[key as usize];
        let who = session.who.as_ref().expect("an open session has one");
        Ask::User(Box::new(UserRequest {
            request: 0,
            caller: Some(who.caller(session.id, self.lane, Grant::None)),
            user: user.to_owned(),
            command: Some(command),
        }))
    }

    fn own_ask(&self, key: u32, command: user_request::Command) -> Ask {
        let who = self.sessions[key as usize].who.as_ref();
        let user = &who.expect("an open session has one").user;
        self.user_ask(key, user.as_str(), command)
    }

    fn check_may_join(&self, key: u32, room: &str) -> Result<(), WireError> {
        let session = &self.sessions[key as usize];
        let rooms = session.rooms.len() + usize::from(session.joining);
        if rooms < self.settings.rooms_max || self.listens(key, room) {
            return Ok(());
        }
        let message = format!("listens to {rooms} rooms already");
        Err(WireError::new(Code::LimitReached, message).at("join.room"))
    }

    fn ask_rooms(
        &mut self,
        key: u32,
        id: String,
        rooms: v1::Rooms,
    ) -> Result<(), (String, WireError)> {
        if rooms.limit > ROOM_PAGE_MAX {
            let message = format!("must be at most {ROOM_PAGE_MAX}");
            return Err((id, WireError::invalid("rooms.limit", message)));
        }
        let ask = self.own_ask(key, user_request::Command::Rooms(rooms));
        self.ask(key, id, Then::RoomList, ask)
    }

    fn ask_presence(
        &mut self,
        key: u32,
        id: String,
        set: v1::SetPresence,
    ) -> Result<(), (String, WireError)> {
        let then = match set.status() {
            status @ (Status::Online | Status::Away | Status::Dnd | Status::Invisible) => {
                Then::Status(status)
            }
            Status::Unspecified | Status::Offline => {
                let message = "must be ONLINE, AWAY, DND or INVISIBLE";
                return Err((id, WireError::invalid("setPresence.status", message)));
            }
        };
        let ask = self.own_ask(key, user_request::Command::SetPresence(set));
        self.ask(key, id, then, ask)
    }

    fn watch(&mut self, key: u32, id: String, users: &[String]) -> Result<(), (String, WireError)> {
        let users = match parse_users(users, "watchPresence.users") {
            Ok(users) => users,
            Err(error) => return Err((id, error)),
        };
        let watched_max = self.settings.watched_max;
        let session = &mut self.sessions[key as usize];
        let who = session.who.as_mut().expect("an open session has one");
        let new = users
            .iter()
            .filter(|user| !who.watched.contains(*user))
            .count();
        if who.watched.len() + new > watched_max {
            let message = format!("at most {watched_max} users can be watched");
            let error = WireError::new(Code::LimitReached, message).at("watchPresence.users");
            return Err((id, error));
        }
        who.watched.extend(users.iter().cloned());
        let asks = users
            .iter()
            .map(|user| {
                self.user_ask(
                    key,
                    user.as_str(),
                    user_request::Command::Watch(WatchUser {}),
                )
            })
            .collect();
        let list = users.iter().map(unknown_presence).collect();
        let parts = Parts::Watch {
            users: list,
            answered: false,
        };
        self.gather(key, id, parts, asks)
    }

    fn unwatch(
        &mut self,
        key: u32,
        id: String,
        users: &[String],
    ) -> Result<(), (String, WireError)> {
        let mut users = match parse_users(users, "unwatchPresence.users") {
            Ok(users) => users,
            Err(error) => return Err((id, error)),
        };
        let session = &mut self.sessions[key as usize];
        let who = session.who.as_mut().expect("an open session has one");
        users.retain(|user| who.watched.remove(user));
        let asks = users
            .iter()
            .map(|user| {
                self.user_ask(
                    key,
                    user.as_str(),
                    user_request::Command::Unwatch(UnwatchUser {}),
                )
            })
            .collect();
        self.gather(key, id, Parts::Unwatch, asks)
    }

    /// Asks all of `asks`; the command is answered when every one of them is.
    pub(super) fn gather(
        &mut self,
        key: u32,
        id: String,
        parts: Parts,
        asks: Vec<Ask>,
    ) -> Result<(), (String, WireError)> {
        let session = self.sessions[key as usize].id;
        let missing = asks.len();
        let gathering = self.requests.gather(Gathering {
            session,
            id,
            parts,
            missing,
        });
        if missing == 0 {
            self.end_gathering(gathering);
        }
        for (slot, ask) in asks.into_iter().enumerate() {
            let then = Then::Part { gathering, slot };
            if self.ask(key, String::new(), then, ask).is_err() {
                self.on_part(gathering, slot, None);
            }
        }
        Ok(())
    }
}

/// What is said of a user whose owner did not answer.
fn unknown_presence(user: &UserId) -> v1::Presence {
    v1::Presence {
        user: user.as_str().to_owned(),
        status: Status::Unspecified.into(),
        last_seen_ms: 0,
    }
}

/// Distinct users, in the order named.
fn parse_users(users: &[String], field: &'static str) -> Result<Vec<UserId>, WireError> {
    let mut parsed: Vec<UserId> = Vec::with_capacity(users.len());
    let mut seen = rustc_hash::FxHashSet::default();
    for user in users {
        let user = UserId::parse(user).map_err(|e| WireError::invalid(field, e.to_string()))?;
        if seen.insert(user.clone()) {
            parsed.push(user);
        }
    }
    Ok(parsed)
}

fn check_create(create: &v1::CreateRoom) -> Result<(), WireError> {
    at_most(create.name.len(), NAME_BYTES_MAX, "createRoom.name")?;
    at_most(
        create.client_id.len(),
        CLIENT_ID_BYTES_MAX,
        "createRoom.clientId",
    )?;
    if create.members.len() > CREATE_MEMBERS_MAX {
        let message = format!("at most {CREATE_MEMBERS_MAX} users");
        return Err(WireError::invalid("createRoom.members", message));
    }
    parse_users(&create.members, "createRoom.members").map(|_| ())
}

fn at_most(bytes: usize, max: usize, field: &'static str) -> Result<(), WireError> {
    if bytes <= max {
        return Ok(());
    }
    let message = format!("has {bytes} bytes, at most {max} are allowed");
    Err(WireError::new(Code::TooLarge, message).at(field))
}

/// Path of the field that names the room.
const fn room_field(command: &room_request::Command) -> &'static str {
    use room_request::Command;
    match command {
        Command::CreateRoom(_) => "createRoom.room",
        Command::Join(_) => "join.room",
        Command::Leave(_) => "leave.room",
        Command::Send(_) => "send.room",
        Command::Edit(_) => "edit.room",
        Command::Delete(_) => "delete.room",
        Command::React(_) => "react.room",
        Command::Unreact(_) => "unreact.room",
        Command::MarkRead(_) => "markRead.room",
        Command::Typing(_) => "typing.room",
        Command::History(_) => "history.room",
        Command::Summary(_) => "rooms",
    }
}
