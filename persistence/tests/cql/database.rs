//! One database of the run, and its keyspaces.

use std::{
    sync::Mutex,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use rookery_persistence::{CqlConfig, CqlCredentials, CqlStore};
use scylla::client::{session::Session, session_builder::SessionBuilder};
use tokio::sync::OnceCell;

pub(crate) struct Database {
    pub(crate) contact_points: Vec<String>,
    pub(crate) credentials: Option<CqlCredentials>,
    pub(crate) replication_factor: u8,
    /// The migrated keyspace that tests share.
    shared: OnceCell<String>,
    made: Mutex<Vec<String>>,
}

pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).and_then(|value| value.into_string().ok())
}

impl Database {
    /// The database at the addresses in that variable; `None` when it is not set.
    pub(crate) fn named_by(name: &str) -> Option<Self> {
        let contact_points: Vec<_> = variable(name)?.split(',').map(str::to_owned).collect();
        let credentials = match (
            variable("ROOKERY_TEST_CQL_USER"),
            variable("ROOKERY_TEST_CQL_PASSWORD"),
        ) {
            (Some(user), Some(password)) => Some(CqlCredentials { user, password }),
            // The superuser that Cassandra makes.
            _ if name.ends_with("_AUTH") => Some(CqlCredentials {
                user: "cassandra".to_owned(),
                password: "cassandra".to_owned(),
            }),
            _ => None,
        };
        Some(Self {
            replication_factor: if contact_points.len() >= 3 { 3 } else { 1 },
            contact_points,
            credentials,
            shared: OnceCell::new(),
            made: Mutex::new(Vec::new()),
        })
    }

    /// A keyspace that is dropped at the end, and is not made yet.
    pub(crate) fn new_keyspace(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rookery_test_{}_{number}", since.as_millis());
        self.made.lock().unwrap().push(name.clone());
        name
    }

    /// With times for a machine that does other things too.
    pub(crate) fn config(&self, keyspace: &str) -> CqlConfig {
        CqlConfig {
            credentials: self.credentials.clone(),
            replication_factor: self.replication_factor,
            connect_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(20),
            transaction_timeout: Duration::from_secs(5),
            ownership_timeout: Duration::from_secs(60),
            ..CqlConfig::new(self.contact_points.clone(), keyspace)
        }
    }

    /// A keyspace with our tables, the same for all who ask.
    pub(crate) async fn keyspace(&self) -> &str {
        self.shared
            .get_or_init(async || {
                let keyspace = self.new_keyspace();
                CqlStore::migrate(self.config(&keyspace)).await.unwrap();
                keyspace
            })
            .await
    }

    /// A store in that keyspace.
    pub(crate) async fn store(&self) -> CqlStore {
        let keyspace = self.keyspace().await;
        CqlStore::connect(self.config(keyspace)).await.unwrap()
    }

    /// A session beside the adapter.
    pub(crate) async fn session(&self) -> Session {
        let mut builder = SessionBuilder::new()
            .known_nodes(&self.contact_points)
            .fetch_schema_metadata(false);
        if let Some(credentials) = &self.credentials {
            builder = builder.user(&credentials.user, &credentials.password);
        }
        builder.build().await.unwrap()
    }

    pub(crate) async fn drop_keyspaces(&self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap());
        if made.is_empty() {
            return;
        }
        let session = self.session().await;
        for keyspace in made {
            let drop = format!("DROP KEYSPACE IF EXISTS {keyspace}");
            session.query_unpaged(drop, ()).await.unwrap();
        }
    }
}
