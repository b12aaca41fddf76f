//! What goes wrong around people and their gateways, and a bus in two halves.

use std::ops::Range;

use rookery_cluster::Role;
use rookery_loadtest::history::What;
use rookery_proto::v1::server_frame::Frame;
use tokio::time::{Duration, Instant, sleep};

use super::{Driver, TURN, misfortune::Later};
use crate::{
    cluster::{Moving, Target},
    judge::{Found, Kind},
    presence::{DOORS, Fact},
    work::CLIENTS,
};

/// Longest that a gateway stands: long enough to be taken for silent.
const STANDS_MS_MAX: u64 = 4_000;
/// Longest that a gateway is cut off: long enough to be given up.
const CUT_MS_MAX: u64 = 12_000;
/// When a killed gateway is replaced.
const REPLACED_MS_MAX: u64 = 3_000;
/// By then everybody was told what is so: a node that takes a shard waits 10 s for announcements,
/// and says nothing twice within 2 s.
const REST: Duration = Duration::from_secs(15);
/// How long rest is waited for.
const REST_PATIENCE: Duration = Duration::from_secs(90);
/// By then every shard has an owner.
const SETTLED: Duration = Duration::from_secs(4);
/// Longest and shortest that the bus is in two halves.
const SPLIT_MS: Range<u64> = 4_000..12_000;
/// After that everything serves again: what DESIGN §10 promises.
const WHOLE_AFTER: Duration = Duration::from_secs(2);

impl Driver {
    /// Something that concerns presence alone. False: another misfortune is wanted.
    pub(super) fn people_misfortune(&mut self, now: Instant) -> bool {
        let Some(people) = &mut self.people else {
            return false;
        };
        let dice = &mut people.dice;
        let door = dice.usize(0..DOORS);
        let index = dice.usize(0..self.nodes.len());
        let within = |dice: &mut fastrand::Rng, max| now + Duration::from_millis(dice.u64(10..max));
        match dice.u8(0..20) {
            0..=2 => {
                let back = within(dice, REPLACED_MS_MAX);
                people.kill(door);
                self.at(back, Later::OpenDoor(door));
            }
            3..=4 => {
                let over = within(dice, STANDS_MS_MAX);
                people.stand(door);
                self.at(over, Later::DoorGoesOn(door));
            }
            5 => {
                let over = within(dice, CUT_MS_MAX);
                if let (Some(one), Some(node)) = (people.process(door), &self.nodes[index].node) {
                    self.cluster.net.cut(one, &node.process);
                    self.at(over, Later::Heal);
                }
            }
            6..=13 if self.cluster.moving == Moving::Planned => {
                let users: Vec<Target> = self.users().collect();
                let dice = &mut self.people.as_mut().expect("looked at above").dice;
                let target = users[dice.usize(0..users.len())];
                if dice.u8(0..3) > 0 {
                    self.hand_over(target, index);
                } else {
                    self.assign(target, index);
                }
            }
            14 => {
                let over = within(dice, SPLIT_MS.end);
                self.cluster.net.split(dice, false);
                self.at(over, Later::Heal);
            }
            _ => return false,
        }
        true
    }

    fn users(&self) -> impl Iterator<Item = Target> + use<> {
        self.targets().filter(|(role, _)| *role == Role::Presence)
    }

    /// Waits until all must be told what is so, while nobody does anything.
    pub(super) async fn rest(&mut self) -> Option<Found> {
        self.people.as_ref()?;
        let began = self.cluster.world.micros();
        let until = Instant::now() + REST_PATIENCE;
        while Instant::now() < until {
            let moved = self.cluster.world.facts(|facts| {
                let mut moves = facts.iter().rev();
                let last = moves.find(|(_, fact)| matches!(fact, Fact::Owner { .. }));
                last.map_or(began, |(at, _)| began.max(*at))
            });
            let quiet = self.cluster.world.micros() - moved;
            if Duration::from_micros(quiet) >= REST {
                self.cluster.world.note(Fact::Rest);
                return None;
            }
            self.look_after(Instant::now());
            sleep(TURN).await;
        }
        Some(Found::stuck("shards do not come to rest"))
    }

    /// Nothing else is wrong: nothing may move, and all serve again soon.
    pub(super) async fn split_in_peace(&mut self) -> Vec<Found> {
        let Some(people) = &mut self.people else {
            return Vec::new();
        };
        let lasts = Duration::from_millis(people.dice.u64(SPLIT_MS));
        self.live(SETTLED).await;
        let owned = self.cluster.quorum.owned();
        if let Some(people) = &mut self.people {
            self.cluster.net.split(&mut people.dice, true);
        }
        self.live(lasts).await;
        self.cluster.net.heal();
        self.live(WHOLE_AFTER).await;
        let mut found = Vec::new();
        let whole_from = self.cluster.history_len();
        found.extend(self.rest().await);
        for client in 0..CLIENTS {
            let is_answered = self.cluster.any_since(whole_from, |record| {
                let answer = match &record.what {
                    What::Received(frame) => matches!(frame.frame, Some(Frame::Ack(_))),
                    _ => false,
                };
                answer && record.client == client
            });
            if !is_answered {
                found.push(Found::stuck(&format!("client {client} after a split")));
            }
        }
        for (cell, value) in self.cluster.quorum.owned() {
            let before = owned.get(&cell);
            if before != Some(&value) {
                found.push(Found {
                    kind: Kind::Moved,
                    what: format!("{cell:?} was {before:?}, and is {value:?} after a split"),
                });
            }
        }
        found
    }

    /// Time goes by without misfortunes; people go on.
    async fn live(&mut self, lasts: Duration) {
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            let now = Instant::now();
            self.look_after(now);
            if let Some(people) = &mut self.people {
                people.act(now);
            }
            sleep(TURN).await;
        }
    }
}
