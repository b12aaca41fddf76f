//! A database of the run, and keyspaces of the tests' own in it.

use std::env;

use scylla::client::{session::Session, session_builder::SessionBuilder};

use rookery_loadtest::services::skip;

/// A keyspace that is not made yet; dropped with its value.
pub(crate) struct Keyspace {
    pub(crate) nodes: String,
    pub(crate) name: String,
    /// Whom to log in as, from outside.
    credentials: Option<(&'static str, &'static str)>,
}

impl Keyspace {
    /// In the open database.
    pub(crate) fn open(test: &str) -> Option<Self> {
        Self::of(test, "ROOKERY_TEST_CQL", None)
    }

    /// In the one that asks for passwords.
    pub(crate) fn with_passwords(test: &str) -> Option<Self> {
        let superuser = Some(("cassandra", "cassandra"));
        Self::of(test, "ROOKERY_TEST_CQL_AUTH", superuser)
    }

    fn of(
        test: &str,
        variable: &str,
        credentials: Option<(&'static str, &'static str)>,
    ) -> Option<Self> {
        let Some(nodes) = env::var_os(variable).and_then(|it| it.into_string().ok()) else {
            skip(test, &format!("no {variable}"));
            return None;
        };
        Some(Self {
            nodes,
            name: format!("rookery_pieces_{:016x}", fastrand::u64(..)),
            credentials,
        })
    }

    /// Flags that name it.
    pub(crate) fn flags(&self) -> Vec<String> {
        let keyspace = format!("cql.keyspace={}", self.name);
        let flags = ["--cql", &self.nodes, "--set", &keyspace];
        let patient = ["--set", "cql.connect_timeout=30s"];
        flags
            .into_iter()
            .chain(patient)
            .map(str::to_owned)
            .collect()
    }

    /// Changes something behind the binary's back. `@` is the keyspace.
    pub(crate) fn run(&self, statements: &[&str]) {
        let work = async {
            let session = self.session().await;
            for statement in statements {
                let statement = statement.replace('@', &self.name);
                session.query_unpaged(statement, ()).await.unwrap();
            }
        };
        // On a thread of its own, so that tests with a runtime can do it too.
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                runtime.unwrap().block_on(work);
            });
            thread.join().unwrap();
        });
    }

    async fn session(&self) -> Session {
        let nodes = self.nodes.split(',');
        let mut builder = SessionBuilder::new()
            .known_nodes(nodes)
            .fetch_schema_metadata(false);
        if let Some((user, password)) = self.credentials {
            builder = builder.user(user, password);
        }
        builder.build().await.unwrap()
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        self.run(&["DROP KEYSPACE IF EXISTS @"]);
    }
}
