//! What a run is doing, for whoever looks while it goes on.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{kind::Kind, target::memory_of};
use crate::{
    checker::{Report, Totals},
    workload::Progress,
};

/// The present state of a run, and its wish to stop. Shown by `Display`, several lines.
pub struct Live {
    tell: Box<dyn Fn(&str) + Send + Sync>,
    stopping: AtomicBool,
    state: Mutex<State>,
}

struct State {
    began: Instant,
    lasting: Option<Duration>,
    window: usize,
    progress: Arc<Progress>,
    /// Commands acknowledged when it was shown last.
    shown: (Instant, u64),
    faults: BTreeMap<Kind, u64>,
    under_way: Option<(Kind, Instant)>,
    processes: Vec<u32>,
    sound: usize,
    totals: Totals,
}

impl Live {
    /// One that tells what happens, line by line.
    #[must_use]
    pub fn new(lasting: Option<Duration>, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let now = Instant::now();
        Self {
            tell: Box::new(tell),
            stopping: AtomicBool::new(false),
            state: Mutex::new(State {
                began: now,
                lasting,
                window: 0,
                progress: Arc::new(Progress::default()),
                shown: (now, 0),
                faults: BTreeMap::new(),
                under_way: None,
                processes: Vec::new(),
                sound: 0,
                totals: Totals::default(),
            }),
        }
    }

    /// Lets the run end with the window it is in: no further fault, but all of the judgement.
    pub fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    /// Windows that were judged, all of them sound.
    #[must_use]
    pub fn sound(&self) -> usize {
        self.lock().sound
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    pub(super) fn window(&self, number: usize, progress: &Arc<Progress>, processes: Vec<u32>) {
        let mut state = self.lock();
        state.window = number;
        state.progress = Arc::clone(progress);
        state.shown = (Instant::now(), 0);
        state.processes = processes;
    }

    pub(super) fn begins(&self, kind: Kind) {
        self.lock().under_way = Some((kind, Instant::now()));
    }

    pub(super) fn happened(&self, kind: Kind, what: &str, processes: Vec<u32>) {
        let mut state = self.lock();
        state.under_way = None;
        state.processes = processes;
        *state.faults.entry(kind).or_default() += 1;
        drop(state);
        (self.tell)(&format!("  {kind}: {what}"));
    }

    pub(super) fn judged(&self, number: usize, report: &Report, progress: &Progress) {
        let mut state = self.lock();
        state.sound += 1;
        state.totals.add(&report.totals);
        drop(state);
        let records = report.totals.records;
        (self.tell)(&format!(
            "  window {number} is sound, {records} records: {progress}"
        ));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

impl fmt::Display for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut state = self.lock();
        let acked = state.progress.acked();
        let rate = per_second(acked.saturating_sub(state.shown.1), state.shown.0.elapsed());
        state.shown = (Instant::now(), acked);
        write!(f, "{}", clock(state.began.elapsed()))?;
        if let Some(lasting) = state.lasting {
            write!(f, " of {}", clock(lasting))?;
        }
        writeln!(f, "  window {}, {rate} acks/s", state.window)?;
        writeln!(f, "{}", state.progress)?;
        let all: u64 = state.faults.values().sum();
        let kinds = state.faults.iter();
        let kinds = kinds.map(|(kind, count)| format!("{kind} {count}"));
        let under_way = state.under_way.map(|(kind, since)| {
            let seconds = since.elapsed().as_secs_f64();
            format!("{kind} for {seconds:.1} s now")
        });
        let faults = std::iter::once(format!("faults {all}")).chain(kinds);
        wrapped(f, faults.chain(under_way))?;
        let totals = &state.totals;
        write!(
            f,
            "\n{} windows judged, all sound: {} changes, {} events delivered, {} unknown ({} happened)",
            state.sound,
            totals.acked,
            totals.delivered,
            totals.unknown_happened + totals.unknown_not_happened,
            totals.unknown_happened,
        )?;
        write!(
            f,
            "\nmemory: servers {} MiB, this tool {} MiB",
            memory_of(&state.processes) >> 20,
            memory_of(&[std::process::id()]) >> 20
        )
    }
}

/// Of a line of words: what a narrow terminal shows of one.
const COLUMNS: usize = 100;

/// Writes words with commas between them, in as many lines as that takes.
fn wrapped(f: &mut fmt::Formatter<'_>, words: impl Iterator<Item = String>) -> fmt::Result {
    let mut column = 0;
    for word in words {
        let next = column + 2 + word.len();
        if column == 0 {
            column = word.len();
        } else if next > COLUMNS {
            f.write_str(",\n  ")?;
            column = 2 + word.len();
        } else {
            f.write_str(", ")?;
            column = next;
        }
        f.write_str(&word)?;
    }
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "for people to read"
)]
fn per_second(count: u64, within: Duration) -> u64 {
    (count as f64 / within.as_secs_f64().max(0.001)) as u64
}

/// Hours, minutes, seconds.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_shows_the_window_its_faults_and_what_was_judged_before() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let live = Live::new(Some(Duration::from_secs(7_200)), move |line| {
            telling.lock().unwrap().push(line.to_owned());
        });
        let progress = Arc::new(Progress::default());
        live.window(0, &progress, vec![std::process::id()]);
        live.begins(Kind::KillServer);
        live.happened(Kind::KillServer, "killed", Vec::new());
        live.judged(0, &Report::default(), &progress);
        live.window(1, &progress, vec![std::process::id()]);
        live.begins(Kind::CutClients);
        let picture = live.to_string();
        for words in [
            " of 2:00:00  window 1, 0 acks/s\ninvoked 0 ",
            "faults 1, kill-server 1, cut-clients for ",
            "1 windows judged, all sound",
            "memory: servers ",
        ] {
            assert!(picture.contains(words), "{words} in {picture}");
        }
        for kind in Kind::ALL {
            live.happened(*kind, "happened", Vec::new());
        }
        let picture = live.to_string();
        let longest = picture.lines().map(str::len).max();
        assert!(longest <= Some(COLUMNS + 1), "{picture}");
        let told = told.lock().unwrap().join("\n");
        assert!(told.contains("kill-server: killed"), "{told}");
        assert!(told.contains("window 0 is sound"), "{told}");
    }
}
