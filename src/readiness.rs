//! Readiness: a latch that each part releases, and may hold again with a reason.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What must be well for the process to take clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The database.
    Store,
    /// The rooms and their commits.
    Rooms,
    /// The users.
    Presence,
    /// The clients' listener.
    Gateway,
    /// The process: not stopping, and its main runtime not stuck.
    Process,
}

impl Part {
    const ALL: [Self; 5] = [
        Self::Store,
        Self::Rooms,
        Self::Presence,
        Self::Gateway,
        Self::Process,
    ];

    /// As `/readyz` names it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Rooms => "rooms",
            Self::Presence => "presence",
            Self::Gateway => "gateway",
            Self::Process => "process",
        }
    }
}

/// Looks at a part when asked; `Some` is why it is not ready.
type Probe = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// Why each part is not ready. Shared by everything that starts and stops.
pub(crate) struct Readiness {
    held: Mutex<BTreeMap<Part, String>>,
    probes: Mutex<Vec<(Part, Probe)>>,
    pulse: Pulse,
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness")
            .field("reasons", &self.reasons())
            .finish()
    }
}

impl Readiness {
    /// Every part held: it is starting.
    pub(crate) fn new() -> Arc<Self> {
        let held = Part::ALL.iter().map(|part| (*part, "starting".to_owned()));
        Arc::new(Self {
            held: Mutex::new(held.collect()),
            probes: Mutex::new(Vec::new()),
            pulse: Pulse::new(),
        })
    }

    /// The part is well.
    pub(crate) fn release(&self, part: Part) {
        self.held.lock().expect("no panic while held").remove(&part);
    }

    /// The part is not, from now on.
    pub(crate) fn hold(&self, part: Part, reason: impl Into<String>) {
        let mut held = self.held.lock().expect("no panic while held");
        held.insert(part, reason.into());
    }

    /// Asks the part itself, each time readiness is asked for.
    pub(crate) fn watch(
        &self,
        part: Part,
        probe: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) {
        let mut probes = self.probes.lock().expect("no panic while held");
        probes.push((part, Box::new(probe)));
    }

    /// Why the process is not ready; empty when it is.
    pub(crate) fn reasons(&self) -> BTreeMap<&'static str, String> {
        let held = self.held.lock().expect("no panic while held").clone();
        let mut reasons: BTreeMap<_, _> = held
            .into_iter()
            .map(|(part, reason)| (part.as_str(), reason))
            .collect();
        for (part, probe) in self.probes.lock().expect("no panic while held").iter() {
            if let Some(reason) = probe() {
                reasons.entry(part.as_str()).or_insert(reason);
            }
        }
        let age = self.pulse.age();
        if age >= PULSE_LATE {
            let reason = format!("the main runtime has not run for {} ms", age.as_millis());
            reasons.entry(Part::Process.as_str()).or_insert(reason);
        }
        reasons
    }

    /// How the main runtime shows that it runs.
    pub(crate) fn pulse(&self) -> &Pulse {
        &self.pulse
    }
}

/// How often the main runtime shows that it runs.
pub(crate) const PULSE_INTERVAL: Duration = Duration::from_millis(250);
/// Without a sign for that long the process takes no new clients.
const PULSE_LATE: Duration = Duration::from_secs(2);
/// Without a sign for that long it should be ended from outside.
const PULSE_DEAD: Duration = Duration::from_secs(30);
const _: () = assert!(PULSE_INTERVAL.as_millis() * 4 <= PULSE_LATE.as_millis());
const _: () = assert!(PULSE_LATE.as_millis() < PULSE_DEAD.as_millis());

/// A sign of life of the main runtime, read from another.
#[derive(Debug)]
pub(crate) struct Pulse {
    origin: Instant,
    beat_ms: AtomicU64,
}

impl Pulse {
    fn new() -> Self {
        Self {
            origin: Instant::now(),
            beat_ms: AtomicU64::new(0),
        }
    }

    /// The main runtime runs.
    pub(crate) fn beat(&self) {
        let ms = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat_ms.store(ms, Ordering::Relaxed);
    }

    /// Since when there was no sign.
    fn age(&self) -> Duration {
        let beat = Duration::from_millis(self.beat_ms.load(Ordering::Relaxed));
        self.origin.elapsed().saturating_sub(beat)
    }

    /// Whether restarting the process is the only help left.
    pub(crate) fn is_dead(&self) -> bool {
        self.age() >= PULSE_DEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_every_part_is_and_held_again_with_the_reason() {
        let readiness = Readiness::new();
        readiness.pulse().beat();
        for part in Part::ALL {
            assert_eq!(
                readiness.reasons().get(part.as_str()).map(String::as_str),
                Some("starting")
            );
            readiness.release(part);
        }
        assert!(readiness.reasons().is_empty());
        readiness.hold(Part::Process, "stopping");
        assert_eq!(readiness.reasons()["process"], "stopping");
    }

    #[test]
    fn a_probe_is_asked_each_time() {
        let readiness = Readiness::new();
        for part in Part::ALL {
            readiness.release(part);
        }
        let calls = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&calls);
        readiness.watch(Part::Rooms, move || {
            let call = seen.fetch_add(1, Ordering::Relaxed);
            (call == 1).then(|| "disk full".to_owned())
        });
        assert!(readiness.reasons().is_empty());
        assert_eq!(readiness.reasons()["rooms"], "disk full");
        assert!(readiness.reasons().is_empty());
    }

    #[test]
    fn a_runtime_that_does_not_run_is_not_ready() {
        let readiness = Readiness {
            held: Mutex::default(),
            probes: Mutex::default(),
            pulse: Pulse {
                origin: Instant::now()
                    .checked_sub(PULSE_LATE)
                    .expect("the machine is up for longer"),
                beat_ms: AtomicU64::new(0),
            },
        };
        assert!(readiness.reasons()["process"].contains("the main runtime has not run"));
        assert!(!readiness.pulse().is_dead());
        readiness.pulse().beat();
        assert!(readiness.reasons().is_empty());
    }
}
