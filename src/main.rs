//! The `rookery` binary: configuration, wiring, telemetry.
//!
//! Reading order: [`cli`] is what can be asked, [`config`] what can be set, [`mod@serve`] starts and
//! stops everything, [`admin`] are probes, metrics and signals on a runtime of their own,
//! [`readiness`] the latch they show, [`telemetry`] logs and metrics, [`exit`] how it ends.

mod admin;
mod check;
mod cli;
mod config;
mod exit;
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

use clap::Parser as _;

use crate::{
    cli::{CheckArgs, Cli, Command, ConfigArgs, ServeArgs, TokenArgs},
    exit::Exit,
};

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
    };
    ended.unwrap_or_else(|error| report(&error)).into()
}

fn serve(arguments: ServeArgs, started: Instant) -> anyhow::Result<Exit> {
    let (config, _) = config::load(arguments.settings.sources())?;
    serve::main(config, arguments.ready_file.as_deref(), started)
}

fn token(mut arguments: TokenArgs) -> anyhow::Result<Exit> {
    let (config, _) = config::load(std::mem::take(&mut arguments.settings).sources())?;
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
    let (_, resolved) = config::load(arguments.settings.sources())?;
    print(&config::effective(&resolved));
    Ok(Exit::Clean)
}

fn check(arguments: CheckArgs) -> anyhow::Result<Exit> {
    let (config, _) = config::load(arguments.settings.sources())?;
    print("configuration: sound\n");
    let finding = check::data(&config.data)?;
    print(&finding.to_string());
    Ok(match finding.is_sound() {
        true => Exit::Clean,
        false => Exit::Failed,
    })
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
    if error.is::<config::ConfigError>() {
        Exit::BadConfig
    } else {
        Exit::Failed
    }
}
