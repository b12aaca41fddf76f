//! Waking a room: the reads and writes of DESIGN's "Waking a room under a new epoch", in its order.

use std::collections::VecDeque;

use rookery_cluster::holdings::Held;
use rookery_persistence::EpochList;
use rookery_proto::ids::Epoch;
use rustc_hash::FxHashMap;
use slab::Slab;
use tokio::time::Instant;

use super::{RoomArgs, RoomError, Shell, awake::Awake};
use crate::{
    host::HostMsg,
    limits::{Memory, WAKE_TAIL_OFFSETS, WAKE_TAIL_OFFSETS_AT_REST},
    metrics,
    room::{
        effects::Effects,
        state::RoomState,
        wake::{recover, rewrite},
        woken::Woken,
    },
};

impl Shell {
    pub(super) async fn wake(&mut self) -> Result<(), RoomError> {
        let result = wake(&self.args).await;
        if matches!(result, Err(RoomError::Fenced)) {
            // A host that is gone has dropped the room already.
            let _ = self.args.host.send(HostMsg::Fenced);
        }
        self.awake = Some(result?);
        // Health may have changed before we watched it.
        if let Some(awake) = &mut self.awake {
            let refusal = awake.health.borrow_and_update().refusal();
            awake.state.refuse_writes(refusal);
        }
        Ok(())
    }
}

async fn wake(args: &RoomArgs) -> Result<Awake, RoomError> {
    let shared = &args.shared;
    let room = &args.room;
    let _permit = shared
        .wakes
        .acquire()
        .await
        .expect("the semaphore is never closed");
    let began = Instant::now();
    let epoch = args.held.epoch;
    let mut window = match args.held.after_release {
        true => WAKE_TAIL_OFFSETS_AT_REST,
        false => WAKE_TAIL_OFFSETS,
    };
    let (list, mut tail) = tokio::try_join!(
        shared.store.room_epochs(room),
        shared.store.log_tail(room, window),
    )
    .map_err(RoomError::store("read list and tail"))?;
    let was_at_rest = is_at_rest(args.held, &list);
    if !was_at_rest && window < WAKE_TAIL_OFFSETS {
        window = WAKE_TAIL_OFFSETS;
        let longer = shared.store.log_tail(room, window).await;
        tail = longer.map_err(RoomError::store("read tail"))?;
    }
    // Nothing is written for a name that nobody uses: its first event claims it.
    let never_was = list.entries().is_empty() && tail.is_empty();
    let recovery = recover(list, tail, window, epoch)?;
    let claim_list = async {
        match &recovery.claim {
            Some(_) if !never_was => claim(args, &recovery.epochs).await,
            Some(_) | None => Ok(()),
        }
    };
    if let Some(claimed) = &recovery.claim
        && !never_was
        && !was_at_rest
        && !recovery.adopted.is_empty()
    {
        let write = rewrite(room, &recovery.adopted, claimed.rewrite_from);
        shared
            .store
            .commit(&[write])
            .await
            .map_err(RoomError::store("write tail again"))?;
    }
    // What is derived is complete now. That it is still ours to serve is known after the claim.
    let derived = async {
        if never_was {
            return Ok(Default::default());
        }
        tokio::try_join!(
            shared.store.settings(room),
            shared.store.members(room),
            shared.store.cursors(room),
            shared.store.deletions(room),
        )
        .map_err(RoomError::store("read room"))
    };
    let ((), (settings, members, cursors, deletions)) = tokio::try_join!(claim_list, derived)?;
    let taken_over = recovery.claim.is_some() && !never_was;
    let state = RoomState::new(
        Woken {
            room: room.clone(),
            epoch,
            epochs: recovery.epochs,
            tail: recovery.adopted,
            settings,
            members,
            cursors,
            deletions,
        },
        shared.limits,
        Memory::default(),
    );
    metrics::room_woken(began.elapsed());
    tracing::info!(
        room.id = %room,
        room.epoch = epoch.0,
        room.head = state.head().0,
        room.taken_over = taken_over,
        room.was_at_rest = was_at_rest,
        wake.us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        "room awake"
    );
    Ok(Awake {
        state,
        claimed: !never_was,
        replies: Slab::new(),
        waiting: VecDeque::new(),
        effects: Effects::default(),
        links: FxHashMap::default(),
        health: shared.health.watch(),
        timer: None,
        handled: 0,
        sleep_wanted: None,
    })
}

/// Whether the room's last owner ended it with nothing in flight, so that every row is at a quorum:
/// it claimed the room under the very epoch under which the shard was then released. (A room that
/// failed makes its owner renew the epoch before it releases.)
fn is_at_rest(held: Held, list: &EpochList) -> bool {
    held.after_release && list.last_epoch() == Some(Epoch(held.epoch.0 - 1))
}

/// Writes the list, then reads the own fence: only then anything is served or appended.
pub(super) async fn claim(args: &RoomArgs, epochs: &EpochList) -> Result<(), RoomError> {
    let store = &args.shared.store;
    store
        .put_room_epochs(&args.room, epochs)
        .await
        .map_err(RoomError::store("write epochs"))?;
    let fenced = store
        .is_fenced(args.shared.incarnation)
        .await
        .map_err(RoomError::store("read fence"))?;
    if fenced {
        Err(RoomError::Fenced)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rookery_proto::ids::Offset;

    use super::*;

    #[test]
    fn room_was_at_rest_only_if_claimed_under_the_epoch_that_was_released() {
        let claimed = |epoch| EpochList::default().claimed_by(Epoch(epoch), Offset(3));
        let held = |epoch, after_release| Held {
            epoch: Epoch(epoch),
            after_release,
        };
        assert!(is_at_rest(held(8, true), &claimed(7)));
        assert!(!is_at_rest(held(8, false), &claimed(7)), "from the dead");
        assert!(
            !is_at_rest(held(9, true), &claimed(7)),
            "failed, or slept under another"
        );
        assert!(
            !is_at_rest(held(1, true), &EpochList::default()),
            "never was"
        );
    }
}
