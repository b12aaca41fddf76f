//! The commands that start a cluster and measure it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use rookery_loadtest::{
    cluster::Database,
    measure::{Measured, Setting},
};

use super::{BAD_INPUT, UNSOUND, say, size};

pub(crate) const EXAMPLE: &str = "Before it, a database and nats-server, and release builds:
  scripts/services start nats cql && eval \"$(scripts/services env)\"
  rookery-loadtest COMMAND --folder /tmp/measured

Exit status: 0 measured, 1 the run failed or clients saw what they must not, 64 bad arguments.";

/// Programs and services on this machine.
#[derive(Args)]
pub(crate) struct Programs {
    /// The program rookery.
    #[arg(long, env = "ROOKERY_BIN", default_value = "target/release/rookery")]
    rookery: PathBuf,
    /// The program nats-server, for a cluster; `scripts/services start nats` builds one in
    /// target/services.
    #[arg(long, env = "ROOKERY_NATS_SERVER", default_value = "nats-server")]
    pub(crate) nats_server: PathBuf,
    /// For a cluster, the database that scripts/services has started: HOST:PORT,HOST:PORT,…
    #[arg(long, env = "ROOKERY_TEST_CQL")]
    cql: Option<String>,
    /// The script that started it.
    #[arg(long, default_value = "scripts/services")]
    services: PathBuf,
}

impl Programs {
    pub(crate) fn rookery(&self) -> Result<PathBuf> {
        whole("--rookery", &self.rookery)
    }

    pub(crate) fn database(&self) -> Result<Database> {
        let cql = self.cql.as_ref();
        let cql = cql.context(
            "--cql is needed: the database that `scripts/services start cql` has started",
        )?;
        Database::new(whole("--services", &self.services)?, cql).context("--cql")
    }
}

fn whole(flag: &str, path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("{flag} {}", path.display()))
}

/// What every measurement needs.
#[derive(Args)]
pub(crate) struct Measuring {
    #[command(flatten)]
    programs: Programs,
    /// An empty or new folder for logs; kept.
    #[arg(long)]
    folder: PathBuf,
    /// Decides what is chosen at random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rooms that are probed.
    #[arg(long, default_value_t = 24, value_parser = size())]
    rooms: usize,
    /// Milliseconds between an ack and the next message of a room.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=60_000))]
    pace: u64,
}

impl Measuring {
    pub(crate) async fn run(
        self,
        measure: impl AsyncFnOnce(&Setting) -> Result<Measured>,
    ) -> ExitCode {
        let setting = match self.setting() {
            Ok(setting) => setting,
            Err(error) => {
                say(&format!("error: {error:#}"));
                return BAD_INPUT.into();
            }
        };
        match measure(&setting).await {
            Ok(measured) => {
                say(&measured.to_string());
                ExitCode::SUCCESS
            }
            Err(error) => {
                say(&format!("error: {error:#}"));
                UNSOUND.into()
            }
        }
    }

    fn setting(self) -> Result<Setting> {
        let folder = &self.folder;
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(Setting {
            binary: self.programs.rookery()?,
            database: self.programs.database()?,
            nats_binary: self.programs.nats_server,
            folder: whole("--folder", &self.folder)?,
            seed: self.seed,
            rooms: self.rooms,
            pace: Duration::from_millis(self.pace),
        })
    }
}
