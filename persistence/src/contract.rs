//! The one suite of cases that every adapter of [`crate::Store`] must pass.
//!
//! An adapter's tests call [`store_contract!`](crate::store_contract) with the path of an async
//! function that returns `(Arc<S>, guard)`, where `S: Store`: each case gets a store of its own
//! that it may close. Cases use names never used before, so several stores may share one
//! database; the guard is dropped after the case. Tests with a harness of their own take the cases
//! from [`cases`] instead, and [`random::idempotent_writes_in_any_order_read_equal`] beside them.

pub mod fixture;
pub mod log;
pub mod ownership;
pub mod random;
pub mod rooms;
pub mod users;

use std::{future::Future, pin::Pin, sync::Arc};

use crate::Store;

/// How a case ends: its assertions panic, an unexpected error of the store is returned.
pub type CaseResult = Result<(), crate::StoreError>;

/// A case under way.
pub type Running = Pin<Box<dyn Future<Output = CaseResult> + Send>>;

/// One case of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Runs it on a store of its own.
    pub run: fn(Arc<dyn Store>) -> Running,
}

/// All cases but the random one, which brings its own runtime.
#[must_use]
pub fn cases() -> Vec<Case> {
    crate::store_contract! { @list @values; }
}

/// Makes one test of each case of the contract.
#[macro_export]
macro_rules! store_contract {
    ($make:path) => {
        $crate::store_contract! { @list @tests $make; }

        #[test]
        fn idempotent_writes_in_any_order_read_equal() {
            let runtime =
                ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (store, _guard) = runtime.block_on($make());
            let store: ::std::sync::Arc<dyn $crate::Store> = store;
            $crate::contract::random::idempotent_writes_in_any_order_read_equal(&runtime, &*store);
            runtime.block_on(store.close());
        }
    };
    (@list $($to:tt)*) => {
        $crate::store_contract! { $($to)*
            log::commit_then_read_gives_the_same_rows
            log::rows_of_all_epochs_are_kept_and_told_apart
            log::late_write_of_an_old_epoch_overwrites_nothing
            log::repeated_commit_changes_nothing
            log::range_is_inclusive_and_ordered
            log::tail_counts_offsets_across_gaps_and_epochs
            log::large_events_come_back_whole
            log::concurrent_commits_are_all_there
            log::empty_commit_is_done
            log::commit_as_somebody_tells_only_what_the_fence_says
            log::marks_are_found_by_target
            log::deletions_are_found_without_their_events
            ownership::epoch_list_with_the_highest_last_epoch_wins
            ownership::epoch_list_is_never_replaced_by_another
            ownership::shard_epochs_ascend_and_fence_the_former_owner
            ownership::free_shard_is_taken_from_nobody
            ownership::shard_of_another_is_refused_and_nobody_is_fenced
            ownership::shard_taken_from_its_dead_owner_fences_that_one
            ownership::second_shard_of_a_dead_owner_is_taken_too
            ownership::shard_taken_again_by_its_owner_fences_nobody
            ownership::released_shard_is_free_and_keeps_its_epoch
            ownership::release_of_what_one_does_not_own_does_nothing
            ownership::given_shard_is_the_next_owners_under_the_next_epoch
            ownership::gift_of_what_one_does_not_own_does_nothing
            ownership::two_takers_of_a_free_shard_one_wins_and_neither_is_fenced
            ownership::two_takers_from_a_dead_owner_one_wins_and_neither_is_fenced
            ownership::presence_is_apart_from_rooms_and_fences_nobody
            ownership::unregistered_incarnation_is_fenced
            ownership::registering_again_lifts_no_fence
            ownership::concurrent_takers_get_different_epochs
            ownership::many_nodes_at_one_shard_leave_only_its_owner_unfenced
            rooms::unknown_room_reads_empty
            rooms::settings_keep_every_version
            rooms::members_keep_every_version
            rooms::cursors_keep_the_largest_offset
            rooms::sent_ids_are_newest_first_by_time_and_limit
            rooms::sent_id_tells_every_row_of_its_key
            rooms::expiry_spares_what_is_young
            rooms::odd_characters_come_back_unchanged
            users::user_rooms_tell_the_newest_row_in_pages
            users::last_seen_never_moves_back
            users::closed_store_refuses_everything
        }
    };
    (@tests $make:path; $($module:ident :: $case:ident)*) => {
        $(
            #[::tokio::test]
            async fn $case() {
                let (store, _guard) = $make().await;
                let store: ::std::sync::Arc<dyn $crate::Store> = store;
                $crate::contract::$module::$case(::std::sync::Arc::clone(&store)).await.unwrap();
                store.close().await;
            }
        )*
    };
    (@values; $($module:ident :: $case:ident)*) => {
        ::std::vec![$(
            $crate::contract::Case {
                name: ::std::stringify!($case),
                run: |store| ::std::boxed::Box::pin($crate::contract::$module::$case(store)),
            }
        ),*]
    };
}
