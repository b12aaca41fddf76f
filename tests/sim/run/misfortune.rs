//! What goes wrong, and when it is over.

use fastrand::Rng;
use rookery_cluster::Role;
use rookery_proto::shard::Shard;
use tokio::time::{Duration, Instant};

use super::Driver;
use crate::{
    cluster::Moving,
    net::Weather,
    node::Node,
    quorum::{REPLICAS, Trouble},
};

/// The number of the misfortune that an owner that lives is replaced.
const ALARM: u8 = 7;

#[derive(Debug)]
pub(super) enum Later {
    Start(usize),
    GoOn(usize),
    ReachStore(usize),
    ReplicaUp(usize),
    /// The shards of a node that is gone find others.
    Reassign(usize),
    Fair,
    Calm,
    Heal,
    /// A gateway of people is started anew, or goes on.
    OpenDoor(usize),
    DoorGoesOn(usize),
}

impl Driver {
    pub(super) fn misfortune(&mut self, now: Instant) {
        if self.people_misfortune(now) {
            return;
        }
        let plan = self.plan();
        let index = self.dice.usize(0..plan.nodes);
        let soon = |dice: &mut Rng, max| now + Duration::from_millis(dice.u64(10..max));
        let which = match self.dice.u8(0..10) < plan.alarms {
            true => ALARM,
            false => self.dice.u8(0..20),
        };
        match which {
            0..=2 => self.kill(index, now),
            3..=6 => {
                // It stands, and others take what it had before it goes on.
                if let Some(node) = &self.nodes[index].node {
                    node.process.stand();
                    let at = soon(&mut self.dice, 2_500);
                    self.at(at, Later::GoOn(index));
                    let at = soon(&mut self.dice, 600);
                    self.at(at, Later::Reassign(index));
                }
            }
            ALARM..=9 => {
                // A false alarm: another takes a shard from a node that lives.
                let room = plan.rooms[self.dice.usize(0..plan.rooms.len())];
                let target = (Role::Rooms, Shard::of(room));
                if self.cluster.moving == Moving::Planned && self.dice.u8(0..4) > 0 {
                    self.hand_over(target, index);
                } else {
                    self.assign(target, index);
                }
            }
            10 => {
                if let Some(node) = &self.nodes[index].node {
                    node.process.cut_from_store(true);
                    let at = soon(&mut self.dice, 2_000);
                    self.at(at, Later::ReachStore(index));
                }
            }
            11 | 12 => {
                let replica = self.dice.usize(0..REPLICAS);
                self.cluster.quorum.down(replica, true);
                let at = soon(&mut self.dice, 2_000);
                self.at(at, Later::ReplicaUp(replica));
            }
            13 | 14 => {
                let weather = Weather {
                    lost: self.dice.u32(0..200),
                    doubled: self.dice.u32(0..200),
                    overtaken: self.dice.u32(0..100),
                    delay_ms_max: self.dice.u64(2..300),
                };
                self.cluster.net.weather(weather);
                let at = soon(&mut self.dice, 3_000);
                self.at(at, Later::Fair);
            }
            15..=17 => {
                let trouble = Trouble {
                    lost: self.dice.u32(0..250),
                    late: self.dice.u32(0..300),
                    late_ms_max: self.dice.u64(10..6_000),
                    delay_ms_max: self.dice.u64(4..400),
                    stalled: self.dice.u32(0..150),
                    stall_ms_max: self.dice.u64(10..2_000),
                };
                self.cluster.quorum.trouble(trouble);
                let at = soon(&mut self.dice, 3_000);
                self.at(at, Later::Calm);
            }
            18 => {
                let other = self.dice.usize(0..plan.nodes);
                if let (Some(one), Some(other)) = (&self.nodes[index].node, &self.nodes[other].node)
                {
                    self.cluster.net.cut(&one.process, &other.process);
                    let at = soon(&mut self.dice, 2_000);
                    self.at(at, Later::Heal);
                }
            }
            _ => {
                if let Some(node) = &self.nodes[index].node {
                    let off = self.dice.i64(-5_000..5_000);
                    node.process.step_clock(off);
                }
            }
        }
    }

    pub(super) fn kill(&mut self, index: usize, now: Instant) {
        let Some(node) = self.nodes[index].node.take() else {
            return;
        };
        if self.dice.u8(0..4) == 0 {
            node.stop();
        } else {
            node.process.kill();
        }
        let max = self.plan().restart_ms_max;
        let back = now + Duration::from_millis(self.dice.u64(10..max));
        self.at(back, Later::Start(index));
        let found = now + Duration::from_millis(self.dice.u64(10..800));
        self.at(found, Later::Reassign(index));
    }

    pub(super) fn at(&mut self, when: Instant, what: Later) {
        self.later.insert((when, self.cluster.world.number()), what);
    }

    /// Does what is due, and replaces nodes that were fenced.
    pub(super) fn look_after(&mut self, now: Instant) {
        while let Some(((when, _), _)) = self.later.first_key_value()
            && *when <= now
        {
            let (_, what) = self.later.pop_first().expect("looked at above");
            self.happens(what);
        }
        for index in 0..self.nodes.len() {
            let fenced = self.nodes[index].node.as_ref().is_some_and(Node::is_fenced);
            if fenced {
                self.cluster
                    .world
                    .say(|| format!("machine {index}: fenced"));
                self.kill(index, now);
            }
        }
        if self.dice.u8(0..20) == 0 {
            self.place_lost();
        }
    }

    fn happens(&mut self, what: Later) {
        match what {
            Later::Start(index) => self.start(index),
            Later::GoOn(index) => self.with(index, |node| node.process.go_on()),
            Later::ReachStore(index) => self.with(index, |it| it.process.cut_from_store(false)),
            Later::ReplicaUp(replica) => self.cluster.quorum.down(replica, false),
            Later::Reassign(index) => self.reassign(index),
            Later::Fair => self.cluster.net.weather(Weather::FAIR),
            Later::Calm => self.cluster.quorum.trouble(Trouble::NONE),
            Later::Heal => self.cluster.net.heal(),
            Later::OpenDoor(door) => self.people.iter_mut().for_each(|it| it.start(door)),
            Later::DoorGoesOn(door) => self.people.iter_mut().for_each(|it| it.go_on(door)),
        }
    }

    pub(super) fn with(&self, index: usize, act: impl FnOnce(&Node)) {
        if let Some(node) = &self.nodes[index].node {
            act(node);
        }
    }
}
