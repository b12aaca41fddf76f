//! Calls of the database and answers to membership, outside the host's task.

use std::{sync::Arc, time::Duration};

use rookery_proto::{ids::Epoch, link::Load, shard::Shard};
use tokio::{
    sync::{Semaphore, mpsc},
    time::sleep,
};

use super::{Releasing, ShardRegistry, TakenFrom, Taking};
use crate::{
    limits::{DUTY_RETRY, REGISTRY_CALLS_MAX},
    membership::{Membership, Successor},
    task::{TaskKind, spawn},
};

/// A call of the database that came back.
pub(super) enum Ended {
    Take {
        shard: Shard,
        from: TakenFrom,
        taking: Taking,
    },
    Release {
        shard: Shard,
        releasing: Releasing,
    },
    FenceRead {
        fenced: bool,
    },
}

/// What membership is told, in this order.
enum Told {
    Taken(Shard, Epoch),
    TakeRefused(Shard, u64, Epoch),
    Finished(Shard),
    Released(Shard, bool),
    ReleaseFailed(Shard),
    CommitsFailing(bool),
    Load(Load),
    Leave,
    Fenced,
}

/// Both queues are bounded by the number of shards: each has one call and few answers under way.
pub(super) struct Desk {
    registry: Arc<dyn ShardRegistry>,
    calls: Arc<Semaphore>,
    ended_in: mpsc::UnboundedSender<Ended>,
    ended: mpsc::UnboundedReceiver<Ended>,
    told: Option<mpsc::UnboundedSender<Told>>,
}

impl Desk {
    pub(super) fn new(registry: Arc<dyn ShardRegistry>, membership: Option<Membership>) -> Self {
        let (ended_in, ended) = mpsc::unbounded_channel();
        let told = membership.map(|membership| {
            let (told, answers) = mpsc::unbounded_channel();
            spawn(
                TaskKind::Service,
                "shard answers",
                answer(membership, answers),
            );
            told
        });
        Self {
            registry,
            calls: Arc::new(Semaphore::new(REGISTRY_CALLS_MAX)),
            ended_in,
            ended,
            told,
        }
    }

    /// The next call that came back.
    pub(super) async fn ended(&mut self) -> Option<Ended> {
        self.ended.recv().await
    }

    pub(super) fn take(&self, shard: Shard, from: TakenFrom) {
        self.take_after(Duration::ZERO, shard, from);
    }

    /// The same after a pause.
    pub(super) fn take_later(&self, shard: Shard, from: TakenFrom) {
        self.take_after(DUTY_RETRY, shard, from);
    }

    fn take_after(&self, pause: Duration, shard: Shard, from: TakenFrom) {
        self.call("shard take", pause, move |registry| async move {
            let taking = registry.take(shard, from).await;
            Ended::Take {
                shard,
                from,
                taking,
            }
        });
    }

    pub(super) fn release(&self, shard: Shard, epoch: Epoch, to: Option<Successor>) {
        self.call(
            "shard release",
            Duration::ZERO,
            move |registry| async move {
                let releasing = registry.release(shard, epoch, to).await;
                Ended::Release { shard, releasing }
            },
        );
    }

    pub(super) fn read_fence(&self) {
        self.call("shard fence", Duration::ZERO, |registry| async move {
            let fenced = registry.is_fenced().await;
            Ended::FenceRead { fenced }
        });
    }

    fn call<F, Fut>(&self, name: &'static str, pause: Duration, call: F)
    where
        F: FnOnce(Arc<dyn ShardRegistry>) -> Fut + Send + 'static,
        Fut: Future<Output = Ended> + Send,
    {
        let registry = Arc::clone(&self.registry);
        let calls = Arc::clone(&self.calls);
        let ended = self.ended_in.clone();
        spawn(TaskKind::Passing, name, async move {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            let place = calls.acquire().await.expect("never closed");
            let answer = call(registry).await;
            drop(place);
            // A host that is gone holds nothing any more.
            let _ = ended.send(answer);
        });
    }

    pub(super) fn taken(&self, shard: Shard, epoch: Epoch) {
        self.tell(Told::Taken(shard, epoch));
    }

    pub(super) fn take_refused(&self, shard: Shard, owner: u64, epoch: Epoch) {
        self.tell(Told::TakeRefused(shard, owner, epoch));
    }

    pub(super) fn finished(&self, shard: Shard) {
        self.tell(Told::Finished(shard));
    }

    pub(super) fn released(&self, shard: Shard, given: bool) {
        self.tell(Told::Released(shard, given));
    }

    pub(super) fn release_failed(&self, shard: Shard) {
        self.tell(Told::ReleaseFailed(shard));
    }

    pub(super) fn commits_failing(&self, failing: bool) {
        self.tell(Told::CommitsFailing(failing));
    }

    pub(super) fn load(&self, load: Load) {
        self.tell(Told::Load(load));
    }

    pub(super) fn leave(&self) {
        self.tell(Told::Leave);
    }

    pub(super) fn fenced(&self) {
        self.tell(Told::Fenced);
    }

    fn tell(&self, told: Told) {
        if let Some(queue) = &self.told {
            // The task lives as long as this queue.
            let _ = queue.send(told);
        }
    }
}

async fn answer(membership: Membership, mut answers: mpsc::UnboundedReceiver<Told>) {
    while let Some(told) = answers.recv().await {
        match told {
            Told::Taken(shard, epoch) => membership.taken(shard, epoch).await,
            Told::TakeRefused(shard, owner, epoch) => {
                membership.take_refused(shard, owner, epoch).await;
            }
            Told::Finished(shard) => membership.finished(shard).await,
            Told::Released(shard, given) => membership.released(shard, given).await,
            Told::ReleaseFailed(shard) => membership.release_failed(shard).await,
            Told::CommitsFailing(failing) => membership.commits_failing(failing).await,
            Told::Load(load) => membership.load(load).await,
            Told::Leave => membership.leave().await,
            Told::Fenced => membership.fenced().await,
        }
    }
}
