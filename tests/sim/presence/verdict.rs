//! What must hold of presence, judged by what happened and what watchers were told. Pure.
//!
//! - **Unknown is not offline.** Nobody is told that a user is offline who has been connected for
//!   [`KNOWN_AFTER`], at gateways that all the while ran, were not cut off and lost nothing. Others
//!   may stand, die and lose shards meanwhile. A page that is loaded again within [`RELOAD`] counts
//!   as connected.
//! - **The latest arrives.** At rest every session shows of everybody it watches the best of what
//!   the devices chose that are connected, and offline of who has none.
//! - **Not more often than each 2 s** is a session told unasked of one user by one node, as long as
//!   it has the shard.
//! - **A split moves nothing**: no gateway goes by another owner.

use std::collections::BTreeMap;

use rookery_cluster::EndpointId;
use rookery_proto::{shard::Shard, v1::presence::Status};

use super::Fact;
use crate::judge::{Found, Kind};

/// By then presence has heard of a session, and what was told before has arrived: a gateway learns
/// of an owner within 1.5 s, and each process on the way stands for at most 4 s.
const KNOWN_AFTER: u64 = 13_000_000;
/// How long a device may be without session, in microseconds: well below the grace of 5 s.
const RELOAD: u64 = 2_000_000;
/// The least time between two updates, less what messages overtake each other by.
const SPACING: u64 = 2_000_000 - 400_000;
/// So long after harm updates may come closer: they come together after a stand, and who was given
/// up and heard again (3 s of silence, 5 s of grace) watches anew.
const AFTER_HARM: u64 = 10_000_000;

/// Microseconds since the run began.
type At = u64;

#[derive(Debug)]
struct Session {
    gateway: u64,
    user: &'static str,
    device: usize,
    opened: At,
    ended: Option<At>,
    watched: BTreeMap<&'static str, Watch>,
}

#[derive(Debug, Default)]
struct Watch {
    told: Option<Status>,
    /// The last update unasked: when, and by whom.
    update: Option<(At, EndpointId)>,
}

/// Something that is in the way of one process, or of all.
#[derive(Debug)]
struct Harm {
    who: Option<u64>,
    stands: bool,
    from: At,
    to: Option<At>,
}

#[derive(Default)]
struct Book {
    sessions: BTreeMap<u64, Session>,
    harms: Vec<Harm>,
    /// By user and device.
    choices: BTreeMap<(&'static str, usize), Choice>,
    is_split: bool,
    found: Vec<Found>,
}

struct Choice {
    status: Status,
    was_hidden: bool,
}

/// Judges a whole run.
pub(crate) fn judge(facts: &[(At, Fact)]) -> Vec<Found> {
    let mut book = Book::default();
    for (at, fact) in facts {
        book.take(*at, fact);
    }
    book.found
}

impl Book {
    fn take(&mut self, at: At, fact: &Fact) {
        match fact {
            Fact::Stands(who) => self.begin(Some(*who), true, at),
            Fact::GoesOn(who) => self.end(at, |it| it.stands && it.who == Some(*who)),
            Fact::Died(who) => {
                let theirs = self.sessions.values_mut();
                for session in theirs.filter(|it| it.gateway == *who) {
                    session.ended.get_or_insert(at);
                }
            }
            Fact::Losing(true) => self.begin(None, false, at),
            Fact::Losing(false) => self.end(at, |it| it.who.is_none()),
            Fact::Cut(one, other) => {
                self.begin(Some(*one), false, at);
                self.begin(Some(*other), false, at);
            }
            Fact::Split { alone } => {
                self.is_split = *alone;
                self.begin(None, false, at);
            }
            Fact::Healed => {
                self.is_split = false;
                self.end(at, |it| !it.stands);
            }
            Fact::Opened {
                session,
                gateway,
                user,
                device,
            } => {
                let opened = Session {
                    gateway: *gateway,
                    user,
                    device: *device,
                    opened: at,
                    ended: None,
                    watched: BTreeMap::new(),
                };
                self.sessions.insert(*session, opened);
            }
            Fact::Closed { session } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.ended.get_or_insert(at);
                }
            }
            Fact::Chose { session, status } => self.choose(*session, *status),
            Fact::Watches { session, user } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.watched.insert(user, Watch::default());
                }
            }
            Fact::Unwatches { session, user } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.watched.remove(user);
                }
            }
            Fact::Told {
                session,
                user,
                status,
                by,
                unasked,
            } => self.told(at, *session, user, *status, by, *unasked),
            Fact::Took(shard) => {
                let watched = self.sessions.values_mut().flat_map(|it| &mut it.watched);
                for (_, watch) in watched.filter(|(user, _)| Shard::of(user) == *shard) {
                    watch.update = None;
                }
            }
            Fact::Owner {
                gateway,
                shard,
                owner,
            } => {
                if self.is_split {
                    let what = format!("{gateway} goes by {owner} for shard {shard} at {at} µs");
                    self.find(Kind::Moved, what);
                }
            }
            Fact::Rest => self.rest(at),
        }
    }

    fn begin(&mut self, who: Option<u64>, stands: bool, from: At) {
        self.harms.push(Harm {
            who,
            stands,
            from,
            to: None,
        });
    }

    fn end(&mut self, at: At, which: impl Fn(&Harm) -> bool) {
        for harm in self.harms.iter_mut().filter(|it| which(it)) {
            harm.to.get_or_insert(at);
        }
    }

    fn choose(&mut self, session: u64, status: Status) {
        let Some(session) = self.sessions.get(&session) else {
            return;
        };
        let device = (session.user, session.device);
        let choice = self.choices.entry(device).or_insert(Choice {
            status,
            was_hidden: false,
        });
        choice.status = status;
        choice.was_hidden |= status == Status::Invisible;
    }

    fn told(
        &mut self,
        at: At,
        session: u64,
        user: &'static str,
        status: Status,
        by: &EndpointId,
        unasked: bool,
    ) {
        if status == Status::Offline && self.is_connected(user, at) {
            let what = format!("session {session} was told that {user} is offline at {at} µs");
            self.find(Kind::Offline, what);
        }
        let Some(watcher) = self.sessions.get_mut(&session) else {
            return;
        };
        let gateway = watcher.gateway;
        let Some(watch) = watcher.watched.get_mut(user) else {
            return;
        };
        watch.told = Some(status);
        if !unasked {
            return;
        }
        let before = watch.update.replace((at, by.clone()));
        if let Some((before, node)) = before
            && node == *by
            && at - before < SPACING
            && !self.were_harmed(gateway, by, before.saturating_sub(AFTER_HARM), at)
        {
            let what =
                format!("session {session} was told of {user} by {by} at {before} and at {at} µs");
            self.find(Kind::TooOften, what);
        }
    }

    /// Whether the user was there, visibly, for so long that presence must know.
    fn is_connected(&self, user: &str, at: At) -> bool {
        let Some(since) = at.checked_sub(KNOWN_AFTER) else {
            return false;
        };
        let mut spans: Vec<(At, At)> = self
            .sessions
            .values()
            .filter(|it| it.user == user && !self.may_hide(it))
            .filter(|it| it.ended.is_none_or(|ended| ended >= since))
            .filter(|it| !self.was_harmed(it.gateway, since, at))
            .map(|it| (it.opened, it.ended.unwrap_or(at)))
            .collect();
        spans.sort_unstable();
        let Some(first) = spans.first().filter(|(opened, _)| *opened <= since) else {
            return false;
        };
        let mut until = first.1;
        for (opened, ended) in spans {
            if opened > until + RELOAD {
                return false;
            }
            until = until.max(ended);
        }
        at <= until + RELOAD
    }

    /// Whether its device ever chose to be invisible.
    fn may_hide(&self, session: &Session) -> bool {
        let choice = self.choices.get(&(session.user, session.device));
        choice.is_some_and(|it| it.was_hidden)
    }

    fn was_harmed(&self, who: u64, from: At, to: At) -> bool {
        let theirs = |it: &&Harm| it.who.is_none_or(|it| it == who);
        let mut harms = self.harms.iter().filter(theirs);
        harms.any(|it| it.overlaps(from, to))
    }

    fn were_harmed(&self, gateway: u64, node: &EndpointId, from: At, to: At) -> bool {
        let mut harms = self.harms.iter().filter(|it| it.overlaps(from, to));
        harms.any(|it| it.who.is_none_or(|who| who == gateway || is_of(node, who)))
    }

    /// Everybody must show what is so.
    fn rest(&mut self, at: At) {
        let mut wrong = Vec::new();
        for (id, session) in self.sessions.iter().filter(|(_, it)| it.ended.is_none()) {
            for (user, watch) in &session.watched {
                let is = self.state(user, *user == session.user);
                if watch.told == Some(is) {
                    continue;
                }
                let told = watch.told;
                let ghost = is == Status::Offline && told != Some(Status::Unspecified);
                let kind = if ghost && told.is_some() {
                    Kind::Ghost
                } else {
                    Kind::Outdated
                };
                let what =
                    format!("at {at} µs session {id} shows {user} as {told:?}, who is {is:?}");
                wrong.push((kind, what));
            }
        }
        for (kind, what) in wrong {
            self.find(kind, what);
        }
    }

    /// The best that the user's connected devices chose.
    fn state(&self, user: &str, own: bool) -> Status {
        let connected = self.sessions.values();
        let connected = connected.filter(|it| it.user == user && it.ended.is_none());
        let chosen = connected.map(|it| {
            let choice = self.choices.get(&(it.user, it.device));
            choice.map_or(Status::Online, |it| it.status)
        });
        let best = [Status::Dnd, Status::Online, Status::Away, Status::Invisible];
        let rank = |status: &Status| best.iter().position(|it| it == status);
        match chosen.min_by_key(rank) {
            Some(Status::Invisible) if !own => Status::Offline,
            Some(status) => status,
            None => Status::Offline,
        }
    }

    fn find(&mut self, kind: Kind, what: String) {
        self.found.push(Found { kind, what });
    }
}

impl Harm {
    fn overlaps(&self, from: At, to: At) -> bool {
        self.from <= to && self.to.is_none_or(|ended| ended >= from)
    }
}

fn is_of(endpoint: &EndpointId, incarnation: u64) -> bool {
    endpoint.as_str().ends_with(&format!("-{incarnation:016x}"))
}

#[cfg(test)]
mod tests;
