//! The CQL adapter against a real database: the contract, and what is its own.
//!
//! `ROOKERY_TEST_CQL` names the database (see `scripts/services`). Without it nothing runs, and a
//! line says so; with `ROOKERY_REQUIRE_SERVICES=1` that is a failure. `ROOKERY_TEST_CQL_AUTH` names
//! one that asks for passwords, `ROOKERY_TEST_CQL_CLUSTER` one with three replicas.
//!
//! Each run makes a keyspace of its own and drops it at the end; so the tests have a harness of
//! their own.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::print_stdout, reason = "says what is skipped")]

#[path = "cql/access.rs"]
mod access;
#[path = "cql/adapter.rs"]
mod adapter;
#[path = "cql/copy.rs"]
mod copy;
#[path = "cql/database.rs"]
mod database;
#[path = "cql/replicas.rs"]
mod replicas;

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Trial};
use rookery_persistence::{CqlStore, Store, contract};
use tokio::runtime::{Builder, Runtime};

use self::database::Database;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut missing = 0;
    let mut trials = Vec::new();
    let mut databases = Vec::new();
    let mut find = |variable, tests: &str, trials_of: fn(&Arc<Database>) -> Vec<Trial>| {
        match Database::named_by(variable) {
            Some(database) => {
                let database = Arc::new(database);
                trials.extend(trials_of(&database));
                databases.push(database);
            }
            None => {
                println!("SKIPPED: {tests} (no {variable})");
                missing += 1;
            }
        }
    };
    find("ROOKERY_TEST_CQL", "cql contract", |database| {
        let mut trials = contract_trials(database);
        trials.extend(adapter::trials(database));
        trials.extend(copy::trials(database));
        trials
    });
    find("ROOKERY_TEST_CQL_AUTH", "cql permissions", access::trials);
    find("ROOKERY_TEST_CQL_CLUSTER", "cql replicas", replicas::trials);
    if missing > 0 && database::variable("ROOKERY_REQUIRE_SERVICES").as_deref() == Some("1") {
        println!("ROOKERY_REQUIRE_SERVICES=1: what is skipped above counts as failed");
        return ExitCode::FAILURE;
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    for database in databases {
        runtime().block_on(database.drop_keyspaces());
    }
    conclusion.exit_code()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// One test, with the database.
fn trial<F>(
    database: &Arc<Database>,
    name: &str,
    test: impl FnOnce(Arc<Database>) -> F + Send + 'static,
) -> Trial
where
    F: Future<Output = ()>,
{
    let database = Arc::clone(database);
    Trial::test(name, move || {
        runtime().block_on(test(database));
        Ok(())
    })
}

fn contract_trials(database: &Arc<Database>) -> Vec<Trial> {
    let mut trials: Vec<_> = contract::cases()
        .into_iter()
        .map(|case| {
            trial(database, case.name, async move |database| {
                let store: Arc<dyn Store> = Arc::new(database.store().await);
                (case.run)(Arc::clone(&store)).await.unwrap();
                store.close().await;
            })
        })
        .collect();
    let database = Arc::clone(database);
    let name = "idempotent_writes_in_any_order_read_equal";
    trials.push(Trial::test(name, move || {
        let runtime = runtime();
        let store: CqlStore = runtime.block_on(database.store());
        contract::random::idempotent_writes_in_any_order_read_equal(&runtime, &store);
        runtime.block_on(store.close());
        Ok(())
    }));
    trials
}
