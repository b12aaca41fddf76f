//! What people do: open sessions, choose a status, watch each other, go away.

use std::{collections::BTreeSet, sync::Arc};

use fastrand::Rng;
use rookery_proto::v1::presence::Status;
use tokio::{
    sync::mpsc,
    time::{Duration, Instant},
};

use super::{
    USERS,
    gateway::{Gateway, Wish},
};
use crate::{cluster::Cluster, world::Process};

/// Gateways that people use.
pub(crate) const DOORS: usize = 3;
/// Devices of one user.
const DEVICES: usize = 2;
/// Longest time between two things that somebody does.
const PACE_MS_MAX: u64 = 400;
/// Longest until a device comes back.
const AWAY_MS_MAX: u64 = 7_000;

/// All people, and the gateways they use.
pub(crate) struct People {
    cluster: Arc<Cluster>,
    pub(crate) dice: Rng,
    doors: Vec<Option<Door>>,
    devices: Vec<Device>,
    next: Instant,
}

/// One run of a gateway, as seen from outside.
struct Door {
    process: Arc<Process>,
    wishes: mpsc::UnboundedSender<Wish>,
    stands: bool,
}

struct Device {
    user: &'static str,
    /// Which of its user's.
    number: usize,
    session: Option<Seat>,
    /// Not there before then.
    back: Instant,
    /// What it chose last, in whatever session.
    choice: Option<Status>,
}

struct Seat {
    door: usize,
    session: u64,
    watched: BTreeSet<&'static str>,
}

impl People {
    /// Starts their gateways; nobody is there yet.
    pub(crate) fn new(cluster: &Arc<Cluster>) -> Self {
        let now = Instant::now();
        let device = |user, number| Device {
            user,
            number,
            session: None,
            back: now,
            choice: None,
        };
        let devices = USERS
            .into_iter()
            .flat_map(|user| (0..DEVICES).map(move |number| device(user, number)));
        let mut people = Self {
            cluster: Arc::clone(cluster),
            dice: cluster.world.own_dice(),
            doors: (0..DOORS).map(|_| None).collect(),
            devices: devices.collect(),
            next: now,
        };
        for door in 0..DOORS {
            people.start(door);
        }
        people
    }

    /// Starts a gateway that is not there.
    pub(crate) fn start(&mut self, door: usize) {
        if self.doors[door].is_none() {
            let (process, wishes) = Gateway::start(&self.cluster, &format!("door-{door}"));
            self.doors[door] = Some(Door {
                process,
                wishes,
                stands: false,
            });
        }
    }

    /// A gateway dies with all its sessions.
    pub(crate) fn kill(&mut self, door: usize) {
        let Some(gone) = self.doors[door].take() else {
            return;
        };
        gone.process.kill();
        for device in &mut self.devices {
            if device.session.as_ref().is_some_and(|it| it.door == door) {
                device.session = None;
                let away = self.dice.u64(0..AWAY_MS_MAX);
                device.back = Instant::now() + Duration::from_millis(away);
            }
        }
    }

    /// A gateway stands still.
    pub(crate) fn stand(&mut self, door: usize) {
        if let Some(door) = &mut self.doors[door] {
            door.stands = true;
            door.process.stand();
        }
    }

    pub(crate) fn go_on(&mut self, door: usize) {
        if let Some(door) = &mut self.doors[door] {
            door.stands = false;
            door.process.go_on();
        }
    }

    /// All gateways run.
    pub(crate) fn all_well(&mut self) {
        for door in 0..DOORS {
            self.start(door);
            self.go_on(door);
        }
    }

    pub(crate) fn process(&self, door: usize) -> Option<&Arc<Process>> {
        self.doors[door].as_ref().map(|door| &door.process)
    }

    /// Somebody does something, if it is time.
    pub(crate) fn act(&mut self, now: Instant) {
        if now < self.next {
            return;
        }
        self.next = now + Duration::from_millis(self.dice.u64(20..PACE_MS_MAX));
        let index = self.dice.usize(0..self.devices.len());
        let Some(seat) = &self.devices[index].session else {
            if now >= self.devices[index].back {
                self.come(index);
            }
            return;
        };
        // Who waits for a gateway that stands does nothing else.
        if self.doors[seat.door].as_ref().is_some_and(|it| it.stands) {
            return;
        }
        match self.dice.u8(0..100) {
            0..=5 => self.go(index, now),
            6..=30 => {
                let status = self.choose(index);
                self.devices[index].choice = Some(status);
                self.wish(index, |session| Wish::Choose { session, status });
            }
            31..=40 => self.watch(index),
            41..=45 => self.unwatch(index),
            _ => {}
        }
    }

    fn choose(&mut self, index: usize) -> Status {
        let all = [Status::Online, Status::Away, Status::Dnd, Status::Invisible];
        // Of two devices one never hides.
        let may = all.len() - usize::from(self.devices[index].number == 0);
        all[self.dice.usize(0..may)]
    }

    fn come(&mut self, index: usize) {
        let door = self.dice.usize(0..DOORS);
        if self.doors[door].as_ref().is_none_or(|it| it.stands) {
            return;
        }
        let session = self.cluster.world.number();
        let device = &mut self.devices[index];
        device.session = Some(Seat {
            door,
            session,
            watched: BTreeSet::new(),
        });
        let (user, number, choice) = (device.user, device.number, device.choice);
        self.wish(index, |session| Wish::Open {
            session,
            user,
            device: number,
        });
        // Whoever chose once says so again: the device may be forgotten.
        if let Some(status) = choice {
            self.wish(index, |session| Wish::Choose { session, status });
        }
        self.watch(index);
        self.watch(index);
    }

    fn go(&mut self, index: usize, now: Instant) {
        self.wish(index, |session| Wish::Close { session });
        self.devices[index].session = None;
        let away = match self.dice.bool() {
            // A page is loaded again.
            true => self.dice.u64(0..1_500),
            false => self.dice.u64(0..AWAY_MS_MAX),
        };
        self.devices[index].back = now + Duration::from_millis(away);
    }

    fn watch(&mut self, index: usize) {
        let user = USERS[self.dice.usize(0..USERS.len())];
        if let Some(seat) = &mut self.devices[index].session
            && seat.watched.insert(user)
        {
            self.wish(index, |session| Wish::Watch { session, user });
        }
    }

    fn unwatch(&mut self, index: usize) {
        let first = match &mut self.devices[index].session {
            Some(seat) => seat.watched.pop_first(),
            None => None,
        };
        if let Some(user) = first {
            self.wish(index, |session| Wish::Unwatch { session, user });
        }
    }

    fn wish(&self, index: usize, wish: impl FnOnce(u64) -> Wish) {
        if let Some(seat) = &self.devices[index].session
            && let Some(door) = &self.doors[seat.door]
        {
            // The gateway lives as long as its door is there.
            let _ = door.wishes.send(wish(seat.session));
        }
    }
}
