//! The machine of one user.

mod watching;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use rookery_cluster::EndpointId;
use tokio::time::Instant;

use super::{
    command::{Address, Command, Effect, Now, Rules, SessionKey},
    devices::Devices,
    few::Few,
    last_seen::LastSeen,
    status::{Choice, View},
};
use crate::limits::SESSIONS_MAX;
use watching::{Waiting, Watcher};

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

/// One user.
#[derive(Debug, Default)]
pub(crate) struct User {
    sessions: Few<SessionKey, Session>,
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
        let all = self.sessions.iter();
        all.filter(move |(key, _)| key.gateway == *gateway)
    }

    fn notify(&self, notice: Bytes, except_session: u64, effects: &mut Vec<Effect>) {
        // A silent gateway may be dead: its sessions are tried, but do not save the push.
        let reached = self
            .sessions
            .iter()
            .any(|(_, session)| session.standing != Standing::Silent);
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
}
