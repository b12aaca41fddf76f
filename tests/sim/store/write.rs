//! What an owner writes, and the fence that it reads for it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use prost::Message as _;
use rookery_cluster::task::{TaskKind, spawn};
use rookery_persistence::{EpochList, Incarnation, RoomWrite, StoreError};
use rookery_proto::{
    ids::{Epoch, Offset, RoomId},
    v1,
};
use tokio::sync::Notify;

use super::{NodeStore, unknown};
use crate::{
    mutation::Mutation,
    quorum::{NoQuorum, Point, QUORUM},
    replica::{Batch, Key, Partition, Row, batches},
};

/// Only for mutations: what is known of commits.
#[derive(Default)]
pub(super) struct Writes {
    /// The fence as the commit that ended last read it before it wrote.
    fence_before: Mutex<Option<bool>>,
    begun: AtomicU64,
    /// The newest commit that is durable.
    durable: AtomicU64,
    /// Wakes in the order of waiting, which a `watch` does not.
    moved: Notify,
}

impl NodeStore {
    pub(super) async fn write_group(&self, group: &[RoomWrite]) -> Result<(), StoreError> {
        if self.waking.leave() {
            return self.write_again(group).await;
        }
        let own = Incarnation(self.process.incarnation);
        let fence_before = if self.breaks(Mutation::FenceBeforeWrite) {
            self.begin(Point::Other).await?;
            Some(self.fenced_now(own).await?)
        } else {
            None
        };
        let mut group = group.to_vec();
        if self.breaks(Mutation::EventLeftOut) && group.len() + group[0].log.len() > 3 {
            group[0].log.pop();
        }
        let all = self.batches(&mut group);
        if self.breaks(Mutation::AcksOutOfOrder) {
            return self.write_overtaken(all).await;
        }
        self.begin(Point::Commit).await?;
        let need = if self.breaks(Mutation::AckAtOneReplica) {
            1
        } else {
            QUORUM
        };
        let done = self.quorum.write(&self.process, all, need).await;
        self.process.pass().await;
        done.map_err(unknown("commit"))?;
        // Whoever waits for this commit asks for the fence at once, before anybody else runs.
        *self
            .writes
            .fence_before
            .lock()
            .expect("no panic while held") = fence_before;
        Ok(())
    }

    /// Adopted rows, while a room wakes.
    async fn write_again(&self, group: &[RoomWrite]) -> Result<(), StoreError> {
        self.begin(Point::Rewrite).await?;
        if self.breaks(Mutation::NoTailRewrite) {
            return Ok(());
        }
        let all = self.batches(&mut group.to_vec());
        let done = self.quorum.write(&self.process, all, QUORUM).await;
        self.process.pass().await;
        done.map_err(unknown("write tail again"))
    }

    fn batches(&self, group: &mut [RoomWrite]) -> Vec<Batch> {
        if self.breaks(Mutation::HighestEpochWins) {
            // Rows keep their own epoch, whatever they were read as.
            for row in group.iter_mut().flat_map(|write| &mut write.log) {
                let event = v1::Event::decode(row.event.clone()).expect("an event");
                row.epoch = Epoch(event.epoch);
            }
        }
        group.iter().flat_map(batches).collect()
    }

    /// For a mutation: a commit counts as durable as soon as a later one is. What
    /// `room-actors/src/commit/order.rs` prevents: a room is told of its newest durable write, and
    /// takes all before it for durable.
    async fn write_overtaken(&self, all: Vec<Batch>) -> Result<(), StoreError> {
        self.begin(Point::Other).await?;
        let number = 1 + self.writes.begun.fetch_add(1, Ordering::Relaxed);
        let (quorum, process) = (Arc::clone(&self.quorum), Arc::clone(&self.process));
        let stall = self.quorum.stall(Point::Commit);
        // It goes on when its owner does not wait for it any more.
        let written = spawn(
            TaskKind::Passing,
            "a commit that is overtaken",
            async move {
                if let Some(stall) = stall {
                    tokio::time::sleep(stall).await;
                }
                loop {
                    process.pass().await;
                    if quorum.write(&process, all.clone(), QUORUM).await.is_ok() {
                        return;
                    }
                }
            },
        );
        tokio::select! {
            biased;
            _ = written => {
                self.writes.durable.fetch_max(number, Ordering::Relaxed);
                self.writes.moved.notify_waiters();
            }
            () = self.is_overtaken(number) => {}
        }
        self.process.pass().await;
        Ok(())
    }

    async fn is_overtaken(&self, number: u64) {
        loop {
            let moved = self.writes.moved.notified();
            if self.writes.durable.load(Ordering::Relaxed) > number {
                return;
            }
            moved.await;
        }
    }

    pub(super) async fn write_list(
        &self,
        room: &RoomId,
        list: &EpochList,
    ) -> Result<(), StoreError> {
        let was_written = !self.waking.leave();
        self.begin(Point::List).await?;
        self.claiming.enter();
        let Some((last, first)) = list.entries().last() else {
            return Ok(());
        };
        if !was_written && *first > Offset(1) {
            self.quorum.world.was_at_rest();
        }
        let rows = vec![(Key::List(last.0), Row::List(list.clone()))];
        let batch = (Partition::Room(room.clone()), rows);
        let (quorum, process) = (Arc::clone(&self.quorum), Arc::clone(&self.process));
        let write = async move { quorum.write(&process, vec![batch], QUORUM).await };
        if self.breaks(Mutation::ListNotAwaited) {
            let write = async move {
                let _ = write.await;
            };
            spawn(TaskKind::Passing, "list, not awaited", write);
            return Ok(());
        }
        let done: Result<(), NoQuorum> = write.await;
        self.process.pass().await;
        done.map_err(unknown("write epochs"))
    }

    pub(super) async fn read_fence(&self, incarnation: Incarnation) -> Result<bool, StoreError> {
        let before = &self.writes.fence_before;
        let before = before.lock().expect("no panic while held").take();
        let has_claimed = self.claiming.leave();
        if let Some(fenced) = before.filter(|_| !has_claimed) {
            return Ok(fenced);
        }
        self.begin(Point::Fence).await?;
        if self.breaks(Mutation::FenceNotRead)
            || has_claimed && self.breaks(Mutation::FenceNotReadAfterWaking)
        {
            return Ok(false);
        }
        self.fenced_now(incarnation).await
    }
}
