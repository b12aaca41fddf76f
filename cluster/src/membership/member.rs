//! One node's part in the cluster: a synchronous machine, no clock, channel or I/O inside.
//!
//! It hears heartbeats and reads of the table, tells its own, judges who lives ([`super::observer`]),
//! takes and hands over shards ([`super::keeper`]), and knows the owners of all shards.
//!
//! ```text
//!           heard itself, table answered
//!  Joining ──────────────────────────────► Serving ──── leave ────► Leaving ── owns nothing ──► Left
//!                                           │    ▲
//!        deaf, table or commits failing 2 s │    │ over
//!                                           ▼    │
//!                                         Suspended ──── fenced (from anywhere) ────► Fenced
//! ```

mod owners;
mod stand;
mod table;
mod told;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rookery_proto::{ids::Epoch, link::Load, shard::Shard};
use tokio::time::Instant;

use super::{
    beat::{Beat, Claims, NodeState},
    keeper::{Duty, Keeper, Mode, Outcome},
    observer::{Life, Observer},
    standing::Standing,
    view::View,
};
use crate::{
    endpoint::{EndpointId, Role},
    limits::{BEAT_INTERVAL, BEAT_SPACING_MIN, MEMBERSHIP_TICK, MOVE_SPACING_LEAVING},
    placement::Owners,
};
use owners::Promise;
use table::Table;
pub use told::Told;
pub(crate) use told::{Effect, Input, Myself};

pub(crate) struct Member {
    myself: Myself,
    me: EndpointId,
    observer: Observer,
    keeper: Keeper,
    view: View,
    standing: Standing,
    leaving: bool,
    /// Numbers of heartbeats and rows.
    number: u64,
    membership_epoch: u64,
    load: Load,
    heard_myself: Option<(u64, Instant)>,
    commits_failing: Option<Instant>,
    table: Table,
    beat_at: Instant,
    beat_last: Option<Instant>,
    /// Released shards whose new owner has not told it yet, by role: shards of the same number move
    /// at the same time, as their homes are alike.
    promised: BTreeMap<(Role, Shard), Promise>,
    owners: Arc<Owners>,
    /// Something was heard that owners or decisions follow from.
    news: bool,
}

impl Member {
    pub(crate) fn new(myself: Myself, now: Instant) -> Self {
        let me = EndpointId::new(myself.role, myself.incarnation);
        Self {
            observer: Observer::new(myself.has_table),
            keeper: Keeper::new(me.clone(), myself.incarnation),
            view: View::default(),
            standing: Standing::Joining,
            leaving: false,
            number: 0,
            membership_epoch: 0,
            load: Load::default(),
            heard_myself: None,
            commits_failing: None,
            table: Table::default(),
            beat_at: now,
            beat_last: None,
            promised: BTreeMap::new(),
            owners: Arc::default(),
            news: false,
            me,
            myself,
        }
    }

    #[cfg(test)]
    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    #[cfg(test)]
    pub(crate) fn claims(&self) -> Claims {
        self.keeper.claims()
    }

    #[cfg(test)]
    pub(crate) fn owners(&self) -> &Owners {
        &self.owners
    }

    /// What others are, in the order of their endpoints.
    pub(crate) fn lives(&self, now: Instant) -> impl Iterator<Item = (&Beat, Life)> {
        self.observer
            .known()
            .map(move |(_, known)| (&known.beat, known.life(now)))
    }

    /// How long after a tick the next is wanted.
    pub(crate) fn tick_interval(&self) -> Duration {
        match self.standing {
            Standing::Leaving => MOVE_SPACING_LEAVING,
            _ => MEMBERSHIP_TICK,
        }
    }

    /// Takes one input at the observer's own time and says what to do.
    pub(crate) fn handle(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        let is_tick = matches!(input, Input::Tick);
        self.take(input, now, &mut effects);
        self.stand(now, &mut effects);
        if is_tick || self.news {
            self.news |= !self.judge(now).is_empty();
            self.look_and_decide(now, &mut effects);
        }
        if std::mem::take(&mut self.news) || (is_tick && !self.promised.is_empty()) {
            self.publish_owners(now, &mut effects);
        }
        self.tell(now, &mut effects);
        self.use_table(now, &mut effects);
        effects
    }

    fn take(&mut self, input: Input, now: Instant, effects: &mut Vec<Effect>) {
        let outcome = match input {
            Input::Tick => return,
            // Answers about shards that come late: who is fenced owns nothing any more.
            Input::Taken { .. }
            | Input::TakeRefused { .. }
            | Input::TakeFailed { .. }
            | Input::Finished { .. }
            | Input::Released { .. }
            | Input::ReleaseFailed { .. }
                if self.standing == Standing::Fenced =>
            {
                return;
            }
            Input::Heard(Told::Beat(beat)) => return self.hear(beat, now),
            // Nothing is given to who is fenced.
            Input::Heard(Told::HandOver(_)) if self.standing == Standing::Fenced => return,
            Input::Heard(Told::HandOver(told)) => {
                self.promise(&told, now);
                let mode = self.mode(now);
                self.keeper.heard(&told, &self.view, mode, now)
            }
            Input::TableRead { started, rows } => return self.table_read(started, rows, now),
            Input::RowWritten { done } => {
                self.table.writing = false;
                return self.table.answered(done, now);
            }
            Input::CommitsFailing(since) => {
                self.commits_failing = since;
                return;
            }
            Input::Taken { shard, epoch } => self.keeper.taken(shard, epoch),
            Input::TakeRefused {
                shard,
                owner,
                epoch,
            } => {
                if owner != self.myself.incarnation {
                    self.observer.meet(self.stranger(owner, shard, epoch), now);
                }
                self.keeper
                    .take_refused(shard, owner, epoch, &self.view, now)
            }
            Input::TakeFailed { shard } => return self.keeper.take_failed(shard, now),
            Input::Finished { shard } => self.keeper.finished(shard, &self.view),
            Input::Released { shard, given } => self.keeper.released(shard, given, now),
            Input::ReleaseFailed { shard } => return self.keeper.release_failed(shard, now),
            Input::Load(load) => {
                self.load = load;
                return;
            }
            Input::Leave => {
                self.leaving = true;
                return;
            }
            Input::Fenced => {
                for shard in self.keeper.claims().into_keys() {
                    effects.push(Effect::Duty(Duty::Lost { shard }));
                }
                self.keeper = Keeper::new(self.me.clone(), self.myself.incarnation);
                self.change_standing(Standing::Fenced, now, effects);
                return;
            }
        };
        self.perform(outcome, now, effects);
    }

    fn hear(&mut self, beat: Beat, now: Instant) {
        if beat.endpoint() == self.me {
            if self
                .heard_myself
                .is_none_or(|(number, _)| number < beat.number)
            {
                self.heard_myself = Some((beat.number, now));
            }
        } else {
            self.news |= self.observer.heard(beat, now);
        }
    }

    /// The database knows an owner that nobody has heard of: it is judged like everybody.
    fn stranger(&self, incarnation: u64, shard: Shard, epoch: Epoch) -> Beat {
        Beat {
            node: EndpointId::new(self.myself.role, incarnation).to_string(),
            role: self.myself.role,
            incarnation,
            state: NodeState::Joining,
            number: 0,
            membership_epoch: 0,
            claims: Claims::from([(shard, epoch)]),
            load: Load::default(),
        }
    }

    // ---- deciding ------------------------------------------------------------------------------

    fn judge(&mut self, now: Instant) -> Vec<EndpointId> {
        let known = self.observer.known().count();
        let dead = self.observer.judge(now);
        self.news |= self.observer.known().count() != known;
        for endpoint in &dead {
            let shards = self.observer.get(endpoint).map(|it| it.beat.claims.len());
            tracing::warn!(
                node.endpoint = %endpoint,
                node.shards = shards,
                "node is silent on the bus and in the table"
            );
        }
        dead
    }

    fn look_and_decide(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let mode = self.mode(now);
        let myself = (self.myself.role != Role::Gateway
            && matches!(mode, Mode::Settling | Mode::Serving))
        .then(|| (self.myself.node.clone(), self.me.clone()));
        let role = self.myself.role;
        if self.view.look(&self.observer, role, myself, now) {
            self.membership_epoch += 1;
        }
        if role != Role::Gateway {
            let outcome = self.keeper.decide(&self.view, mode, now);
            self.perform(outcome, now, effects);
        }
    }

    fn perform(&mut self, outcome: Outcome, now: Instant, effects: &mut Vec<Effect>) {
        effects.extend(outcome.duties.into_iter().map(Effect::Duty));
        for told in outcome.say {
            self.promise(&told, now);
            effects.push(Effect::Say(Told::HandOver(told)));
        }
        if outcome.changed {
            self.beat_at = now;
            self.news = true;
        }
    }

    // ---- telling -------------------------------------------------------------------------------

    fn beat(&mut self) -> Beat {
        self.number += 1;
        Beat {
            node: self.myself.node.clone(),
            role: self.myself.role,
            incarnation: self.myself.incarnation,
            state: self.state(),
            number: self.number,
            membership_epoch: self.membership_epoch,
            claims: self.keeper.claims(),
            load: self.load,
        }
    }

    fn tell(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let spaced = self
            .beat_last
            .is_none_or(|last| now.duration_since(last) >= BEAT_SPACING_MIN);
        if self.standing != Standing::Fenced && now >= self.beat_at && spaced {
            self.beat_last = Some(now);
            self.beat_at = now + BEAT_INTERVAL;
            let beat = self.beat();
            effects.push(Effect::Say(Told::Beat(beat)));
        }
    }
}
