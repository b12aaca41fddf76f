//! Who watches the user, and what each of them was told.

use super::{Address, Effect, Now, Rules, SessionKey, User};
use crate::{
    limits::{WATCHERS_MAX, WATCHES_WAITING_MAX},
    refusal::Refusal,
    user::status::{Shown, View},
};

#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) lane: u32,
    /// A session of this very user, which also sees that it is invisible.
    pub(super) own: bool,
    /// What it was told last; `None`: it waits for its first answer.
    pub(super) told: Option<Shown>,
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) to: Address,
    pub(super) request: u64,
}

impl User {
    pub(super) fn watch(
        &mut self,
        at: Address,
        request: u64,
        own: bool,
        effects: &mut Vec<Effect>,
    ) {
        let is_new = !self.watchers.contains_key(&at.key);
        let refusal = if is_new && self.watchers.len() >= WATCHERS_MAX {
            Some(Refusal::TooManyWatchers)
        } else if self.waiting.len() >= WATCHES_WAITING_MAX {
            Some(Refusal::Overloaded)
        } else {
            None
        };
        if let Some(refusal) = refusal {
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

    pub(super) fn unwatch(&mut self, session: &SessionKey) {
        self.watchers.remove(session);
        self.waiting.retain(|waiting| waiting.to.key != *session);
    }

    pub(super) fn refuse_waiting(&mut self, effects: &mut Vec<Effect>) {
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
    pub(super) fn view(&self, now: Now, rules: &Rules) -> Option<View> {
        let others = match self.devices.best_visible() {
            Some(choice) => Shown::chosen(choice),
            None if now.instant < rules.known_from => Shown::UNKNOWN,
            None => Shown::offline(self.last_seen.known_ms()?),
        };
        let own = self.devices.best().map_or(others, Shown::chosen);
        Some(View { others, own })
    }

    pub(super) fn answer_waiting(&mut self, view: View, effects: &mut Vec<Effect>) {
        for Waiting { to, request } in self.waiting.drain(..) {
            if let Some(watcher) = self.watchers.get_mut(&to.key) {
                let shown = view.for_watcher(watcher.own);
                watcher.told = Some(shown);
                effects.push(Effect::Answer { to, request, shown });
            }
        }
    }

    pub(super) fn update_watchers(
        &mut self,
        view: View,
        now: Now,
        rules: &Rules,
        effects: &mut Vec<Effect>,
    ) {
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
