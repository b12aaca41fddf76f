//! `rookery copy`, killed and run again.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use rookery_persistence::{
    Claim, EpochList, EventKind, Incarnation, LogRow, RoomWrite, ShardKind, SqliteConfig,
    SqliteStore, Store as _, TakeFrom,
};
use rookery_proto::{
    ids::{Epoch, Offset, RoomId},
    shard::Shard,
};
use tempfile::TempDir;

use super::{BAD_CONFIG, CLEAN, Ended, FAILED, UNAVAILABLE, database::Keyspace, rookery};

/// Enough that a copy takes several seconds.
const EVENTS: u64 = 60_000;

/// An installation with one large room.
fn fill(data: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let path = data.join("rookery.db");
        let store = SqliteStore::open(SqliteConfig::new(path)).unwrap();
        let (room, owner) = (RoomId::parse("large").unwrap(), Incarnation(1));
        store.register_node("embedded", owner).await.unwrap();
        let (kind, shard) = (ShardKind::Rooms, Shard::of("large"));
        let claim = store.take_shard(kind, shard, "embedded", owner, TakeFrom::Anyone);
        assert_eq!(claim.await.unwrap(), Claim::Taken(Epoch(1)));
        let list = EpochList::default().claimed_by(Epoch(1), Offset::ZERO);
        store.put_room_epochs(&room, &list).await.unwrap();
        for first in (1..=EVENTS).step_by(4_000) {
            let log = (first..(first + 4_000).min(EVENTS + 1)).map(|offset| LogRow {
                offset: Offset(offset),
                epoch: Epoch(1),
                kind: EventKind::Message,
                message_count: offset,
                target: Offset::ZERO,
                event: vec![b'x'; 200].into(),
            });
            let write = RoomWrite {
                log: log.collect(),
                ..RoomWrite::new(room.clone())
            };
            store.commit(&[write]).await.unwrap();
        }
        store.close().await;
    });
}

/// The command line of a copy from that folder into that keyspace.
fn arguments(data: &Path, keyspace: &Keyspace) -> Vec<String> {
    let command = ["copy", "--from", "sqlite", "--to", "cql", "--data"];
    let command = command.into_iter().map(str::to_owned);
    let data = data.to_str().unwrap().to_owned();
    command.chain([data]).chain(keyspace.flags()).collect()
}

pub(crate) fn copy(data: &Path, keyspace: &Keyspace) -> Ended {
    let arguments = arguments(data, keyspace);
    rookery(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A keyspace with tables, and nothing in them.
pub(crate) fn migrated(test: &str) -> Option<Keyspace> {
    let keyspace = Keyspace::open(test)?;
    let mut arguments = vec!["migrate", "--set", "cql.replication=1"];
    let flags = keyspace.flags();
    arguments.extend(flags.iter().map(String::as_str));
    rookery(&arguments).with(CLEAN, &[]);
    Some(keyspace)
}

#[test]
fn killed_copy_goes_on_and_ends_equal() {
    let Some(keyspace) = migrated("copy") else {
        return;
    };
    let data = TempDir::new().unwrap();
    fill(data.path());
    let mut child = Command::new(env!("CARGO_BIN_EXE_rookery"))
        .env_clear()
        .args(arguments(data.path(), &keyspace))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let copying = lines.find(|line| line.as_ref().unwrap().starts_with("copying: "));
    child.kill().unwrap();
    child.wait().unwrap();
    let copying = copying.expect("it says how far it is").unwrap();
    assert!(
        copying.ends_with(&format!(" of {EVENTS} events, 0 rooms")),
        "{copying}"
    );
    // Nobody serves half of it.
    let flags = keyspace.flags();
    let mut check = vec!["check", "--nats", "nats://127.0.0.1:1"];
    check.extend(flags.iter().map(String::as_str));
    rookery(&check).with(
        UNAVAILABLE,
        &["unfinished copy", "run `rookery copy` again"],
    );
    copy(data.path(), &keyspace).with(
        CLEAN,
        &[
            "went on with a copy begun before",
            "compared and equal: 1 rooms, 60000 events, 0 users",
        ],
    );
    rookery(&check).with(UNAVAILABLE, &["can be written to and its schema fits"]);
    copy(data.path(), &keyspace).with(CLEAN, &["before, nothing to do"]);
}

#[test]
fn copy_without_a_source_or_a_target_says_what_is_missing() {
    let empty = TempDir::new().unwrap();
    let command = ["copy", "--from", "sqlite", "--to", "cql"];
    rookery(&command).with(BAD_CONFIG, &["cql.nodes: no database is named"]);
    let nowhere = [&command[..], &["--cql", "127.0.0.1:1", "--data"]].concat();
    let of = |data: &Path| {
        let mut arguments = nowhere.clone();
        let data = data.to_str().unwrap().to_owned();
        arguments.push(&data);
        rookery(&arguments)
    };
    of(empty.path()).with(FAILED, &["there is no database in ", "(data)"]);
    let data = TempDir::new().unwrap();
    let path = data.path().join("rookery.db");
    let open = SqliteStore::open(SqliteConfig::new(path)).unwrap();
    let holder = format!("is in use by process {}", std::process::id());
    of(data.path()).with(FAILED, &[&holder]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(open.close());
    of(data.path()).with(UNAVAILABLE, &["127.0.0.1:1 (cql.nodes)"]);
}

#[test]
fn copy_into_a_keyspace_with_other_data_is_refused() {
    let Some(keyspace) = migrated("copy, other data") else {
        return;
    };
    keyspace.run(&["INSERT INTO @.rooms (room, offset, epoch) VALUES ('theirs', 1, 1)"]);
    let data = TempDir::new().unwrap();
    fill(data.path());
    copy(data.path(), &keyspace).with(FAILED, &["holds other data (in rooms)", "(cql.keyspace)"]);
}
