//! What the tests need and may not find.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use rookery_loadtest::cluster::Database;

/// A variable of the environment, when it is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    let value = env::var_os(name)?.into_string().ok()?;
    (!value.is_empty()).then_some(value)
}

/// The database named by a variable, and the program `nats-server`. `None`: something is not
/// here, and it was said that the test is skipped.
pub(crate) fn find(test: &str, variable_of_database: &str) -> Option<(Database, PathBuf)> {
    let Some(addresses) = variable(variable_of_database) else {
        skip(
            test,
            &format!("no {variable_of_database} (scripts/services)"),
        );
        return None;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/services");
    let database = match Database::new(script, &addresses) {
        Ok(database) => database,
        Err(error) => {
            skip(test, &format!("{variable_of_database}: {error:#}"));
            return None;
        }
    };
    Some((database, nats_server(test)?))
}

/// The program `nats-server`; `None`: it was said that the test is skipped.
pub(crate) fn nats_server(test: &str) -> Option<PathBuf> {
    let found = look_for_nats_server();
    if found.is_none() {
        let why = "there is no nats-server (scripts/services start nats)";
        skip(test, why);
    }
    found
}

fn look_for_nats_server() -> Option<PathBuf> {
    if let Some(named) = env::var_os("ROOKERY_NATS_SERVER") {
        return Some(named.into());
    }
    let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/services");
    let built = fs::read_dir(services).into_iter().flatten().flatten();
    let built = built.map(|entry| entry.path().join("nats-server"));
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = env::split_paths(&path).map(|folder| folder.join("nats-server"));
    built.chain(installed).find(|binary| binary.is_file())
}

/// Says, past the capture of output, that a test did not run.
fn skip(test: &str, why: &str) {
    let required = variable("ROOKERY_REQUIRE_SERVICES").as_deref() == Some("1");
    assert!(!required, "{test}: {why}");
    say(&format!("SKIPPED: {test}: {why}"));
}

/// Past the capture of output: a run of minutes shows what it does.
pub(crate) fn say(line: &str) {
    // Nobody can be told when this fails.
    let _ = writeln!(std::io::stderr(), "{line}");
}
