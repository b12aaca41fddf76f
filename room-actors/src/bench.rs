//! The machine without its actor, for `benches/state.rs` only.

use rookery_cluster::{EndpointId, Role};
use rookery_persistence::EpochList;
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    link::{Grant, room_request::Command},
    v1,
};
use tokio::time::Instant;

use crate::{
    limits::{Memory, RoomLimits},
    room::{
        command::{Now, Ticket, Who},
        effects::Effects,
        state::RoomState,
        woken::Woken,
    },
};

/// One room with one listening session, whose writes are durable as soon as they are handed over.
pub struct Machine {
    state: RoomState,
    users: Vec<UserId>,
    gateway: EndpointId,
    now: Now,
    sent: u64,
}

impl Machine {
    /// A group of so many users.
    ///
    /// # Panics
    /// When `users` is more than one `createRoom` may name.
    #[must_use]
    pub fn new(users: usize) -> Self {
        let room = RoomId::parse("bench").expect("a room id");
        let users: Vec<_> = (0..users)
            .map(|user| UserId::parse(&format!("user-{user}")).expect("a user id"))
            .collect();
        let now = Now {
            ms: 1,
            at: Instant::now(),
        };
        let woken = Woken {
            room,
            epoch: Epoch(1),
            epochs: EpochList::default().claimed_by(Epoch(1), Offset::ZERO),
            tail: Vec::new(),
            settings: Vec::new(),
            members: Vec::new(),
            cursors: Vec::new(),
            deletions: Vec::new(),
        };
        let limits = RoomLimits {
            sends_per_second: 1_000_000_000,
            ..RoomLimits::default()
        };
        let state = RoomState::new(woken, limits, Memory::default());
        let gateway = EndpointId::new(Role::Gateway, 1);
        let mut machine = Self {
            state,
            users,
            gateway,
            now,
            sent: 0,
        };
        let create = v1::CreateRoom {
            kind: v1::room::Kind::Group.into(),
            members: machine
                .users
                .iter()
                .map(|user| user.as_str().to_owned())
                .collect(),
            ..v1::CreateRoom::default()
        };
        machine.run(0, Command::CreateRoom(create));
        machine.commit();
        machine.run(0, Command::Join(v1::Join::default()));
        machine
    }

    /// Applies so many sends, completing them in groups of `group`; how many outputs came.
    pub fn send(&mut self, count: u64, group: u64, text: &str) -> usize {
        let mut outputs = 0;
        for n in 1..=count {
            self.sent += 1;
            let send = v1::Send {
                room: String::new(),
                text: text.to_owned(),
                client_id: format!("{:016x}", self.sent),
            };
            let user = usize::try_from(self.sent).unwrap_or(0) % self.users.len();
            outputs += self.run(user, Command::Send(send));
            if n % group == 0 {
                outputs += self.commit();
            }
        }
        outputs + self.commit()
    }

    fn run(&mut self, user: usize, command: Command) -> usize {
        let who = Who {
            user: self.users[user].clone(),
            name: "Name".to_owned(),
            session: 1,
            lane: 0,
            gateway: self.gateway.clone(),
            grant: Grant::None,
        };
        let mut fx = Effects::default();
        assert!(
            self.state.needs(&command, &who, self.now).is_none(),
            "everything is in memory"
        );
        self.state.apply(Ticket(0), who, command, self.now, &mut fx);
        fx.outputs.len()
    }

    fn commit(&mut self) -> usize {
        let mut fx = Effects::default();
        if let Some((seq, _)) = self.state.take_write() {
            self.state.committed(seq, &mut fx);
        }
        if self.state.take_derived(self.now.at, false).is_some() {
            self.state.derived_written();
        }
        fx.outputs.len()
    }
}
