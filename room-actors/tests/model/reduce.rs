//! Fewer states that say the same: what makes visiting all of them possible.
//!
//! Four reductions, each of which loses no broken promise:
//! - A step that only sends is taken at once: what it sends may arrive at any later time anyway. (A
//!   release that comes when the fence is at a quorum could have come before: only acknowledgements
//!   whose fence read is over lie between, and nobody sees when those are given.) Only an append is a
//!   choice where the owner may release instead.
//! - A write that nobody will look at any more counts as arrived everywhere.
//! - Of a read that is over, which replicas answered counts no more.
//! - Replicas have no names: one order of them stands for all six.
//!
//! The random schedules use none of them.

use super::{
    cluster::Cluster,
    state::{Epoch, Phase, ROWS, State, WRITES, fence, list, row},
    step::{Act, Step, Steps},
};

/// Replaces a state by the one that stands for it.
pub(crate) fn reduce(cluster: &Cluster, state: &mut State) {
    send(cluster, state);
    let seen = seen_by_someone(cluster, state);
    let read = state.at_quorum() & !WRITES;
    for held in &mut state.replicas {
        *held |= state.sent & !seen | read;
    }
    state.replicas.sort_unstable();
}

fn send(cluster: &Cluster, state: &mut State) {
    let mut steps = Steps::new();
    let mut owner = 1;
    while owner <= cluster.owners {
        steps.clear();
        cluster.acts(state, owner, &mut steps);
        let sending = steps
            .as_slice()
            .iter()
            .copied()
            .find(|step| only_sends(cluster, step));
        if let Some(step) = sending {
            cluster.apply(state, step);
        } else {
            // Only the owner after this one may follow from what this one did.
            owner += 1;
        }
    }
}

fn only_sends(cluster: &Cluster, step: &Step) -> bool {
    let Step::Act { owner, act } = step else {
        return false;
    };
    match act {
        Act::Fence | Act::TakeEpoch | Act::Rewritten | Act::SendList => true,
        Act::Append => *owner == cluster.owners,
        Act::Read(..) | Act::Serve | Act::ServeEmpty | Act::Ack(_) | Act::Release => false,
    }
}

/// Writes whose arrival may still make a difference to an owner.
fn seen_by_someone(cluster: &Cluster, state: &State) -> u64 {
    let mut seen = 0;
    for epoch in 1..=cluster.owners {
        if cluster.is_over(state, epoch) {
            continue;
        }
        let it = state.owner(epoch);
        seen |= fence(epoch);
        match it.phase {
            Phase::Idle | Phase::Fencing | Phase::Waking => {
                seen |= ROWS | lists(cluster.owners);
                if epoch > 1 {
                    seen |= fence(epoch - 1);
                }
            }
            Phase::Adopted => seen |= it.list.rows_to(it.adopted),
            _ => {}
        }
        seen |= list(epoch);
        for offset in it.adopted + 1..=cluster.offsets {
            if !it.has_acked(offset) {
                seen |= row(offset, epoch);
            }
        }
    }
    seen
}

fn lists(owners: Epoch) -> u64 {
    (1..=owners).fold(0, |lists, epoch| lists | list(epoch))
}
