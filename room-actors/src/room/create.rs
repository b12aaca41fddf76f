//! Opening a room.

use rookery_persistence::{EventKind, MemberRow, RoomRow};
use rookery_proto::{
    errors::{Code, WireError},
    ids::{Offset, UserId},
    limits::{CLIENT_ID_BYTES_MAX, CREATE_MEMBERS_MAX, NAME_BYTES_MAX},
    link::Grant,
    v1::{self, CreateRoom, ack, event::Body, member::Role, room::Kind},
};

use super::{
    command::{Need, Now, Ticket, Who},
    fold,
    log::{Answer, Change, Waiter},
    state::{Handled, NewEvent, RoomState},
    woken::Settings,
};

const FIRST: Offset = Offset(1);

/// A checked `createRoom`.
struct Wanted {
    kind: Kind,
    name: String,
    public: bool,
    /// The other members, sorted, each once.
    others: Vec<UserId>,
    client_id: String,
}

impl RoomState {
    pub(super) fn needs_create(&self, create: &CreateRoom, who: &Who) -> Option<Need> {
        let settings = self.settings.as_ref()?;
        let repeated = settings.creator == who.user
            && !create.client_id.is_empty()
            && settings.client_id == create.client_id;
        let opening_known = self.log.head() < FIRST || self.pages.has(&self.log, FIRST, FIRST);
        (repeated && settings.kind != Kind::Direct && !opening_known)
            .then_some(Need::Page(FIRST, FIRST))
    }

    pub(super) fn create(
        &mut self,
        ticket: Ticket,
        who: Who,
        create: CreateRoom,
        now: Now,
    ) -> Handled {
        let wanted = check(create, &who)?;
        if let Some(settings) = &self.settings {
            return self.create_again(ticket, &who, &wanted, &settings.clone());
        }
        if wanted.kind == Kind::Channel && who.grant < Grant::Write {
            return Err(
                WireError::new(Code::Forbidden, "the token does not grant this channel")
                    .at("createRoom.room"),
            );
        }
        self.writable()?;
        self.open(ticket, who, wanted, now);
        Ok(None)
    }

    /// The room exists: a retry gets the first result, all others a conflict.
    fn create_again(
        &mut self,
        ticket: Ticket,
        who: &Who,
        wanted: &Wanted,
        settings: &Settings,
    ) -> Handled {
        let same = if settings.kind == Kind::Direct {
            wanted.kind == Kind::Direct
                && self.members.get(&who.user).is_some()
                && wanted
                    .others
                    .iter()
                    .all(|other| self.members.get(other).is_some())
        } else {
            settings.creator == who.user
                && !settings.client_id.is_empty()
                && settings.client_id == wanted.client_id
                && self.opened_as(who, wanted)
        };
        if !same {
            return Err(
                WireError::new(Code::Conflict, "a room with this id exists").at("createRoom.room")
            );
        }
        if let Some(opening) = self.log.pending_mut(FIRST) {
            opening.waiters.push(Waiter {
                ticket,
                answer: Answer::Created,
            });
            return Ok(None);
        }
        Ok(Some(self.created(settings)))
    }

    pub(super) fn created(&self, settings: &Settings) -> ack::Result {
        ack::Result::RoomCreated(v1::RoomCreated {
            room: Some(self.describe(settings)),
        })
    }

    /// Whether the room's first event is what `wanted` would make it.
    fn opened_as(&mut self, who: &Who, wanted: &Wanted) -> bool {
        let opening = match self.log.pending_mut(FIRST) {
            Some(opening) => Some(fold::decode(&opening.entry.event)),
            None => self.pages.raw(&self.log, &self.cursors, FIRST, FIRST).pop(),
        };
        let Some(Body::RoomOpened(opened)) = opening.and_then(|event| event.body) else {
            return false;
        };
        let room = opened.room.unwrap_or_default();
        let mut others: Vec<_> = opened
            .members
            .into_iter()
            .filter_map(|member| member.user)
            .map(|user| user.id)
            .filter(|id| id != who.user.as_str())
            .collect();
        others.sort_unstable();
        room.kind() == wanted.kind
            && room.name == wanted.name
            && room.public == wanted.public
            && others
                .iter()
                .map(String::as_str)
                .eq(wanted.others.iter().map(UserId::as_str))
    }

    fn open(&mut self, ticket: Ticket, who: Who, wanted: Wanted, now: Now) {
        let settings = Settings {
            kind: wanted.kind,
            name: wanted.name,
            public: wanted.public,
            creator: who.user.clone(),
            client_id: wanted.client_id,
        };
        let mut members = Vec::new();
        if wanted.kind != Kind::Channel {
            let creator_role = if wanted.kind == Kind::Group {
                Role::Owner
            } else {
                Role::Member
            };
            members.push((who.user.clone(), who.name.clone(), creator_role));
            let others = wanted.others.into_iter();
            members.extend(others.map(|user| (user, String::new(), Role::Member)));
        }
        for (user, name, role) in &members {
            self.members.add(user.clone(), *role, FIRST);
            self.draft.members.push(MemberRow {
                user: user.clone(),
                name: name.clone(),
                offset: FIRST,
                epoch: self.epoch,
                role: Some(*role),
            });
        }
        self.draft.settings = Some(RoomRow {
            offset: FIRST,
            epoch: self.epoch,
            kind: settings.kind,
            name: settings.name.clone(),
            public: settings.public,
            creator: settings.creator.clone(),
            client_id: settings.client_id.clone(),
        });
        let mut room = self.describe(&settings);
        room.member_count = u32::try_from(members.len()).expect("bounded by the command");
        self.settings = Some(settings);
        let by = v1::User {
            id: who.user.as_str().to_owned(),
            name: who.name.clone(),
        };
        let users = members.iter().map(|(user, ..)| user.clone()).collect();
        let listed = members.into_iter().map(|(user, name, role)| v1::Member {
            user: Some(v1::User {
                id: user.as_str().to_owned(),
                name,
            }),
            role: role.into(),
        });
        let body = v1::RoomOpened {
            room: Some(room),
            members: listed.collect(),
        };
        let offset = self.append(
            who,
            now,
            NewEvent {
                kind: EventKind::RoomOpened,
                target: Offset::ZERO,
                body: Body::RoomOpened(body),
                change: Change::Opened { members: users, by },
                waiter: Waiter {
                    ticket,
                    answer: Answer::Created,
                },
            },
        );
        debug_assert_eq!(offset, FIRST, "a room without settings has no events");
    }
}

fn check(create: CreateRoom, who: &Who) -> Result<Wanted, WireError> {
    let kind = create.kind();
    if kind == Kind::Unspecified {
        return Err(WireError::invalid(
            "createRoom.kind",
            "must be GROUP, DIRECT or CHANNEL",
        ));
    }
    if create.name.len() > NAME_BYTES_MAX {
        let message = format!("must have at most {NAME_BYTES_MAX} bytes");
        return Err(WireError::invalid("createRoom.name", message));
    }
    if create.name.chars().any(char::is_control) {
        return Err(WireError::invalid(
            "createRoom.name",
            "must not contain control characters",
        ));
    }
    if create.client_id.len() > CLIENT_ID_BYTES_MAX {
        let message = format!("must have at most {CLIENT_ID_BYTES_MAX} bytes");
        return Err(WireError::invalid("createRoom.clientId", message));
    }
    if create.members.len() > CREATE_MEMBERS_MAX {
        let message = format!("must name at most {CREATE_MEMBERS_MAX} users");
        return Err(WireError::invalid("createRoom.members", message));
    }
    let mut others = Vec::with_capacity(create.members.len());
    for member in &create.members {
        let user = UserId::parse(member)
            .map_err(|error| WireError::invalid("createRoom.members", error.to_string()))?;
        if user != who.user {
            others.push(user);
        }
    }
    others.sort_unstable();
    others.dedup();
    match kind {
        Kind::Direct if others.len() != 1 => {
            return Err(WireError::invalid(
                "createRoom.members",
                "must name exactly the other user",
            ));
        }
        Kind::Channel if !create.members.is_empty() => {
            return Err(WireError::invalid(
                "createRoom.members",
                "a channel has no members",
            ));
        }
        _ => {}
    }
    // Only groups know the difference: elsewhere the flag means nothing.
    let public = create.public && kind == Kind::Group;
    Ok(Wanted {
        kind,
        name: create.name,
        public,
        others,
        client_id: create.client_id,
    })
}
