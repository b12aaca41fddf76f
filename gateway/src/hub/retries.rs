//! Requests that are asked again: their shard has another owner, or none that is known, or what
//! was said on the link was lost.
//!
//! ```text
//!   Held ──sent──► Sent ──answered──► (gone)
//!    ▲              │ another owner, link lost, node silent
//!    │ not owner    ▼
//!    └─────────── Doubt ── repeatable: sent again ──► Sent
//!                   └── else: answered late, or UNAVAILABLE after a grace
//! ```
//! **Order.** What waits for a shard is one list, in the order asked; while there is one, every
//! new request joins it. Behind a request in doubt that cannot be repeated, the later ones of its
//! session wait. What was sent already and has not arrived is refused by the owner, because a new
//! turn begins with each refusal and loss ([`rookery_cluster::Turns`]). So a command never passes an
//! earlier one of its session that is asked again.
//!
//! **Once.** What may have been done is asked again only where twice is as good as once
//! ([`Ask::is_repeatable`](super::requests::Ask::is_repeatable)). Each try has a number of its
//! own, so a refusal of an earlier one is known as such.

use std::collections::{BTreeMap, BTreeSet};

use rookery_cluster::{EndpointId, Role, membership::ShardSet};
use rookery_proto::{
    errors::{Code, WireError},
    link::NotOwner,
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    input::NewOwners,
    requests::{Request, Stamp, State, Then},
    routes::Target,
    session::millis,
    uplink::Uplink,
    wheel::Millis,
    wire::Wire,
    worker::{Timer, Worker},
};
use crate::limits::{DOUBT_GRACE, OWNER_RETRY, OWNER_RETRY_MAX, UNAVAILABLE_RETRY};

/// The requests that wait for a shard.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// In the order asked.
    keys: BTreeSet<u64>,
    /// When the pause before the next try is over.
    due: Millis,
    /// Nothing but requests in doubt is in the way: what is new is sent at once.
    open: bool,
}

/// All of a lane, by shard.
pub(super) type Holds = FxHashMap<Target, Hold>;

impl<W: Wire, U: Uplink> Worker<W, U> {
    /// Sends a new request, or lets it wait for its shard. It comes back when the link is full.
    pub(super) fn dispatch(&mut self, key: u64, mut request: Request) -> Result<(), Box<Request>> {
        let target = request.ask.target();
        if let Some(hold) = self.holds.get_mut(&target) {
            hold.keys.insert(key);
            let open = hold.open;
            self.requests.insert(key, request);
            if open {
                self.send_held(target);
            }
        } else if let Some(owner) = self.routes.owner(target) {
            self.sent += 1;
            let stamp = Stamp {
                turn: self.turns[usize::from(target.1.number())],
                order: self.sent,
                resyncs: self.resyncs,
            };
            request.sent(key, owner, stamp);
            if self.uplink.offer(owner, request.ask.body()).is_err() {
                return Err(Box::new(request));
            }
            self.requests.insert(key, request);
        } else {
            self.requests.insert(key, request);
            self.hold(target, key);
            self.pause(target);
        }
        Ok(())
    }

    fn hold(&mut self, target: Target, key: u64) {
        self.holds.entry(target).or_default().keys.insert(key);
    }

    /// The request needs to wait no more, answered or not.
    pub(super) fn unhold(&mut self, key: u64, request: &Request) {
        if matches!(request.state, State::Sent(_)) {
            return;
        }
        let target = request.ask.target();
        if let Some(hold) = self.holds.get_mut(&target) {
            hold.keys.remove(&key);
            if hold.keys.is_empty() {
                self.holds.remove(&target);
            } else if hold.open {
                self.send_held(target);
            }
        }
    }

    /// Tries again after a while, the longer the more often the first in the list was sent.
    fn pause(&mut self, target: Target) {
        let Some(hold) = self.holds.get_mut(&target) else {
            return;
        };
        hold.open = false;
        let first = hold.keys.first().and_then(|&key| self.requests.get(key));
        let doublings = first.map_or(0, |first| first.tries.saturating_sub(2).min(8));
        let pause = (millis(OWNER_RETRY) << doublings).min(millis(OWNER_RETRY_MAX));
        if hold.due <= self.now {
            hold.due = self.now + pause;
            self.wheel.set(hold.due, Timer::Hold(target));
        }
    }

    /// A pause is over, or one of an earlier list of that shard.
    pub(super) fn on_pause_over(&mut self, target: Target) {
        let hold = self.holds.get(&target);
        if hold.is_some_and(|hold| !hold.open && hold.due <= self.now) {
            self.send_held(target);
        }
    }

    /// Sends what waits for a shard to its owner, in order, as far as that may be.
    fn send_held(&mut self, target: Target) {
        let Some(hold) = self.holds.get_mut(&target) else {
            return;
        };
        let Some(owner) = self.routes.owner(target) else {
            return self.pause(target);
        };
        let turn = self.turns[usize::from(target.1.number())];
        let mut blocked = FxHashSet::default();
        let mut sent = Vec::new();
        let mut full = false;
        for &key in &hold.keys {
            let Some(request) = self.requests.get_mut(key) else {
                debug_assert!(false, "an answered request leaves the list");
                continue;
            };
            if blocked.contains(&request.session) {
                continue;
            }
            let doubted = matches!(request.state, State::Doubt);
            if doubted && !request.ask.is_repeatable() {
                blocked.insert(request.session);
                continue;
            }
            let again = request.tries > 0;
            let before = request.state.clone();
            self.sent += 1;
            let stamp = Stamp {
                turn,
                order: self.sent,
                resyncs: self.resyncs,
            };
            request.sent(key, owner, stamp);
            if self.uplink.offer(owner, request.ask.body()).is_err() {
                request.state = before;
                full = true;
                break;
            }
            request.maybe_done |= doubted;
            self.counts.retried += u64::from(again);
            sent.push(key);
        }
        for key in sent {
            hold.keys.remove(&key);
        }
        hold.open = !full;
        if full {
            self.pause(target);
        } else if hold.keys.is_empty() {
            self.holds.remove(&target);
        }
    }

    /// The answer to this try may never come. False: it was not on its way.
    fn doubt(&mut self, key: u64) -> bool {
        let until = self.now + millis(DOUBT_GRACE);
        let Some(request) = self.requests.get_mut(key) else {
            return false;
        };
        if !matches!(request.state, State::Sent(_)) {
            return false;
        }
        request.state = State::Doubt;
        if !request.ask.is_repeatable() {
            self.wheel.set(until, Timer::Doubt(key, request.tries));
        }
        let target = request.ask.target();
        self.hold(target, key);
        self.begin_turn(target);
        true
    }

    /// What was sent to the shard's owner and does not arrive before this will be refused there.
    fn begin_turn(&mut self, target: Target) {
        self.turns[usize::from(target.1.number())] += 1;
    }

    /// Nobody answered a request that cannot be asked again: whether it was done is not known.
    pub(super) fn on_doubt_over(&mut self, key: u64, tries: u16) {
        let in_doubt = |request: &Request| {
            matches!(request.state, State::Doubt)
                && request.tries == tries
                && !request.ask.is_repeatable()
        };
        if !self.requests.get(key).is_some_and(in_doubt) {
            return;
        }
        let Some(request) = self.take_request(key) else {
            return;
        };
        self.counts.abandoned += 1;
        let error = WireError::new(
            Code::Unavailable,
            "the room's owner changed, no answer came",
        )
        .retry_after(UNAVAILABLE_RETRY);
        self.give_up(request, error, "owner lost");
    }

    /// The node is not the owner: this try was not done, and nothing sent after it will be.
    pub(super) fn on_not_owner(&mut self, from: &EndpointId, key: u64, told: &NotOwner) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        let target = request.ask.target();
        let was_sent = matches!(&request.state, State::Sent(to) if to == from);
        request.state = State::Held;
        request.relist = false;
        let (tries, order) = (request.tries, request.stamp.order);
        self.hold(target, key);
        let may_at_once = tries <= AT_ONCE_TRIES_MAX;
        if was_sent {
            self.begin_turn(target);
            // It is the owner, and lost something that was said before: all of it in order.
            let turned =
                self.routes.leads_to(target, from) && self.routes.detour(target, from, told);
            let all = told.owner == from.as_str() || turned;
            for key in self
                .requests
                .sent_after(if all { 0 } else { order }, target, from)
            {
                self.doubt(key);
            }
            if turned && target.0 == Role::Rooms {
                self.resync_shards(&ShardSet::from_iter([target.1]));
            }
        }
        let leads_elsewhere = !self.routes.leads_to(target, from) || told.owner == from.as_str();
        let open = self.holds.get(&target).is_some_and(|hold| hold.open);
        if (may_at_once && leads_elsewhere) || (open && !was_sent) {
            self.send_held(target);
        } else if was_sent {
            self.pause(target);
        }
    }

    fn doubt_where(&mut self, lost: impl Fn(&Request) -> bool) -> BTreeSet<Target> {
        let lost: BTreeMap<u64, Target> = self
            .requests
            .iter()
            .filter(|(_, request)| lost(request))
            .map(|(key, request)| (key, request.ask.target()))
            .collect();
        for &key in lost.keys() {
            self.doubt(key);
        }
        lost.into_values().collect()
    }

    /// What was said on the link to or from the node may be lost, and the node may have forgotten
    /// who listens.
    pub(super) fn doubt_all_at(&mut self, node: &EndpointId) {
        let at_node = |request: &Request| matches!(&request.state, State::Sent(to) if to == node);
        for request in self.requests.iter_mut() {
            request.relist |= request.then == Then::Join && at_node(request);
        }
        for target in self.doubt_where(at_node) {
            self.send_held(target);
        }
    }

    /// Shards have other owners: their rooms' streams, users and requests move along.
    pub(super) fn on_owners(&mut self, new: &NewOwners) {
        let changes = new.changes;
        self.routes.renew(new.owners.clone(), &changes);
        self.resync_shards(&changes.rooms);
        self.announce_shards(&changes.presence);
        let changed = |request: &Request| {
            let (role, shard) = request.ask.target();
            changes.contains(role, shard)
        };
        for request in self.requests.iter_mut() {
            request.relist |= request.then == Then::Join && changed(request);
        }
        let routes = &self.routes;
        let lost: Vec<u64> = self
            .requests
            .iter()
            .filter(|(_, request)| match &request.state {
                State::Sent(to) => changed(request) && !routes.leads_to(request.ask.target(), to),
                State::Held | State::Doubt => false,
            })
            .map(|(key, _)| key)
            .collect();
        for key in lost {
            self.doubt(key);
        }
        let held: BTreeSet<Target> = self
            .holds
            .keys()
            .copied()
            .filter(|&(role, shard)| changes.contains(role, shard))
            .collect();
        for target in held {
            self.send_held(target);
        }
    }
}

/// A refused request is sent on at once this often; then there is a pause before each try.
const AT_ONCE_TRIES_MAX: u16 = 2;
