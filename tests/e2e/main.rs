//! The real binary, from outside: real sockets, real files, real kills.
//!
//! Each test starts its own server on free ports and a data folder of its own.

mod away;
mod chat;
mod crash;
mod load;
mod malformed;
mod raw;
mod resume;
mod slow_reader;
mod verify;

use std::{net::SocketAddr, path::Path};

use anyhow::{Context, Result};
use rookery_loadtest::server::{Server, ServerOptions};
use tempfile::TempDir;

/// The binary under test.
fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_rookery"))
}

/// Limits on clients' rates, out of the way of tests that are about something else.
const UNLIMITED: [(&str, &str); 4] = [
    ("ROOKERY_GATEWAY__COMMANDS_PER_SECOND", "1000000"),
    ("ROOKERY_GATEWAY__COMMANDS_BURST", "1000000"),
    ("ROOKERY_ROOMS__SENDS_PER_SECOND", "1000000"),
    ("ROOKERY_ROOMS__SENDS_BURST", "1000000"),
];

/// A development server on a folder of its own, with these settings from the environment.
async fn start(env: &[(&str, &str)]) -> Result<(TempDir, Server)> {
    let folder = TempDir::new()?;
    let mut options = ServerOptions::dev(folder.path());
    options.env = env
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let server = Server::start(binary(), options).await?;
    Ok((folder, server))
}

fn socket_address(server: &Server) -> Result<SocketAddr> {
    server
        .address()
        .authority()
        .parse()
        .context("the server listens on an IP address")
}
