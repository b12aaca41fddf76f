//! The contract over the embedded adapter, and the cases that are SQLite's alone.

use std::{
    error::Error as _,
    sync::Arc,
    time::{Duration, Instant},
};

use rookery_proto::ids::{Epoch, Offset};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::*;
use crate::{
    EventKind, RoomWrite,
    contract::fixture::{cursor, log_write, marking, message, room, sent, user},
};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("chat.db")
}

fn open(folder: &TempDir) -> SqliteStore {
    SqliteStore::open(SqliteConfig::new(file(folder))).unwrap()
}

async fn fresh() -> (Arc<SqliteStore>, TempDir) {
    let folder = folder();
    (Arc::new(open(&folder)), folder)
}

crate::store_contract!(fresh);

#[tokio::test]
async fn everything_survives_closing_and_opening() {
    let (folder, room) = (folder(), room());
    let store = open(&folder);
    store
        .commit(&[log_write(&room, vec![message(1, 1)])])
        .await
        .unwrap();
    store.close().await;
    let wal = std::fs::metadata(file(&folder).with_extension("db-wal"));
    assert!(
        wal.is_err() || wal.unwrap().len() == 0,
        "a clean end leaves no log behind"
    );
    let store = open(&folder);
    assert_eq!(store.log_tail(&room, 10).await.unwrap(), [message(1, 1)]);
    store.close().await;
}

#[tokio::test]
async fn dropped_store_releases_its_file() {
    let (folder, room) = (folder(), room());
    drop(open(&folder));
    let deadline = Instant::now() + Duration::from_secs(20);
    let store = loop {
        match SqliteStore::open(SqliteConfig::new(file(&folder))) {
            Ok(store) => break store,
            Err(OpenError::InUse { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    store
        .commit(&[log_write(&room, vec![message(1, 1)])])
        .await
        .unwrap();
    store.close().await;
}

#[tokio::test]
async fn second_opening_in_one_process_is_refused() {
    let folder = folder();
    let store = open(&folder);
    let error = SqliteStore::open(SqliteConfig::new(file(&folder))).unwrap_err();
    let own = format!("is in use by process {}", std::process::id());
    assert!(error.to_string().ends_with(&own), "{error}");
    store.close().await;
    open(&folder).close().await;
}

#[tokio::test]
async fn newer_schema_is_refused_and_left_alone() {
    let folder = folder();
    open(&folder).close().await;
    let connection = Connection::open(file(&folder)).unwrap();
    connection
        .execute("INSERT INTO schema_version VALUES (99, 0)", [])
        .unwrap();
    drop(connection);
    for error in [
        SqliteStore::open(SqliteConfig::new(file(&folder))).unwrap_err(),
        SqliteStore::check(&file(&folder)).unwrap_err(),
    ] {
        assert!(matches!(
            error,
            OpenError::Newer {
                found: 99,
                known: schema::VERSION,
                ..
            }
        ));
        assert!(error.to_string().contains("schema version 99"), "{error}");
    }
}

#[tokio::test]
async fn migrations_start_from_an_empty_file_and_run_once() {
    let folder = folder();
    std::fs::write(file(&folder), b"").unwrap();
    open(&folder).close().await;
    open(&folder).close().await;
    let connection = Connection::open(file(&folder)).unwrap();
    let versions: Vec<u32> = connection
        .prepare("SELECT version FROM schema_version ORDER BY version")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(versions, (1..=schema::VERSION).collect::<Vec<_>>());
}

#[test]
fn foreign_database_and_foreign_file_are_refused() {
    let folder = folder();
    let connection = Connection::open(file(&folder)).unwrap();
    connection
        .execute_batch("CREATE TABLE cookies (name TEXT)")
        .unwrap();
    drop(connection);
    let error = SqliteStore::open(SqliteConfig::new(file(&folder))).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    let text = folder.path().join("notes.txt");
    std::fs::write(
        &text,
        "not a database, but long enough to look at\n".repeat(50),
    )
    .unwrap();
    let error = SqliteStore::open(SqliteConfig::new(text)).unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error}");
    assert!(
        error
            .source()
            .unwrap()
            .to_string()
            .contains("not a database"),
        "{error}"
    );
}

#[test]
fn missing_folder_is_named() {
    let folder = folder();
    let error = SqliteStore::open(SqliteConfig::new(folder.path().join("no/chat.db"))).unwrap_err();
    assert!(error.to_string().contains("no/chat.db"), "{error}");
}

#[tokio::test]
async fn full_disk_refuses_writes_keeps_reads_and_passes() {
    let folder = folder();
    let config = SqliteConfig {
        bytes_max: Some(400 * 1024),
        ..SqliteConfig::new(file(&folder))
    };
    let store = SqliteStore::open(config).unwrap();
    let room = room();
    let mut head = 0;
    let failure = loop {
        let row = LogRow {
            event: vec![7; 10_000].into(),
            ..message(head + 1, 1)
        };
        match store.commit(&[log_write(&room, vec![row])]).await {
            Ok(()) => head += 1,
            Err(error) => break error,
        }
        assert!(head < 1_000, "the limit is never reached");
    };
    assert!(
        matches!(failure, StoreError::Full { what: "commit", .. }),
        "{failure:?}"
    );
    let source = failure.source().unwrap().to_string();
    assert!(source.contains("full"), "{source}");
    assert!(head > 5);
    let offsets = |rows: Vec<LogRow>| rows.iter().map(|row| row.offset.0).collect::<Vec<_>>();
    let kept = offsets(store.log_tail(&room, 1_000).await.unwrap());
    assert_eq!(
        kept,
        (1..=head).collect::<Vec<_>>(),
        "nothing of the refused write is there"
    );
    store.set_bytes_max(None).await.unwrap();
    store
        .commit(&[log_write(&room, vec![message(head + 1, 1)])])
        .await
        .unwrap();
    assert_eq!(offsets(store.log_tail(&room, 1).await.unwrap()), [head + 1]);
    store.close().await;
    assert_eq!(problems_but_lists(&folder), [""; 0]);
}

/// The tests here write logs without claiming the rooms first.
fn problems_but_lists(folder: &TempDir) -> Vec<String> {
    let report = SqliteStore::check(&file(folder)).unwrap();
    report
        .problems
        .into_iter()
        .filter(|line| !line.contains("without an epoch list"))
        .collect()
}

#[tokio::test]
async fn waiting_commits_share_transactions() {
    let (store, _folder) = fresh().await;
    let before = store.transactions();
    let mut commits = JoinSet::new();
    for _ in 0..400 {
        let store = Arc::clone(&store);
        commits.spawn(async move {
            store
                .commit(&[log_write(&room(), vec![message(1, 1)])])
                .await
        });
    }
    for result in commits.join_all().await {
        result.unwrap();
    }
    let transactions = store.transactions() - before;
    assert!(
        transactions < 100,
        "400 commits took {transactions} transactions"
    );
    store.close().await;
}

#[tokio::test]
async fn poisoned_write_fails_alone() {
    let (store, _folder) = fresh().await;
    let mut commits = JoinSet::new();
    for number in 0..40_u64 {
        let store = Arc::clone(&store);
        commits.spawn(async move {
            let (room, user) = (room(), user());
            // No SQLite integer can hold that time.
            let time_ms = if number % 10 == 3 {
                u64::MAX
            } else {
                1_800_000_000_000
            };
            let write = RoomWrite {
                sent: vec![sent(&user, "id", 1, 1, time_ms)],
                ..log_write(&room, vec![message(1, 1)])
            };
            let result = store.commit(&[write]).await;
            let rows = store.log_tail(&room, 10).await.unwrap().len();
            (number, result, rows)
        });
    }
    for (number, result, rows) in commits.join_all().await {
        if number % 10 == 3 {
            assert!(
                matches!(result, Err(StoreError::Failed { .. })),
                "{result:?}"
            );
            assert_eq!(rows, 0, "nothing is half done");
        } else {
            result.unwrap();
            assert_eq!(rows, 1);
        }
    }
    store.close().await;
}

#[tokio::test]
async fn second_list_of_one_epoch_is_refused() {
    let (store, _folder) = fresh().await;
    let room = room();
    let first = EpochList::default().claimed_by(Epoch(3), Offset(0));
    let second = EpochList::default().claimed_by(Epoch(3), Offset(9));
    store.put_room_epochs(&room, &first).await.unwrap();
    for list in [&second, &EpochList::default()] {
        let error = store.put_room_epochs(&room, list).await.unwrap_err();
        assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
    }
    assert_eq!(store.room_epochs(&room).await.unwrap(), first);
    store.close().await;
}

#[tokio::test]
async fn expiry_takes_the_oldest_up_to_its_limit() {
    let (store, _folder) = fresh().await;
    let (room, user) = (room(), user());
    let sent = (1..=10)
        .map(|n| sent(&user, &format!("id-{n}"), n, 1, n * 100))
        .collect();
    store
        .commit(&[RoomWrite {
            sent,
            ..RoomWrite::new(room.clone())
        }])
        .await
        .unwrap();
    let left = async || {
        let rows = store.sent_ids(&room, &user, 0, 100).await.unwrap();
        rows.iter().map(|row| row.offset.0).collect::<Vec<_>>()
    };
    assert_eq!(store.expire_sent_ids(700, 4).await.unwrap(), 4);
    assert_eq!(left().await, [10, 9, 8, 7, 6, 5]);
    assert_eq!(store.expire_sent_ids(700, 4).await.unwrap(), 2);
    assert_eq!(left().await, [10, 9, 8, 7]);
    assert_eq!(store.expire_sent_ids(700, 4).await.unwrap(), 0);
    store.close().await;
}

#[tokio::test]
async fn expiry_and_sent_ids_use_the_key_made_for_them() {
    let (store, folder) = fresh().await;
    store.close().await;
    let connection = Connection::open(file(&folder)).unwrap();
    let plan = |sql: &str| {
        let mut statement = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let lines = statement
            .query_map([], |row| row.get::<_, String>(3))
            .unwrap();
        lines.collect::<Result<Vec<_>, _>>().unwrap().join("; ")
    };
    let expiry = plan("SELECT room FROM sent_ids WHERE time_ms < 1 ORDER BY time_ms LIMIT 1");
    assert!(expiry.contains("sent_ids_by_time"), "{expiry}");
    let newest = plan(
        "SELECT digest FROM sent_ids WHERE room = 'r' AND user = 'u' AND +time_ms >= 1
         ORDER BY +time_ms DESC LIMIT 1",
    );
    assert!(
        newest.contains("PRIMARY KEY (room=? AND user=?)"),
        "{newest}"
    );
    let deleted = plan("SELECT target FROM room_marks WHERE room = 'r' AND kind = 4");
    assert!(deleted.contains("room_marks_deletions"), "{deleted}");
}

#[tokio::test]
async fn log_is_copied_and_begins_again_while_writing() {
    let (store, folder) = fresh().await;
    let event: bytes::Bytes = vec![7; 60_000].into();
    let rooms: Vec<_> = (0..16).map(|_| room()).collect();
    // Some 300 MiB in all: many times what the log may grow to.
    for offset in 1..=300 {
        let group: Vec<_> = rooms
            .iter()
            .map(|room| {
                log_write(
                    room,
                    vec![LogRow {
                        event: event.clone(),
                        ..message(offset, 1)
                    }],
                )
            })
            .collect();
        store.commit(&group).await.unwrap();
    }
    let wal = std::fs::metadata(folder.path().join("chat.db-wal"))
        .unwrap()
        .len();
    let slack = limits::SQLITE_WAL_PAGES;
    let bound =
        u64::from(limits::SQLITE_WAL_PAGES_MAX + slack) * u64::from(limits::SQLITE_PAGE_BYTES);
    assert!(wal < bound, "the log has {wal} bytes");
    store.close().await;
    assert_eq!(problems_but_lists(&folder), [""; 0]);
}

#[tokio::test]
async fn check_tells_rooms_events_and_void_rows() {
    let (store, folder) = fresh().await;
    let room = room();
    let list = EpochList::default()
        .claimed_by(Epoch(1), Offset(0))
        .claimed_by(Epoch(2), Offset(2));
    store.put_room_epochs(&room, &list).await.unwrap();
    let rows = vec![
        message(1, 1),
        message(2, 1),
        marking(3, 1, EventKind::Edited, 1),
        LogRow {
            message_count: 2,
            ..marking(3, 2, EventKind::Deleted, 1)
        },
        LogRow {
            message_count: 3,
            ..message(4, 2)
        },
    ];
    let cursors = vec![cursor(&user(), 2)];
    store
        .commit(&[RoomWrite {
            cursors,
            ..log_write(&room, rows)
        }])
        .await
        .unwrap();
    let error = SqliteStore::check(&file(&folder)).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    store.close().await;
    let report = SqliteStore::check(&file(&folder)).unwrap();
    let expected = CheckReport {
        schema_version: schema::VERSION,
        rooms: 1,
        events: 4,
        void_rows: 1,
        ..CheckReport::default()
    };
    assert_eq!(report, expected);
}

#[tokio::test]
async fn check_lists_what_is_not_sound() {
    let (store, folder) = fresh().await;
    let room = room();
    let list = EpochList::default().claimed_by(Epoch(1), Offset(0));
    store.put_room_epochs(&room, &list).await.unwrap();
    let rows = vec![
        message(1, 1),
        LogRow {
            message_count: 9,
            ..message(2, 1)
        },
        LogRow {
            message_count: 9,
            ..marking(3, 1, EventKind::Edited, 1)
        },
        LogRow {
            message_count: 9,
            ..message(6, 1)
        },
    ];
    store.commit(&[log_write(&room, rows)]).await.unwrap();
    store.close().await;
    let connection = Connection::open(file(&folder)).unwrap();
    connection
        .execute_batch(
            "DELETE FROM room_marks;
             INSERT INTO room_epochs VALUES ('broken', 4, '1:1 nonsense');",
        )
        .unwrap();
    drop(connection);
    let report = SqliteStore::check(&file(&folder)).unwrap();
    let found = |words: &str| report.problems.iter().any(|line| line.contains(words));
    for words in [
        "the epoch list of epoch 4 is damaged",
        "offset 2 counts 9 messages after 1",
        "offsets 4 to 5 are missing before 6",
        "the mark of offset 3 is missing",
    ] {
        assert!(found(words), "{words}: {report:?}");
    }
    assert_eq!(report.problems.len(), 4, "{report:?}");
}

#[test]
fn check_of_a_missing_database_makes_none() {
    let folder = folder();
    assert!(SqliteStore::check(&file(&folder)).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn damaged_value_is_reported_as_corrupt() {
    let (store, folder) = fresh().await;
    let room = room();
    store
        .commit(&[log_write(&room, vec![message(1, 1)])])
        .await
        .unwrap();
    store.close().await;
    let connection = Connection::open(file(&folder)).unwrap();
    connection
        .execute("UPDATE room_log SET kind = 77", [])
        .unwrap();
    drop(connection);
    let store = open(&folder);
    let error = store.log_tail(&room, 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    store.close().await;
}
