//! What the tests need and may not find.

use std::path::{Path, PathBuf};

use rookery_loadtest::{
    cluster::Database,
    services::{nats_program, skip, variable},
};

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
    Some((database, nats_program(test)?))
}
