//! The `rookery` binary: configuration, wiring, telemetry.
//!
//! Reading order: [`cli`] is what can be asked, [`config`] what can be set, [`mod@serve`] starts and
//! stops everything, [`mod@check`], [`mod@migrate`] and [`mod@copy`] look at, prepare and fill what that uses, [`admin`] are probes, metrics and signals on a runtime of their own,
//! [`readiness`] the latch they show, [`telemetry`] logs and metrics, [`exit`] how it ends.

mod admin;
mod check;
mod cli;
mod config;
mod copy;
mod exit;
mod migrate;
mod process;
mod readiness;
mod serve;
mod telemetry;
mod token;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Instant,
};

use anyhow::Context as _;
use clap::Parser as _;

use crate::{
    cli::{CheckArgs, Cli, Command, ConfigArgs, CopyArgs, MigrateArgs, ServeArgs, TokenArgs},
    config::{Installation, Purpose},
    exit::Exit,
};

/// A message is made by one thread and freed by another, which is what the system's allocator is
/// slowest at: docs/adr/0012.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let started = Instant::now();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error).into(),
    };
    let ended = match cli.command() {
        Command::Serve(arguments) => serve(arguments, started),
        Command::Token(arguments) => token(arguments),
        Command::Config(arguments) => print_config(arguments),
        Command::Check(arguments) => check(arguments),
        Command::Migrate(arguments) => migrate(arguments),
        Command::Copy(arguments) => copy(arguments),
    };
    ended.unwrap_or_else(|error| report(&error)).into()
}

fn serve(arguments: ServeArgs, started: Instant) -> anyhow::Result<Exit> {
    let (config, _) = config::load(arguments.settings.sources(), Purpose::Serve)?;
    serve::main(config, arguments.ready_file.as_deref(), started)
}

fn token(mut arguments: TokenArgs) -> anyhow::Result<Exit> {
    let (config, _) = config::load(
        std::mem::take(&mut arguments.settings).sources(),
        Purpose::Serve,
    )?;
    print(&format!(
        "{}\n",
        token::make(&arguments, &config.gateway.auth)?
    ));
    Ok(Exit::Clean)
}

fn print_config(arguments: ConfigArgs) -> anyhow::Result<Exit> {
    if arguments.reference {
        print(&config::reference_page());
        return Ok(Exit::Clean);
    }
    let (_, resolved) = config::load(arguments.settings.sources(), Purpose::Serve)?;
    print(&config::effective(&resolved));
    Ok(Exit::Clean)
}

fn check(arguments: CheckArgs) -> anyhow::Result<Exit> {
    let (config, _) = config::load(arguments.settings.sources(), Purpose::Serve)?;
    print("configuration: sound\n");
    match &config.installation {
        Installation::Embedded => {
            let finding = check::data(&config.data)?;
            print(&finding.to_string());
            Ok(match finding.is_sound() {
                true => Exit::Clean,
                false => Exit::Failed,
            })
        }
        Installation::Cluster(cluster) => block_on(async {
            let pieces = check::pieces(cluster).await;
            print(&pieces.to_string());
            Ok(pieces.exit())
        })?,
    }
}

fn migrate(arguments: MigrateArgs) -> anyhow::Result<Exit> {
    let (config, _) = config::load(arguments.settings.sources(), Purpose::Database)?;
    let Some(cql) = config.cql else {
        unreachable!("a configuration for the database names one");
    };
    print(&block_on(migrate::run(cql, arguments.dry_run))??);
    Ok(Exit::Clean)
}

fn copy(arguments: CopyArgs) -> anyhow::Result<Exit> {
    let (config, _) = config::load(arguments.settings.sources(), Purpose::Database)?;
    let Some(cql) = config.cql else {
        unreachable!("a configuration for the database names one");
    };
    print(&block_on(copy::run(&config.data, cql))??);
    Ok(Exit::Clean)
}

/// Runs what needs little of the machine to its end.
fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    Ok(runtime.block_on(work))
}

/// Writes to standard output; that nobody reads it is not an error.
fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// `--help` and `--version` are answers; everything else of clap's is a wrong command line.
fn usage(error: &clap::Error) -> Exit {
    let _ = error.print();
    if error.use_stderr() {
        Exit::BadConfig
    } else {
        Exit::Clean
    }
}

/// Says why it ended, with every cause.
fn report(error: &anyhow::Error) -> Exit {
    let _ = writeln!(io::stderr().lock(), "error: {error:#}");
    Exit::after(error)
}
