//! NATS that is not there, refuses, or carries too little.

use rookery_loadtest::services::{NatsServer, free_port};

use super::{BAD_CONFIG, CLEAN, Ended, FREE_PORTS, UNAVAILABLE, rookery};

/// A gateway alone needs nothing but NATS.
fn check(url: &str, flags: &[&str]) -> Ended {
    run("check", url, flags)
}

/// What is wrong keeps a server from starting, in the same words.
fn refused(url: &str, flags: &[&str], code: i32, words: &[&str]) {
    check(url, flags).with(code, words);
    run("serve", url, &[flags, &FREE_PORTS].concat()).with(code, words);
}

fn run(command: &str, url: &str, flags: &[&str]) -> Ended {
    let mut arguments = vec![command, "--role", "gateway", "--nats", url];
    arguments.extend(flags);
    rookery(&arguments)
}

#[test]
fn server_that_is_not_there_is_named() {
    let url = format!("nats://127.0.0.1:{}", free_port());
    let words = format!("NATS is not reachable at {url} (nats.servers)");
    refused(&url, &[], UNAVAILABLE, &[&words]);
}

#[test]
fn address_that_is_none_is_bad_configuration() {
    refused(
        "nats://[",
        &[],
        BAD_CONFIG,
        &["\"nats://[\"", "(nats.servers)"],
    );
}

#[test]
fn file_that_is_missing_is_named_with_its_setting() {
    for setting in ["nats.credentials_file", "nats.nkey_file", "nats.tls_ca"] {
        let set = format!("{setting}=nowhere.pem");
        let words = format!("cannot use the file nowhere.pem ({setting})");
        refused(
            "nats://127.0.0.1:1",
            &["--set", &set],
            BAD_CONFIG,
            &[&words],
        );
    }
}

#[test]
fn server_as_it_should_be_is_said_to_be_usable() {
    let Some(server) = NatsServer::start("nats, sound", "max_payload: 1MB") else {
        return;
    };
    check(&server.url(), &["--node", "n1"])
        .with(CLEAN, &["node: \"n1\" does gateway\n", "carries rookery.>"]);
}

#[test]
fn payload_limit_that_is_too_small_is_named() {
    let Some(server) = NatsServer::start("nats, payload", "max_payload: 64KB") else {
        return;
    };
    let words = "messages of 65536 bytes at most, 1048576 are needed (max_payload";
    refused(&server.url(), &[], UNAVAILABLE, &[words]);
}

#[test]
fn credentials_that_are_refused_are_named_and_not_shown() {
    let lines = "authorization { user: rookery, password: secret }";
    let Some(server) = NatsServer::start("nats, credentials", lines) else {
        return;
    };
    let user = ["--set", "nats.user=rookery", "--set"];
    let right = [&user[..], &["nats.password=secret"]].concat();
    check(&server.url(), &right).with(CLEAN, &["nats: "]);
    let wrong = [&user[..], &["nats.password=hunter2"]].concat();
    for flags in [&wrong[..], &[]] {
        let words = ["refuses the credentials", "nats.password"];
        refused(&server.url(), flags, UNAVAILABLE, &words);
        let said = check(&server.url(), flags).said;
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn subjects_that_are_not_allowed_are_named() {
    let lines = "authorization { users: [ { user: a, password: b, permissions: \
                 { publish: [\"chat.>\"], subscribe: [\"chat.>\"] } } ] }";
    let Some(server) = NatsServer::start("nats, subjects", lines) else {
        return;
    };
    let flags = ["--set", "nats.user=a", "--set", "nats.password=b"];
    let words = ["allow rookery.>", "nats.subject_prefix"];
    refused(&server.url(), &flags, UNAVAILABLE, &words);
    let allowed = [&flags[..], &["--set", "nats.subject_prefix=chat"]].concat();
    check(&server.url(), &allowed).with(CLEAN, &["carries chat.>"]);
}
