//! The machine of one user.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use rookery_cluster::EndpointId;
use tokio::time::Instant;

use super::{
    devices::Devices,
    last_seen::LastSeen,
    status::{Choice, Shown, View},
};
use crate::{
    limits::{SESSIONS_MAX, WATCHERS_MAX, WATCHES_WAITING_MAX},
    refusal::Refusal,
};

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    /// Unix milliseconds; may step.
    pub(crate) wall_ms: u64,
}

/// What is the same for all users of a shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) grace: Duration,
    pub(crate) throttle: Duration,
    pub(crate) store_retry: Duration,
    /// Until then a user without a session is unknown, not offline.
    pub(crate) known_from: Instant,
}

/// Names a session; ordered by gateway first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionKey {
    pub(crate) gateway: EndpointId,
    pub(crate) session: u64,
}

/// Where a session is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) key: SessionKey,
    pub(crate) lane: u32,
}

/// What happens to a user. Sent by the shard's actor; all can be repeated without harm.
#[derive(Debug)]
pub(crate) enum Command {
    /// A gateway announced a session, for the first time or again.
    Opened {
        at: Address,
        device: Arc<str>,
        choice: Choice,
    },
    /// A gateway closed a session.
    Closed { session: SessionKey },
    /// A session chose a status for its device; it exists even if its announcement was lost.
    Choose {
        at: Address,
        device: Arc<str>,
        choice: Choice,
    },
    /// A session watches this user; answered by [`Effect::Answer`] or [`Effect::Refuse`].
    Watch {
        at: Address,
        request: u64,
        own: bool,
    },
    /// A session stopped watching this user.
    Unwatch { session: SessionKey },
    /// Something addressed to the person.
    Notify { notice: Bytes, except_session: u64 },
    /// The gateway has gone silent; it may come back.
    GatewaySilent { gateway: EndpointId },
    /// Packets of the gateway were lost; it was asked to announce its sessions again.
    GatewayDoubted { gateway: EndpointId },
    /// The gateway had time to announce again: what it did not announce is gone.
    GatewaySwept { gateway: EndpointId },
    /// The gateway is gone, with all its sessions.
    GatewayGone { gateway: EndpointId },
    /// [`Effect::Read`] ended; `None`: it failed.
    LastSeenRead { stored_ms: Option<u64> },
    /// [`Effect::Write`] ended.
    LastSeenWritten { last_seen_ms: u64, stored: bool },
    /// A deadline passed.
    Tick,
}

/// What the actor has to do.
#[derive(Debug)]
pub(crate) enum Effect {
    Answer {
        to: Address,
        request: u64,
        shown: Shown,
    },
    Refuse {
        to: Address,
        request: u64,
        refusal: Refusal,
    },
    /// Tell watchers how the user looks now.
    Show {
        shown: Shown,
        to: Vec<Address>,
    },
    Deliver {
        notice: Bytes,
        to: Vec<Address>,
    },
    /// No session can be given the notice.
    Push {
        notice: Bytes,
    },
    /// A session is not tracked: the user has too many.
    SessionRefused,
    Read,
    Write {
        last_seen_ms: u64,
    },
}

/// How sure it is that a session lives.
///
/// ```text
///            GatewayDoubted              GatewaySwept
///  ┌──────► Sure ───────► Doubted ──────────────────────► ended
///  │ Opened   │ GatewaySilent │        GatewayGone
///  └──────────┴──► Silent ◄───┴── (any) ────────────────► ended
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Sure,
    /// Not announced since packets were lost.
    Doubted,
    /// Its gateway is silent.
    Silent,
}

#[derive(Debug)]
struct Session {
    lane: u32,
    device: Arc<str>,
    standing: Standing,
}

#[derive(Debug)]
struct Watcher {
    lane: u32,
    /// A session of this very user, which also sees that it is invisible.
    own: bool,
    /// What it was told last; `None`: it waits for its first answer.
    told: Option<Shown>,
}

#[derive(Debug)]
struct Waiting {
    to: Address,
    request: u64,
}

/// One user.
#[derive(Debug, Default)]
pub(crate) struct User {
    sessions: BTreeMap<SessionKey, Session>,
    devices: Devices,
    watchers: BTreeMap<SessionKey, Watcher>,
    /// Watches that wait until `last_seen` is read.
    waiting: Vec<Waiting>,
    last_seen: LastSeen,
    /// Wall clock of the newest moment at which a visible session was known to end.
    seen_ms: u64,
    /// Whether others saw the user after the command before.
    visible: bool,
    /// The view of the last update; watchers that came later know a newer one.
    view: Option<View>,
    /// Some watcher may not know the present view.
    stale: bool,
    /// No update before then.
    update_from: Option<Instant>,
}

impl User {
    /// Applies one command and says what to do.
    pub(crate) fn apply(&mut self, command: Command, now: Now, rules: &Rules) -> Vec<Effect> {
        let mut effects = Vec::new();
        match command {
            Command::Opened { at, device, choice } => self.open(at, device, choice, &mut effects),
            Command::Closed { session } => {
                self.note_seen(&session, now);
                self.end_session(&session, Some(now.instant + rules.grace));
            }
            Command::Choose { at, device, choice } => {
                self.note_seen(&at.key, now);
                let key = at.key.clone();
                self.open(at, device, choice, &mut effects);
                if let Some(session) = self.sessions.get(&key) {
                    self.devices.choose(&session.device, choice);
                }
            }
            Command::Watch { at, request, own } => self.watch(at, request, own, &mut effects),
            Command::Unwatch { session } => self.unwatch(&session),
            Command::Notify {
                notice,
                except_session,
            } => {
                self.notify(notice, except_session, &mut effects);
            }
            Command::GatewaySilent { gateway } => self.stand(&gateway, Standing::Silent, now),
            Command::GatewayDoubted { gateway } => self.stand(&gateway, Standing::Doubted, now),
            Command::GatewaySwept { gateway } => {
                self.end_sessions(&gateway, |session| session.standing == Standing::Doubted);
            }
            Command::GatewayGone { gateway } => {
                self.end_sessions(&gateway, |_| true);
                self.watchers.retain(|key, _| key.gateway != gateway);
                self.waiting
                    .retain(|waiting| waiting.to.key.gateway != gateway);
            }
            Command::LastSeenRead { stored_ms } => {
                self.last_seen
                    .read_ended(stored_ms, now.instant + rules.store_retry);
                if stored_ms.is_none() {
                    self.refuse_waiting(&mut effects);
                }
            }
            Command::LastSeenWritten {
                last_seen_ms,
                stored,
            } => {
                let failed_until = (!stored).then_some(now.instant + rules.store_retry);
                self.last_seen.write_ended(last_seen_ms, failed_until);
            }
            Command::Tick => {}
        }
        self.devices.expire(now.instant);
        self.settle(now, rules, &mut effects);
        effects
    }

    /// When [`Command::Tick`] is due, if nothing else happens.
    pub(crate) fn deadline(&self, now: Now, rules: &Rules) -> Option<Instant> {
        let update = if self.stale { self.update_from } else { None };
        let hidden_and_watched = !self.visible && !self.watchers.is_empty();
        let known = hidden_and_watched
            .then_some(rules.known_from)
            .filter(|known_from| now.instant < *known_from);
        let read = if hidden_and_watched && self.last_seen.known_ms().is_none() {
            self.last_seen.read_retry_at()
        } else {
            None
        };
        let write = self.last_seen.write_retry_at();
        [self.devices.next_expiry(), update, known, read, write]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether nothing is lost when the user is dropped from memory.
    pub(crate) fn is_idle(&self) -> bool {
        self.sessions.is_empty()
            && self.devices.is_empty()
            && self.watchers.is_empty()
            && self.last_seen.is_settled()
    }

    /// The node stops: what `last_seen` the store should have, if it does not have it yet.
    pub(crate) fn last_seen_at_stop(&self, now: Now) -> Option<u64> {
        if self.visible {
            return Some(now.wall_ms.max(self.last_seen.known_ms().unwrap_or(0)));
        }
        self.last_seen.unwritten_ms()
    }

    #[cfg(test)]
    pub(super) fn choice_of(&self, device: &Arc<str>) -> Option<Choice> {
        self.devices.choice_of(device)
    }

    fn open(&mut self, at: Address, device: Arc<str>, choice: Choice, effects: &mut Vec<Effect>) {
        if let Some(session) = self.sessions.get_mut(&at.key) {
            session.lane = at.lane;
            session.standing = Standing::Sure;
            return;
        }
        if self.sessions.len() >= SESSIONS_MAX {
            effects.push(Effect::SessionRefused);
            return;
        }
        self.devices.arrive(&device, choice);
        let session = Session {
            lane: at.lane,
            device,
            standing: Standing::Sure,
        };
        self.sessions.insert(at.key, session);
    }

    /// Remembers that the user is seen now, if others can see this session.
    fn note_seen(&mut self, session: &SessionKey, now: Now) {
        if self
            .sessions
            .get(session)
            .is_some_and(|session| self.devices.is_visible(&session.device))
        {
            self.seen_ms = self.seen_ms.max(now.wall_ms);
        }
    }

    fn end_session(&mut self, session: &SessionKey, device_counts_until: Option<Instant>) {
        if let Some(session) = self.sessions.remove(session) {
            self.devices.depart(&session.device, device_counts_until);
        }
    }

    /// Ends sessions of a gateway whose grace is over already.
    fn end_sessions(&mut self, gateway: &EndpointId, ends: impl Fn(&Session) -> bool) {
        let ended: Vec<_> = self
            .sessions_of(gateway)
            .filter(|(_, session)| ends(session))
            .map(|(key, _)| key.clone())
            .collect();
        for key in ended {
            self.end_session(&key, None);
        }
    }

    fn stand(&mut self, gateway: &EndpointId, standing: Standing, now: Now) {
        let keys: Vec<_> = self
            .sessions_of(gateway)
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.note_seen(&key, now);
            if let Some(session) = self.sessions.get_mut(&key) {
                session.standing = standing;
            }
        }
    }

    fn sessions_of(&self, gateway: &EndpointId) -> impl Iterator<Item = (&SessionKey, &Session)> {
        let first = SessionKey {
            gateway: gateway.clone(),
            session: 0,
        };
        let last = SessionKey {
            gateway: gateway.clone(),
            session: u64::MAX,
        };
        self.sessions.range(first..=last)
    }

    fn watch(&mut self, at: Address, request: u64, own: bool, effects: &mut Vec<Effect>) {
        let is_new = !self.watchers.contains_key(&at.key);
        if is_new && self.watchers.len() >= WATCHERS_MAX {
            let refusal = Refusal::TooManyWatchers;
            effects.push(Effect::Refuse {
                to: at,
                request,
                refusal,
            });
            return;
        }
        if self.waiting.len() >= WATCHES_WAITING_MAX {
            let refusal = Refusal::Overloaded;
            effects.push(Effect::Refuse {
                to: at,
                request,
                refusal,
            });
            return;
        }
        let told = self.watchers.get(&at.key).and_then(|watcher| watcher.told);
        self.watchers.insert(
            at.key.clone(),
            Watcher {
                lane: at.lane,
                own,
                told,
            },
        );
        self.waiting.push(Waiting { to: at, request });
    }

    fn unwatch(&mut self, session: &SessionKey) {
        self.watchers.remove(session);
        self.waiting.retain(|waiting| waiting.to.key != *session);
    }

    fn notify(&self, notice: Bytes, except_session: u64, effects: &mut Vec<Effect>) {
        // A silent gateway may be dead: its sessions are tried, but do not save the push.
        let reached = self
            .sessions
            .values()
            .any(|session| session.standing != Standing::Silent);
        let to: Vec<_> = self
            .sessions
            .iter()
            .filter(|(key, _)| key.session != except_session)
            .map(|(key, session)| Address {
                key: key.clone(),
                lane: session.lane,
            })
            .collect();
        if !reached {
            effects.push(Effect::Push {
                notice: notice.clone(),
            });
        }
        if !to.is_empty() {
            effects.push(Effect::Deliver { notice, to });
        }
    }

    fn refuse_waiting(&mut self, effects: &mut Vec<Effect>) {
        for Waiting { to, request } in self.waiting.drain(..) {
            // It was told nothing, so it watches nothing.
            if self
                .watchers
                .get(&to.key)
                .is_some_and(|watcher| watcher.told.is_none())
            {
                self.watchers.remove(&to.key);
            }
            let refusal = Refusal::StoreTimeout;
            effects.push(Effect::Refuse {
                to,
                request,
                refusal,
            });
        }
    }

    /// How the user looks now; `None`: `last_seen` must be read first.
    fn view(&self, now: Now, rules: &Rules) -> Option<View> {
        let others = match self.devices.best_visible() {
            Some(choice) => Shown::chosen(choice),
            None if now.instant < rules.known_from => Shown::UNKNOWN,
            None => Shown::offline(self.last_seen.known_ms()?),
        };
        let own = self.devices.best().map_or(others, Shown::chosen);
        Some(View { others, own })
    }

    /// Brings store and watchers up to what is so now, as far as time allows.
    fn settle(&mut self, now: Now, rules: &Rules, effects: &mut Vec<Effect>) {
        let visible = self.devices.best_visible().is_some();
        if self.visible && !visible {
            self.last_seen.set(self.seen_ms);
        }
        self.visible = visible;
        if let Some(last_seen_ms) = self.last_seen.start_write(now.instant) {
            effects.push(Effect::Write { last_seen_ms });
        }
        match self.view(now, rules) {
            Some(view) => {
                self.answer_waiting(view, effects);
                self.update_watchers(view, now, rules, effects);
            }
            None if !self.watchers.is_empty() && self.last_seen.start_read(now.instant) => {
                effects.push(Effect::Read);
            }
            None => {}
        }
    }

    fn answer_waiting(&mut self, view: View, effects: &mut Vec<Effect>) {
        for Waiting { to, request } in self.waiting.drain(..) {
            if let Some(watcher) = self.watchers.get_mut(&to.key) {
                let shown = view.for_watcher(watcher.own);
                watcher.told = Some(shown);
                effects.push(Effect::Answer { to, request, shown });
            }
        }
    }

    fn update_watchers(&mut self, view: View, now: Now, rules: &Rules, effects: &mut Vec<Effect>) {
        self.stale |= self.view != Some(view);
        if !self.stale || self.update_from.is_some_and(|from| now.instant < from) {
            return;
        }
        self.view = Some(view);
        self.stale = false;
        let mut others = Vec::new();
        let mut own = Vec::new();
        for (key, watcher) in &mut self.watchers {
            let shown = view.for_watcher(watcher.own);
            if watcher.told != Some(shown) {
                watcher.told = Some(shown);
                let to = if watcher.own { &mut own } else { &mut others };
                to.push(Address {
                    key: key.clone(),
                    lane: watcher.lane,
                });
            }
        }
        for (shown, to) in [(view.others, others), (view.own, own)] {
            if !to.is_empty() {
                self.update_from = Some(now.instant + rules.throttle);
                effects.push(Effect::Show { shown, to });
            }
        }
    }
}
