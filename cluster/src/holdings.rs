//! The shards that one role of this process holds, and what is done about each.
//!
//! A host of shards (rooms, presence) asks [`Holdings::place`] for every packet and performs the
//! [`Change`]s that [`Holdings::next`] yields. The database and [`Membership`] are dealt with here.
//!
//! ```text
//!            expected               given                        close        released or given
//!  Vacant ────────────► Expected ─────────────► Held ─────────────────────► Closing ────────► Vacant
//!    │                                           ▲ ▲                          │
//!    └────────────────► Taking ──────────────────┘ └────────── admit ─────────┘
//!            take                  taken
//! ```
//! What is held is taken again, under a larger epoch, when something of it failed
//! ([`Holdings::renew`]); packets wait meanwhile.
//!
//! All changes of state happen in the host's own task, so the order of what it is told is the order
//! of what happened. Alone ([`Ownership::Alone`]) the same runs without membership: a shard is
//! taken at its first use, from whoever had it.

mod desk;
mod parking;
mod place;
mod registry;

use std::{collections::VecDeque, sync::Arc};

use rookery_proto::{
    ids::Epoch,
    link::Load,
    shard::{SHARD_COUNT, Shard},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use self::desk::{Desk, Ended};
pub use self::{
    parking::Parking,
    place::{Change, Held, Place},
    registry::{Releasing, ShardRegistry, TakenFrom, Taking},
};
use crate::{
    endpoint::EndpointId,
    limits::EXPECTED_FOR,
    membership::{Duties, Duty, Membership, Standing},
};

/// Who decides what is held.
pub enum Ownership {
    /// Nobody else can live: everything is ours.
    Alone,
    /// Membership does.
    Cluster {
        /// The part in the cluster.
        membership: Membership,
        /// What it wants done.
        duties: Duties,
    },
}

#[derive(Clone, Debug, Default)]
struct Slot {
    held: Option<Held>,
    /// The newest known here.
    known: Epoch,
    /// The database is asked for it.
    taking: bool,
    /// It could not say so far: nobody waits for it here.
    troubled: bool,
    /// Nothing is admitted any more; to whom it goes.
    closing: Option<Closing>,
    /// Promised to us until then.
    expected_until: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Closing {
    to: Option<EndpointId>,
    /// Its contents have ended.
    emptied: bool,
}

/// What is held. Dropping it ends the part in the cluster.
pub struct Holdings {
    slots: Vec<Slot>,
    duties: Option<Duties>,
    standing: Option<watch::Receiver<Standing>>,
    desk: Desk,
    /// Promised shards in the order of their deadlines.
    expected: VecDeque<(Instant, Shard)>,
    fence_asked: bool,
}

enum Event {
    Ended(Ended),
    Duty(Duty),
    Standing(Standing),
    MembershipGone,
    ExpectedTooLong,
}

impl Holdings {
    /// Holds nothing yet. Needs a tokio runtime.
    #[must_use]
    pub fn new(ownership: Ownership, registry: Arc<dyn ShardRegistry>) -> Self {
        let (membership, duties) = match ownership {
            Ownership::Alone => (None, None),
            Ownership::Cluster { membership, duties } => (Some(membership), Some(duties)),
        };
        let standing = membership.as_ref().map(Membership::standing).map(|mut it| {
            // Also tells how it stands now.
            it.mark_changed();
            it
        });
        Self {
            slots: vec![Slot::default(); usize::from(SHARD_COUNT)],
            duties,
            standing,
            desk: Desk::new(registry, membership),
            expected: VecDeque::new(),
            fence_asked: false,
        }
    }

    /// Where packets of the shard belong. Alone, this takes the shard at its first use.
    pub fn place(&mut self, shard: Shard, now: Instant) -> Place {
        let alone = self.duties.is_none() && self.standing.is_none();
        let slot = self.slot(shard);
        if let Some(closing) = &slot.closing {
            return Place::Elsewhere {
                epoch: slot.known,
                to: closing.to.clone(),
            };
        }
        if slot.taking && !slot.troubled {
            return Place::Soon;
        }
        if slot.taking {
            return Place::Elsewhere {
                epoch: slot.known,
                to: None,
            };
        }
        match slot.held {
            Some(held) => Place::Here(held),
            None if alone => {
                slot.taking = true;
                self.desk.take(shard, TakenFrom::Anyone);
                Place::Soon
            }
            None if slot.expected_until.is_some_and(|until| now < until) => Place::Soon,
            None => Place::Elsewhere {
                epoch: slot.known,
                to: None,
            },
        }
    }

    /// How the shard is held, also while it closes.
    #[must_use]
    pub fn held(&self, shard: Shard) -> Option<Held> {
        self.slots[usize::from(shard.number())].held
    }

    /// The contents of a closing shard have ended ([`Change::Close`]).
    pub fn closed(&mut self, shard: Shard) {
        if let Some(closing) = &mut self.slot(shard).closing {
            closing.emptied = true;
        }
        self.finish_closing(shard);
    }

    /// What failed here may have left writes on their way: from now on a larger epoch is needed.
    /// [`Change::Taken`] says when it is had. Also a shard that closes gets it first: so what
    /// failed was not under the epoch that is released.
    pub fn renew(&mut self, shard: Shard) {
        let from = match self.standing {
            Some(_) => TakenFrom::Ourselves,
            None => TakenFrom::Anyone,
        };
        let slot = self.slot(shard);
        // Of an emptied shard nothing can fail, and it may be released under its epoch by now.
        let emptied = slot.closing.as_ref().is_some_and(|it| it.emptied);
        if slot.held.is_some() && !slot.taking && !emptied {
            slot.taking = true;
            self.desk.take(shard, from);
        }
    }

    /// Commits begin to fail, or succeed again.
    pub fn commits_failing(&self, failing: bool) {
        self.desk.commits_failing(failing);
    }

    /// The own fence was seen.
    pub fn fenced(&self) {
        self.desk.fenced();
    }

    /// Hands over everything; [`Standing::Left`] says when that is done. False: nobody to hand to.
    pub fn leave(&self) -> bool {
        self.desk.leave();
        self.standing.is_some()
    }

    /// Whether everything was handed over, or nothing can be any more.
    #[must_use]
    pub fn has_left(&self) -> bool {
        let standing = self.standing.as_ref().map(|it| *it.borrow());
        matches!(standing, None | Some(Standing::Left | Standing::Fenced))
    }

    /// What people see in heartbeats.
    pub fn load(&self, load: Load) {
        self.desk.load(load);
    }

    /// What the host must do next. Waits for ever when nothing comes any more.
    ///
    /// # Cancel safety
    /// Nothing is lost when dropped.
    pub async fn next(&mut self) -> Change {
        loop {
            let event = self.event().await;
            if let Some(change) = self.handle(event) {
                return change;
            }
        }
    }

    async fn event(&mut self) -> Event {
        let expected = self.expected.front().map(|(until, _)| *until);
        tokio::select! {
            biased;
            Some(ended) = self.desk.ended() => Event::Ended(ended),
            standing = next_standing(&mut self.standing) => Event::Standing(standing),
            duty = next_duty(&mut self.duties) => duty.map_or(Event::MembershipGone, Event::Duty),
            () = until(expected) => Event::ExpectedTooLong,
        }
    }

    fn handle(&mut self, event: Event) -> Option<Change> {
        match event {
            Event::Ended(Ended::Take {
                shard,
                from,
                taking,
            }) => self.take_ended(shard, from, taking),
            Event::Ended(Ended::Release { shard, releasing }) => match releasing {
                Releasing::Given | Releasing::Released => {
                    let slot = self.slot(shard);
                    slot.held = None;
                    slot.closing = None;
                    self.desk.released(shard, releasing == Releasing::Given);
                    None
                }
                Releasing::NotOurs => {
                    self.desk.released(shard, false);
                    Some(self.lose(shard))
                }
                Releasing::Failed => {
                    self.desk.release_failed(shard);
                    None
                }
            },
            Event::Ended(Ended::FenceRead { fenced }) => {
                self.fence_asked = false;
                if fenced {
                    self.desk.fenced();
                }
                None
            }
            Event::Standing(standing) => Some(Change::Standing(standing)),
            Event::Duty(duty) => self.perform(duty),
            Event::MembershipGone => {
                tracing::error!("membership ended, shards stay as they are");
                self.duties = None;
                None
            }
            Event::ExpectedTooLong => {
                let (until, shard) = self.expected.pop_front()?;
                let slot = self.slot(shard);
                if slot.expected_until != Some(until) {
                    return None;
                }
                slot.expected_until = None;
                (!slot.taking && slot.held.is_none()).then_some(Change::NotTaken(shard))
            }
        }
    }

    fn perform(&mut self, duty: Duty) -> Option<Change> {
        match duty {
            Duty::Expect { shard } => {
                let until = Instant::now() + EXPECTED_FOR;
                self.slot(shard).expected_until = Some(until);
                self.expected.push_back((until, shard));
                None
            }
            Duty::Take { shard, from } => {
                let slot = self.slot(shard);
                slot.expected_until = None;
                slot.taking = true;
                let from = from.map_or(TakenFrom::Nobody, TakenFrom::Dead);
                self.desk.take(shard, from);
                None
            }
            Duty::Given { shard, epoch } => {
                self.hold(shard, epoch, true);
                Some(Change::Taken(shard))
            }
            Duty::StopAdmitting { shard, to } => {
                self.slot(shard).closing = Some(Closing { to, emptied: false });
                Some(Change::Close(shard))
            }
            Duty::Release { shard, epoch, to } => {
                self.desk.release(shard, epoch, to);
                None
            }
            Duty::Admit { shard } => {
                self.slot(shard).closing = None;
                Some(Change::Admit(shard))
            }
            Duty::Lost { shard } => Some(self.lose(shard)),
        }
    }

    fn take_ended(&mut self, shard: Shard, from: TakenFrom, taking: Taking) -> Option<Change> {
        let is_cluster = self.standing.is_some();
        let slot = self.slot(shard);
        slot.troubled = false;
        match taking {
            Taking::Taken(epoch) => {
                slot.taking = false;
                self.hold(shard, epoch, from == TakenFrom::Nobody);
                self.desk.taken(shard, epoch);
                self.finish_closing(shard);
                Some(Change::Taken(shard))
            }
            // Asked until it is known: if it is ours and nobody knew, nobody could take it.
            Taking::Failed if is_cluster => {
                slot.troubled = true;
                self.desk.take_later(shard, from);
                Some(Change::NotTaken(shard))
            }
            Taking::Failed => {
                slot.taking = false;
                // A failed renewal must not leave the old epoch in use.
                slot.held = None;
                Some(Change::NotTaken(shard))
            }
            Taking::Refused { owner, epoch } => {
                slot.taking = false;
                slot.known = slot.known.max(epoch);
                let held = slot.held.is_some();
                self.desk.take_refused(shard, owner, epoch);
                if held {
                    return Some(self.lose(shard));
                }
                Some(Change::NotTaken(shard))
            }
        }
    }

    fn hold(&mut self, shard: Shard, epoch: Epoch, after_release: bool) {
        let slot = self.slot(shard);
        slot.expected_until = None;
        slot.held = Some(Held {
            epoch,
            after_release,
        });
        slot.known = slot.known.max(epoch);
        tracing::debug!(
            shard.number = shard.number(),
            shard.epoch = epoch.0,
            "shard taken"
        );
    }

    fn lose(&mut self, shard: Shard) -> Change {
        let slot = self.slot(shard);
        slot.held = None;
        slot.closing = None;
        // Whoever has it now has fenced us, unless we had released it.
        if !self.fence_asked {
            self.fence_asked = true;
            self.desk.read_fence();
        }
        Change::Lost(shard)
    }

    fn finish_closing(&mut self, shard: Shard) {
        let slot = self.slot(shard);
        let emptied = slot.closing.as_ref().is_some_and(|it| it.emptied);
        if emptied && !slot.taking {
            self.desk.finished(shard);
        }
    }

    fn slot(&mut self, shard: Shard) -> &mut Slot {
        &mut self.slots[usize::from(shard.number())]
    }
}

async fn next_duty(duties: &mut Option<Duties>) -> Option<Duty> {
    match duties {
        Some(duties) => duties.next().await,
        None => std::future::pending().await,
    }
}

async fn next_standing(standing: &mut Option<watch::Receiver<Standing>>) -> Standing {
    if let Some(standing) = standing
        && standing.changed().await.is_ok()
    {
        return *standing.borrow_and_update();
    }
    std::future::pending().await
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
