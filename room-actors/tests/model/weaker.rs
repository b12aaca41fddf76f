//! Each weaker rule breaks a promise, and the search finds it: that is what its silence is worth.

use super::{
    cluster::Cluster,
    rule::Rule,
    schedules::LARGE,
    state::Broken,
    walk::{Failure, replay, seed_of, walk},
};

/// All are found within a hundred (`docs/model.md`); the room above that is for changed tempos.
const SCHEDULES_MAX: u64 = 20_000;

/// Finds a schedule that breaks a promise under this rule, and shows that it is the rule: the
/// designed one does not break it in the same schedule, without the steps it does not allow.
#[expect(
    clippy::print_stdout,
    reason = "how soon it is caught, and how, is the result"
)]
fn check_caught(rule: Rule) {
    let cluster = Cluster { rule, ..LARGE };
    let broken = |number: &u64| walk(&cluster, seed_of(*number), |_| {}).broken != Broken::NOTHING;
    let number = (0..SCHEDULES_MAX).find(broken);
    let number = number.unwrap_or_else(|| panic!("{rule} not caught in {SCHEDULES_MAX} schedules"));
    let failure = Failure::of_seed(&cluster, seed_of(number)).expect("the same seed fails again");
    println!("caught in {} schedules: {failure}\n", number + 1);
    let (end, taken) = replay(&cluster, failure.steps());
    assert_eq!((end.broken, &taken[..]), (failure.broken, failure.steps()));
    let (designed, _) = replay(&LARGE, failure.steps());
    assert_eq!(designed.broken, Broken::NOTHING);
}

#[test]
fn no_fence_read_is_caught() {
    check_caught(Rule::NoFenceRead);
}

#[test]
fn fence_read_before_the_write_is_complete_is_caught() {
    check_caught(Rule::FenceReadBeforeWrite);
}

#[test]
fn no_fence_read_after_waking_is_caught() {
    check_caught(Rule::NoFenceReadAfterWaking);
}

#[test]
fn acks_out_of_order_are_caught() {
    check_caught(Rule::AcksOutOfOrder);
}

#[test]
fn rows_read_at_one_replica_are_caught() {
    check_caught(Rule::RowsReadAtOneReplica);
}

#[test]
fn list_read_at_one_replica_is_caught() {
    check_caught(Rule::ListReadAtOneReplica);
}

#[test]
fn claim_not_yet_learned_at_quorum_is_caught() {
    check_caught(Rule::ClaimNotLearned);
}

#[test]
fn tail_not_written_again_is_caught() {
    check_caught(Rule::NoRewrite);
}

#[test]
fn list_not_at_quorum_before_the_first_append_is_caught() {
    check_caught(Rule::ListNotAwaited);
}

#[test]
fn list_written_only_before_the_first_append_is_caught() {
    check_caught(Rule::ListAtFirstAppend);
}

#[test]
fn merged_lists_are_caught() {
    check_caught(Rule::ListsMerged);
}

#[test]
fn highest_epoch_without_a_list_is_caught() {
    check_caught(Rule::HighestEpochWins);
}

#[test]
fn epoch_taken_before_the_fence_is_caught() {
    check_caught(Rule::EpochBeforeFence);
}

#[test]
fn fence_read_at_one_replica_is_caught() {
    check_caught(Rule::FenceReadAtOneReplica);
}

#[test]
fn write_complete_at_one_replica_is_caught() {
    check_caught(Rule::WriteAtOneReplica);
}

#[test]
fn room_at_rest_by_release_alone_is_caught() {
    check_caught(Rule::AtRestByRelease);
}

#[test]
fn shard_released_with_rows_in_flight_is_caught() {
    check_caught(Rule::ReleaseInFlight);
}
