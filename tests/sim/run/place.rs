//! Which node is to own what.

use rookery_cluster::Role;
use rookery_persistence::ShardKind;
use rookery_proto::shard::Shard;

use super::Driver;
use crate::{
    cluster::Target,
    keeper::Order,
    node::Node,
    replica::{Cell, Value},
};

impl Driver {
    pub(super) fn start(&mut self, index: usize) {
        if self.nodes[index].node.is_none() {
            let node = Node::start(&self.cluster, &format!("node-{index}"));
            self.nodes[index].node = Some(node);
            self.place_lost();
        }
    }

    /// What is owned: the shards of the rooms, and of the people whose presence is watched.
    pub(super) fn targets(&self) -> impl Iterator<Item = Target> + use<> {
        let plan = self.plan();
        let rooms = plan.rooms.iter().copied().map(|it| (Role::Rooms, it));
        let people = plan.people().map(|it| (Role::Presence, it));
        rooms.chain(people).map(|(role, it)| (role, Shard::of(it)))
    }

    /// Every shard goes to some node.
    pub(super) fn place_all(&mut self) {
        for target in self.targets() {
            let index = self.dice.usize(0..self.plan().nodes);
            self.assign(target, index);
        }
    }

    /// A node that was fenced owns nothing again: whoever knows a larger epoch never asks it.
    pub(super) fn assign(&self, (role, shard): Target, index: usize) {
        if let Some(node) = &self.nodes[index].node
            && !self.is_fenced(node)
        {
            self.cluster.assign(shard, &node.endpoint(role));
        }
    }

    /// Its owner gives the shard to that node, if both are there.
    pub(super) fn hand_over(&self, target: Target, index: usize) {
        let (role, shard) = target;
        let to = self.nodes[index].node.as_ref();
        if let (Some(owner), Some(to)) = (self.cluster.owner(target), to)
            && !self.is_fenced(to)
        {
            let order = Order::GiveTo(shard, to.endpoint(role));
            self.cluster.order(&owner, order);
        }
    }

    /// Whether the node takes part in the cluster.
    pub(super) fn serves(&self, index: usize) -> bool {
        self.nodes[index].node.as_ref().is_some_and(Node::serves)
    }

    /// Whether every node that is there takes part in the cluster.
    pub(super) fn all_serve(&self) -> bool {
        let mut there = self.nodes.iter().filter_map(|slot| slot.node.as_ref());
        there.all(Node::serves)
    }

    /// Whether the database has every room's shard as that node's.
    pub(super) fn owns_all(&self, index: usize) -> bool {
        let Some(node) = &self.nodes[index].node else {
            return false;
        };
        self.plan().rooms.iter().all(|room| {
            let cell = Cell::Shard(ShardKind::Rooms as u8, Shard::of(room).number());
            let owner = self.cluster.quorum.inspect(|replicas| {
                let known = replicas.iter().filter_map(|it| it.cell(cell));
                known.max_by_key(|(ballot, _)| *ballot)
            });
            let taker = match owner {
                Some((_, (Value::Shard { incarnation, .. }, _))) => incarnation,
                _ => return false,
            };
            taker == node.process.incarnation
        })
    }

    pub(super) fn is_fenced(&self, node: &Node) -> bool {
        let cell = Cell::Node(node.process.incarnation);
        let fenced = Value::Node { fenced: true };
        self.cluster.quorum.inspect(|replicas| {
            let mut known = replicas.iter().filter_map(|it| it.cell(cell));
            known.any(|(_, (value, _))| value == fenced)
        })
    }

    /// Shards whose owner is gone find others.
    pub(super) fn place_lost(&mut self) {
        for target in self.targets() {
            let owner = self.cluster.owner(target);
            let lives = self
                .nodes
                .iter()
                .filter_map(|slot| slot.node.as_ref())
                .any(|node| Some(node.endpoint(target.0)) == owner && !self.is_fenced(node));
            if !lives {
                self.move_on(target);
            }
        }
    }

    pub(super) fn reassign(&mut self, index: usize) {
        let Some(node) = &self.nodes[index].node else {
            return self.place_lost();
        };
        let own = [Role::Rooms, Role::Presence].map(|role| node.endpoint(role));
        for target in self.targets() {
            let owner = self.cluster.owner(target);
            if owner.is_some_and(|owner| own.contains(&owner)) {
                self.move_on(target);
            }
        }
    }

    pub(super) fn move_on(&mut self, target: Target) {
        let owner = self.cluster.owner(target);
        let first = self.dice.usize(0..self.nodes.len());
        for step in 0..self.nodes.len() {
            let index = (first + step) % self.nodes.len();
            let other = self.nodes[index].node.as_ref();
            if other.is_some_and(|it| Some(it.endpoint(target.0)) != owner && !self.is_fenced(it)) {
                return self.assign(target, index);
            }
        }
    }
}
