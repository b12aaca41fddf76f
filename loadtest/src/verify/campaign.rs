//! Windows of faults under a workload, each judged by itself.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use tokio::time::{Instant, interval};

use super::{
    fault::Scene,
    kind::Kind,
    live::Live,
    plan::{Plan, Window},
    recovery::Mark,
    target::{Parts, Target},
};
use crate::{
    checker::{self, Report, Totals},
    history::{Header, HistoryWriter},
    workload::{Progress, Workload},
};

/// For one fault: more than any of them may take.
const FAULT_MAX: Duration = Duration::from_secs(120);
/// For what a window does beside its faults and the time it is to last: joining, coming to rest.
const REST_MAX: Duration = Duration::from_secs(300);
/// A window that waits for its commands fails when none is acknowledged for this long.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Its name in what is told.
    pub name: &'a str,
    /// What is verified.
    pub plan: &'a Plan,
    /// Of which programs.
    pub parts: &'a Parts,
    /// Decides every random choice.
    pub seed: u64,
    /// For histories, data and logs.
    pub folder: &'a Path,
    /// Goes on with further windows for so long; `None`: until the plan's faults have happened.
    pub lasting: Option<Duration>,
    /// Keeps the histories of sound windows too.
    pub keep: bool,
}

/// What a run without a fault of the server's found.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Windows, all of them sound.
    pub windows: usize,
    /// What happened, in this order.
    pub faults: Vec<Kind>,
    /// The sum over all windows.
    pub totals: Totals,
    /// How long it took.
    pub elapsed: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.totals;
        write!(
            f,
            "{} windows in {:.0} s, all sound: {} faults of {} kinds; {} changes acknowledged, \
             {} events delivered in {} sessions; 0 lost, 0 duplicated, 0 reordered, 0 phantom; \
             {} unknown, of which {} happened",
            self.windows,
            self.elapsed.as_secs_f64(),
            self.faults.len(),
            self.kinds(),
            totals.acked,
            totals.delivered,
            totals.sessions,
            totals.unknown_happened + totals.unknown_not_happened,
            totals.unknown_happened,
        )
    }
}

impl Summary {
    /// How many kinds of faults happened.
    #[must_use]
    pub fn kinds(&self) -> usize {
        let mut kinds = self.faults.clone();
        kinds.sort_unstable();
        kinds.dedup();
        kinds.len()
    }
}

/// Runs it all: see the module's words.
///
/// # Errors
/// Something did not start or did not come back, or a window is not sound: the report is the
/// error's text, and the window's history stays.
pub async fn run(run: Run<'_>, live: &Live) -> Result<Summary> {
    let began = Instant::now();
    let mut target = Target::start(&run.plan.target, run.parts, run.folder).await?;
    let mut random = Rng::with_seed(run.seed);
    let mut schedule = run.plan.schedule(random.fork());
    let planned = run.plan.fault_count();
    let mut summary = Summary::default();
    if live.is_stopping() {
        return Ok(summary);
    }
    loop {
        let left = match run.lasting {
            Some(_) => usize::MAX,
            None => planned - summary.faults.len(),
        };
        let count = run.plan.window.faults.get().min(left);
        let window = OneWindow {
            run,
            number: summary.windows,
            faults: schedule.by_ref().take(count).collect(),
            live,
        };
        let (report, happened) = window.pass(&mut target, &mut random).await?;
        summary.windows += 1;
        summary.totals.add(&report.totals);
        summary.faults.extend(happened);
        let over = match run.lasting {
            Some(lasting) => began.elapsed() >= lasting,
            None => summary.faults.len() >= planned,
        };
        if over || live.is_stopping() {
            summary.elapsed = began.elapsed();
            return Ok(summary);
        }
    }
}

/// A workload with some faults, then quiet, then the judgement.
struct OneWindow<'a> {
    run: Run<'a>,
    number: usize,
    faults: Vec<Kind>,
    live: &'a Live,
}

impl OneWindow<'_> {
    /// Gives the report, and which faults happened: fewer when the run is to stop.
    async fn pass(self, target: &mut Target, random: &mut Rng) -> Result<(Report, Vec<Kind>)> {
        let number = self.number;
        let addresses = target.addresses();
        // New rooms each time, also on a server that runs on.
        let prefix = format!("w{number}-{:06x}", fastrand::u32(..1 << 24));
        let plan = self.run.plan;
        let mut workload = plan.workload(prefix, random.u64(..), &addresses);
        workload.deadline = deadline(&plan.window, self.faults.len());
        let file = self.run.folder.join(format!("window{number}.jsonl"));
        let history = Arc::new(HistoryWriter::create(&file, &self.header(&workload))?);
        let progress = Arc::new(Progress::default());
        self.live.window(number, &progress, target.processes());
        let mut happened = Vec::new();
        let rooms = workload.room_ids();
        let happening = async {
            let scene = Scene {
                rooms: &rooms,
                progress: &progress,
                random,
            };
            self.happen(scene, target, &mut happened).await?;
            progress.finish();
            anyhow::Ok(())
        };
        let running = workload.run(&addresses[0], &history, &progress);
        tokio::pin!(running);
        let outcome = {
            tokio::pin!(happening);
            tokio::select! {
                done = &mut happening => match done {
                    Ok(()) => (&mut running).await.map_err(anyhow::Error::new),
                    Err(error) => Err(error),
                },
                outcome = &mut running => outcome.map_err(anyhow::Error::new),
            }
        };
        let written = history.finish();
        let outcome = outcome.with_context(|| format!("window {number}: {progress}"))?;
        written?;
        ensure!(
            outcome.unsettled.is_empty(),
            "window {number}: did not come to the head: {:?}",
            outcome.unsettled
        );
        let report = judge(&file).await?;
        ensure!(
            report.is_sound(),
            "window {number}, history in {}:\n{report}",
            file.display()
        );
        // Whoever is stopped early has seen little.
        ensure!(
            report.totals.acked > report.totals.rooms || self.live.is_stopping(),
            "window {number}: too little was acknowledged to be lost:\n{report}"
        );
        if !self.run.keep {
            fs::remove_file(&file).context("remove a history that was judged")?;
        }
        self.live.judged(number, &report, &progress);
        Ok((report, happened))
    }

    fn header(&self, workload: &Workload) -> Header {
        Header::new([
            ("plan".to_owned(), self.run.name.to_owned()),
            ("seed".to_owned(), self.run.seed.to_string()),
            ("window".to_owned(), self.number.to_string()),
            ("faults".to_owned(), format!("{:?}", self.faults)),
            ("workload".to_owned(), format!("{workload:?}")),
        ])
    }

    async fn happen(
        &self,
        mut scene: Scene<'_>,
        target: &mut Target,
        happened: &mut Vec<Kind>,
    ) -> Result<()> {
        let began = Instant::now();
        let begin = Mark::of(scene.progress);
        begin.all_rooms_work(scene.rooms, scene.progress).await?;
        for kind in &self.faults {
            if self.live.is_stopping() {
                return Ok(());
            }
            self.live.begins(*kind);
            let what = scene.happen(target, *kind).await;
            let what = what.with_context(|| kind.to_string())?;
            happened.push(*kind);
            self.live.happened(*kind, &what, target.processes());
        }
        let window = &self.run.plan.window;
        let operations = window.operations.map_or(0, std::num::NonZeroU64::get);
        let seconds = window.seconds.map_or(0, std::num::NonZeroU64::get);
        let mut look = interval(LOOK);
        let mut acked = (scene.progress.acked(), Instant::now());
        while (scene.progress.invoked() < operations
            || began.elapsed() < Duration::from_secs(seconds))
            && !self.live.is_stopping()
        {
            look.tick().await;
            let now = scene.progress.acked();
            if now > acked.0 {
                acked = (now, Instant::now());
            }
            ensure!(
                acked.1.elapsed() < SILENCE_MAX,
                "nothing was acknowledged for {SILENCE_MAX:?}"
            );
        }
        Ok(())
    }
}

/// By when a window must be over.
fn deadline(window: &Window, faults: usize) -> Duration {
    let faults = FAULT_MAX * u32::try_from(faults).unwrap_or(u32::MAX);
    let seconds = window.seconds.map_or(0, std::num::NonZeroU64::get);
    // Commands have no pace of their own: silence ends such a window instead.
    let commands = window.operations.map_or(Duration::ZERO, |_| OPERATIONS_MAX);
    REST_MAX + faults + Duration::from_secs(seconds) + commands
}

/// For a window that waits for its commands.
const OPERATIONS_MAX: Duration = Duration::from_secs(24 * 3600);

async fn judge(file: &Path) -> Result<Report> {
    let file: PathBuf = file.to_owned();
    Ok(tokio::task::spawn_blocking(move || checker::check_file(&file)).await??)
}
