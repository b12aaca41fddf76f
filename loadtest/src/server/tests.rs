//! The test kit against a stand-in program that keeps the contract of the command line.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A shell script that writes the ready file and waits; SIGTERM ends it with status 7.
const SCRIPT: &str = r#"#!/bin/sh
echo "args: $*"
while [ $# -gt 0 ]; do
  case "$1" in
    --ready-file) ready="$2" ;;
    --listen) listen="$2" ;;
    --fail) echo "bad setting" >&2; exit 64 ;;
  esac
  shift
done
[ "$listen" = 127.0.0.1:0 ] && listen=127.0.0.1:4321
trap 'exit 7' TERM
printf '{"url":"http://%s","admin":"http://127.0.0.1:4322"}' "$listen" > "$ready"
while :; do sleep 0.02; done
"#;

fn stand_in(dir: &Path) -> PathBuf {
    let bin = dir.join("stand-in");
    fs::write(&bin, SCRIPT).unwrap();
    fs::set_permissions(&bin, fs::Permissions::from_mode(0o755)).unwrap();
    bin
}

#[tokio::test]
async fn server_starts_restarts_on_its_port_and_ends_by_signal() {
    let dir = tempfile::tempdir().unwrap();
    let bin = stand_in(dir.path());
    let options = ServerOptions::dev(&dir.path().join("data"));
    let mut server = Server::start(&bin, options).await.unwrap();
    assert_eq!(server.address().to_string(), "http://127.0.0.1:4321");
    assert_eq!(server.admin().port(), 4322);
    assert!(server.memory_bytes().unwrap() > 0);
    assert!(server.cpu_seconds().unwrap() >= 0.0);
    let pid = server.pid();
    server.kill9();
    assert!(server.exited().unwrap().is_some());
    assert!(memory_bytes(pid).is_err());
    server.restart().await.unwrap();
    assert!(
        server.log().contains("--listen 127.0.0.1:4321"),
        "{}",
        server.log()
    );
    assert_ne!(server.pid(), pid);
    let status = server.terminate().await.unwrap();
    assert_eq!(status.code(), Some(7));
}

#[tokio::test]
async fn server_that_ends_early_shows_its_status_and_log() {
    let dir = tempfile::tempdir().unwrap();
    let bin = stand_in(dir.path());
    let options = ServerOptions::dev(dir.path()).arg("--fail");
    let error = Server::start(&bin, options).await.unwrap_err();
    match error {
        ServerError::Ended { status, log } => {
            assert_eq!(status.code(), Some(64));
            assert!(log.contains("bad setting"), "{log}");
        }
        other => panic!("{other}"),
    }
}
