//! `rookery-loadtest`: puts load on a server, records what it does, and judges it.

mod cli;

use std::process::ExitCode;

use anyhow::Context as _;

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    let code = runtime.block_on(cli::run());
    // What was interrupted may have work left on other threads; nobody waits for its result.
    runtime.shutdown_background();
    Ok(code)
}
