//! `verify`: a plan of faults under a workload, each window judged; for hours as a soak.

use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use rookery_loadtest::{
    client::ServerAddress,
    cluster::Database,
    services::variable,
    verify::{self, DEFAULT, Live, Parts, Plan, Run, Summary, Target},
};

use super::{BAD_INPUT, INTERRUPTED, UNSOUND, interrupts::Interrupts, say};

pub(crate) const HELP: &str = "Examples:
  rookery-loadtest verify
  rookery-loadtest verify quiet --folder /tmp/quiet --keep
  rookery-loadtest verify my-plan.toml --seed 7 --hours 8
  rookery-loadtest verify quiet --url http://127.0.0.1:8080 --hours 0.1
  scripts/services start nats cql && eval \"$(scripts/services env)\"
  rookery-loadtest verify cluster --hours 8

A history that was kept is judged again by `rookery-loadtest check FILE`.

Ctrl-C lets the window under way come to rest and judges it; a second one ends everything at once.
Exit status: 0 every window is sound, 1 one is not or the run failed, 64 bad arguments or plan,
130 interrupted, and what was judged until then is sound.";
/// How often the picture is drawn.
const PICTURE_INTERVAL: Duration = Duration::from_millis(500);
/// The same where nobody redraws it.
const LINES_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Arguments {
    /// A plan: a TOML file, or one built in: embedded, quiet, cluster, cluster-of-three.
    #[arg(default_value = DEFAULT)]
    plan: String,
    /// Print the plan and end.
    #[arg(long)]
    show: bool,
    /// Decides every random choice, instead of the plan's seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Goes on with further windows for so many hours: a soak.
    #[arg(long)]
    hours: Option<f64>,
    /// Verifies a server that runs already instead of the plan's target, without faults; repeat it
    /// for each gateway. It must accept development logins by name.
    #[arg(long = "url", value_name = "URL")]
    urls: Vec<ServerAddress>,
    /// A new or empty folder for data, logs and histories. Without it: one that is removed when
    /// all is sound.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Keep the histories of sound windows too.
    #[arg(long, requires = "folder")]
    keep: bool,
    /// The program rookery.
    #[arg(long, env = "ROOKERY_BIN", default_value = "target/release/rookery")]
    rookery: PathBuf,
    /// The program nats-server, for a cluster.
    #[arg(long, env = "ROOKERY_NATS_SERVER", default_value = "nats-server")]
    nats_server: PathBuf,
    /// The database that scripts/services has started, for a cluster: HOST:PORT,HOST:PORT,…
    /// Without it ROOKERY_TEST_CQL, or ROOKERY_TEST_CQL_CLUSTER for a plan with three replicas.
    #[arg(long)]
    cql: Option<String>,
    /// The script that started it.
    #[arg(long, default_value = "scripts/services")]
    services: PathBuf,
}

pub(crate) async fn run(arguments: Arguments) -> ExitCode {
    let prepared = match prepare(&arguments) {
        Ok(Some(prepared)) => prepared,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            return BAD_INPUT.into();
        }
    };
    let name = &arguments.plan;
    let seed = prepared.seed;
    say(&format!("{name}, seed {seed}: {}", prepared.plan.about));
    let (outcome, interrupted) = watched(&arguments, &prepared).await;
    let (path, temporary) = (prepared.folder, prepared.temporary);
    match outcome {
        Ok(summary) if interrupted => {
            let _ = writeln!(
                std::io::stdout(),
                "{summary}\ninterrupted; sound until then"
            );
            INTERRUPTED.into()
        }
        Ok(summary) => {
            let _ = writeln!(std::io::stdout(), "{summary}\nsound");
            ExitCode::SUCCESS
        }
        Err(error) if error.is::<AtOnce>() => {
            say(&format!("{name}, seed {seed}: {error}"));
            INTERRUPTED.into()
        }
        Err(error) => {
            // What is to be looked at stays.
            let path = temporary.map_or(path, tempfile::TempDir::keep);
            say(&format!("error: {name}, seed {seed}: {error:#}"));
            say(&format!("logs and histories are in {}", path.display()));
            let _ = writeln!(std::io::stdout(), "NOT SOUND");
            UNSOUND.into()
        }
    }
}

/// All that a run needs, checked.
struct Prepared {
    plan: Plan,
    seed: u64,
    parts: Parts,
    lasting: Option<Duration>,
    folder: PathBuf,
    temporary: Option<tempfile::TempDir>,
}

/// `None`: the plan was to be shown only.
fn prepare(arguments: &Arguments) -> Result<Option<Prepared>> {
    let mut plan = Plan::load(&arguments.plan)?;
    if arguments.show {
        let built_in = verify::BUILT_IN.iter();
        let mut built_in = built_in.filter(|(name, _)| *name == arguments.plan);
        let text = match built_in.next() {
            Some((_, text)) => (*text).to_owned(),
            None => std::fs::read_to_string(&arguments.plan)?,
        };
        let _ = write!(std::io::stdout(), "{text}");
        return Ok(None);
    }
    if !arguments.urls.is_empty() {
        if plan.fault_count() > 0 {
            bail!(
                "--url: nothing can be done to a server that runs already, and the plan {} has \
                 faults; `quiet` has none",
                arguments.plan
            );
        }
        plan.target = Target::Url {
            urls: arguments.urls.clone(),
        };
    }
    let lasting = match arguments.hours {
        None => None,
        Some(hours) if hours > 0.0 && hours <= 100_000.0 => {
            Some(Duration::from_secs_f64(hours * 3600.0))
        }
        Some(hours) => bail!("--hours must be above 0 and at most 100000, and is {hours}"),
    };
    let parts = parts(arguments, &plan.target)?;
    let temporary = match arguments.folder {
        Some(_) => None,
        None => Some(tempfile::tempdir().context("make a folder")?),
    };
    let folder = match (&arguments.folder, &temporary) {
        (Some(folder), _) => new_folder(folder)?,
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => unreachable!("one of them is given"),
    };
    Ok(Some(Prepared {
        seed: arguments.seed.unwrap_or(plan.seed),
        plan,
        parts,
        lasting,
        folder,
        temporary,
    }))
}

fn new_folder(folder: &Path) -> Result<PathBuf> {
    let shown = folder.display();
    std::fs::create_dir_all(folder).with_context(|| format!("--folder: make {shown}"))?;
    let mut entries =
        std::fs::read_dir(folder).with_context(|| format!("--folder: read {shown}"))?;
    if entries.next().is_some() {
        bail!("--folder: {shown} is not empty");
    }
    Ok(folder.canonicalize()?)
}

fn parts(arguments: &Arguments, target: &Target) -> Result<Parts> {
    let mut parts = Parts {
        rookery: arguments.rookery.clone(),
        nats_server: arguments.nats_server.clone(),
        database: None,
    };
    let here = |flag: &str, path: &Path| {
        let whole = path.canonicalize();
        whole.with_context(|| format!("{flag}: find {}", path.display()))
    };
    let replicas = match target {
        Target::Url { .. } => return Ok(parts),
        Target::Embedded { .. } => None,
        Target::Cluster { replicas, .. } => Some(replicas.get()),
    };
    parts.rookery = here("--rookery", &arguments.rookery)?;
    if let Some(replicas) = replicas {
        let set = if replicas == 1 {
            "ROOKERY_TEST_CQL"
        } else {
            "ROOKERY_TEST_CQL_CLUSTER"
        };
        let named = arguments.cql.clone().or_else(|| variable(set));
        let named = named.with_context(|| {
            format!("a cluster needs a database: --cql or {set} (scripts/services)")
        })?;
        let script = here("--services", &arguments.services)?;
        parts.database = Some(Database::new(script, &named).context("--cql")?);
    }
    Ok(parts)
}

/// Interrupted twice: the window was not judged.
#[derive(Debug, thiserror::Error)]
#[error("ended at once: {0} windows were sound, and the one under way was not judged")]
struct AtOnce(usize);

/// Runs it with a picture: redrawn on a terminal, else told every minute. Ctrl-C ends it with the
/// window it is in, a second one at once; true: it was interrupted.
async fn watched(arguments: &Arguments, prepared: &Prepared) -> (Result<Summary>, bool) {
    let terminal = std::io::stderr().is_terminal();
    let drawn = Arc::new(Mutex::new(Drawn::default()));
    let telling = Arc::clone(&drawn);
    let live = Live::new(prepared.lasting, move |line| {
        let mut drawn = telling.lock().unwrap_or_else(PoisonError::into_inner);
        drawn.wipe();
        say(line);
    });
    let running = verify::run(
        Run {
            name: &arguments.plan,
            plan: &prepared.plan,
            parts: &prepared.parts,
            seed: prepared.seed,
            folder: &prepared.folder,
            lasting: prepared.lasting,
            keep: arguments.keep,
        },
        &live,
    );
    tokio::pin!(running);
    let every = if terminal {
        PICTURE_INTERVAL
    } else {
        LINES_INTERVAL
    };
    let mut drawing = tokio::time::interval(every);
    drawing.reset();
    let mut stopping = false;
    let mut interrupts = match Interrupts::new() {
        Ok(interrupts) => interrupts,
        Err(error) => return (Err(error.into()), false),
    };
    loop {
        tokio::select! {
            outcome = &mut running => {
                drawn.lock().unwrap_or_else(PoisonError::into_inner).wipe();
                return (outcome, stopping);
            }
            _ = drawing.tick() => {
                let mut drawn = drawn.lock().unwrap_or_else(PoisonError::into_inner);
                if terminal {
                    drawn.draw(&live.to_string());
                } else {
                    say(&live.to_string());
                }
            }
            () = interrupts.next() => {
                drawn.lock().unwrap_or_else(PoisonError::into_inner).wipe();
                if stopping {
                    // What runs is dropped, and every process it started with it.
                    return (Err(AtOnce(live.sound()).into()), true);
                }
                stopping = true;
                live.stop();
                say("stopping: this window is judged first; Ctrl-C again ends it at once");
            }
        }
    }
}

/// The picture that stands on the terminal.
#[derive(Default)]
struct Drawn {
    lines: usize,
}

impl Drawn {
    fn wipe(&mut self) {
        if self.lines > 0 {
            let mut terminal = std::io::stderr().lock();
            // Up to its first line, and clear from there.
            let _ = write!(terminal, "\x1b[{}F\x1b[J", self.lines);
            let _ = terminal.flush();
            self.lines = 0;
        }
    }

    fn draw(&mut self, picture: &str) {
        self.wipe();
        // A line that wraps would be counted as one.
        let mut terminal = std::io::stderr().lock();
        for line in picture.lines() {
            let shown: String = line.chars().take(COLUMNS_MAX).collect();
            let _ = writeln!(terminal, "{shown}");
            self.lines += 1;
        }
        let _ = terminal.flush();
    }
}

/// Of the picture: terminals are seldom narrower where somebody watches a soak.
const COLUMNS_MAX: usize = 120;
