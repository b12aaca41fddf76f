//! `rookery-loadtest`: puts load on a server, records what it does, and judges it.

mod cli;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    cli::run().await
}
