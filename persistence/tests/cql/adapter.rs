//! What the contract does not ask: the schema, the head's hint, addresses that are wrong.

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;
use rookery_persistence::{
    Claim, ConnectError, CqlConfig, CqlMigration, CqlStore, ShardKind, Store, StoreError, TakeFrom,
    contract::fixture::{incarnation, log_write, message, room},
    limits::BUCKET_OFFSETS,
};
use rookery_proto::{
    ids::{Offset, RoomId},
    shard::Shard,
};
use tokio::task::JoinSet;

use crate::{database::Database, trial};

pub(crate) fn trials(database: &Arc<Database>) -> Vec<Trial> {
    macro_rules! trials {
        ($($test:ident)*) => { vec![$(trial(database, stringify!($test), $test)),*] };
    }
    trials! {
        migration_is_done_once_and_repeatable
        keyspace_with_more_copies_than_nodes_is_not_made
        keyspace_that_is_missing_is_named
        schema_of_another_version_is_refused
        transactions_may_lie_in_their_own_keyspace
        transactions_without_an_answer_are_settled_before_the_next
        address_where_nothing_answers_is_named
        tail_is_right_whatever_the_hint_says
        stored_nonsense_is_corrupt
        close_waits_for_what_is_under_way
        durability_names_the_replication
        heartbeats_tell_the_newest_of_each_endpoint
    }
}

async fn migration_is_done_once_and_repeatable(database: Arc<Database>) {
    let keyspace = database.new_keyspace();
    let config = database.config(&keyspace);
    let all = CqlMigration {
        keyspaces_made: vec![keyspace.clone()],
        from: 0,
        to: 1,
    };
    for _ in 0..2 {
        // A plan changes nothing.
        let planned = CqlStore::plan_migration(config.clone()).await.unwrap();
        assert_eq!(planned, all);
    }
    let first = CqlStore::migrate(config.clone()).await.unwrap();
    assert_eq!(first, all);
    let mut migrations = JoinSet::new();
    for _ in 0..3 {
        migrations.spawn(CqlStore::migrate(config.clone()));
    }
    for again in migrations.join_all().await {
        let nothing = CqlMigration {
            keyspaces_made: Vec::new(),
            from: 1,
            to: 1,
        };
        assert_eq!(again.unwrap(), nothing);
    }
    CqlStore::connect(config).await.unwrap().close().await;
}

async fn keyspace_with_more_copies_than_nodes_is_not_made(database: Arc<Database>) {
    let config = CqlConfig {
        replication_factor: 200,
        ..database.config(&database.new_keyspace())
    };
    for error in [
        CqlStore::plan_migration(config.clone()).await.unwrap_err(),
        CqlStore::migrate(config.clone()).await.unwrap_err(),
    ] {
        assert!(matches!(error, ConnectError::TooFewNodes { .. }), "{error}");
        assert!(error.to_string().contains("cql.replication"), "{error}");
    }
    let error = CqlStore::connect(config).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::KeyspaceMissing { .. }),
        "{error}"
    );
}

async fn keyspace_that_is_missing_is_named(database: Arc<Database>) {
    let config = database.config("rookery_test_nowhere");
    let error = CqlStore::connect(config).await.unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, ConnectError::KeyspaceMissing { .. }),
        "{text}"
    );
    assert!(
        text.contains("\"rookery_test_nowhere\" (cql.keyspace)"),
        "{text}"
    );
}

async fn schema_of_another_version_is_refused(database: Arc<Database>) {
    let keyspace = database.new_keyspace();
    let config = database.config(&keyspace);
    let session = database.session().await;
    let run = async |text: String| {
        session.query_unpaged(text, ()).await.unwrap();
    };
    run(format!(
        "CREATE KEYSPACE {keyspace} WITH replication = \
         {{'class': 'NetworkTopologyStrategy', 'replication_factor': 1}}"
    ))
    .await;
    let error = CqlStore::connect(config.clone()).await.unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::OlderSchema {
                found: 0,
                needed: 1,
                ..
            }
        ),
        "{error}"
    );
    CqlStore::migrate(config.clone()).await.unwrap();
    run(format!(
        "INSERT INTO {keyspace}.schema_version (name, version, holder, applied_ms) \
         VALUES ('schema', 99, 'a test', 0)"
    ))
    .await;
    for error in [
        CqlStore::connect(config.clone()).await.unwrap_err(),
        CqlStore::migrate(config).await.unwrap_err(),
    ] {
        assert!(
            matches!(
                error,
                ConnectError::NewerSchema {
                    found: 99,
                    known: 1,
                    ..
                }
            ),
            "{error}"
        );
    }
}

async fn transactions_may_lie_in_their_own_keyspace(database: Arc<Database>) {
    let (main, own) = (database.new_keyspace(), database.new_keyspace());
    let config = CqlConfig {
        ownership_keyspace: Some(own.clone()),
        ..database.config(&main)
    };
    let report = CqlStore::migrate(config.clone()).await.unwrap();
    assert_eq!(report.keyspaces_made, [main.clone(), own.clone()]);
    let store = CqlStore::connect(config).await.unwrap();
    let (first, second) = (incarnation(), incarnation());
    for owner in [first, second] {
        store.register_node("node-a", owner).await.unwrap();
        let shard = Shard::of("apart");
        let (kind, from) = (ShardKind::Rooms, TakeFrom::Anyone);
        store
            .take_shard(kind, shard, "node-a", owner, from)
            .await
            .unwrap();
    }
    assert!(store.is_fenced(first).await.unwrap());
    assert!(!store.is_fenced(second).await.unwrap());
    store.close().await;
    // Without that setting the tables are not found where they are not.
    let error = CqlStore::connect(database.config(&main)).await.unwrap_err();
    assert!(matches!(error, ConnectError::OlderSchema { .. }), "{error}");
}

/// With time limits that some of the transactions keep: the others are done all the same, or not,
/// and their taker is not told.
async fn transactions_without_an_answer_are_settled_before_the_next(database: Arc<Database>) {
    let config = database.config(database.keyspace().await);
    let patient = CqlStore::connect(config.clone()).await.unwrap();
    let (kind, shard) = (ShardKind::Rooms, Shard::of("without an answer"));
    let mut owner = incarnation();
    let take = |store: &Arc<CqlStore>, owner, from| {
        let store = Arc::clone(store);
        async move { store.take_shard(kind, shard, "node-a", owner, from).await }
    };
    let patient = Arc::new(patient);
    patient.register_node("node-a", owner).await.unwrap();
    let Claim::Taken(mut last) = take(&patient, owner, TakeFrom::Anyone).await.unwrap() else {
        panic!("from anyone");
    };
    // An epoch that is left out was taken by a transaction whose taker was not told.
    let (mut left_out, until) = (0, Instant::now() + Duration::from_secs(120));
    let mut factors = [1.0, 0.6, 1.2, 0.8].into_iter().cycle();
    while left_out < 3 {
        assert!(Instant::now() < until, "every transaction was answered");
        let mut times = Vec::new();
        for _ in 0..5 {
            let (began, next) = (
                Instant::now(),
                take(&patient, owner, TakeFrom::Owner(owner)),
            );
            let Claim::Taken(epoch) = next.await.unwrap() else {
                panic!("it is the owner");
            };
            (last, _) = (epoch, times.push(began.elapsed()));
        }
        times.sort_unstable();
        let hasty = CqlConfig {
            transaction_timeout: times[times.len() / 2].mul_f64(factors.next().unwrap()),
            ..config.clone()
        };
        // Its own start needs a transaction too.
        let Ok(hasty) = CqlStore::connect(hasty).await.map(Arc::new) else {
            continue;
        };
        for _ in 0..5 {
            let next = incarnation();
            patient.register_node("node-b", next).await.unwrap();
            let asked = tokio::time::timeout(
                Duration::from_millis(300),
                take(&hasty, next, TakeFrom::Owner(owner)),
            );
            // Given up, like by a process that was killed; whoever comes next finds what it left.
            let told = asked.await.ok().and_then(Result::ok);
            let now = take(&patient, next, TakeFrom::Owner(owner)).await.unwrap();
            let Claim::Taken(epoch) = now else {
                panic!("the former owner's, or its own: {now:?} after {told:?}");
            };
            assert!(epoch > last, "{epoch} after {last}");
            assert!(patient.is_fenced(owner).await.unwrap());
            assert!(!patient.is_fenced(next).await.unwrap());
            let known = match told {
                Some(Claim::Taken(_)) => 2,
                Some(Claim::Refused { .. }) | None => 1,
            };
            left_out += u64::from(epoch.0 > last.0 + known);
            (owner, last) = (next, epoch);
        }
        hasty.close().await;
    }
    patient.close().await;
}

async fn address_where_nothing_answers_is_named(database: Arc<Database>) {
    let keyspace = database.keyspace().await;
    // One that refuses, and one that accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = refusing.local_addr().unwrap().to_string();
    for address in [refusing, silent.local_addr().unwrap().to_string()] {
        let config = CqlConfig {
            contact_points: vec![address.clone()],
            connect_timeout: Duration::from_millis(500),
            ..database.config(keyspace)
        };
        let error = CqlStore::connect(config).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("{address} (cql.nodes)")), "{text}");
    }
}

async fn put_hint(database: &Database, room: &RoomId, bucket: Option<i64>) {
    let (session, keyspace) = (database.session().await, database.keyspace().await);
    // Above any timestamp the adapter uses, rising from call to call.
    let text = match bucket {
        Some(bucket) => {
            format!("INSERT INTO {keyspace}.room_heads (room, bucket) VALUES ('{room}', {bucket})")
        }
        None => format!("DELETE FROM {keyspace}.room_heads WHERE room = '{room}'"),
    };
    session.query_unpaged(text, ()).await.unwrap();
}

async fn tail_is_right_whatever_the_hint_says(database: Arc<Database>) {
    let (store, room) = (database.store().await, room());
    let head = 2 * BUCKET_OFFSETS + 2;
    let rows: Vec<_> = (1..=head).map(|offset| message(offset, 1)).collect();
    store
        .commit(&[log_write(&room, rows.clone())])
        .await
        .unwrap();
    let expected = &rows[rows.len() - 5..];
    for hint in [None, Some(0), Some(1), Some(2), Some(3), Some(7)] {
        put_hint(&database, &room, hint).await;
        assert_eq!(
            store.log_tail(&room, 5).await.unwrap(),
            expected,
            "{hint:?}"
        );
    }
    store.close().await;
}

async fn stored_nonsense_is_corrupt(database: Arc<Database>) {
    let (store, session) = (database.store().await, database.session().await);
    let keyspace = database.keyspace().await;
    for (columns, values, problem) in [
        (
            "kind, message_count, target, event",
            "99, 1, 0, 0x00",
            "not a kind of event: 99",
        ),
        (
            "kind, message_count, target, event",
            "2, -1, 0, 0x00",
            "a negative number: -1",
        ),
        ("kind, target, event", "2, 0, 0x00", "message_count"),
    ] {
        let room = room();
        let text = format!(
            "INSERT INTO {keyspace}.room_log (room, bucket, offset, epoch, {columns}) \
             VALUES ('{room}', 0, 1, 1, {values})"
        );
        session.query_unpaged(text, ()).await.unwrap();
        let error = store.log_tail(&room, 5).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(problem), "{error}");
    }
    store.close().await;
}

async fn close_waits_for_what_is_under_way(database: Arc<Database>) {
    let (store, room) = (Arc::new(database.store().await), room());
    let rows: Vec<_> = (1..=2_000).map(|offset| message(offset, 1)).collect();
    let commit = {
        let (store, write) = (Arc::clone(&store), log_write(&room, rows.clone()));
        tokio::task::LocalSet::new()
            .run_until(async move {
                let commit = tokio::task::spawn_local({
                    let store = Arc::clone(&store);
                    async move { store.commit(&[write]).await }
                });
                tokio::task::yield_now().await;
                store.close().await;
                commit.await.unwrap()
            })
            .await
    };
    commit.unwrap();
    let again = database.store().await;
    let read = again.log_range(&room, Offset(1), Offset(2_000)).await;
    assert_eq!(read.unwrap(), rows);
    again.close().await;
}

async fn durability_names_the_replication(database: Arc<Database>) {
    let store = database.store().await;
    let promise = store.durability();
    assert!(promise.contains("replication factor 1"), "{promise}");
    assert!(promise.contains("LOCAL_QUORUM"), "{promise}");
    store.close().await;
}

async fn heartbeats_tell_the_newest_of_each_endpoint(database: Arc<Database>) {
    let keyspace = database.new_keyspace();
    let config = database.config(&keyspace);
    CqlStore::migrate(config.clone()).await.unwrap();
    let stores = [
        CqlStore::connect(config.clone()).await.unwrap(),
        CqlStore::connect(config).await.unwrap(),
    ];
    assert_eq!(stores[0].heartbeats().await.unwrap(), []);
    for beat in 1..=3_u8 {
        for (store, endpoint) in stores.iter().zip(["rooms-1", "rooms-2"]) {
            store.put_heartbeat(endpoint, &[beat]).await.unwrap();
            let read = store.heartbeats().await.unwrap();
            let own = read.into_iter().find(|row| row.0 == endpoint).unwrap();
            assert_eq!(own.1, [beat].as_slice());
        }
    }
    let read = stores[0].heartbeats().await.unwrap();
    let endpoints: Vec<_> = read.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(endpoints, ["rooms-1", "rooms-2"]);
    // Rows of processes that are gone go by themselves.
    let ttl = format!("SELECT TTL(heartbeat) FROM {keyspace}.node_heartbeats WHERE part = 0");
    let rows = database
        .session()
        .await
        .query_unpaged(ttl, ())
        .await
        .unwrap();
    let rows = rows.into_rows_result().unwrap();
    for row in rows.rows::<(i32,)>().unwrap() {
        let (seconds,) = row.unwrap();
        assert!((3_600..=7_200).contains(&seconds), "{seconds} s");
    }
    for store in stores {
        store.close().await;
        let closed = store.put_heartbeat("rooms-1", &[9]).await;
        assert!(matches!(closed, Err(StoreError::Closed)), "{closed:?}");
    }
}
