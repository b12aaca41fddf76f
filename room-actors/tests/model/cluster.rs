//! What may happen next, and what it does: the transition function that both searches use.

use super::{
    list::List,
    rule::Rule,
    state::{
        Broken, Epoch, Offset, Owner, Phase, REPLICAS, ROWS, Read, State, WRITES, fence, list, row,
        rows_before,
    },
    step::{Act, Replica, Step, Steps},
};

/// What is searched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cluster {
    /// One after the other; at most [`super::state::OWNERS_MAX`].
    pub(crate) owners: Epoch,
    /// At most [`super::state::OFFSETS_MAX`].
    pub(crate) offsets: Offset,
    /// Rows an owner has sent and not acknowledged.
    pub(crate) in_flight_max: u8,
    pub(crate) rule: Rule,
}

impl Cluster {
    // ---- what may happen -----------------------------------------------------------------------

    /// Adds every possible step.
    pub(crate) fn steps(&self, state: &State, steps: &mut Steps) {
        for replica in 0..REPLICAS {
            let mut late = Self::late(state, replica);
            while late != 0 {
                let bit = late.trailing_zeros() as u8;
                let replica = replica as Replica;
                steps.push(Step::Arrive { bit, replica });
                late &= late - 1;
            }
        }
        for owner in 1..=self.owners {
            self.acts(state, owner, steps);
        }
    }

    /// Writes that were sent and have not reached this replica.
    pub(crate) fn late(state: &State, replica: usize) -> u64 {
        state.sent & !state.replicas[replica]
    }

    /// Whether this owner will never serve or acknowledge anything more.
    pub(crate) fn is_over(&self, state: &State, owner: Epoch) -> bool {
        let it = state.owner(owner);
        match it.phase {
            Phase::Stopped => true,
            Phase::Serving => {
                it.last() == self.offsets && it.acked.count_ones() == u32::from(it.appended)
            }
            _ => false,
        }
    }

    /// Adds what this owner may do.
    pub(crate) fn acts(&self, state: &State, owner: Epoch, steps: &mut Steps) {
        let it = state.owner(owner);
        let quorum = state.at_quorum();
        let mut push = |act| steps.push(Step::Act { owner, act });
        match it.phase {
            Phase::Idle => {
                if state.epoch + 1 == owner {
                    let no_one_to_fence = owner == 1 || state.released;
                    if no_one_to_fence || self.rule == Rule::EpochBeforeFence {
                        push(Act::TakeEpoch);
                    } else {
                        push(Act::Fence);
                    }
                }
            }
            Phase::Fencing => {
                if self.rule == Rule::EpochBeforeFence {
                    push(Act::Fence);
                } else if self.fence_learned(quorum, owner) || state.released {
                    push(Act::TakeEpoch);
                }
            }
            Phase::Waking => {
                if self.may_release(state, owner) {
                    push(Act::Release);
                }
                if it.after_release || self.fence_learned(quorum, owner) {
                    self.reads(state, owner, Read::Lists, steps);
                    self.reads(state, owner, Read::Rows, steps);
                }
            }
            Phase::Adopted => {
                let adopted = it.list.rows_to(it.adopted);
                if adopted & !quorum == 0 || it.at_rest || self.rule == Rule::NoRewrite {
                    push(Act::Rewritten);
                }
            }
            Phase::Listed => {
                let awaited = state.sent & list(owner);
                if awaited & !quorum == 0 || self.rule == Rule::ListNotAwaited {
                    if self.rule == Rule::NoFenceReadAfterWaking {
                        push(Act::Serve);
                    } else {
                        self.reads(state, owner, Read::FenceToServe, steps);
                    }
                }
            }
            Phase::Confirmed => push(Act::Serve),
            Phase::Empty => push(Act::ServeEmpty),
            Phase::EmptyServed => {
                push(Act::SendList);
                if self.may_release(state, owner) {
                    push(Act::Release);
                }
            }
            Phase::Serving => {
                if self.may_release(state, owner) {
                    push(Act::Release);
                }
                self.serving_acts(state, owner, steps);
            }
            Phase::Stopped => {}
        }
    }

    fn serving_acts(&self, state: &State, owner: Epoch, steps: &mut Steps) {
        let it = state.owner(owner);
        let in_flight = it.appended - it.acked.count_ones() as u8;
        if it.last() < self.offsets && in_flight < self.in_flight_max {
            let late_list = self.rule == Rule::ListAtFirstAppend;
            let act = if late_list && state.sent & list(owner) == 0 {
                Some(Act::SendList)
            } else if late_list && state.at_quorum() & list(owner) == 0 {
                None
            } else {
                Some(Act::Append)
            };
            if let Some(act) = act {
                steps.push(Step::Act { owner, act });
            }
        }
        let written = if self.rule == Rule::WriteAtOneReplica {
            state.at_any()
        } else {
            state.at_quorum()
        };
        let mut earlier_acked = true;
        let mut offset = it.adopted + 1;
        while offset <= it.last() {
            if it.has_acked(offset) {
                offset += 1;
                continue;
            }
            let written = written & row(offset, owner) != 0;
            let read = Read::FenceToAck(offset);
            let confirmed = self.rule == Rule::NoFenceRead || self.is_read(state, owner, read);
            if !confirmed && (written || self.rule == Rule::FenceReadBeforeWrite) {
                self.reads(state, owner, read, steps);
            }
            let in_turn = earlier_acked || self.rule == Rule::AcksOutOfOrder;
            if confirmed && written && in_turn {
                let act = Act::Ack(offset);
                steps.push(Step::Act { owner, act });
            }
            earlier_acked = false;
            offset += 1;
        }
    }

    /// Whether the owner may give the shard away: the room is not awake, or nothing is on its way.
    pub(crate) fn may_release(&self, state: &State, owner: Epoch) -> bool {
        let it = state.owner(owner);
        let finished = match it.phase {
            Phase::Waking => {
                let read = Read::Lists.by(owner) | Read::Rows.by(owner);
                state.at_any() & read == 0
            }
            Phase::EmptyServed => true,
            Phase::Serving => {
                it.acked.count_ones() == u32::from(it.appended)
                    || self.rule == Rule::ReleaseInFlight
            }
            _ => false,
        };
        // The last one has nobody to give it to.
        finished && state.epoch == owner && owner < self.owners
    }

    /// Whether whoever reads the former owner's fence at a quorum from now on will see it.
    fn fence_learned(&self, quorum: u64, owner: Epoch) -> bool {
        owner == 1 || self.rule == Rule::ClaimNotLearned || quorum & fence(owner - 1) != 0
    }

    /// Adds the replicas at which this read may go on.
    fn reads(&self, state: &State, owner: Epoch, read: Read, steps: &mut Steps) {
        if self.is_read(state, owner, read) {
            return;
        }
        for replica in 0..REPLICAS {
            if state.replicas[replica] & read.by(owner) == 0 {
                let act = Act::Read(read, replica as Replica);
                steps.push(Step::Act { owner, act });
            }
        }
    }

    /// Whether enough replicas answered.
    fn is_read(&self, state: &State, owner: Epoch, read: Read) -> bool {
        let one_is_enough = match read {
            Read::Lists => self.rule == Rule::ListReadAtOneReplica,
            Read::Rows => self.rule == Rule::RowsReadAtOneReplica,
            Read::FenceToServe | Read::FenceToAck(_) => self.rule == Rule::FenceReadAtOneReplica,
        };
        let done = if one_is_enough {
            state.at_any()
        } else {
            state.at_quorum()
        };
        done & read.by(owner) != 0
    }

    // ---- what it does --------------------------------------------------------------------------

    /// Takes one step that is possible.
    pub(crate) fn apply(&self, state: &mut State, step: Step) {
        match step {
            Step::Arrive { bit, replica } => state.replicas[usize::from(replica)] |= 1 << bit,
            Step::Act { owner, act } => self.act(state, owner, act),
        }
    }

    fn act(&self, state: &mut State, owner: Epoch, act: Act) {
        match act {
            Act::Fence => {
                state.sent |= fence(owner - 1);
                state.owner_mut(owner).phase = if self.rule == Rule::EpochBeforeFence {
                    Phase::Waking
                } else {
                    Phase::Fencing
                };
            }
            Act::TakeEpoch => {
                state.epoch = owner;
                let after_release = std::mem::take(&mut state.released);
                state.owner_mut(owner).after_release = after_release;
                let fences_then =
                    self.rule == Rule::EpochBeforeFence && owner > 1 && !after_release;
                state.owner_mut(owner).phase = if fences_then {
                    Phase::Fencing
                } else {
                    Phase::Waking
                };
            }
            Act::Release => {
                state.released = true;
                state.stop(owner);
            }
            Act::Read(read, replica) => self.read(state, owner, read, replica),
            Act::Rewritten => {
                let later = [Rule::ListAtFirstAppend, Rule::HighestEpochWins];
                if !later.contains(&self.rule) {
                    state.sent |= list(owner);
                }
                state.owner_mut(owner).phase = Phase::Listed;
            }
            Act::SendList => {
                state.sent |= list(owner);
                let it = state.owner_mut(owner);
                if it.phase == Phase::EmptyServed {
                    it.phase = Phase::Listed;
                }
            }
            Act::Serve => {
                state.owner_mut(owner).phase = Phase::Serving;
                serve(state, owner);
            }
            Act::ServeEmpty => {
                state.owner_mut(owner).phase = Phase::EmptyServed;
                serve(state, owner);
            }
            Act::Append => {
                let it = state.owner_mut(owner);
                it.appended += 1;
                let offset = it.last();
                state.sent |= row(offset, owner);
            }
            Act::Ack(offset) => {
                state.owner_mut(owner).acked |= 1 << (offset - 1);
                state.forget(Read::FenceToAck(offset).by(owner));
                acknowledge(state, owner, offset);
            }
        }
    }

    fn read(&self, state: &mut State, owner: Epoch, read: Read, replica: Replica) {
        let held = state.replicas[usize::from(replica)];
        match read {
            Read::Lists => {
                let lists = (held & WRITES & !ROWS) / list(1);
                let lists = lists & 15;
                state.owner_mut(owner).lists_seen |= lists as u8;
            }
            Read::Rows => state.owner_mut(owner).rows_seen |= (held & ROWS) as u16,
            Read::FenceToServe | Read::FenceToAck(_) => {
                if held & fence(owner) != 0 {
                    return state.stop(owner);
                }
            }
        }
        state.replicas[usize::from(replica)] |= read.by(owner);
        match read {
            Read::Lists | Read::Rows => {
                let over = |read| self.is_read(state, owner, read);
                if over(Read::Lists) && over(Read::Rows) {
                    state.forget(Read::Lists.by(owner) | Read::Rows.by(owner));
                    self.adopt(state, owner);
                }
            }
            Read::FenceToServe => {
                if self.is_read(state, owner, read) {
                    state.forget(read.by(owner));
                    state.owner_mut(owner).phase = Phase::Confirmed;
                }
            }
            Read::FenceToAck(_) => {}
        }
    }

    /// Decides from what was read: the prefix that counts, and the list from now on.
    fn adopt(&self, state: &mut State, owner: Epoch) {
        let Owner {
            lists_seen,
            rows_seen,
            ..
        } = *state.owner(owner);
        let newest = 8 - lists_seen.leading_zeros() as Epoch;
        if newest > owner {
            return state.stop(owner);
        }
        let rows = u64::from(rows_seen);
        let list = match self.rule {
            Rule::HighestEpochWins => List::highest_of(rows),
            Rule::ListsMerged => {
                let mut lists = [List::default(); 4];
                for epoch in 1..=self.owners {
                    if lists_seen & (1 << (epoch - 1)) != 0 {
                        lists[usize::from(epoch) - 1] = state.owner(epoch).list;
                    }
                }
                List::merged(&lists)
            }
            _ if newest == 0 => List::default(),
            _ => state.owner(newest).list,
        };
        let it = state.owner_mut(owner);
        it.adopted = list.head_in(rows);
        it.list = list.claimed_by(owner, it.adopted);
        it.lists_seen = 0;
        it.rows_seen = 0;
        it.at_rest =
            it.after_release && (newest + 1 == owner || self.rule == Rule::AtRestByRelease);
        it.after_release = false;
        let never_was = newest == 0 && rows == 0;
        it.phase = if never_was && self.rule == Rule::FirstEventClaims {
            Phase::Empty
        } else {
            Phase::Adopted
        };
    }
}

// ---- what must hold ----------------------------------------------------------------------------

/// Readers see what this owner adopted.
fn serve(state: &mut State, owner: Epoch) {
    let it = state.owner_mut(owner);
    it.served = true;
    let adopted = it.list.rows_to(it.adopted);
    if state.acked & rows_before(owner) & !adopted != 0 {
        state.broken.add(Broken::LOST);
    }
    state.void |= rows_before(owner) & !adopted;
    show(state, adopted);
}

/// Readers see this owner's row.
fn acknowledge(state: &mut State, owner: Epoch, offset: Offset) {
    let mut later = usize::from(owner);
    while later < state.owners.len() {
        let it = &state.owners[later];
        if it.served && it.list.rows_to(it.adopted) & row(offset, owner) == 0 {
            state.broken.add(Broken::LOST);
        }
        later += 1;
    }
    state.acked |= row(offset, owner);
    show(state, row(offset, owner));
}

fn show(state: &mut State, rows: u64) {
    state.served |= rows;
    if state.served & state.void != 0 {
        state.broken.add(Broken::REVIVED);
    }
    // Two bits within one offset's four.
    let served = state.served;
    let two = served & (served >> 1 & 0x7777 | served >> 2 & 0x3333 | served >> 3 & 0x1111);
    if two != 0 {
        state.broken.add(Broken::TWO_EVENTS);
    }
}
