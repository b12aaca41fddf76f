//! The beginning, the repeating and the withdrawing of moves.

use rookery_proto::{ids::Epoch, shard::Shard};
use tokio::time::Instant;

use super::{Duty, Hold, Mode, Outcome};
use crate::{
    endpoint::EndpointId,
    limits::{MOVE_AFTER, OFFER_REPEAT, OFFER_TIMEOUT},
    membership::{
        hand_over::{HandOver, Step},
        view::View,
    },
};

/// How many moves may begin now.
pub(super) struct Pace {
    pub(super) free: usize,
    /// The last offer is long enough ago.
    pub(super) due: bool,
    pub(super) offered: bool,
}

impl Pace {
    /// Whether a shard may be offered: one at a time.
    fn offer(&mut self) -> bool {
        let may = self.due && !self.offered && self.free > 0;
        self.offered |= may;
        may
    }

    /// Whether a shard may be released to nobody: no room waits for the next owner.
    fn let_go(&mut self) -> bool {
        let may = self.free > 0;
        self.free = self.free.saturating_sub(1);
        may
    }
}

/// Begins or withdraws the move of a shard that is held.
#[expect(
    clippy::too_many_arguments,
    reason = "one step of `decide`, with what it sees"
)]
pub(super) fn advance(
    me: &EndpointId,
    shard: Shard,
    hold: &mut Hold,
    view: &View,
    mode: Mode,
    pace: &mut Pace,
    now: Instant,
    outcome: &mut Outcome,
) {
    let home = view.home(shard);
    match hold {
        Hold::Taking => {}
        Hold::Owned { epoch, elsewhere } => {
            let epoch = *epoch;
            if home == Some(me) {
                *elsewhere = None;
                return;
            }
            let Some(to) = home else {
                // Nobody else is there. Who leaves lets go all the same.
                *elsewhere = None;
                if mode == Mode::Leaving && pace.let_go() {
                    *hold = Hold::Closing { epoch, to: None };
                    outcome.duties.push(Duty::StopAdmitting { shard, to: None });
                }
                return;
            };
            if elsewhere.as_ref().is_none_or(|(former, _)| former != to) {
                *elsewhere = Some((to.clone(), now));
            }
            let since = elsewhere.as_ref().map_or(now, |(_, since)| *since);
            let due = mode == Mode::Leaving || now.duration_since(since) >= MOVE_AFTER;
            if due && view.is_near(to) && pace.offer() {
                let offer = offer(me, to, shard, epoch);
                *hold = Hold::Offered {
                    epoch,
                    to: to.clone(),
                    since: now,
                    repeat_at: now + OFFER_REPEAT,
                };
                outcome.say.push(offer);
            }
        }
        Hold::Offered {
            epoch,
            to,
            since,
            repeat_at,
        } => {
            let withdrawn = mode == Mode::Still
                || home != Some(to)
                || now.duration_since(*since) >= OFFER_TIMEOUT;
            if withdrawn {
                *hold = Hold::Owned {
                    epoch: *epoch,
                    elsewhere: None,
                };
            } else if now >= *repeat_at {
                *repeat_at = now + OFFER_REPEAT;
                outcome.say.push(offer(me, to, shard, *epoch));
            }
        }
        Hold::Closing {
            epoch,
            to: Some(to),
        } => {
            if mode != Mode::Leaving && !view.lives(to) {
                outcome.duties.push(Duty::Admit { shard });
                *hold = Hold::Owned {
                    epoch: *epoch,
                    elsewhere: None,
                };
            }
        }
        Hold::Closing { to: None, .. } => {}
        Hold::Releasing {
            epoch,
            to,
            retry_at,
        } => {
            if retry_at.is_some_and(|at| now >= at) {
                *retry_at = None;
                let epoch = *epoch;
                outcome
                    .duties
                    .push(release(shard, epoch, to.as_ref(), view));
            }
        }
    }
}

/// Gives it to the next owner, if that still may own it; otherwise to nobody.
pub(super) fn release(shard: Shard, epoch: Epoch, to: Option<&EndpointId>, view: &View) -> Duty {
    let to = to.and_then(|to| view.successor(to));
    Duty::Release { shard, epoch, to }
}

fn offer(me: &EndpointId, to: &EndpointId, shard: Shard, epoch: Epoch) -> HandOver {
    HandOver {
        from: me.clone(),
        to: to.clone(),
        shard,
        epoch,
        step: Step::Offer,
    }
}
