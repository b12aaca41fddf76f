//! Sessions that listen, the lanes they are on, and who is here.

use bytes::Bytes;
use prost::Message as _;
use rookery_cluster::EndpointId;
use rookery_proto::{
    ids::{RoomId, UserId},
    limits::HERE_USERS_MAX,
    link::{self, packet},
    v1,
};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::{command::Who, effects::Effects};
use crate::limits::{ROSTER_INTERVAL, TYPING_INTERVAL};

#[derive(Debug)]
struct Listener {
    user: UserId,
    lane: u32,
    /// When the last typing signal of this session went out.
    typing_at: Option<Instant>,
    typing: bool,
}

#[derive(Debug)]
struct Gateway {
    endpoint: EndpointId,
    sessions: FxHashMap<u64, Listener>,
    /// Listeners by lane.
    per_lane: FxHashMap<u32, usize>,
    /// Bit n: lane n has listeners.
    lanes: u64,
}

#[derive(Debug)]
struct Here {
    name: String,
    sessions: usize,
}

/// All listening sessions, by gateway.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    gateways: Vec<Gateway>,
    here: FxHashMap<UserId, Here>,
    /// Users who came (true) or went since the last roster signal.
    changed: FxHashMap<UserId, (String, bool)>,
    signalled_at: Option<Instant>,
    count: usize,
}

impl Listeners {
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Adds a session, or moves it to another lane.
    pub(super) fn attach(&mut self, who: &Who) {
        self.detach(&who.gateway, who.session);
        let index = self
            .gateways
            .iter()
            .position(|gateway| gateway.endpoint == who.gateway);
        let index = index.unwrap_or_else(|| {
            self.gateways.push(Gateway {
                endpoint: who.gateway.clone(),
                sessions: FxHashMap::default(),
                per_lane: FxHashMap::default(),
                lanes: 0,
            });
            self.gateways.len() - 1
        });
        let gateway = &mut self.gateways[index];
        let listener = Listener {
            user: who.user.clone(),
            lane: who.lane,
            typing_at: None,
            typing: false,
        };
        gateway.sessions.insert(who.session, listener);
        *gateway.per_lane.entry(who.lane).or_default() += 1;
        gateway.lanes |= 1 << who.lane;
        self.count += 1;
        self.came(who);
    }

    /// Removes a session, when it listens.
    pub(super) fn detach(&mut self, endpoint: &EndpointId, session: u64) {
        let Some(index) = self
            .gateways
            .iter()
            .position(|gateway| gateway.endpoint == *endpoint)
        else {
            return;
        };
        let gateway = &mut self.gateways[index];
        let Some(listener) = gateway.sessions.remove(&session) else {
            return;
        };
        let on_lane = gateway
            .per_lane
            .get_mut(&listener.lane)
            .expect("counted when attached");
        *on_lane -= 1;
        if *on_lane == 0 {
            gateway.per_lane.remove(&listener.lane);
            gateway.lanes &= !(1 << listener.lane);
        }
        if gateway.sessions.is_empty() {
            self.gateways.swap_remove(index);
        }
        self.count -= 1;
        self.went(&listener.user);
    }

    /// Removes all sessions of a user.
    pub(super) fn detach_user(&mut self, user: &UserId) {
        self.detach_where(|_, listener| listener.user == *user);
    }

    /// Removes all sessions of a gateway, or of one lane of it.
    pub(super) fn detach_gateway(&mut self, endpoint: &EndpointId, lane: Option<u32>) {
        self.detach_where(|gateway, listener| {
            gateway == endpoint && lane.is_none_or(|lane| lane == listener.lane)
        });
    }

    fn detach_where(&mut self, gone: impl Fn(&EndpointId, &Listener) -> bool) {
        let gone: Vec<_> = self
            .gateways
            .iter()
            .flat_map(|gateway| {
                let endpoint = &gateway.endpoint;
                let sessions = gateway.sessions.iter();
                sessions
                    .filter(|(_, listener)| gone(endpoint, listener))
                    .map(|(session, _)| (endpoint.clone(), *session))
            })
            .collect();
        for (endpoint, session) in gone {
            self.detach(&endpoint, session);
        }
    }

    fn came(&mut self, who: &Who) {
        if let Some(here) = self.here.get_mut(&who.user) {
            here.sessions += 1;
            return;
        }
        let here = Here {
            name: who.name.clone(),
            sessions: 1,
        };
        self.here.insert(who.user.clone(), here);
        if self.changed.remove(&who.user).is_none() {
            self.changed
                .insert(who.user.clone(), (who.name.clone(), true));
        }
    }

    fn went(&mut self, user: &UserId) {
        let here = self.here.get_mut(user).expect("came before");
        here.sessions -= 1;
        if here.sessions > 0 {
            return;
        }
        let here = self.here.remove(user).expect("looked at above");
        if self.changed.remove(user).is_none() {
            self.changed.insert(user.clone(), (here.name, false));
        }
    }

    /// Users here, and their names while they are few.
    pub(super) fn here(&self) -> (u32, Vec<v1::User>) {
        let count = u32::try_from(self.here.len()).unwrap_or(u32::MAX);
        if self.here.len() > HERE_USERS_MAX {
            return (count, Vec::new());
        }
        let users = self.here.iter().map(|(id, here)| v1::User {
            id: id.as_str().to_owned(),
            name: here.name.clone(),
        });
        (count, sorted(users.collect()))
    }

    /// When the next roster signal is to go out.
    pub(super) fn roster_due(&self, now: Instant) -> Option<Instant> {
        if self.changed.is_empty() {
            return None;
        }
        Some(
            self.signalled_at
                .map_or(now, |at| (at + ROSTER_INTERVAL).max(now)),
        )
    }

    /// Tells who came and went.
    pub(super) fn signal_roster(&mut self, room: &RoomId, now: Instant, fx: &mut Effects) {
        self.signalled_at = Some(now);
        let changed = std::mem::take(&mut self.changed);
        let here_count = u32::try_from(self.here.len()).unwrap_or(u32::MAX);
        let mut signal = v1::RosterSignal {
            here_count,
            came: Vec::new(),
            went: Vec::new(),
        };
        if self.here.len() <= HERE_USERS_MAX && changed.len() <= HERE_USERS_MAX {
            for (id, (name, came)) in changed {
                let list = if came {
                    &mut signal.came
                } else {
                    &mut signal.went
                };
                list.push(v1::User {
                    id: id.as_str().to_owned(),
                    name,
                });
            }
            signal.came = sorted(signal.came);
            signal.went = sorted(signal.went);
        }
        self.signal(room, v1::signal::Body::Roster(signal), 0, fx);
    }

    /// Sends a signal to all listeners but one session.
    pub(super) fn signal(
        &self,
        room: &RoomId,
        body: v1::signal::Body,
        except_session: u64,
        fx: &mut Effects,
    ) {
        if self.gateways.is_empty() {
            return;
        }
        let signal = v1::Signal {
            room: room.as_str().to_owned(),
            body: Some(body),
        };
        let signal = Bytes::from(signal.encode_to_vec());
        for gateway in &self.gateways {
            let body = link::RoomSignal {
                room: room.as_str().to_owned(),
                lanes: gateway.lanes,
                signal: signal.clone(),
                except_session,
            };
            fx.send_to_gateway(&gateway.endpoint, packet::Body::RoomSignal(body));
        }
    }

    /// Sends a committed event to all listeners.
    pub(super) fn broadcast(
        &self,
        room: &RoomId,
        epoch: u64,
        offset: u64,
        event: &Bytes,
        origin: &(EndpointId, u64),
        fx: &mut Effects,
    ) {
        for gateway in &self.gateways {
            let body = link::RoomEvent {
                room: room.as_str().to_owned(),
                epoch,
                offset,
                lanes: gateway.lanes,
                event: event.clone(),
                origin: if gateway.endpoint == origin.0 {
                    origin.1
                } else {
                    0
                },
            };
            fx.send_to_gateway(&gateway.endpoint, packet::Body::RoomEvent(body));
        }
    }

    /// Whether a typing signal of this session goes out now; remembers that it did.
    pub(super) fn may_type(&mut self, who: &Who, active: bool, now: Instant) -> bool {
        let gateway = self
            .gateways
            .iter_mut()
            .find(|gateway| gateway.endpoint == who.gateway);
        let Some(listener) = gateway.and_then(|gateway| gateway.sessions.get_mut(&who.session))
        else {
            return false;
        };
        // Its end always goes out once: there is at most one for each start.
        let ends = !active && listener.typing;
        let waited = listener
            .typing_at
            .is_none_or(|at| now.duration_since(at) >= TYPING_INTERVAL);
        if !ends && !waited {
            return false;
        }
        if !ends {
            listener.typing_at = Some(now);
        }
        listener.typing = active;
        true
    }
}

fn sorted(mut users: Vec<v1::User>) -> Vec<v1::User> {
    users.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    users
}
