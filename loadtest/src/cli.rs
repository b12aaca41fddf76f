//! The command line: one file for each subcommand, the shared words here.

mod compare;
mod floor;
mod interrupts;
mod light;
mod load;
mod make;
mod measuring;
mod plan;
mod record;
mod report;
mod run;
mod verify;

use std::{io::Write as _, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, builder::RangedU64ValueParser};
use measuring::Measuring;
use rookery_loadtest::measure::{self, Demand};
use rookery_proto::errors::chain;

/// Exit codes, as the README tells them.
const UNSOUND: u8 = 1;
const BAD_INPUT: u8 = 64;
/// As shells tell a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;
/// Of anything that is made one by one: more take all memory before anything is measured.
const COUNT_MAX: u64 = 1_000_000;
/// A week.
const SECONDS_MAX: u64 = 7 * 24 * 3_600;

/// A number of things of which there must be one.
fn count() -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(1..=COUNT_MAX)
}

/// The same, as collections count.
fn size() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=COUNT_MAX)
}

/// Puts load on a chat server and proves that it keeps its word: as a client only, over the wire.
///
/// How fast is it?   `run` puts a scenario's load on a server it starts (or on yours), beside a bare
/// write loop if you like, and tells CPU per delivery, latencies, memory per connection and losses.
/// `report` makes a page of results, `compare` holds two against each other and fails on a
/// regression, `plan` computes from them what many users need.
///
/// Does it lose anything?   `verify` runs clients that do everything at random while servers are
/// killed, paused and cut off by a plan, reads all logs at the end, and judges everything that
/// anybody was told. `record` does it against a server of yours (kill it meanwhile as you like);
/// `check` judges a history file again, `make` writes one of any length.
///
/// A history is sound when every acknowledged event is in its room's log once, at its offset, with
/// its content; nothing is in the log or was delivered that nobody asked for; every stream and
/// page is without holes and in order; cursors never went back, unread counts were right, and all
/// clients end with the state the log gives.
///
/// How long do users wait when a cluster changes?   `failover`, `moves`, `rolling`, `lost` and
/// `sends` start a whole cluster here, do something to it, and tell. They need
/// `scripts/services start nats cql`.
///
/// First steps, with release builds of both programs:
///   rookery-loadtest run fanout --against floor
///   rookery-loadtest verify
/// docs/load.md and docs/reliability.md explain what they print.
///
/// Exit status: 0 good, 1 not sound, a bound is broken or the run failed, 64 bad arguments or file,
/// 130 interrupted.
#[derive(Parser)]
#[command(version, verbatim_doc_comment)]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Judge a history file.
    ///
    /// Prints what was lost, doubled, reordered or phantom, with the first examples of each, or
    /// `sound`. Reads the file once; a million records take some seconds.
    #[command(after_help = record::CHECK_EXAMPLE)]
    Check {
        /// The file, as `record` or a test wrote it.
        history: PathBuf,
    },
    /// Write a right history of any length, to see what judging one costs.
    ///
    /// As `record` would write it, of devices that do everything; without any server.
    #[command(after_help = make::EXAMPLE)]
    Make(make::Arguments),
    /// Run a workload against a server, write the history, and judge it.
    ///
    /// Many clients send, edit, delete, react, read, list, leave and come back at random, reconnect
    /// and resume when they are cut off, and write all they did and saw to the file. At the end they
    /// come to rest, and each room's log is read.
    #[command(after_help = record::EXAMPLE)]
    Record(record::Arguments),
    /// Run a workload under a plan of faults, and judge each window of it; for hours as a soak.
    ///
    /// A window is some faults, one after the other; then the clients come to rest and all they were
    /// told is held against the logs. A window that is not sound ends the run, and its history stays.
    #[command(after_help = verify::HELP)]
    Verify(verify::Arguments),
    /// Send as fast as sends are acknowledged, or at a rate, and print rate and latencies.
    ///
    /// The server's own limits must allow it: `gateway.commands_per_second`, `rooms.sends_per_second`
    /// and their bursts. Nothing is judged; `record` does that.
    #[command(after_help = load::EXAMPLE)]
    Load(load::Arguments),
    /// Hold the results of two runs against each other; fail on a regression.
    ///
    /// Shows B ÷ A for every figure that both have. Of runs with several rounds the medians are
    /// judged, with the least and the most beside them.
    #[command(after_help = compare::EXAMPLE)]
    Compare(compare::Arguments),
    /// Put a scenario's load on a server, or on several one after the other, and measure.
    ///
    /// A scenario says who is there (connections, rooms) and what they do in each stage. Sends are
    /// made when they are due, whether or not the ones before were answered, and latency counts from
    /// when they were due.
    #[command(after_help = run::EXAMPLE)]
    Run(Box<run::Arguments>),
    /// Hold connections and do what the standard input orders; `run` starts it.
    #[command(hide = true)]
    Light,
    /// Serve Rookery's wire as a bare write loop: what ratios of CPU are taken against.
    ///
    /// One thread, memory only, no authentication, no limits. Says where it listens as a line of
    /// JSON, and serves until it is killed.
    Floor {
        /// Where to listen; port 0 takes a free one.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Make a page with tables and plots of the results of runs.
    ///
    /// One HTML file that needs no network: verdict, machine, every figure, latency over time and by
    /// percentile, CPU and memory of each process, and the scenario as a file. Several runs stand one
    /// after the other.
    #[command(after_help = report::EXAMPLE)]
    Report(report::Arguments),
    /// Say what a number of users, rooms and messages needs, by measured costs.
    ///
    /// Tells gateways, nodes, cores, memory, NATS and database load. Nothing is guessed: each line
    /// has its formula, its numbers, and where each cost was measured.
    #[command(after_help = plan::EXAMPLE)]
    Plan(Box<plan::Arguments>),
    /// Measure the first ack in each room after a kill -9 of its owner.
    ///
    /// A cluster with probed rooms is started; its nodes are killed one after the other, and for each
    /// kill the time until every room acknowledges again is told. All acks must be in history once.
    #[command(after_help = measuring::EXAMPLE)]
    Failover {
        /// How many kills.
        #[arg(long, default_value_t = 20, value_parser = size())]
        kills: usize,
        #[command(flatten)]
        measuring: Measuring,
    },
    /// Measure how many sends a cluster acknowledges, how soon, and where the time goes.
    ///
    /// Flat out and at half of that rate, beside pings (the gateway alone) and reads (the way to the
    /// room and back, without the database).
    #[command(after_help = measuring::EXAMPLE)]
    Sends {
        /// Nodes for rooms and presence.
        #[arg(long, default_value_t = 1, value_parser = size())]
        nodes: usize,
        /// Gateways.
        #[arg(long, default_value_t = 1, value_parser = size())]
        gateways: usize,
        /// Connections.
        #[arg(long, default_value_t = 100, value_parser = count())]
        senders: u32,
        /// Sends one connection has in flight at most.
        #[arg(long, default_value_t = 4, value_parser = size())]
        in_flight: usize,
        #[command(flatten)]
        measuring: Measuring,
    },
    /// Measure the pause of a busy room when its shard moves to another node as planned.
    ///
    /// A fourth node joins and leaves in order while rooms are written to; a pause is from the last
    /// ack of the old owner to the first of the new one. No client may see an error.
    #[command(after_help = measuring::EXAMPLE)]
    Moves {
        /// How many moves of probed rooms, at least.
        #[arg(long, default_value_t = 100, value_parser = size())]
        moves: usize,
        #[command(flatten)]
        measuring: Measuring,
    },
    /// Restart every process of a cluster under load, one after the other.
    ///
    /// Tells how long each restart took, the longest time that a client was without an ack, and
    /// whether presence ever showed somebody offline who was not.
    #[command(after_help = measuring::EXAMPLE)]
    Rolling {
        #[command(flatten)]
        measuring: Measuring,
    },
    /// Lose single NATS messages and measure until that is made good.
    ///
    /// A proxy drops one message on its way between a gateway and a room's owner, in rooms where
    /// nothing else happens that would tell.
    #[command(after_help = measuring::EXAMPLE)]
    Lost {
        /// How many messages.
        #[arg(long, default_value_t = 40, value_parser = size())]
        times: usize,
        #[command(flatten)]
        measuring: Measuring,
    },
}

/// Does what the arguments say.
pub(crate) async fn run() -> ExitCode {
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
        Subcommands::Check { history } => record::check(&history),
        Subcommands::Make(arguments) => make::run(&arguments),
        Subcommands::Record(arguments) => record::run(arguments).await,
        Subcommands::Verify(arguments) => verify::run(arguments).await,
        Subcommands::Load(arguments) => load::run(arguments).await,
        Subcommands::Compare(arguments) => compare::run(&arguments),
        Subcommands::Run(arguments) => run::run(*arguments).await,
        Subcommands::Light => light::run(),
        Subcommands::Floor { listen } => floor::run(listen),
        Subcommands::Report(arguments) => report::run(&arguments),
        Subcommands::Plan(arguments) => plan::run(*arguments),
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

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// An error with all its causes.
fn complain(error: &dyn std::error::Error) {
    say(&format!("error: {}", chain(error)));
}
