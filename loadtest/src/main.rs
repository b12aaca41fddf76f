//! `rookery-loadtest`: records what a server does under a random workload, and judges histories.

mod measuring;

use std::{
    io::{IsTerminal as _, Write as _},
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use measuring::Measuring;
use rookery_loadtest::{
    checker::{self, Report},
    client::ServerAddress,
    history::{Header, HistoryWriter},
    load::{Asked, Load},
    measure::{self, Demand},
    workload::{Progress, Workload},
};
use rookery_proto::errors::chain;

/// Exit codes, as the README tells them.
const UNSOUND: u8 = 1;
const BAD_INPUT: u8 = 64;
const RECORD_EXAMPLE: &str = "Example, with `rookery serve --dev` on port 8080:
  rookery-loadtest record --url http://127.0.0.1:8080 --clients 50 --operations 20000 --out run.jsonl";
const LOAD_EXAMPLE: &str = "Example, over two gateways, 5,000 sends a second:
  rookery-loadtest load --url http://127.0.0.1:8080 --url http://127.0.0.1:8081 --in-flight 8 --rate 5000";
/// How often the progress line is drawn.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Proves that a Rookery server keeps its word: as a client only, over the wire.
///
/// `record` runs many clients that send, edit, delete, react, read, list, leave and come back
/// at random, reconnect and resume when they are cut off, and write all they did and saw to a history file. Kill and
/// restart the server meanwhile as you like. At the end the clients come to rest, each room's log
/// is read, and the history is judged.
///
/// `check` judges a history file again. `load` measures how many sends are acknowledged and when.
///
/// A history is sound when every acknowledged event is in its room's log once, at its offset, with
/// its content; nothing is in the log or was delivered that nobody asked for; every stream and
/// page is without holes and in order; cursors never went back, unread counts were right, and all
/// clients end with the state the log gives.
///
/// `failover`, `moves`, `rolling`, `lost` and `sends` start a whole cluster on this machine, do something to
/// it, and tell how long its clients waited. They need `scripts/services start nats cql`.
///
/// Exit status: 0 sound, 1 not sound (or the run failed), 64 bad arguments or file.
#[derive(Parser)]
#[command(version, verbatim_doc_comment)]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Judge a history file.
    Check {
        /// The file, as `record` or a test wrote it.
        history: PathBuf,
    },
    /// Run a workload against a server, write the history, and judge it.
    #[command(after_help = RECORD_EXAMPLE)]
    Record(Record),
    /// Send as fast as sends are acknowledged, or at a rate, and print rate and latencies.
    ///
    /// The server's own limits must allow it: `gateway.commands_per_second`, `rooms.sends_per_second`
    /// and their bursts. Nothing is judged; `record` does that.
    #[command(after_help = LOAD_EXAMPLE)]
    Load(LoadArguments),
    /// Measure the first ack in each room after a kill -9 of its owner.
    Failover {
        /// How many kills.
        #[arg(long, default_value_t = 20)]
        kills: usize,
        #[command(flatten)]
        measuring: Measuring,
    },
    /// Measure how many sends a cluster acknowledges, how soon, and where the time goes.
    Sends {
        /// Nodes for rooms and presence.
        #[arg(long, default_value_t = 1)]
        nodes: usize,
        /// Gateways.
        #[arg(long, default_value_t = 1)]
        gateways: usize,
        /// Connections.
        #[arg(long, default_value_t = 100)]
        senders: u32,
        /// Sends one connection has in flight at most.
        #[arg(long, default_value_t = 4)]
        in_flight: usize,
        #[command(flatten)]
        measuring: Measuring,
    },
    /// Measure the pause of a busy room when its shard moves to another node as planned.
    Moves {
        /// How many moves of probed rooms, at least.
        #[arg(long, default_value_t = 100)]
        moves: usize,
        #[command(flatten)]
        measuring: Measuring,
    },
    /// Restart every process of a cluster under load, one after the other.
    Rolling {
        #[command(flatten)]
        measuring: Measuring,
    },
    /// Lose single NATS messages and measure until that is made good.
    Lost {
        /// How many messages.
        #[arg(long, default_value_t = 40)]
        times: usize,
        #[command(flatten)]
        measuring: Measuring,
    },
}

#[derive(Args)]
struct LoadArguments {
    /// Where a gateway is: `http://HOST:PORT`; repeat it for each. They must accept development
    /// logins by name.
    #[arg(long = "url", required = true)]
    urls: Vec<ServerAddress>,
    /// Rooms.
    #[arg(long, default_value_t = 64)]
    rooms: u32,
    /// Connections that send.
    #[arg(long, default_value_t = 200)]
    senders: u32,
    /// Sends one connection has in flight at most.
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// Bytes of each text.
    #[arg(long, default_value_t = 100)]
    text_bytes: usize,
    /// Sends a second of all together; latency then counts from when a send was due. Without it
    /// each sends when its last was acknowledged.
    #[arg(long)]
    rate: Option<NonZeroU32>,
    /// Seconds before it is measured.
    #[arg(long, default_value_t = 2)]
    warm_up: u64,
    /// Seconds measured.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

#[derive(Args)]
struct Record {
    /// Where the server is: `http://HOST:PORT`. It must accept development logins by name.
    #[arg(long)]
    url: ServerAddress,
    /// Decides every random choice; printed, so that a run can be repeated.
    #[arg(long)]
    seed: Option<u64>,
    /// Connections.
    #[arg(long, default_value_t = 20)]
    clients: u32,
    /// Users; fewer than clients: some have several devices. 0: as many as clients.
    #[arg(long, default_value_t = 0)]
    users: u32,
    /// Rooms, each joined by all clients.
    #[arg(long, default_value_t = 3)]
    rooms: u32,
    /// Commands of all clients together.
    #[arg(long, default_value_t = 5_000)]
    operations: u64,
    /// Commands one client has in flight at most.
    #[arg(long, default_value_t = 8)]
    in_flight: usize,
    /// Seconds all of it may take.
    #[arg(long, default_value_t = 300)]
    deadline: u64,
    /// The history file; replaced if it exists.
    #[arg(long)]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap, too.
            let code = if error.use_stderr() { BAD_INPUT } else { 0 };
            let _ = error.print();
            return code.into();
        }
    };
    match cli.command {
        Subcommands::Check { history } => check(&history),
        Subcommands::Record(arguments) => record(arguments).await,
        Subcommands::Load(arguments) => load(arguments).await,
        Subcommands::Failover { kills, measuring } => {
            measuring
                .run(async |setting| measure::failover(setting, kills).await)
                .await
        }
        Subcommands::Sends {
            nodes,
            gateways,
            senders,
            in_flight,
            measuring,
        } => {
            let demand = Demand {
                nodes,
                gateways,
                senders,
                in_flight_max: in_flight,
            };
            measuring
                .run(async |setting| measure::sends(setting, demand).await)
                .await
        }
        Subcommands::Moves { moves, measuring } => {
            measuring
                .run(async |setting| measure::moves(setting, moves).await)
                .await
        }
        Subcommands::Rolling { measuring } => measuring.run(measure::rolling).await,
        Subcommands::Lost { times, measuring } => {
            measuring
                .run(async |setting| measure::lost(setting, times).await)
                .await
        }
    }
}

fn check(history: &Path) -> ExitCode {
    match checker::check_file(history) {
        Ok(report) => verdict(&report),
        Err(error) => {
            complain(&error);
            BAD_INPUT.into()
        }
    }
}

async fn record(arguments: Record) -> ExitCode {
    if arguments.clients == 0 || arguments.rooms == 0 || arguments.in_flight == 0 {
        say("--clients, --rooms and --in-flight must be at least 1");
        return BAD_INPUT.into();
    }
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(0..1 << 32));
    let workload = Workload {
        seed,
        clients: arguments.clients,
        users: arguments.users,
        rooms: arguments.rooms,
        operations: arguments.operations,
        in_flight_max: arguments.in_flight,
        // The seed repeats the choices; rooms are new each time, also on the same server.
        prefix: format!("load-{seed}-{:04x}", fastrand::u16(..)),
        deadline: Duration::from_secs(arguments.deadline),
        ..Workload::default()
    };
    let header = Header::new([
        ("seed".to_owned(), seed.to_string()),
        ("workload".to_owned(), format!("{workload:?}")),
    ]);
    let history = match HistoryWriter::create(&arguments.out, &header) {
        Ok(history) => Arc::new(history),
        Err(error) => {
            complain(&error);
            return BAD_INPUT.into();
        }
    };
    say(&format!(
        "seed {seed}, history in {}",
        arguments.out.display()
    ));
    let progress = Arc::new(Progress::default());
    let ran = watch(&workload, &arguments.url, &history, &progress).await;
    if let Err(error) = history.finish() {
        complain(&error);
        return UNSOUND.into();
    }
    match ran {
        Err(error) => {
            complain(&error);
            say("the history up to here is kept; without final logs it cannot be judged");
            UNSOUND.into()
        }
        Ok(outcome) => {
            for line in &outcome.unsettled {
                say(line);
            }
            say(&format!("ran for {:.1} s", outcome.elapsed.as_secs_f64()));
            check(&arguments.out)
        }
    }
}

async fn load(arguments: LoadArguments) -> ExitCode {
    if arguments.senders == 0 || arguments.rooms == 0 || arguments.in_flight == 0 {
        say("--senders, --rooms and --in-flight must be at least 1");
        return BAD_INPUT.into();
    }
    if arguments.rooms > arguments.senders {
        say("--rooms must not be more than --senders: each room is opened by one of them");
        return BAD_INPUT.into();
    }
    let load = Load {
        asked: Asked::Send,
        prefix: format!("load-{:06x}", fastrand::u32(..1 << 24)),
        rooms: arguments.rooms,
        senders: arguments.senders,
        in_flight_max: arguments.in_flight,
        text_bytes: arguments.text_bytes,
        rate: arguments.rate,
        warm_up: Duration::from_secs(arguments.warm_up),
        measure: Duration::from_secs(arguments.seconds),
    };
    match load.run(&arguments.urls).await {
        Ok(report) => {
            let _ = writeln!(std::io::stdout(), "{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            UNSOUND.into()
        }
    }
}

/// Runs the workload with a progress line: redrawn on a terminal, else one line at the end.
async fn watch(
    workload: &Workload,
    server: &ServerAddress,
    history: &Arc<HistoryWriter>,
    progress: &Arc<Progress>,
) -> Result<rookery_loadtest::workload::Outcome, rookery_loadtest::workload::RunError> {
    let running = workload.run(server, history, progress);
    tokio::pin!(running);
    let mut drawing = tokio::time::interval(PROGRESS_INTERVAL);
    let live = std::io::stderr().is_terminal();
    loop {
        tokio::select! {
            outcome = &mut running => {
                say(&format!("{}{progress}", if live { "\r\x1b[K" } else { "" }));
                return outcome;
            }
            _ = drawing.tick(), if live => {
                let mut terminal = std::io::stderr().lock();
                let _ = write!(terminal, "\r\x1b[K{progress}");
                let _ = terminal.flush();
            }
        }
    }
}

fn verdict(report: &Report) -> ExitCode {
    // A closed pipe is the reader's wish.
    let _ = writeln!(std::io::stdout(), "{report}");
    if report.is_sound() {
        ExitCode::SUCCESS
    } else {
        UNSOUND.into()
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// An error with all its causes.
fn complain(error: &dyn std::error::Error) {
    say(&format!("error: {}", chain(error)));
}
