//! The binary's contract: its words and its exit status.

#![expect(clippy::unwrap_used, reason = "a test's helpers")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rookery-loadtest"))
        .args(args)
        .output()
        .unwrap()
}

fn check(path: &Path, lines: &[&str]) -> (Option<i32>, String) {
    fs::write(path, lines.join("\n") + "\n").unwrap();
    let output = run(&["check", path.to_str().unwrap()]);
    let words = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(words).unwrap())
}

/// One user opens a room and sends a message; the judge reads the log.
const SOUND: [&str; 9] = [
    r#"{"rookeryHistory":1,"about":{"seed":"1"}}"#,
    r#"{"at":1,"client":0,"session":1,"what":{"opened":{"user":"ann","purpose":"take","sessionId":"a"}}}"#,
    r#"{"at":2,"client":0,"session":1,"what":{"sent":{"id":"1","createRoom":{"room":"r","kind":"GROUP"}}}}"#,
    r#"{"at":3,"client":0,"session":1,"what":{"received":{"ack":{"id":"1","roomCreated":{"room":{"id":"r"}}}}}}"#,
    r#"{"at":4,"client":0,"session":1,"what":{"sent":{"id":"2","send":{"room":"r","text":"hi","clientId":"k"}}}}"#,
    r#"{"at":5,"client":0,"session":1,"what":{"received":{"ack":{"id":"2","appended":{"room":"r","offset":2,"epoch":1}}}}}"#,
    r#"{"at":6,"client":1,"session":1,"what":{"opened":{"user":"ann","purpose":"judge","sessionId":"b"}}}"#,
    r#"{"at":7,"client":1,"session":1,"what":{"sent":{"id":"1","history":{"room":"r","afterOffset":0}}}}"#,
    r#"{"at":8,"client":1,"session":1,"what":{"received":{"ack":{"id":"1","history":{"room":"r","head":2,"events":[{"room":"r","epoch":1,"offset":1,"actor":{"id":"ann"},"roomOpened":{}},{"room":"r","epoch":1,"offset":2,"actor":{"id":"ann"},"message":{"text":"hi","clientId":"k"}}]}}}}}"#,
];

#[test]
fn check_tells_sound_from_unsound_from_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let (code, words) = check(&path, &SOUND);
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("\nsound\n"), "{words}");

    let lost = SOUND[8].replace("\"hi\"", "\"ho\"");
    let mut lines = SOUND;
    lines[8] = &lost;
    let (code, words) = check(&path, &lines);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("acknowledged at offset 2") && words.contains("NOT SOUND"));

    // Without the final log nothing can be said, and that is not sound.
    let (code, words) = check(&path, &SOUND[..6]);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("no final log was read of room r"), "{words}");

    let (code, words) = check(&path, &["{}"]);
    assert_eq!(code, Some(64), "{words}");
    assert!(words.contains("history header"), "{words}");
}

#[test]
fn help_teaches_and_bad_arguments_are_refused() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for word in ["record", "check", "Exit status", "64"] {
        assert!(help.contains(word), "{word} in {help}");
    }
    let help = run(&["record", "--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(
        String::from_utf8(help.stdout)
            .unwrap()
            .contains("--operations 20000")
    );
    assert_eq!(
        run(&["record", "--url", "nonsense", "--out", "x"])
            .status
            .code(),
        Some(64)
    );
    assert_eq!(run(&["fly"]).status.code(), Some(64));
    assert_eq!(run(&["check", "/no/such/file"]).status.code(), Some(64));
}
