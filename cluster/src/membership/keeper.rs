//! What one node owns, takes and hands over.
//!
//! ```text
//!           Take            answered                home elsewhere        accepted
//!  (free) ───────► Taking ───────────► Owned ─────────────────► Offered ───────────► Closing
//!     ▲              │ failed,           ▲ ▲   withdrawn            │                  │  │
//!     │◄─────────────┘ refused           │ └────────────────────────┘     taker gone   │  │
//!     │                                  └─────────────────────────────────────────────┘  │
//!     │               released or given                       finished                    │
//!     └──────────────────────────────── Releasing ◄───────────────────────────────────────┘
//! ```
//! What is given to us becomes `Owned` at once: the giver changed the database for both (ADR 0010).
//!
//! A shard is taken when it is free: nobody who may live claims it. Then the database is asked for
//! it *from* whoever is known to have died with it, or as nobody's; it refuses when it knows
//! better, so two who take at once do not fence each other.

mod duty;
mod moves;
mod promises;

use std::collections::BTreeMap;

use rookery_proto::{ids::Epoch, shard::Shard};
use tokio::time::Instant;

use super::{
    beat::Claims,
    hand_over::{HandOver, Step},
    view::View,
};
use crate::{
    endpoint::EndpointId,
    limits::{DUTY_RETRY, MOVE_SPACING, MOVE_SPACING_LEAVING, MOVES_LEAVING_MAX, MOVES_MAX},
};
pub use duty::{Duty, Successor};
use moves::{Pace, advance, release};
use promises::Promises;

#[derive(Clone, Debug, PartialEq)]
enum Hold {
    Taking,
    Owned {
        epoch: Epoch,
        /// Whose home it has become, and since when.
        elsewhere: Option<(EndpointId, Instant)>,
    },
    Offered {
        epoch: Epoch,
        to: EndpointId,
        since: Instant,
        repeat_at: Instant,
    },
    Closing {
        epoch: Epoch,
        to: Option<EndpointId>,
    },
    Releasing {
        epoch: Epoch,
        to: Option<EndpointId>,
        /// Set when it failed.
        retry_at: Option<Instant>,
    },
}

impl Hold {
    /// The epoch, from taken to released.
    fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Taking => None,
            Self::Owned { epoch, .. }
            | Self::Offered { epoch, .. }
            | Self::Closing { epoch, .. }
            | Self::Releasing { epoch, .. } => Some(*epoch),
        }
    }

    fn is_moving(&self) -> bool {
        matches!(
            self,
            Self::Offered { .. } | Self::Closing { .. } | Self::Releasing { .. }
        )
    }
}

fn accept(offer: &HandOver, outcome: &mut Outcome) {
    let shard = offer.shard;
    outcome.duties.push(Duty::Expect { shard });
    outcome.say.push(HandOver {
        step: Step::Accept,
        ..offer.clone()
    });
}

/// What comes of a step of the keeper.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) duties: Vec<Duty>,
    pub(crate) say: Vec<HandOver>,
    /// What it owns has changed: tell at once.
    pub(crate) changed: bool,
}

/// May shards be taken, offered, neither?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Not serving: nothing is begun.
    Still,
    /// Serving, but not yet long enough to take what seems free.
    Settling,
    Serving,
    Leaving,
}

#[derive(Debug)]
pub(crate) struct Keeper {
    me: EndpointId,
    incarnation: u64,
    holds: BTreeMap<Shard, Hold>,
    /// The newest epoch had of each: a gift is told twice, or late.
    newest: BTreeMap<Shard, Epoch>,
    /// Not to be taken before then.
    retry: BTreeMap<Shard, Instant>,
    /// When a shard was offered last.
    offered: Option<Instant>,
    promises: Promises,
}

impl Keeper {
    pub(crate) fn new(me: EndpointId, incarnation: u64) -> Self {
        Self {
            me,
            incarnation,
            holds: BTreeMap::new(),
            newest: BTreeMap::new(),
            retry: BTreeMap::new(),
            offered: None,
            promises: Promises::default(),
        }
    }

    /// What it owns, released shards excluded.
    pub(crate) fn claims(&self) -> Claims {
        let epoch = |(shard, hold): (&Shard, &Hold)| Some((*shard, hold.epoch()?));
        self.holds.iter().filter_map(epoch).collect()
    }

    /// Whether nothing is held, being taken or promised.
    pub(crate) fn is_empty(&self) -> bool {
        self.holds.is_empty() && self.promises.is_empty()
    }

    /// Looks at every shard and begins what is due.
    pub(crate) fn decide(&mut self, view: &View, mode: Mode, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        self.retry.retain(|_, at| now < *at);
        let mut pace = self.pace(mode, now);
        for shard in Shard::all() {
            let Some(hold) = self.holds.get_mut(&shard) else {
                let is_mine = view.home(shard) == Some(&self.me);
                let may_take = mode == Mode::Serving && is_mine && !self.retry.contains_key(&shard);
                if may_take && view.living_owner(shard).is_none() {
                    let from = view.dead_owner(shard);
                    outcome.duties.push(Duty::Take { shard, from });
                    self.holds.insert(shard, Hold::Taking);
                }
                continue;
            };
            if let (Some(epoch), Some(newer)) = (hold.epoch(), view.claimed_epoch(shard))
                && newer > epoch
            {
                outcome.duties.push(Duty::Lost { shard });
                outcome.changed = true;
                self.holds.remove(&shard);
                continue;
            }
            advance(
                &self.me,
                shard,
                hold,
                view,
                mode,
                &mut pace,
                now,
                &mut outcome,
            );
        }
        if pace.offered {
            self.offered = Some(now);
        }
        self.accept_next(view, mode, now, &mut outcome);
        outcome
    }

    /// Accepts what has waited for its turn.
    fn accept_next(&mut self, view: &View, mode: Mode, now: Instant, outcome: &mut Outcome) {
        while let Some(offer) = self.promises.next(now) {
            if self.wants(&offer, view, mode) {
                accept(&offer, outcome);
            } else {
                self.promises.settled(offer.shard);
            }
        }
    }

    /// Whether what is offered belongs here.
    fn wants(&self, offer: &HandOver, view: &View, mode: Mode) -> bool {
        let free = !self.holds.contains_key(&offer.shard);
        mode == Mode::Serving && free && view.home(offer.shard) == Some(&self.me)
    }

    fn pace(&self, mode: Mode, now: Instant) -> Pace {
        let (spacing, max) = match mode {
            Mode::Still => (MOVE_SPACING, 0),
            Mode::Settling | Mode::Serving => (MOVE_SPACING, MOVES_MAX),
            Mode::Leaving => (MOVE_SPACING_LEAVING, MOVES_LEAVING_MAX),
        };
        let moving = self.holds.values().filter(|it| it.is_moving()).count();
        let since = self.offered.map(|at| now.duration_since(at));
        Pace {
            free: max.saturating_sub(moving),
            due: since.is_none_or(|since| since >= spacing),
            offered: false,
        }
    }

    /// A step of a move, told by another node.
    pub(crate) fn heard(
        &mut self,
        told: &HandOver,
        view: &View,
        mode: Mode,
        now: Instant,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let shard = told.shard;
        match told.step {
            Step::Offer if told.to == self.me => {
                if self.wants(told, view, mode) && self.promises.offered(told, now) {
                    accept(told, &mut outcome);
                }
            }
            Step::Accept if told.from == self.me => {
                if let Some(Hold::Offered { epoch, to, .. }) = self.holds.get(&shard)
                    && *to == told.to
                    // What was offered may have got a larger epoch since.
                    && told.epoch <= *epoch
                    && mode != Mode::Still
                {
                    let to = Some(to.clone());
                    outcome.duties.push(Duty::StopAdmitting {
                        shard,
                        to: to.clone(),
                    });
                    let epoch = *epoch;
                    self.holds.insert(shard, Hold::Closing { epoch, to });
                }
            }
            // Whatever we are about to do: it is ours. Where it is being taken, that finds out.
            Step::Given if told.to == self.me => {
                let new = self.newest.get(&shard).is_none_or(|had| *had < told.epoch);
                if new && !self.holds.contains_key(&shard) {
                    let epoch = told.epoch;
                    outcome.duties.push(Duty::Given { shard, epoch });
                    outcome.changed = true;
                    self.own(shard, epoch);
                }
            }
            Step::Offer | Step::Accept | Step::Given => {}
        }
        outcome
    }

    /// The database gave it to us, or gave us a larger epoch of it.
    pub(crate) fn taken(&mut self, shard: Shard, epoch: Epoch) -> Outcome {
        self.own(shard, epoch);
        Outcome {
            changed: true,
            ..Outcome::default()
        }
    }

    fn own(&mut self, shard: Shard, epoch: Epoch) {
        let newest = self.newest.entry(shard).or_default();
        *newest = epoch.max(*newest);
        let hold = self.holds.entry(shard).or_insert(Hold::Taking);
        match hold {
            Hold::Taking => {
                *hold = Hold::Owned {
                    epoch,
                    elsewhere: None,
                };
            }
            // A move goes on; an offer is repeated with the larger epoch.
            Hold::Owned { epoch: former, .. }
            | Hold::Offered { epoch: former, .. }
            | Hold::Closing { epoch: former, .. }
            | Hold::Releasing { epoch: former, .. } => *former = epoch.max(*former),
        }
        self.retry.remove(&shard);
        self.promises.settled(shard);
    }

    /// The database says it is another's, or ours already.
    pub(crate) fn take_refused(
        &mut self,
        shard: Shard,
        owner: u64,
        epoch: Epoch,
        view: &View,
        now: Instant,
    ) -> Outcome {
        if owner == self.incarnation {
            return self.taken(shard, epoch);
        }
        self.take_failed(shard, now);
        let mut outcome = Outcome::default();
        let owner = self.me.role().map(|role| EndpointId::new(role, owner));
        // It may not know: it was given to it, and who gave it told it in vain.
        if let Some(to) = owner.filter(|it| view.lives(it)) {
            outcome.say.push(HandOver {
                from: self.me.clone(),
                to,
                shard,
                epoch,
                step: Step::Given,
            });
        }
        outcome
    }

    /// It is not known whether the database gave it to us: asked again later.
    pub(crate) fn take_failed(&mut self, shard: Shard, now: Instant) {
        self.promises.settled(shard);
        if self.holds.get(&shard) == Some(&Hold::Taking) {
            self.holds.remove(&shard);
            self.retry.insert(shard, now + DUTY_RETRY);
        }
    }

    /// Nothing of it is in flight any more.
    pub(crate) fn finished(&mut self, shard: Shard, view: &View) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some(Hold::Closing { epoch, to }) = self.holds.get(&shard) {
            let (epoch, to) = (*epoch, to.clone());
            outcome
                .duties
                .push(release(shard, epoch, to.as_ref(), view));
            let retry_at = None;
            self.holds.insert(
                shard,
                Hold::Releasing {
                    epoch,
                    to,
                    retry_at,
                },
            );
        }
        outcome
    }

    /// It is not ours any more in the database; `given`: it is the next owner's.
    pub(crate) fn released(&mut self, shard: Shard, given: bool, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some(Hold::Releasing { epoch, to, .. }) = self.holds.get(&shard) {
            if let (Some(to), true) = (to, given) {
                outcome.say.push(HandOver {
                    from: self.me.clone(),
                    to: to.clone(),
                    shard,
                    epoch: Epoch(epoch.0 + 1),
                    step: Step::Given,
                });
            }
            outcome.changed = true;
            self.holds.remove(&shard);
            // The next owner first, should it be ours again by then.
            self.retry.insert(shard, now + DUTY_RETRY);
        }
        outcome
    }

    /// It is not known whether the database released it: asked again later.
    pub(crate) fn release_failed(&mut self, shard: Shard, now: Instant) {
        if let Some(Hold::Releasing { retry_at, .. }) = self.holds.get_mut(&shard) {
            *retry_at = Some(now + DUTY_RETRY);
        }
    }
}
