//! How far a workload is, readable while it runs.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rookery_proto::v1;

use crate::client::maybe;

/// Counts of a running workload.
#[derive(Debug, Default)]
pub struct Progress {
    /// Commands that may still be invoked.
    left: AtomicI64,
    invoked: AtomicU64,
    acked: AtomicU64,
    refused: AtomicU64,
    /// Of these, because the server could not.
    unavailable: AtomicU64,
    unknown: AtomicU64,
    retried: AtomicU64,
    events: AtomicU64,
    reconnects: AtomicU64,
    cut_off: AtomicU64,
    open: AtomicI64,
    rooms: Mutex<BTreeMap<String, RoomProgress>>,
    longest_wait_ms: AtomicU64,
}

/// What was acknowledged in one room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomProgress {
    /// Changes acknowledged, retries among them.
    pub appended: u64,
    /// The highest epoch an ack named: a larger one is another ownership.
    pub epoch: u64,
}

impl Progress {
    pub(super) fn begin(&self, operations: u64) {
        self.left
            .store(i64::try_from(operations).unwrap_or(i64::MAX), Relaxed);
    }

    /// Takes one of the commands left.
    pub(super) fn take(&self) -> bool {
        self.left.fetch_sub(1, Relaxed) > 0
    }

    /// Ends a workload that has begun: no further command is invoked, what is in flight is answered.
    pub fn finish(&self) {
        self.left.store(0, Relaxed);
    }

    pub(super) fn none_left(&self) -> bool {
        self.left.load(Relaxed) <= 0
    }

    pub(super) fn invoked_one(&self) {
        self.invoked.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
    }

    pub(super) fn retried_one(&self) {
        self.retried.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
    }

    pub(super) fn acked_one(&self) {
        self.acked.fetch_add(1, Relaxed);
        self.open.fetch_sub(1, Relaxed);
    }

    /// So many rooms are asked for again where the client stands; nobody chose these commands.
    pub(super) fn resumes_some(&self, count: usize) {
        self.open
            .fetch_add(i64::try_from(count).unwrap_or(i64::MAX), Relaxed);
    }

    pub(super) fn resumed_one(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(super) fn appended_one(&self, appended: &v1::Appended) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let room = rooms.entry(appended.room.clone()).or_default();
        room.appended += 1;
        room.epoch = room.epoch.max(appended.epoch);
    }

    /// A client was acknowledged this long after the last time, or since it began.
    pub(super) fn waited(&self, wait: Duration) {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.longest_wait_ms.fetch_max(wait, Relaxed);
    }

    pub(super) fn refused_one(&self, error: &v1::Error) {
        self.refused.fetch_add(1, Relaxed);
        if maybe(error.code()) || error.code() == v1::error::Code::Overloaded {
            self.unavailable.fetch_add(1, Relaxed);
        }
        self.open.fetch_sub(1, Relaxed);
    }

    pub(super) fn unknown_some(&self, count: usize) {
        self.unknown.fetch_add(count as u64, Relaxed);
        self.open
            .fetch_sub(i64::try_from(count).unwrap_or(i64::MAX), Relaxed);
    }

    pub(super) fn event(&self) {
        self.events.fetch_add(1, Relaxed);
    }

    pub(super) fn cut_off_one(&self) {
        self.cut_off.fetch_add(1, Relaxed);
    }

    pub(super) fn reconnected(&self) {
        self.reconnects.fetch_add(1, Relaxed);
    }

    /// Commands invoked, without retries.
    #[must_use]
    pub fn invoked(&self) -> u64 {
        self.invoked.load(Relaxed)
    }

    /// Commands acknowledged.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked.load(Relaxed)
    }

    /// Commands refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Commands refused because the server could not, then.
    #[must_use]
    pub fn unavailable(&self) -> u64 {
        self.unavailable.load(Relaxed)
    }

    /// What was acknowledged, room by room.
    #[must_use]
    pub fn rooms(&self) -> BTreeMap<String, RoomProgress> {
        let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.clone()
    }

    /// The longest time any client was without an ack, its own pace included.
    #[must_use]
    pub fn longest_wait(&self) -> Duration {
        Duration::from_millis(self.longest_wait_ms.load(Relaxed))
    }

    /// Commands whose outcome was unknown when their connection ended.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Relaxed)
    }

    /// Sends repeated with the same client id.
    #[must_use]
    pub fn retried(&self) -> u64 {
        self.retried.load(Relaxed)
    }

    /// Events delivered live.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events.load(Relaxed)
    }

    /// Sessions after the first of each client.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Relaxed)
    }

    /// Sessions that did not end by the client's own wish.
    #[must_use]
    pub fn cut_off(&self) -> u64 {
        self.cut_off.load(Relaxed)
    }

    /// Commands in flight now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        u64::try_from(self.open.load(Relaxed)).unwrap_or(0)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invoked {} acked {} refused {} unknown {} retried {} in flight {} events {} reconnects {}",
            self.invoked(),
            self.acked(),
            self.refused(),
            self.unknown(),
            self.retried(),
            self.in_flight(),
            self.events(),
            self.reconnects()
        )
    }
}
