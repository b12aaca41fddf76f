//! A database that asks who one is, and does not let everyone write.

use std::sync::Arc;

use libtest_mimic::Trial;
use rookery_persistence::{
    ConnectError, CqlConfig, CqlCredentials, CqlStore, Store, StoreError,
    contract::fixture::{incarnation, log_write, message, room},
};

use crate::{database::Database, trial};

pub(crate) fn trials(database: &Arc<Database>) -> Vec<Trial> {
    vec![
        trial(
            database,
            "wrong_or_missing_credentials_are_named",
            wrong_or_missing_credentials_are_named,
        ),
        trial(
            database,
            "user_who_may_only_read_is_refused_at_the_start",
            user_who_may_only_read_is_refused_at_the_start,
        ),
        trial(
            database,
            "refused_write_is_not_done",
            refused_write_is_not_done,
        ),
    ]
}

fn user(name: &str, password: &str) -> Option<CqlCredentials> {
    Some(CqlCredentials {
        user: name.to_owned(),
        password: password.to_owned(),
    })
}

async fn wrong_or_missing_credentials_are_named(database: Arc<Database>) {
    let keyspace = database.keyspace().await;
    let config = |credentials| CqlConfig {
        credentials,
        ..database.config(keyspace)
    };
    let wrong = CqlStore::connect(config(user("cassandra", "wrong"))).await;
    let wrong = wrong.unwrap_err();
    assert!(
        matches!(wrong, ConnectError::Credentials { .. }),
        "{wrong:?}"
    );
    assert!(
        wrong.to_string().contains("\"cassandra\" (cql.user)"),
        "{wrong}"
    );
    let none = CqlStore::connect(config(None)).await.unwrap_err();
    assert!(matches!(none, ConnectError::NoCredentials), "{none:?}");
}

/// Makes a user with these permissions on the keyspace.
async fn make_user(database: &Database, name: &str, permissions: &[&str]) -> CqlConfig {
    let (keyspace, session) = (database.keyspace().await, database.session().await);
    let run = async |text: String| {
        session.query_unpaged(text, ()).await.unwrap();
    };
    run(format!(
        "CREATE ROLE IF NOT EXISTS {name} WITH PASSWORD = 'secret' AND LOGIN = true"
    ))
    .await;
    for permission in permissions {
        run(format!(
            "GRANT {permission} ON KEYSPACE {keyspace} TO {name}"
        ))
        .await;
    }
    CqlConfig {
        credentials: user(name, "secret"),
        ..database.config(keyspace)
    }
}

async fn user_who_may_only_read_is_refused_at_the_start(database: Arc<Database>) {
    let config = make_user(&database, "reader", &["SELECT"]).await;
    for error in [
        CqlStore::connect(config.clone()).await.unwrap_err(),
        CqlStore::migrate(CqlConfig {
            keyspace: "rookery_test_not_allowed".to_owned(),
            ..config
        })
        .await
        .unwrap_err(),
    ] {
        assert!(matches!(error, ConnectError::Denied { .. }), "{error:?}");
        assert!(
            error.to_string().contains("\"reader\" (cql.user)"),
            "{error}"
        );
    }
}

async fn refused_write_is_not_done(database: Arc<Database>) {
    let config = make_user(&database, "writer", &["SELECT", "MODIFY"]).await;
    let store = CqlStore::connect(config).await.unwrap();
    let (room, keyspace) = (room(), database.keyspace().await);
    let write = [log_write(&room, vec![message(1, 1)])];
    store.commit(&write).await.unwrap();
    let revoke = format!("REVOKE MODIFY ON KEYSPACE {keyspace} FROM writer");
    let session = database.session().await;
    session.query_unpaged(revoke, ()).await.unwrap();
    // Permissions are cached for some seconds.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let error = loop {
        match store.commit(&write).await {
            Err(error) => break error,
            Ok(()) => assert!(std::time::Instant::now() < deadline, "still allowed"),
        }
    };
    assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
    let error = store
        .register_node("node-a", incarnation())
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
    store.close().await;
}
