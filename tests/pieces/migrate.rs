//! `rookery migrate`, and a database that is not there, not prepared, too new or refuses.

use rookery_loadtest::services::NatsServer;

use super::{BAD_CONFIG, CLEAN, Ended, FREE_PORTS, UNAVAILABLE, database::Keyspace, rookery};

/// A command on a keyspace, with more flags.
fn on(keyspace: &Keyspace, command: &[&str], flags: &[&str]) -> Ended {
    let named = keyspace.flags();
    let mut arguments = command.to_vec();
    arguments.extend(named.iter().map(String::as_str));
    arguments.extend(flags);
    rookery(&arguments)
}

const ONE_COPY: [&str; 2] = ["--set", "cql.replication=1"];
/// NATS is refused too; what is said of the database is what counts.
const CHECK: [&str; 3] = ["check", "--nats", "nats://127.0.0.1:1"];

#[test]
fn database_that_is_not_there_is_named() {
    for command in [&["migrate"][..], &["migrate", "--dry-run"], &CHECK] {
        let arguments = [command, &["--cql", "127.0.0.1:1"]].concat();
        let words = "cannot reach the database at 127.0.0.1:1 (cql.nodes)";
        rookery(&arguments).with(UNAVAILABLE, &[words]);
    }
}

#[test]
fn database_that_is_not_named_is_bad_configuration() {
    let words = "cql.nodes: no database is named; set cql.nodes (--cql HOST:PORT)";
    rookery(&["migrate"]).with(BAD_CONFIG, &[words]);
    let flags = ["migrate", "--cql", "a:1", "--set", "cql.keyspace=No!"];
    rookery(&flags).with(BAD_CONFIG, &["cql.keyspace: \"No!\" is not a name"]);
}

#[test]
fn migration_makes_the_keyspace_once_and_says_so() {
    let Some(keyspace) = Keyspace::open("migrate") else {
        return;
    };
    let missing = format!(
        "the keyspace \"{}\" (cql.keyspace) does not exist",
        keyspace.name
    );
    on(&keyspace, &CHECK, &[]).with(UNAVAILABLE, &[&missing, "`rookery migrate` makes it"]);
    let dry = on(&keyspace, &["migrate", "--dry-run"], &ONE_COPY);
    dry.with(
        CLEAN,
        &["would be made", "would be brought from version 0 to 1"],
    );
    // It did nothing.
    on(&keyspace, &CHECK, &[]).with(UNAVAILABLE, &[&missing]);
    let made = on(&keyspace, &["migrate"], &ONE_COPY);
    made.with(
        CLEAN,
        &["made, replication factor 1", "brought from version 0 to 1"],
    );
    let again = on(&keyspace, &["migrate"], &ONE_COPY);
    again.with(CLEAN, &["is at version 1, nothing to do"]);
    on(&keyspace, &CHECK, &[]).with(UNAVAILABLE, &["can be written to and its schema fits"]);
}

#[test]
fn more_copies_than_nodes_are_refused_before_anything_is_made() {
    let Some(keyspace) = Keyspace::open("copies") else {
        return;
    };
    let many = ["--set", "cql.replication=16"];
    on(&keyspace, &["migrate"], &many).with(UNAVAILABLE, &["(cql.replication)"]);
    on(&keyspace, &CHECK, &[]).with(UNAVAILABLE, &["(cql.keyspace) does not exist"]);
}

#[test]
fn schema_that_is_older_or_newer_is_named() {
    let Some(keyspace) = Keyspace::open("schema") else {
        return;
    };
    keyspace.run(&["CREATE KEYSPACE @ WITH replication = \
                    {'class': 'NetworkTopologyStrategy', 'replication_factor': 1}"]);
    on(&keyspace, &CHECK, &[]).with(
        UNAVAILABLE,
        &[
            "has schema version 0, this program needs 1",
            "(cql.keyspace)",
            "`rookery migrate`",
        ],
    );
    on(&keyspace, &["migrate"], &[]).with(CLEAN, &["from version 0 to 1"]);
    keyspace.run(&[
        "INSERT INTO @.schema_version (name, version, holder, applied_ms) \
                    VALUES ('schema', 99, 'a test', 0)",
    ]);
    for command in [&["migrate"][..], &["migrate", "--dry-run"], &CHECK] {
        on(&keyspace, command, &[]).with(
            UNAVAILABLE,
            &[
                "has schema version 99, this program knows up to 1",
                "use a newer rookery",
            ],
        );
    }
}

#[test]
fn credentials_that_are_missing_or_wrong_are_named_and_not_shown() {
    let Some(keyspace) = Keyspace::with_passwords("credentials") else {
        return;
    };
    let words = "asks for a user and a password, none is set (cql.user, cql.password)";
    on(&keyspace, &["migrate"], &[]).with(UNAVAILABLE, &[words]);
    let wrong = [
        "--set",
        "cql.user=cassandra",
        "--set",
        "cql.password=hunter2",
    ];
    for command in [&["migrate"][..], &CHECK] {
        let ended = on(&keyspace, command, &wrong);
        ended.with(
            UNAVAILABLE,
            &["refuses user \"cassandra\" (cql.user)", "(cql.password)"],
        );
        assert!(!ended.said.contains("hunter2"), "{}", ended.said);
    }
}

#[test]
fn database_that_is_read_only_for_the_user_is_refused() {
    let Some(keyspace) = Keyspace::with_passwords("read only") else {
        return;
    };
    let superuser = [
        "--set",
        "cql.user=cassandra",
        "--set",
        "cql.password=cassandra",
    ];
    let flags = [&superuser[..], &ONE_COPY].concat();
    on(&keyspace, &["migrate"], &flags).with(CLEAN, &["made"]);
    keyspace.run(&[
        "CREATE ROLE IF NOT EXISTS pieces_reader WITH PASSWORD = 'reads' AND LOGIN = true",
        "GRANT SELECT ON KEYSPACE @ TO pieces_reader",
    ]);
    let reader = [
        "--set",
        "cql.user=pieces_reader",
        "--set",
        "cql.password=reads",
    ];
    let words = "the user \"pieces_reader\" (cql.user) may not do that";
    on(&keyspace, &CHECK, &reader).with(UNAVAILABLE, &[words]);
}

#[test]
fn server_does_not_start_on_a_database_that_cannot_be_used() {
    let (Some(nats), Some(keyspace)) = (
        NatsServer::start("serve", "max_payload: 1MB"),
        Keyspace::open("serve"),
    ) else {
        return;
    };
    let nats_url = nats.url();
    let flags = [&["--nats", &nats_url][..], &FREE_PORTS].concat();
    let nowhere = [&["serve", "--cql", "127.0.0.1:1"][..], &flags].concat();
    rookery(&nowhere).with(UNAVAILABLE, &["127.0.0.1:1 (cql.nodes)"]);
    let served = |words: &[&str]| on(&keyspace, &["serve"], &flags).with(UNAVAILABLE, words);
    served(&["(cql.keyspace) does not exist: `rookery migrate` makes it"]);
    keyspace.run(&["CREATE KEYSPACE @ WITH replication = \
                    {'class': 'NetworkTopologyStrategy', 'replication_factor': 1}"]);
    served(&[
        "has schema version 0, this program needs 1",
        "(cql.keyspace)",
    ]);
    on(&keyspace, &["migrate"], &[]).with(CLEAN, &[]);
    keyspace.run(&[
        "INSERT INTO @.schema_version (name, version, holder, applied_ms) \
                    VALUES ('schema', 99, 'a test', 0)",
    ]);
    served(&["has schema version 99, this program knows up to 1"]);
}

#[test]
fn server_does_not_start_for_a_user_who_is_refused_or_may_only_read() {
    let (Some(nats), Some(keyspace)) = (
        NatsServer::start("serve, credentials", "max_payload: 1MB"),
        Keyspace::with_passwords("serve, credentials"),
    ) else {
        return;
    };
    let nats_url = nats.url();
    let flags = [&["--nats", &nats_url][..], &FREE_PORTS].concat();
    let user = |name: &str, password: &str| {
        let set = ["--set".to_owned(), format!("cql.user={name}")];
        set.into_iter()
            .chain(["--set".to_owned(), format!("cql.password={password}")])
            .collect::<Vec<_>>()
    };
    let run = |command: &str, user: &[String], more: &[&str]| {
        let user = user.iter().map(String::as_str);
        let all: Vec<_> = user.chain(more.iter().copied()).collect();
        on(&keyspace, &[command], &all)
    };
    let superuser = user("cassandra", "cassandra");
    run("migrate", &superuser, &ONE_COPY).with(CLEAN, &["made"]);
    keyspace.run(&[
        "CREATE ROLE IF NOT EXISTS pieces_looker WITH PASSWORD = 'looks' AND LOGIN = true",
        "GRANT SELECT ON KEYSPACE @ TO pieces_looker",
    ]);
    let words = ["refuses user \"cassandra\" (cql.user)"];
    run("serve", &user("cassandra", "wrong"), &flags).with(UNAVAILABLE, &words);
    let words = ["the user \"pieces_looker\" (cql.user) may not do that"];
    run("serve", &user("pieces_looker", "looks"), &flags).with(UNAVAILABLE, &words);
}
