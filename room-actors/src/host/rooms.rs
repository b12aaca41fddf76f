//! The rooms in memory: started on demand, put to sleep when idle, started again after a failure.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ractor::{ActorCell, ActorId, ActorRef, ActorRuntime};
use rookery_cluster::{
    EndpointId,
    holdings::Held,
    task::{TaskKind, spawn},
};
use rookery_proto::{
    ids::{Epoch, RoomId},
    shard::Shard,
};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::{
    sync::mpsc,
    time::{Duration, Instant},
};

use super::{HostMsg, Shared};
use crate::{
    commit::RoomKey,
    limits::{OVERLOADED_RETRY, WAKE_BACKOFF_MAX, WAKE_BACKOFF_MIN},
    metrics,
    room::actor::{Gauge, RoomActor, RoomArgs, RoomMsg, Work},
};

/// A name without a room leaves memory this soon: probing for rooms must not fill it.
const NOTHING_THERE: Duration = Duration::from_secs(1);
/// Failures further apart than this are not one series.
const SERIES_GAP: Duration = Duration::from_secs(30);

struct Entry {
    key: RoomKey,
    actor: ActorRef<RoomMsg>,
    /// Requests this room holds.
    admitted: Arc<AtomicUsize>,
    gauge: Arc<Gauge>,
    /// Under which it wakes.
    epoch: Epoch,
    /// Messages sent to it.
    sent: u64,
    used: Instant,
}

impl Entry {
    fn send(&mut self, message: RoomMsg) {
        self.sent += 1;
        // An actor that has ended drops it, and its requests are answered by that.
        let _ = self.actor.send_message(message);
    }
}

/// A room that failed lately.
struct Failed {
    at: Instant,
    backoff: Duration,
}

/// Why a room does not take work now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// Too many rooms are awake.
    Full,
    /// It failed and waits to be woken again.
    Failed,
}

pub(super) struct Rooms {
    entries: FxHashMap<RoomId, Entry>,
    by_actor: FxHashMap<ActorId, RoomId>,
    by_shard: FxHashMap<Shard, FxHashSet<RoomId>>,
    failed: FxHashMap<RoomId, Failed>,
    next_key: u64,
    shared: Arc<Shared>,
    to_host: mpsc::UnboundedSender<HostMsg>,
    supervisor: ActorCell,
    awake: Arc<AtomicUsize>,
    /// When rooms were last asked to leave for others.
    made_room: Option<Instant>,
}

impl Rooms {
    pub(super) fn new(
        shared: Arc<Shared>,
        to_host: mpsc::UnboundedSender<HostMsg>,
        supervisor: ActorCell,
        awake: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            entries: FxHashMap::default(),
            by_actor: FxHashMap::default(),
            by_shard: FxHashMap::default(),
            failed: FxHashMap::default(),
            next_key: 1,
            shared,
            to_host,
            supervisor,
            awake,
            made_room: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_awake(&self, room: &str) -> bool {
        self.entries.contains_key(room)
    }

    /// Requests the room holds; wakes it when it sleeps, as its shard is held.
    pub(super) fn counter(
        &mut self,
        room: &RoomId,
        held: Held,
    ) -> Result<Arc<AtomicUsize>, NoRoom> {
        if let Some(entry) = self.entries.get(room) {
            return Ok(Arc::clone(&entry.admitted));
        }
        self.start(room, held)
    }

    /// Hands work to a room that is awake (or waking).
    pub(super) fn send(&mut self, room: &str, work: Vec<Work>, now: Instant) {
        if let Some(entry) = self.entries.get_mut(room) {
            entry.used = now;
            entry.send(RoomMsg::Work(work));
        }
    }

    fn start(&mut self, room: &RoomId, held: Held) -> Result<Arc<AtomicUsize>, NoRoom> {
        let now = Instant::now();
        if self
            .failed
            .get(room)
            .is_some_and(|failed| now < failed.at + failed.backoff)
        {
            return Err(NoRoom::Failed);
        }
        if self.entries.len() >= self.shared.limits.rooms_awake_max {
            self.make_room(now);
            return Err(NoRoom::Full);
        }
        let key = RoomKey(self.next_key);
        self.next_key += 1;
        let gauge = Arc::new(Gauge::default());
        let args = RoomArgs {
            room: room.clone(),
            key,
            shared: Arc::clone(&self.shared),
            host: self.to_host.clone(),
            gauge: Arc::clone(&gauge),
            held,
        };
        let supervisor = self.supervisor.clone();
        let started = ActorRuntime::spawn_linked_instant(None, RoomActor, args, supervisor);
        let Ok((actor, starting)) = started else {
            tracing::error!(room.id = %room, "room actor not started");
            return Err(NoRoom::Failed);
        };
        let to_host = self.to_host.clone();
        let id = actor.get_id();
        // An actor that does not start has no supervisor to tell.
        spawn(TaskKind::Passing, "room start", async move {
            let error = match starting.await {
                Ok(Ok(_)) => return,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            let _ = to_host.send(HostMsg::Ended {
                actor: id,
                error: Some(error),
            });
        });
        let admitted = Arc::new(AtomicUsize::new(0));
        self.by_actor.insert(id, room.clone());
        let shard = self.by_shard.entry(Shard::of(room.as_str()));
        shard.or_default().insert(room.clone());
        self.entries.insert(
            room.clone(),
            Entry {
                key,
                actor,
                admitted: Arc::clone(&admitted),
                gauge,
                epoch: held.epoch,
                sent: 0,
                used: now,
            },
        );
        self.count();
        Ok(admitted)
    }

    fn remove(&mut self, room: &RoomId) -> Option<Entry> {
        let entry = self.entries.remove(room)?;
        self.by_actor.remove(&entry.actor.get_id());
        let shard = Shard::of(room.as_str());
        if let Some(rooms) = self.by_shard.get_mut(&shard) {
            rooms.remove(room);
            if rooms.is_empty() {
                self.by_shard.remove(&shard);
            }
        }
        self.count();
        Some(entry)
    }

    fn count(&self) {
        self.awake.store(self.entries.len(), Ordering::Relaxed);
        metrics::rooms_awake(self.entries.len());
    }

    /// A room has nothing left to do: it leaves, unless it was sent something since and need not
    /// end (`ends`).
    pub(super) fn quiet(&mut self, room: &RoomId, key: RoomKey, handled: u64, ends: bool) {
        let stopping = ends || self.is_stopping();
        let leaves = self
            .entries
            .get(room)
            .is_some_and(|entry| entry.key == key && (stopping || entry.sent == handled));
        if leaves && let Some(entry) = self.remove(room) {
            tracing::debug!(room.id = %room, "room sleeps");
            entry.actor.stop(None);
        }
    }

    fn is_stopping(&self) -> bool {
        *self.shared.health.watch().borrow() == crate::Health::Stopping
    }

    /// An actor ended. One that is still listed was not told to: its shard is returned, which
    /// needs a larger epoch now.
    pub(super) fn ended(&mut self, actor: ActorId, error: Option<String>) -> Option<Shard> {
        let room = self.by_actor.get(&actor).cloned()?;
        let entry = self.remove(&room)?;
        let now = Instant::now();
        let backoff = match self.failed.get(&room) {
            Some(failed) if now < failed.at + failed.backoff + SERIES_GAP => {
                (failed.backoff * 2).min(WAKE_BACKOFF_MAX)
            }
            _ => WAKE_BACKOFF_MIN,
        };
        metrics::room_failed();
        tracing::error!(
            room.id = %room,
            room.epoch = entry.epoch.0,
            error = error.as_deref().unwrap_or("ended by itself"),
            backoff.ms = u64::try_from(backoff.as_millis()).unwrap_or(u64::MAX),
            "room failed, it wakes again under a new epoch"
        );
        self.failed
            .insert(room.clone(), Failed { at: now, backoff });
        Some(Shard::of(room.as_str()))
    }

    /// Whether no room of the shard is in memory.
    pub(super) fn is_shard_empty(&self, shard: Shard) -> bool {
        !self.by_shard.contains_key(&shard)
    }

    fn shard_rooms(&self, shard: Shard) -> Vec<RoomId> {
        let rooms = self.by_shard.get(&shard);
        rooms.into_iter().flatten().cloned().collect()
    }

    fn send_to_shard(&mut self, shard: Shard, message: impl Fn() -> RoomMsg) {
        for room in self.shard_rooms(shard) {
            if let Some(entry) = self.entries.get_mut(&room) {
                entry.send(message());
            }
        }
    }

    /// Asks the shard's rooms to finish, whoever listens.
    pub(super) fn finish_shard(&mut self, shard: Shard) {
        self.send_to_shard(shard, || RoomMsg::PrepareSleep { stopping: true });
    }

    /// The shard's rooms need not end after all.
    pub(super) fn keep_shard(&mut self, shard: Shard) {
        self.send_to_shard(shard, || RoomMsg::Stay);
    }

    /// Ends the shard's rooms where they are; what waits in them is answered `UNAVAILABLE`. They
    /// must not wake under the same epoch again.
    pub(super) fn drop_shard(&mut self, shard: Shard) {
        for room in self.shard_rooms(shard) {
            if let Some(entry) = self.remove(&room) {
                entry.actor.kill();
            }
        }
    }

    /// All rooms drop the sessions of a gateway.
    pub(super) fn gateway_gone(&mut self, gateway: &EndpointId) {
        for entry in self.entries.values_mut() {
            entry.send(RoomMsg::Work(vec![Work::GatewayGone(gateway.clone())]));
        }
    }

    /// Asks rooms that nobody used for long to prepare to leave.
    pub(super) fn sweep(&mut self, now: Instant) {
        let limit = self.shared.limits.passivate_after;
        for entry in self.entries.values_mut() {
            let exists = entry.gauge.exists.load(Ordering::Relaxed);
            let limit = if exists {
                limit
            } else {
                limit.min(NOTHING_THERE)
            };
            let idle = now.saturating_duration_since(entry.used) >= limit;
            if idle && entry.gauge.listeners.load(Ordering::Relaxed) == 0 {
                entry.send(RoomMsg::PrepareSleep { stopping: false });
            }
        }
        self.failed
            .retain(|_, failed| now < failed.at + failed.backoff + SERIES_GAP);
    }

    /// Asks the least recently used sixteenth of the rooms without listeners to leave. Looks at all
    /// of them, so not for each request that is refused meanwhile.
    fn make_room(&mut self, now: Instant) {
        if self.made_room.is_some_and(|at| now < at + OVERLOADED_RETRY) {
            return;
        }
        self.made_room = Some(now);
        let unheard = |entry: &Entry| entry.gauge.listeners.load(Ordering::Relaxed) == 0;
        let mut used: Vec<_> = self
            .entries
            .values()
            .filter(|entry| unheard(entry))
            .map(|entry| entry.used)
            .collect();
        if used.is_empty() {
            return;
        }
        let index = used.len() / 16;
        let (_, &mut until, _) = used.select_nth_unstable(index);
        for entry in self.entries.values_mut() {
            if unheard(entry) && entry.used <= until {
                entry.send(RoomMsg::PrepareSleep { stopping: false });
            }
        }
    }

    /// Asks all rooms to finish, whoever listens.
    pub(super) fn prepare_stop(&mut self) {
        for entry in self.entries.values_mut() {
            entry.send(RoomMsg::PrepareSleep { stopping: true });
        }
    }

    /// Ends all rooms where they are; what waits in them is answered `UNAVAILABLE`.
    pub(super) fn drop_all(&mut self) {
        for (_, entry) in self.entries.drain() {
            entry.actor.kill();
        }
        self.by_actor.clear();
        self.by_shard.clear();
        self.count();
    }

    #[cfg(test)]
    pub(super) fn crash(&mut self, room: &RoomId) {
        if let Some(entry) = self.entries.get_mut(room) {
            entry.send(RoomMsg::Crash);
        }
    }
}
