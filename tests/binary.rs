//! The binary as people and supervisors meet it: start, probes, stop, exit codes, commands.

#[path = "binary/server.rs"]
mod server;

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    net::TcpListener,
    path::Path,
    time::Duration,
};

use server::{Server, eventually, get, open, run, said, websocket};
use tempfile::TempDir;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Far beyond the 300 ms that are promised on a quiet machine; those are printed.
const START_MAX: Duration = Duration::from_secs(10);

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("writes");
}

#[test]
fn serve_becomes_ready_and_every_page_answers() {
    let server = Server::start(&[]);
    println!("start to listening: {} ms", server.took.as_millis());
    assert!(server.took < START_MAX, "{:?}", server.took);

    let (status, page) = get(server.client, "/");
    assert_eq!(status, 200);
    assert!(page.contains("<html"), "{page}");
    assert_eq!(get(server.admin, "/healthz"), (200, "ok\n".to_owned()));
    let (status, ready) = get(server.admin, "/readyz");
    assert_eq!(
        (status, ready.as_str()),
        (200, "{\"ready\":true,\"reasons\":{}}\n")
    );
    let (status, metrics) = get(server.admin, "/metrics");
    assert_eq!(status, 200);
    for name in [
        "rookery_build_info{version=",
        "rookery_uptime_seconds",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    // Probes and metrics are not for clients.
    assert_eq!(get(server.client, "/metrics").0, 404);

    let banner = server.output();
    for words in [
        &format!("http://{}/", server.client),
        "a name is enough",
        "durable",
        "data",
    ] {
        assert!(banner.contains(words), "{words} in {banner}");
    }
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let server = Server::start(&[]);
    let data = server.data();
    let flags = [
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--data",
    ];
    let second = folder();
    let output = run(
        second.path(),
        &[&flags[..], &[data.to_str().unwrap()]].concat(),
    );
    let (code, _, error) = said(&output);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("error: cannot use the data in "), "{error}");
    assert!(error.contains("is in use by process "), "{error}");
    assert_eq!(
        get(server.admin, "/readyz").0,
        200,
        "the first one serves on"
    );
}

#[test]
fn a_port_in_use_names_the_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, other, setting) in [
        ("--listen", "--admin-listen", "server.listen"),
        ("--admin-listen", "--listen", "admin.listen"),
    ] {
        let folder = folder();
        let output = run(
            folder.path(),
            &["serve", flag, &address, other, "127.0.0.1:0"],
        );
        let (code, _, error) = said(&output);
        assert_eq!(code, Some(1), "{error}");
        let last = error.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: "), "{error}");
        for words in [setting, address.as_str(), "in use"] {
            assert!(last.contains(words), "{words} in {error}");
        }
    }
}

#[test]
fn a_bad_configuration_lists_every_problem_and_starts_nothing() {
    let folder = folder();
    write(
        folder.path(),
        "rookery.toml",
        "colour = 1\n[server]\nlisten = \"everywhere\"\n[log]\nformat = \"xml\"\n",
    );
    for command in ["serve", "config", "check"] {
        let output = run(folder.path(), &[command, "--set", "shutdown.grace=never"]);
        let (code, out, error) = said(&output);
        assert_eq!(code, Some(64), "{error}");
        assert_eq!(out, "");
        assert!(
            error.starts_with("error: the configuration has 4 problems\n"),
            "{error}"
        );
        for words in [
            "colour: no such setting (rookery.toml line 1)",
            "server.listen: \"everywhere\" is not an address",
            "log.format: \"xml\" is not one of",
            "shutdown.grace: \"never\" is not a duration",
            "(flag --set shutdown.grace)",
        ] {
            assert!(error.contains(words), "{words} in {error}");
        }
    }
    assert!(!folder.path().join("rookery-data").exists());
}

#[test]
fn without_a_key_only_loopback_is_served() {
    let folder = folder();
    let (code, _, error) = said(&run(folder.path(), &["--listen", "0.0.0.0:0"]));
    assert_eq!(code, Some(64), "{error}");
    assert!(
        error.contains("not a loopback address and auth.keys is empty"),
        "{error}"
    );
}

#[test]
fn a_wrong_command_line_is_a_bad_configuration() {
    let folder = folder();
    let (code, _, error) = said(&run(folder.path(), &["serve", "--colour", "red"]));
    assert_eq!(code, Some(64), "{error}");
    let (code, out, _) = said(&run(folder.path(), &["--version"]));
    assert_eq!(code, Some(0));
    assert_eq!(out, format!("rookery {}\n", env!("CARGO_PKG_VERSION")));
    let (code, out, _) = said(&run(folder.path(), &["--help"]));
    assert_eq!(code, Some(0));
    assert!(
        out.contains("Examples:") && out.contains("Exit codes:"),
        "{out}"
    );
}

#[test]
fn both_signals_stop_cleanly_and_the_data_serves_again() {
    let mut kept = folder();
    for signal in ["-TERM", "-INT"] {
        let mut server = Server::start_in(kept, &[]);
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0), "{signal}: {}", server.log());
        let log = server.log();
        let mut after = 0;
        for phase in ["gateway", "rooms", "presence", "store"] {
            let line = format!("stop.phase=\"{phase}\"");
            let at = log[after..].find(&line);
            after += at.unwrap_or_else(|| panic!("{line} in its order in {log}"));
        }
        kept = std::mem::replace(&mut server.folder, folder());
    }
    let (code, out, _) = said(&run(kept.path(), &["check", "--data", "data"]));
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("is sound"), "{out}");
}

#[test]
fn while_it_stops_it_is_not_ready_takes_nobody_and_a_second_signal_ends_it() {
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let mut server = Server::start(&["--set", "shutdown.grace=1h"]);
        let client = websocket(server.client);
        server.signal("-TERM");
        let reasons = eventually("not ready", || {
            let (status, reasons) = get(server.admin, "/readyz");
            (status == 503).then_some(reasons)
        });
        assert!(reasons.contains("\"process\":\"stopping\""), "{reasons}");
        assert_eq!(get(server.admin, "/healthz").0, 200);
        eventually("no new clients", || {
            std::net::TcpStream::connect(server.client).err()
        });
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(code), "{}", server.log());
        drop(client);
    }
}

#[test]
fn a_connected_client_is_sent_away_within_the_grace() {
    let mut server = Server::start(&["--set", "shutdown.grace=2s"]);
    let mut client = websocket(server.client);
    server.signal("-TERM");
    // Everything up to the end: frames, at last the close frame, then the end of the stream.
    let mut frames = Vec::new();
    client.read_to_end(&mut frames).expect("the server ends it");
    assert!(
        frames.windows(2).any(|pair| pair[0] == 0x88),
        "no close frame in {frames:?}"
    );
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}

#[test]
fn token_mints_what_the_server_takes() {
    let folder = folder();
    let file = format!("[[auth.keys]]\nkid = \"k\"\nalg = \"HS256\"\nsecret = \"{SECRET}\"\n");
    write(folder.path(), "rookery.toml", &file);
    let (code, token, error) = said(&run(folder.path(), &["token", "--user", "alice"]));
    assert_eq!(code, Some(0), "{error}");
    let token = token.trim();
    assert_eq!(token.split('.').count(), 3, "{token}");

    let server = Server::start_in(folder, &[]);
    assert!(!server.output().contains("a name is enough"));
    // What the server says first: a welcome, or why not.
    let answer = |query: &str| {
        let mut client = open(server.client, query);
        let mut read = Vec::new();
        eventually("a first frame or the end", || {
            let mut some = [0; 512];
            let count = client.read(&mut some).expect("answers");
            read.extend_from_slice(&some[..count]);
            let text = String::from_utf8_lossy(&read).into_owned();
            (count == 0 || text.contains("\"welcome\"")).then_some(text)
        })
    };
    let welcome = answer(&format!("token={token}"));
    assert!(
        welcome.contains("\"welcome\"") && welcome.contains("alice"),
        "{welcome}"
    );
    for wrong in [format!("token={token}x"), "name=alice".to_owned()] {
        let refused = answer(&wrong);
        assert!(!refused.contains("\"welcome\""), "{refused}");
    }
}

#[test]
fn config_prints_values_with_their_sources_and_no_secret() {
    let folder = folder();
    let file = format!("[[auth.keys]]\nalg = \"HS256\"\nsecret = \"{SECRET}\"\n");
    write(folder.path(), "rookery.toml", &file);
    let output = server::rookery(folder.path(), &["config", "--data", "elsewhere"])
        .env("ROOKERY_LOG__LEVEL", "debug")
        .output()
        .unwrap();
    let (code, out, error) = said(&output);
    assert_eq!(code, Some(0), "{error}");
    for line in [
        "data = \"elsewhere\" # flag --data",
        "level = \"debug\" # environment variable ROOKERY_LOG__LEVEL",
        "keys = [{ alg = \"HS256\", secret = \"***\" }] # rookery.toml line 1",
        "listen = \"127.0.0.1:8080\" # default",
    ] {
        assert!(out.lines().any(|one| one == line), "{line} in {out}");
    }
    assert!(!out.contains(SECRET) && !error.contains(SECRET));
}

#[test]
fn check_tells_sound_data_from_damaged_and_from_none() {
    let empty = folder();
    let (code, out, _) = said(&run(empty.path(), &["check"]));
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("data: none yet"), "{out}");

    let folder = Server::start(&[]).stop();
    let (code, out, _) = said(&run(folder.path(), &["check", "--data", "data"]));
    assert_eq!(code, Some(0), "{out}");

    let mut database = fs::OpenOptions::new()
        .write(true)
        .open(folder.path().join("data/rookery.db"))
        .expect("the database");
    let bytes = database.metadata().unwrap().len();
    // From the second page on, so that it is still a database.
    database.seek(SeekFrom::Start(4096)).unwrap();
    database
        .write_all(&vec![0xa5; usize::try_from(bytes - 4096).unwrap()])
        .unwrap();
    drop(database);
    let (code, out, error) = said(&run(folder.path(), &["check", "--data", "data"]));
    assert_eq!(code, Some(1), "{out}{error}");
    assert!(
        out.contains("is NOT sound") || error.contains("error: "),
        "{out}{error}"
    );
}
