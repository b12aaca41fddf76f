//! What happens between processes: one file, one owner; a killed owner loses nothing it acked.
//!
//! A child is this test binary again, running one test, with the database's path in its
//! environment; so both halves of a case stand in one function.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{BufRead, BufReader, Write, stdout},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use rookery_persistence::{
    CursorRow, EpochList, EventKind, LogRow, OpenError, RoomWrite, SentRow, SqliteConfig,
    SqliteStore, Store,
};
use rookery_proto::ids::{Epoch, Offset, RoomId, UserId};
use tempfile::TempDir;
use tokio::task::JoinSet;

const DATABASE: &str = "ROOKERY_TEST_DATABASE";
const ROOMS: usize = 8;
/// Starts each line of a child that the parent reads; the test harness prints lines of its own.
const MARK: &str = "child:";

fn child_database() -> Option<PathBuf> {
    std::env::var_os(DATABASE).map(PathBuf::from)
}

/// Runs one test of this binary as another process on that database.
fn spawn(test: &str, database: &Path) -> Child {
    let arguments = ["--exact", test, "--nocapture"].map(OsString::from);
    Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .env(DATABASE, database)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the child tells, line by line, until it ends.
fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let output = BufReader::new(child.stdout.take().unwrap());
    output
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.split_once(MARK).map(|(_, told)| told.to_owned()))
}

fn tell(line: &str) {
    // A parent that is gone reads nothing; the child ends with it.
    let mut out = stdout().lock();
    writeln!(out, "{MARK}{line}")
        .and_then(|()| out.flush())
        .unwrap();
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("chat.db");
    (folder, database)
}

#[tokio::test]
async fn second_process_is_refused_and_told_who_has_the_file() {
    if let Some(database) = child_database() {
        tell(
            &SqliteStore::open(SqliteConfig::new(&database))
                .unwrap_err()
                .to_string(),
        );
        tell(&SqliteStore::check(&database).unwrap_err().to_string());
        return;
    }
    let (_folder, database) = folder();
    let store = SqliteStore::open(SqliteConfig::new(&database)).unwrap();
    let mut child = spawn(
        "second_process_is_refused_and_told_who_has_the_file",
        &database,
    );
    let told: Vec<_> = lines(&mut child).collect();
    assert!(child.wait().unwrap().success());
    let expected = format!("in use by process {}", std::process::id());
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|line| line.contains(&expected)), "{told:?}");
    store.close().await;
}

fn room(index: usize) -> RoomId {
    RoomId::parse(&format!("room-{index}")).unwrap()
}

fn user(index: usize) -> UserId {
    UserId::parse(&format!("user-{index}")).unwrap()
}

/// One message with all that belongs to it: whole, or not there.
fn write(index: usize, offset: u64) -> RoomWrite {
    let user = user(index);
    let (epoch, event) = (Epoch(1), Bytes::from(vec![offset as u8; 3_000]));
    let log = LogRow {
        offset: Offset(offset),
        epoch,
        kind: EventKind::Message,
        message_count: offset,
        target: Offset::ZERO,
        event,
    };
    let sent = SentRow {
        user: user.clone(),
        client_id: format!("id-{offset}"),
        offset: Offset(offset),
        epoch,
        digest: offset,
        time_ms: 1_800_000_000_000 + offset,
    };
    let cursor = CursorRow {
        user,
        offset: Offset(offset),
        message_count: offset,
    };
    RoomWrite {
        log: vec![log],
        sent: vec![sent],
        cursors: vec![cursor],
        ..RoomWrite::new(room(index))
    }
}

/// The head of a room, after checking that everything up to it is whole and nothing is beyond.
async fn head(store: &SqliteStore, index: usize) -> u64 {
    let rows = store.log_tail(&room(index), u32::MAX).await.unwrap();
    let expected: Vec<_> = (1..=rows.len() as u64)
        .map(|offset| write(index, offset))
        .collect();
    assert_eq!(
        rows,
        expected
            .iter()
            .flat_map(|write| write.log.clone())
            .collect::<Vec<_>>()
    );
    let mut sent = store
        .sent_ids(&room(index), &user(index), 0, u32::MAX)
        .await
        .unwrap();
    sent.reverse();
    assert_eq!(
        sent,
        expected
            .iter()
            .flat_map(|write| write.sent.clone())
            .collect::<Vec<_>>()
    );
    let cursors = store.cursors(&room(index)).await.unwrap();
    assert_eq!(
        cursors,
        expected
            .last()
            .map_or_else(Vec::new, |write| write.cursors.clone())
    );
    rows.len() as u64
}

/// Commits in every room from its head on, tells each acknowledgement, and never ends.
async fn commit_until_killed(database: &Path) {
    let store = Arc::new(SqliteStore::open(SqliteConfig::new(database)).unwrap());
    let mut rooms = JoinSet::new();
    for index in 0..ROOMS {
        let store = Arc::clone(&store);
        rooms.spawn(async move {
            let list = EpochList::default().claimed_by(Epoch(1), Offset::ZERO);
            store.put_room_epochs(&room(index), &list).await.unwrap();
            for offset in head(&store, index).await + 1.. {
                store.commit(&[write(index, offset)]).await.unwrap();
                tell(&format!("{index} {offset}"));
            }
        });
    }
    rooms.join_all().await;
}

#[tokio::test]
async fn killed_process_keeps_every_acknowledged_commit_whole() {
    if let Some(database) = child_database() {
        return commit_until_killed(&database).await;
    }
    let (_folder, database) = folder();
    let mut acked: BTreeMap<usize, u64> = BTreeMap::new();
    for round in 0..4 {
        let mut child = spawn(
            "killed_process_keeps_every_acknowledged_commit_whole",
            &database,
        );
        let mut told = lines(&mut child);
        let mut note = |line: String| {
            let (index, offset) = line.split_once(' ').unwrap();
            acked.insert(index.parse().unwrap(), offset.parse().unwrap());
        };
        // In the middle of commits, each round at another point.
        told.by_ref().take(200 + 137 * round).for_each(&mut note);
        child.kill().unwrap();
        told.for_each(&mut note);
        child.wait().unwrap();

        let report = SqliteStore::check(&database).unwrap();
        assert!(report.is_sound(), "{report:?}");
        let store = SqliteStore::open(SqliteConfig::new(&database)).unwrap();
        for (&index, &offset) in &acked {
            let head = head(&store, index).await;
            // A room has one commit under way: at most that one is there without its ack.
            assert!(
                head == offset || head == offset + 1,
                "room {index}: {offset} acked, {head}"
            );
        }
        store.close().await;
    }
    assert_eq!(acked.len(), ROOMS);
}

#[tokio::test]
async fn killed_process_leaves_no_lock_behind() {
    if let Some(database) = child_database() {
        let _store = SqliteStore::open(SqliteConfig::new(&database)).unwrap();
        tell("open");
        return std::future::pending().await;
    }
    let (_folder, database) = folder();
    let mut child = spawn("killed_process_leaves_no_lock_behind", &database);
    let told = lines(&mut child).next();
    assert_eq!(told.as_deref(), Some("open"));
    let refused = SqliteStore::open(SqliteConfig::new(&database)).unwrap_err();
    let holder = format!("process {}", child.id());
    assert!(matches!(&refused, OpenError::InUse { holder: found, .. } if *found == holder));
    child.kill().unwrap();
    child.wait().unwrap();
    SqliteStore::open(SqliteConfig::new(&database))
        .unwrap()
        .close()
        .await;
}
