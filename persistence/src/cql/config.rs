//! Which database, and how to use it.

use std::{fmt, time::Duration};

use super::ConnectError;

/// A user of the database and the password.
#[derive(Clone, PartialEq, Eq)]
pub struct CqlCredentials {
    /// `cql.user`.
    pub user: String,
    /// `cql.password`.
    pub password: String,
}

impl fmt::Debug for CqlCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CqlCredentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Which database, and how to use it.
#[derive(Clone, Debug)]
pub struct CqlConfig {
    /// `cql.nodes`: some nodes of the database, `host:port`; the others are learned from them.
    pub contact_points: Vec<String>,
    /// `cql.keyspace`, where the tables are: a lower-case letter, then up to 47 of `a-z 0-9 _`.
    pub keyspace: String,
    /// `cql.ownership_keyspace`, where the tables of lightweight transactions are; `None`: in
    /// `keyspace`. ScyllaDB before 2025.4 needs one of their own, without tablets.
    pub ownership_keyspace: Option<String>,
    /// Whom to log in as; `None`: nobody is asked.
    pub credentials: Option<CqlCredentials>,
    /// `cql.datacenter`: the one whose replicas make the quorum; `None`: whichever is asked. Must be set
    /// when there are several.
    pub datacenter: Option<String>,
    /// `cql.replication`: copies of every row, for a keyspace that a migration makes.
    pub replication_factor: u8,
    /// `cql.connect_timeout`: how long connecting may take in all.
    pub connect_timeout: Duration,
    /// How long a read may take, repetitions included.
    pub read_timeout: Duration,
    /// How long a write may take, repetitions included.
    pub write_timeout: Duration,
    /// How long one try of a lightweight transaction may take.
    pub transaction_timeout: Duration,
    /// How long taking a shard or registering a node may take, repetitions included.
    pub ownership_timeout: Duration,
}

impl CqlConfig {
    /// The defaults, for a database at these addresses.
    #[must_use]
    pub fn new(contact_points: Vec<String>, keyspace: impl Into<String>) -> Self {
        Self {
            contact_points,
            keyspace: keyspace.into(),
            ownership_keyspace: None,
            credentials: None,
            datacenter: None,
            replication_factor: 3,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(5),
            transaction_timeout: Duration::from_millis(2_500),
            ownership_timeout: Duration::from_secs(10),
        }
    }

    /// The keyspace of lightweight transactions.
    pub(super) fn ownership_keyspace(&self) -> &str {
        self.ownership_keyspace.as_deref().unwrap_or(&self.keyspace)
    }

    /// The keyspaces and the settings that name them.
    pub(super) fn keyspaces(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let own = self.ownership_keyspace.as_deref();
        let own = own.filter(|name| *name != self.keyspace);
        let own = own.map(|name| ("cql.ownership_keyspace", name));
        std::iter::once(("cql.keyspace", self.keyspace.as_str())).chain(own)
    }

    /// Names become part of statements, so they are checked before.
    ///
    /// # Errors
    /// The first that is none, or that no node is named.
    pub fn check(&self) -> Result<(), ConnectError> {
        for (setting, name) in self.keyspaces() {
            let mut characters = name.chars();
            let begins = characters.next().is_some_and(|c| c.is_ascii_lowercase());
            let goes_on =
                characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if !(begins && goes_on && name.len() <= 48) {
                return Err(ConnectError::KeyspaceName {
                    setting,
                    name: name.to_owned(),
                });
            }
        }
        if self.contact_points.is_empty() {
            return Err(ConnectError::NoContactPoints);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyspace_that_would_need_quotes_is_refused() {
        for (name, good) in [
            ("rookery", true),
            ("r_2", true),
            ("", false),
            ("2r", false),
            ("Rookery", false),
            ("r; DROP KEYSPACE r", false),
            (&*"r".repeat(49), false),
        ] {
            let config = CqlConfig::new(vec!["127.0.0.1:9042".to_owned()], name);
            assert_eq!(config.check().is_ok(), good, "{name:?}");
        }
    }

    #[test]
    fn password_is_not_in_debug_output() {
        let credentials = CqlCredentials {
            user: "ada".to_owned(),
            password: "hunter2".to_owned(),
        };
        let shown = format!("{credentials:?}");
        assert!(
            shown.contains("ada") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
