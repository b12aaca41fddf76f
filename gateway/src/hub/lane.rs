//! The thread around a worker.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use rookery_cluster::{
    clock::Clock,
    task::{TaskKind, spawn},
};
use tokio::{
    runtime::Handle,
    sync::mpsc::{self, error::TrySendError},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    flush::Blocked, input::Input, session::millis, uplink::Uplink, wheel::Millis, wire::Socket,
    worker::Worker,
};
use crate::{
    limits::{LANE_BATCH_INPUTS_MAX, LANE_INPUTS_MAX, TIMER_TICK},
    metrics::{LaneMetrics, LaneState},
};

/// What became of an input offered to a lane.
#[derive(Debug)]
pub(crate) enum Offered {
    /// It will be handled.
    Taken,
    /// The lane has no room for it now.
    Full(Input),
    /// The lane has ended.
    Ended,
}

/// How others reach a lane.
#[derive(Debug)]
pub(crate) struct Lane {
    inputs: mpsc::Sender<Input>,
    /// Zero of the lanes' time.
    started: Instant,
    /// Connections whose reader lives.
    readers: AtomicUsize,
}

impl Lane {
    pub(crate) fn now(&self) -> Millis {
        millis(self.started.elapsed())
    }

    /// Hands an input over if there is room. Never waits.
    pub(crate) fn offer(&self, input: Input) -> Offered {
        match self.inputs.try_send(input) {
            Ok(()) => Offered::Taken,
            Err(TrySendError::Full(input)) => Offered::Full(input),
            Err(TrySendError::Closed(_)) => Offered::Ended,
        }
    }

    /// Hands an input over, waiting for room. False: the lane has ended.
    ///
    /// # Cancel safety
    /// A dropped call has handed nothing over.
    pub(crate) async fn send(&self, input: Input) -> bool {
        self.inputs.send(input).await.is_ok()
    }

    pub(crate) fn reader_started(&self) {
        self.readers.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn reader_ended(&self) {
        self.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All lanes. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    lanes: Arc<[Arc<Lane>]>,
    next: Arc<AtomicUsize>,
}

/// What is left to do when the lanes stop: their threads to join.
#[derive(Debug)]
pub(crate) struct Stopped {
    threads: Vec<JoinHandle<()>>,
}

impl Lanes {
    /// Starts one thread per lane. Must be called in a runtime, which the sockets belong to.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start<U, F>(
        count: usize,
        clock: &Arc<dyn Clock>,
        mut worker: F,
    ) -> io::Result<(Self, Stopped)>
    where
        U: Uplink + Send + 'static,
        F: FnMut(u32) -> Worker<Socket, U>,
    {
        let started = Instant::now();
        let mut lanes = Vec::with_capacity(count);
        let mut threads = Vec::with_capacity(count);
        for number in 0..u32::try_from(count).expect("at most 64") {
            let (sender, receiver) = mpsc::channel(LANE_INPUTS_MAX);
            let lane = Arc::new(Lane {
                inputs: sender,
                started,
                readers: AtomicUsize::new(0),
            });
            let thread = LaneThread {
                number,
                worker: worker(number),
                inputs: receiver,
                lane: Arc::clone(&lane),
                clock: Arc::clone(clock),
            };
            let runtime = Handle::current();
            let name = format!("hub-{number}");
            threads.push(
                std::thread::Builder::new()
                    .name(name)
                    .spawn(move || thread.run(&runtime))?,
            );
            lanes.push(lane);
        }
        let lanes = Self {
            lanes: lanes.into(),
            next: Arc::default(),
        };
        Ok((lanes, Stopped { threads }))
    }

    /// One lane without a thread: what it is sent stays unread.
    #[cfg(test)]
    pub(crate) fn detached() -> Self {
        let lane = Arc::new(Lane {
            inputs: mpsc::channel(LANE_INPUTS_MAX).0,
            started: Instant::now(),
            readers: AtomicUsize::new(0),
        });
        Self {
            lanes: Arc::new([lane]),
            next: Arc::default(),
        }
    }

    /// The lane of the next connection: each in turn, passing over one that has ended.
    pub(crate) fn pick(&self) -> Arc<Lane> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let mut lanes = self.lanes.iter().cycle().skip(next % self.lanes.len());
        let alive = lanes
            .by_ref()
            .take(self.lanes.len())
            .find(|lane| !lane.inputs.is_closed());
        Arc::clone(alive.unwrap_or(&self.lanes[0]))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Lane>> {
        self.lanes.iter()
    }

    /// Connections whose reader lives.
    pub(crate) fn readers(&self) -> usize {
        let readers = |lane: &Arc<Lane>| lane.readers.load(Ordering::Relaxed);
        self.lanes.iter().map(readers).sum()
    }

    /// Gives every lane an input of its own.
    pub(crate) async fn tell(&self, input: impl Fn() -> Input) {
        for lane in self.iter() {
            // A lane that has ended needs to be told nothing.
            lane.send(input()).await;
        }
    }
}

impl Stopped {
    /// Waits for the threads, which have been sent [`Input::Stop`].
    pub(crate) fn join(self) {
        for thread in self.threads {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

struct LaneThread<U> {
    number: u32,
    worker: Worker<Socket, U>,
    inputs: mpsc::Receiver<Input>,
    lane: Arc<Lane>,
    clock: Arc<dyn Clock>,
}

impl<U: Uplink> LaneThread<U> {
    fn run(mut self, runtime: &Handle) {
        let _entered = runtime.enter();
        let _watch = PanicWatch(self.number);
        let metrics = LaneMetrics::new(self.number);
        let mut batch = Vec::with_capacity(LANE_BATCH_INPUTS_MAX);
        let mut stop = false;
        while !stop {
            let count = self
                .inputs
                .blocking_recv_many(&mut batch, LANE_BATCH_INPUTS_MAX);
            if count == 0 {
                return;
            }
            self.worker.begin(self.lane.now(), self.clock.now_ms());
            for input in batch.drain(..) {
                stop |= matches!(input, Input::Stop);
                self.worker.handle(input);
            }
            self.worker.flush();
            for blocked in self.worker.take_blocked() {
                wait_for_room(&self.lane, blocked);
            }
            let state = LaneState {
                sessions: self.worker.session_count(),
                inputs_waiting: self.inputs.len(),
                requests_waiting: self.worker.request_count(),
                shards_held: self.worker.hold_count(),
                batch_inputs: count,
            };
            metrics.report(&mut self.worker.counts, state);
        }
    }
}

/// Says at once that a lane has panicked; its sessions end with their sockets, and the other lanes
/// take the next ones.
struct PanicWatch(u32);

impl Drop for PanicWatch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(lane = self.0, "hub lane panicked");
        }
    }
}

/// Tells the lane once the socket takes bytes again. The only task a connection has besides its
/// reader, and only while its socket is full.
fn wait_for_room(lane: &Arc<Lane>, (session, socket): Blocked<Socket>) {
    let lane = Arc::clone(lane);
    spawn(TaskKind::Passing, "full socket", async move {
        // An error is for the worker to find when it writes.
        let _ = socket.stream().writable().await;
        lane.send(Input::Writable { session }).await;
    });
}

/// Wakes every lane each [`TIMER_TICK`] so that its timers fire. Never ends by itself.
pub(crate) async fn run_ticks(lanes: Lanes) {
    let mut ticks = interval(TIMER_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for lane in lanes.iter() {
            // A full lane looks at the clock anyway; one that has ended needs no time.
            lane.offer(Input::Tick);
        }
    }
}
