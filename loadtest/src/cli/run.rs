//! `run`: a scenario's load on a server, and what was measured.

use std::{
    io::{IsTerminal as _, Write as _},
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use rookery_loadtest::{
    client::ServerAddress,
    files::FileError,
    light::{orders::Wire, raise_open_files},
    outcome::Outcome,
    plan::{
        costs::{Costs, CostsError},
        learn,
    },
    report,
    run::{Interrupted, Picture, Run, Subject, Summary, is_good},
    scenario::Scenario,
};

use super::{
    BAD_INPUT, INTERRUPTED, UNSOUND, complain, interrupts::Interrupts, measuring::Programs, say,
};

pub(crate) const EXAMPLE: &str = "\
What happens: the server is started (a temporary folder, free ports), the connections are opened, each
stage of the scenario is run, and everything is ended again; then the figures are printed, and the
scenario's bounds are judged. Use release builds. docs/load.md explains scenarios and figures.

Built-in scenarios: fanout, idle, chat, storm, churn, dm, hot-room, mixed.

Examples:
  rookery-loadtest run fanout
      one server, alone; bounds that are ratios to another side are said to be not checked
  rookery-loadtest run fanout --against floor --rounds 3 --out fanout.json --report fanout.html
      beside the bare write loop, three times in turn: ratios that can be believed
  rookery-loadtest run idle people.connections=5000 stage.0.seconds=60
      with other numbers than the scenario's file has
  rookery-loadtest run storm --gateways 2 --nodes 3 --cql 127.0.0.1:9042
      a cluster; `scripts/services start nats cql` gives NATS and the database
  rookery-loadtest run my.toml --url http://127.0.0.1:8080 --pid server=4711
      a scenario of one's own, on a server that runs already
  rookery-loadtest run fanout --url http://127.0.0.1:3000 --wire socket-io --pid server=4711
      another product

Ctrl-C ends everything that was started and tells what was measured until then.
Exit status: 0 all bounds hold and nothing was lost, 1 not so (or the run failed), 64 bad arguments,
130 interrupted.";
/// How often a line is written where nobody's terminal shows the newest.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(crate) struct Arguments {
    /// A built-in scenario, or a TOML file.
    scenario: String,
    /// Changes to the scenario: KEY=VALUE with the file's keys, lists by number.
    changes: Vec<String>,
    /// Put the load on a server that runs already, at http://HOST:PORT; repeat it for each gateway.
    #[arg(long = "url", value_name = "URL", conflicts_with_all = ["gateways", "nodes"])]
    urls: Vec<ServerAddress>,
    /// What that server speaks.
    #[arg(long, requires = "urls", default_value = "rookery")]
    wire: WireName,
    /// A process of that server to look at, as ROLE=PID; repeat it for each.
    #[arg(long = "pid", value_name = "ROLE=PID", requires = "urls", value_parser = role_and_pid)]
    pids: Vec<(String, u32)>,
    /// Where that server's /metrics are, at http://HOST:PORT; repeat it for each.
    #[arg(long = "admin", value_name = "URL", requires = "urls")]
    admins: Vec<ServerAddress>,
    /// Start a cluster with this many gateways (and --nodes) in place of one process.
    #[arg(long)]
    gateways: Option<usize>,
    /// Start a cluster with this many nodes for rooms and presence (and --gateways).
    #[arg(long)]
    nodes: Option<usize>,
    #[command(flatten)]
    programs: Programs,
    /// The servers to put the load on, one after the other: `rookery` (or what --wire says) and
    /// `floor`. Without it the server alone.
    #[arg(long = "side", value_name = "NAME")]
    sides: Vec<String>,
    /// One more side, after the server itself: `floor`, the bare write loop.
    #[arg(long, value_name = "NAME", conflicts_with = "sides")]
    against: Option<String>,
    /// Measure every side so many times, in turn; medians are told, with the least and the most.
    #[arg(long, value_name = "N", default_value = "1", value_parser = rounds)]
    rounds: NonZeroU32,
    /// Light processes; without it as many as the connections need.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    processes: Option<u32>,
    /// Write all that was measured to this file, as JSON.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write a page with tables and plots of it to this file.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Put the unit costs it tells into this file, for `plan --costs`; the others in it stay.
    #[arg(long)]
    costs: Option<PathBuf>,
}

/// Where results go.
struct Files {
    out: Option<PathBuf>,
    report: Option<PathBuf>,
    costs: Option<PathBuf>,
}

impl Files {
    /// Told before a run of minutes, not after it.
    fn check(&self) -> Result<()> {
        for (flag, path) in [
            ("--out", &self.out),
            ("--report", &self.report),
            ("--costs", &self.costs),
        ] {
            let folder = path.as_ref().and_then(|path| path.parent());
            let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
            let there = folder.is_none_or(Path::is_dir);
            ensure!(
                there,
                "{flag}: there is no folder {}",
                folder.unwrap_or(Path::new("")).display()
            );
        }
        if let Some(costs) = self.costs.as_ref().filter(|costs| costs.exists()) {
            Costs::read(costs).context("--costs")?;
        }
        Ok(())
    }

    /// The run's name in pages and costs.
    fn name(&self, outcome: &Outcome) -> String {
        let name = self.out.as_ref().and_then(|out| out.file_name());
        name.map_or_else(
            || outcome.scenario.name.clone(),
            |name| name.to_string_lossy().into_owned(),
        )
    }

    /// Costs of a run that came to its end.
    fn learn(&self, outcome: Outcome) -> Result<(), CostsError> {
        let Some(costs) = &self.costs else {
            return Ok(());
        };
        let runs = [(self.name(&outcome), outcome)];
        let learned = learn::into_file(&runs, costs)?;
        super::plan::told(&learned, costs);
        Ok(())
    }

    fn write(&self, outcome: &Outcome) -> Result<(), FileError> {
        if let Some(out) = &self.out {
            outcome.write(out)?;
        }
        if let Some(page) = &self.report {
            report::write(&[(self.name(outcome), outcome.clone())], page)?;
        }
        Ok(())
    }
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum WireName {
    /// Rookery's v1.
    Rookery,
    /// Socket.IO 4 over a WebSocket.
    SocketIo,
    /// Pusher channels, protocol 7.
    Pusher,
    /// Centrifuge's JSON protocol.
    Centrifuge,
}

/// More take hours, and tell no more than a median does.
const ROUNDS_MAX: u32 = 100;

fn rounds(text: &str) -> Result<NonZeroU32, String> {
    let rounds: Option<NonZeroU32> = text.parse().ok();
    let rounds = rounds.filter(|rounds| rounds.get() <= ROUNDS_MAX);
    rounds.ok_or_else(|| format!("`{text}` is not a number from 1 to {ROUNDS_MAX}"))
}

fn role_and_pid(text: &str) -> Result<(String, u32), String> {
    let wrong = || format!("`{text}` is not ROLE=PID");
    let (role, pid) = text.split_once('=').ok_or_else(wrong)?;
    let pid = pid.parse().map_err(|_| wrong())?;
    // The load's own role would not be counted as the server's.
    if role.is_empty() || role == "load" {
        return Err(format!("`{role}` is no role of a server"));
    }
    Ok((role.to_owned(), pid))
}

impl Arguments {
    fn run(self) -> Result<(Run, Files)> {
        let scenario = Scenario::load(&self.scenario, &self.changes)?;
        let subject = if !self.urls.is_empty() {
            Subject::Attached {
                urls: self.urls,
                wire: match self.wire {
                    WireName::Rookery => Wire::Rookery,
                    WireName::SocketIo => Wire::SocketIo,
                    WireName::Pusher => Wire::Pusher,
                    WireName::Centrifuge => Wire::Centrifuge,
                },
                processes: self.pids,
                admins: self.admins,
            }
        } else if self.gateways.is_some() || self.nodes.is_some() {
            let gateways = self.gateways.unwrap_or(1);
            let nodes = self.nodes.unwrap_or(1);
            ensure!(gateways > 0, "--gateways must be at least 1");
            ensure!(nodes > 0, "--nodes must be at least 1");
            Subject::Cluster {
                database: self.programs.database()?,
                rookery: self.programs.rookery()?,
                nats_server: self.programs.nats_server,
                gateways,
                nodes,
            }
        } else {
            Subject::Embedded {
                rookery: self.programs.rookery()?,
            }
        };
        let mut sides = self.sides;
        if let Some(against) = self.against {
            sides = vec![subject.name().to_owned(), against];
        }
        let run = Run {
            scenario,
            subject,
            sides,
            rounds: self.rounds,
            processes: self.processes,
            tool: std::env::current_exe().context("find this program")?,
        };
        // For the server, the floor and the light processes, which inherit it.
        raise_open_files();
        run.check()?;
        let files = Files {
            out: self.out,
            report: self.report,
            costs: self.costs,
        };
        files.check()?;
        Ok((run, files))
    }
}

pub(crate) async fn run(arguments: Arguments) -> ExitCode {
    let (run, files) = match arguments.run() {
        Ok(run) => run,
        Err(error) => {
            say(&format!("error: {error:#}"));
            return BAD_INPUT.into();
        }
    };
    let mut interrupts = match Interrupts::new() {
        Ok(interrupts) => interrupts,
        Err(error) => {
            complain(&error);
            return UNSOUND.into();
        }
    };
    let mut drawing = Drawing::new();
    let (outcome, ended) = run
        .run(&mut |picture| drawing.draw(picture), interrupts.next())
        .await;
    drawing.clear();
    // A closed pipe is the reader's wish.
    let _ = write!(std::io::stdout(), "{}", Summary(&outcome));
    if let Err(error) = files.write(&outcome) {
        complain(&error);
        return UNSOUND.into();
    }
    if let Err(error) = ended {
        say(&format!("error: {error:#}"));
        let whole = outcome
            .sides
            .iter()
            .map(|side| side.stages.len())
            .sum::<usize>();
        say(&format!(
            "this is not the whole run: {whole} stages were measured to their end"
        ));
        return if error.is::<Interrupted>() {
            INTERRUPTED.into()
        } else {
            UNSOUND.into()
        };
    }
    let good = is_good(&outcome);
    if let Err(error) = files.learn(outcome) {
        complain(&error);
        return UNSOUND.into();
    }
    if good {
        ExitCode::SUCCESS
    } else {
        UNSOUND.into()
    }
}

/// The live line: redrawn on a terminal, else written now and then.
struct Drawing {
    live: bool,
    written: Option<Instant>,
}

impl Drawing {
    fn new() -> Self {
        Self {
            live: std::io::stderr().is_terminal(),
            written: None,
        }
    }

    fn draw(&mut self, picture: &Picture) {
        if self.live {
            let mut terminal = std::io::stderr().lock();
            let _ = write!(terminal, "\r\x1b[K{picture}");
            let _ = terminal.flush();
        } else if self
            .written
            .is_none_or(|written| written.elapsed() >= LINE_INTERVAL)
        {
            self.written = Some(Instant::now());
            say(&picture.to_string());
        }
    }

    fn clear(&self) {
        if self.live {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
