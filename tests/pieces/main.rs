//! Wrong or missing pieces of a cluster, as whoever runs the binary meets them: a clear error that
//! names the setting, and an exit code. And what prepares the database: migrate, copy.
//!
//! `ROOKERY_TEST_CQL` and `ROOKERY_TEST_CQL_AUTH` name databases (see `scripts/services`); NATS
//! servers are the tests' own. Where there is none a test is skipped and says so; with
//! `ROOKERY_REQUIRE_SERVICES=1` that is a failure.

#![expect(clippy::unwrap_used, reason = "tests")]

mod copy;
mod database;
mod migrate;
mod moved;
mod nats;

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use rookery_loadtest::wait::eventually_blocking;
use tempfile::TempDir;

/// Did what was asked.
const CLEAN: i32 = 0;
/// Failed.
const FAILED: i32 = 1;
/// The configuration is wrong.
const BAD_CONFIG: i32 = 64;
/// NATS or the database cannot be used as it is.
const UNAVAILABLE: i32 = 69;
/// For servers that nobody connects to.
const FREE_PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
/// For a command that must end. Generous: the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(120);

/// How a command ended, and everything it said.
struct Ended {
    code: Option<i32>,
    said: String,
}

impl Ended {
    /// It ended so and said each of these.
    fn with(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.said);
        for words in words {
            assert!(self.said.contains(words), "{words:?} in: {}", self.said);
        }
    }
}

/// Runs the binary to its end, without the environment of whoever runs the tests.
fn rookery(arguments: &[&str]) -> Ended {
    let folder = TempDir::new().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_rookery"))
        .env_clear()
        .current_dir(folder.path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually_blocking(&format!("{arguments:?} ends"), DEADLINE, || {
        child.try_wait().unwrap().is_some()
    });
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended {
        code: output.status.code(),
        said: text(&output.stdout) + &text(&output.stderr),
    }
}
