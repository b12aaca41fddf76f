//! An embedded installation moved into a cluster.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use libtest_mimic::Trial;
use rookery_persistence::{
    Claim, ConnectError, CopyError, CopyProgress, CopyReport, CqlConfig, CqlStore, EpochList,
    EventKind, Incarnation, RoomWrite, ShardKind, SqliteConfig, SqliteStore, Store, TakeFrom,
    contract::fixture::{
        cursor, incarnation, log_write, marking, membership, message, sent, settings, user_named,
    },
    copy,
};
use rookery_proto::{
    ids::{Epoch, Offset, RoomId},
    shard::Shard,
    v1::member::Role,
};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::{database::Database, trial};

/// Events of the large room: more than two buckets, and several groups of a copy.
const LARGE: u64 = 9_000;
const SMALL_ROOMS: u64 = 300;

pub(crate) fn trials(database: &Arc<Database>) -> Vec<Trial> {
    macro_rules! trials {
        ($($test:ident)*) => { vec![$(trial(database, stringify!($test), $test)),*] };
    }
    trials! {
        copy_that_was_killed_goes_on_and_ends_equal
        copied_rooms_go_on_under_larger_epochs
        copy_refuses_a_keyspace_with_other_data
        copy_finished_before_does_nothing_unless_the_source_went_on
        copy_begun_before_the_source_went_on_begins_again
        difference_names_the_room
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

fn room_id(name: &str) -> RoomId {
    RoomId::parse(name).unwrap()
}

fn list(entries: &[(u64, u64)]) -> EpochList {
    let entries = entries
        .iter()
        .map(|&(epoch, first)| (Epoch(epoch), Offset(first)))
        .collect();
    EpochList::from_entries(entries).unwrap()
}

/// A folder with an installation, and the store in it.
fn open(folder: &Path) -> SqliteStore {
    SqliteStore::open(SqliteConfig::new(folder.join("rookery.db"))).unwrap()
}

/// As a server does when it starts and its rooms wake.
async fn start(store: &SqliteStore, rooms: &[&str]) -> Incarnation {
    let owner = incarnation();
    store.register_node("embedded", owner).await.unwrap();
    for room in rooms {
        let (kind, shard) = (ShardKind::Rooms, Shard::of(room));
        let taken = store.take_shard(kind, shard, "embedded", owner, TakeFrom::Anyone);
        assert!(matches!(taken.await, Ok(Claim::Taken(_))));
    }
    owner
}

/// Everything that is stored: edits, deletes, reactions, members who come and go, voided events,
/// cursors, young and old sent ids, users.
async fn fill(store: &SqliteStore) {
    for _ in 0..4 {
        start(store, &["large", "voided"]).await;
    }
    let large = room_id("large");
    let (ada, bob) = (user_named("ada"), user_named("bob"));
    let mut group = Vec::new();
    for offset in 1..=LARGE {
        let row = match offset % 10 {
            7 => marking(offset, 2, EventKind::Edited, offset - 3),
            8 => marking(offset, 2, EventKind::Deleted, offset - 3),
            9 => marking(offset, 2, EventKind::ReactionAdded, offset - 3),
            _ => message(offset, 2),
        };
        let time = now_ms() - offset;
        group.push(RoomWrite {
            sent: vec![sent(&ada, &format!("id {offset}"), offset, 2, time)],
            ..log_write(&large, vec![row])
        });
    }
    store.commit(&group).await.unwrap();
    store
        .put_room_epochs(&large, &list(&[(2, 1)]))
        .await
        .unwrap();
    // Two owners wrote offset 4; the second one's counts, and one of its members.
    let voided = room_id("voided");
    let old = now_ms() - 25 * 60 * 60 * 1000;
    let write = RoomWrite {
        settings: Some(settings(1, 1)),
        members: vec![
            membership(&ada, 1, 1, Some(Role::Owner)),
            membership(&bob, 4, 1, Some(Role::Member)),
            membership(&bob, 5, 3, None),
        ],
        sent: vec![
            sent(&ada, "old", 2, 1, old),
            sent(&ada, "young", 3, 1, now_ms()),
        ],
        cursors: vec![cursor(&ada, 3), cursor(&bob, 2)],
        log: [(1, 1), (2, 1), (3, 1), (4, 1), (4, 3), (5, 3)]
            .map(|(offset, epoch)| message(offset, epoch))
            .to_vec(),
        ..RoomWrite::new(voided.clone())
    };
    let renamed = RoomWrite {
        settings: Some(settings(5, 3)),
        ..RoomWrite::new(voided.clone())
    };
    store.commit(&[write, renamed]).await.unwrap();
    for stored in [list(&[(1, 1)]), list(&[(1, 1), (3, 4)])] {
        store.put_room_epochs(&voided, &stored).await.unwrap();
    }
    for number in 0..SMALL_ROOMS {
        let (name, member) = (
            format!("small-{number}"),
            user_named(&format!("u {number}")),
        );
        start(store, &[&name]).await;
        let room = room_id(&name);
        let write = RoomWrite {
            settings: Some(settings(1, 1)),
            members: vec![membership(&member, 1, 1, Some(Role::Member))],
            cursors: vec![cursor(&member, 1)],
            ..log_write(&room, vec![message(1, 1), message(2, 1)])
        };
        store.commit(&[write]).await.unwrap();
        store
            .put_room_epochs(&room, &list(&[(1, 1)]))
            .await
            .unwrap();
        store.put_last_seen(&member, number + 1).await.unwrap();
    }
}

/// A migrated keyspace and its settings.
async fn target(database: &Database) -> CqlConfig {
    let config = database.config(&database.new_keyspace());
    CqlStore::migrate(config.clone()).await.unwrap();
    config
}

async fn run(source: &SqliteStore, target: &CqlConfig) -> Result<CopyReport, CopyError> {
    copy::run(source, target.clone(), now_ms(), &mut |_| {}).await
}

/// Copies until so many rows are there; returns what was told.
async fn killed_after(source: &SqliteStore, target: &CqlConfig, rows: u64) -> Vec<CopyProgress> {
    let (told, enough) = (Mutex::new(Vec::new()), Notify::new());
    let mut progress = |progress: CopyProgress| {
        told.lock().unwrap().push(progress);
        if progress.rows >= rows {
            enough.notify_one();
        }
    };
    tokio::select! {
        biased;
        () = enough.notified() => {}
        ended = copy::run(source, target.clone(), now_ms(), &mut progress) => {
            panic!("ended before {rows} rows: {ended:?}");
        }
    }
    told.into_inner().unwrap()
}

async fn copy_that_was_killed_goes_on_and_ends_equal(database: Arc<Database>) {
    let folder = TempDir::new().unwrap();
    let source = open(folder.path());
    fill(&source).await;
    let target = target(&database).await;
    let told = killed_after(&source, &target, LARGE / 3).await;
    assert!(told.last().unwrap().rows < LARGE, "{told:?}");
    // Half an installation is not served.
    let error = CqlStore::connect(target.clone()).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::UnfinishedCopy { .. }),
        "{error}"
    );
    // It goes on where it was, not from the beginning.
    let again = killed_after(&source, &target, LARGE * 2 / 3).await;
    assert!(again[0].rows > told.last().unwrap().rows, "{again:?}");
    let mut told = Vec::new();
    let report = copy::run(&source, target.clone(), now_ms(), &mut |it| told.push(it)).await;
    let log_rows = LARGE + 6 + 2 * SMALL_ROOMS;
    assert_eq!(
        report.unwrap(),
        CopyReport {
            finished_before: false,
            resumed: true,
            rooms: 2 + SMALL_ROOMS,
            log_rows,
            users: 2 + SMALL_ROOMS,
        }
    );
    // No row was copied twice but those after the last record.
    let copied = told.iter().rfind(|it| it.step == "copying").unwrap();
    assert_eq!((copied.rows, copied.rows_all), (log_rows, log_rows));
    let compared = told.last().unwrap();
    assert_eq!((compared.step, compared.rows), ("comparing", log_rows));
    // Not only by its own word: by the port.
    let store = CqlStore::connect(target).await.unwrap();
    for name in ["large", "voided", "small-0", "small-299"] {
        equal_by_the_port(&source, &store, &room_id(name)).await;
    }
    let ada = user_named("ada");
    let found = store.sent_id(&room_id("voided"), &ada, "young").await;
    assert_eq!(found.unwrap().len(), 1);
    let left = store.sent_id(&room_id("voided"), &ada, "old").await;
    assert_eq!(left.unwrap().len(), 0, "too old to be asked for");
    let newest = store.sent_ids(&room_id("large"), &ada, 0, 3).await.unwrap();
    let ids = newest.iter().map(|row| row.client_id.as_str());
    assert_eq!(ids.collect::<Vec<_>>(), ["id 1", "id 2", "id 3"]);
    let user = store.user(&user_named("u 299")).await.unwrap();
    assert_eq!(user.last_seen_ms, 300);
    store.close().await;
    source.close().await;
}

async fn equal_by_the_port(source: &SqliteStore, target: &CqlStore, room: &RoomId) {
    let tail = source.log_tail(room, 20_000).await.unwrap();
    assert!(!tail.is_empty());
    assert_eq!(target.log_tail(room, 20_000).await.unwrap(), tail);
    let list = source.room_epochs(room).await.unwrap();
    assert_eq!(target.room_epochs(room).await.unwrap(), list);
    for from in [1, 4_001, 8_001].map(Offset) {
        let to = Offset(from.0 + 3_999);
        let marks = source.marks(room, from, to).await.unwrap();
        assert_eq!(target.marks(room, from, to).await.unwrap(), marks);
    }
    assert_eq!(
        target.deletions(room).await.unwrap(),
        source.deletions(room).await.unwrap()
    );
    assert_eq!(
        target.settings(room).await.unwrap(),
        source.settings(room).await.unwrap()
    );
    let members = source.members(room).await.unwrap();
    assert_eq!(target.members(room).await.unwrap(), members);
    for member in members {
        let rooms = source.user_rooms(&member.user, None, 10).await.unwrap();
        let copied = target.user_rooms(&member.user, None, 10).await.unwrap();
        assert_eq!(copied, rooms);
    }
    assert_eq!(
        target.cursors(room).await.unwrap(),
        source.cursors(room).await.unwrap()
    );
}

async fn copied_rooms_go_on_under_larger_epochs(database: Arc<Database>) {
    let folder = TempDir::new().unwrap();
    let source = open(folder.path());
    for _ in 0..4 {
        start(&source, &["voided"]).await;
    }
    let room = room_id("voided");
    let rows = [(1, 1), (2, 1), (2, 4)].map(|(offset, epoch)| message(offset, epoch));
    let write = log_write(&room, rows.to_vec());
    source.commit(&[write]).await.unwrap();
    let stored = list(&[(1, 1), (4, 2)]);
    source.put_room_epochs(&room, &stored).await.unwrap();
    // A list ahead of its shard, which no server writes: the shard must be ahead all the same.
    let ahead = room_id("ahead");
    source
        .put_room_epochs(&ahead, &list(&[(9, 1)]))
        .await
        .unwrap();
    let config = target(&database).await;
    run(&source, &config).await.unwrap();
    source.close().await;

    let store = CqlStore::connect(config).await.unwrap();
    let owner = incarnation();
    store.register_node("n1", owner).await.unwrap();
    for (room, last) in [(&room, 4), (&ahead, 9)] {
        let shard = Shard::of(room.as_str());
        // Nobody has it: no fence is needed.
        let from = TakeFrom::Nobody;
        let claim = store.take_shard(ShardKind::Rooms, shard, "n1", owner, from);
        let claim = claim.await.unwrap();
        assert!(
            matches!(claim, Claim::Taken(epoch) if epoch > Epoch(last)),
            "{room}: {claim:?}"
        );
    }
    // As a room that wakes: what counted counts, and the next event follows.
    let known = store.room_epochs(&room).await.unwrap();
    let tail = store.log_tail(&room, 10).await.unwrap();
    let canonical = tail
        .iter()
        .filter(|row| known.is_canonical(row.offset, row.epoch));
    let canonical: Vec<_> = canonical.map(|row| (row.offset.0, row.epoch.0)).collect();
    assert_eq!(canonical, [(1, 1), (2, 4)]);
    let claimed = known.claimed_by(Epoch(5), Offset(2));
    store.put_room_epochs(&room, &claimed).await.unwrap();
    let next = log_write(&room, vec![message(3, 5)]);
    store.commit(&[next]).await.unwrap();
    let tail = store.log_tail(&room, 1).await.unwrap();
    assert_eq!(tail, [message(3, 5)]);
    assert!(
        store
            .room_epochs(&room)
            .await
            .unwrap()
            .is_canonical(Offset(3), Epoch(5))
    );
    store.close().await;
}

async fn copy_refuses_a_keyspace_with_other_data(database: Arc<Database>) {
    let folder = TempDir::new().unwrap();
    let source = open(folder.path());
    // Rooms are there, or only a node that has taken its shards.
    for served in [false, true] {
        let config = target(&database).await;
        let store = CqlStore::connect(config.clone()).await.unwrap();
        if served {
            let owner = incarnation();
            let (kind, shard) = (ShardKind::Presence, Shard::of("any"));
            let taken = store.take_shard(kind, shard, "n1", owner, TakeFrom::Nobody);
            taken.await.unwrap();
        } else {
            let write = log_write(&room_id("theirs"), vec![message(1, 1)]);
            store.commit(&[write]).await.unwrap();
        }
        let error = run(&source, &config).await.unwrap_err();
        assert!(
            matches!(&error, CopyError::OtherData { table, .. }
                if *table == if served { "shards" } else { "room_log" }),
            "{error}"
        );
        assert!(error.to_string().contains("(cql.keyspace)"), "{error}");
        // It left nothing behind: the keyspace can be served.
        CqlStore::connect(config).await.unwrap().close().await;
        store.close().await;
    }
    let config = target(&database).await;
    let other = TempDir::new().unwrap();
    let other = open(other.path());
    run(&other, &config).await.unwrap();
    let error = run(&source, &config).await.unwrap_err();
    assert!(matches!(error, CopyError::OtherCopy { .. }), "{error}");
    for store in [source, other] {
        store.close().await;
    }
}

async fn copy_finished_before_does_nothing_unless_the_source_went_on(database: Arc<Database>) {
    let folder = TempDir::new().unwrap();
    let source = open(folder.path());
    start(&source, &["a"]).await;
    let write = log_write(&room_id("a"), vec![message(1, 1)]);
    source.commit(&[write]).await.unwrap();
    let config = target(&database).await;
    assert!(!run(&source, &config).await.unwrap().finished_before);
    // Also when the cluster has gone on meanwhile.
    let store = CqlStore::connect(config.clone()).await.unwrap();
    let write = log_write(&room_id("a"), vec![message(2, 2)]);
    store.commit(&[write]).await.unwrap();
    store.close().await;
    assert!(run(&source, &config).await.unwrap().finished_before);
    start(&source, &["a"]).await;
    let error = run(&source, &config).await.unwrap_err();
    assert!(matches!(error, CopyError::SourceWentOn { .. }), "{error}");
    source.close().await;
}

async fn copy_begun_before_the_source_went_on_begins_again(database: Arc<Database>) {
    let folder = TempDir::new().unwrap();
    let source = open(folder.path());
    fill(&source).await;
    let config = target(&database).await;
    killed_after(&source, &config, LARGE / 2).await;
    // Before the place where the copy is.
    start(&source, &["large"]).await;
    let late = log_write(&room_id("a"), vec![message(1, 9)]);
    source.commit(&[late]).await.unwrap();
    source
        .put_room_epochs(&room_id("a"), &list(&[(9, 1)]))
        .await
        .unwrap();
    let report = run(&source, &config).await.unwrap();
    assert!(report.resumed);
    let store = CqlStore::connect(config).await.unwrap();
    equal_by_the_port(&source, &store, &room_id("a")).await;
    equal_by_the_port(&source, &store, &room_id("large")).await;
    store.close().await;
    source.close().await;
}

async fn difference_names_the_room(database: Arc<Database>) {
    let folder = TempDir::new().unwrap();
    let source = open(folder.path());
    fill(&source).await;
    let session = database.session().await;
    for (change, words) in [
        (
            "INSERT INTO @.room_log (room, bucket, offset, epoch, kind, message_count, target, \
             event) VALUES ('small-7', 0, 2, 1, 2, 2, 0, 0x00) USING TIMESTAMP 9000000000000000",
            "room small-7 differs: events are 2 rows in the source",
        ),
        (
            "INSERT INTO @.room_members (room, user, offset, epoch, role, name) \
             VALUES ('small-7', 'eve', 1, 1, 1, 'Eve')",
            "room small-7 differs: memberships are 1 rows in the source",
        ),
        (
            "INSERT INTO @.users (user, last_seen_ms) VALUES ('u 3', 1) USING TIMESTAMP 999999",
            "user u 3 differs: times last seen",
        ),
    ] {
        let config = target(&database).await;
        killed_after(&source, &config, LARGE / 3).await;
        let change = change.replace('@', &config.keyspace);
        session.query_unpaged(change.as_str(), ()).await.unwrap();
        let error = run(&source, &config).await.unwrap_err();
        assert!(error.to_string().starts_with(words), "{error}");
        // It is not served, and the next run finds it too.
        let error = CqlStore::connect(config.clone()).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::UnfinishedCopy { .. }),
            "{error}"
        );
        let error = run(&source, &config).await.unwrap_err();
        assert!(matches!(error, CopyError::Differs { .. }), "{error}");
    }
    source.close().await;
}
