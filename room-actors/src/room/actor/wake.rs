//! Waking a room: the reads and writes of DESIGN's "Waking a room under a new epoch", in its order.

use std::collections::VecDeque;

use rookery_persistence::EpochList;
use rustc_hash::FxHashMap;
use slab::Slab;
use tokio::time::Instant;

use super::{Awake, RoomArgs, RoomError, Shell};
use crate::{
    host::HostMsg,
    limits::{Memory, WAKE_TAIL_OFFSETS},
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
    let epoch = args.epoch;
    let list = shared
        .store
        .room_epochs(room)
        .await
        .map_err(RoomError::store("read epochs"))?;
    let tail = shared
        .store
        .log_tail(room, WAKE_TAIL_OFFSETS)
        .await
        .map_err(RoomError::store("read tail"))?;
    // Nothing is written for a name that nobody uses: its first event claims it.
    let never_was = list.entries().is_empty() && tail.is_empty();
    let recovery = recover(list, tail, epoch)?;
    if let Some(claimed) = &recovery.claim
        && !never_was
    {
        let rows = &recovery.adopted[claimed.rewrite_from..];
        if !rows.is_empty() {
            let write = rewrite(room, rows);
            shared
                .store
                .commit(&[write])
                .await
                .map_err(RoomError::store("write tail again"))?;
        }
        claim(args, &recovery.epochs).await?;
    }
    let (settings, members, cursors, deletions) = if never_was {
        (Vec::new(), Vec::new(), Vec::new(), Vec::new())
    } else {
        tokio::try_join!(
            shared.store.settings(room),
            shared.store.members(room),
            shared.store.cursors(room),
            shared.store.deletions(room),
        )
        .map_err(RoomError::store("read room"))?
    };
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
        Instant::now(),
    );
    metrics::room_woken(began.elapsed());
    tracing::info!(
        room.id = %room,
        room.epoch = epoch.0,
        room.head = state.head().0,
        room.taken_over = taken_over,
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
