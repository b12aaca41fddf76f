//! The numbered migrations, and who runs them.

use std::{collections::BTreeMap, time::Duration};

use scylla::{
    client::session::Session,
    errors::ExecutionError,
    response::query_result::QueryResult,
    serialize::row::SerializeRow,
    statement::{Consistency, Statement},
    value::{CqlValue, Row},
};
use tokio::time::{Instant, sleep};

use super::{ConnectError, config::CqlConfig, connect::denied, profiles::Profiles};
use crate::limits;

/// One migration: plain tables, and those of lightweight transactions.
struct Migration {
    tables: &'static str,
    ownership: &'static str,
}

/// Every migration, in order; the number of one is its place, counted from 1.
const MIGRATIONS: [Migration; 1] = [Migration {
    tables: include_str!("../../schema/cql/0001_init.cql"),
    ownership: include_str!("../../schema/cql/0001_init_ownership.cql"),
}];

/// The newest schema this program knows.
pub(super) const VERSION: u32 = MIGRATIONS.len() as u32;

/// What a migration did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CqlMigration {
    /// Keyspaces that were made.
    pub keyspaces_made: Vec<String>,
    /// The schema's version before; 0: none.
    pub from: u32,
    /// The schema's version now.
    pub to: u32,
}

/// Works on the schema of one database.
pub(super) struct Schema<'a> {
    session: &'a Session,
    pub(super) config: &'a CqlConfig,
    profiles: &'a Profiles,
}

impl<'a> Schema<'a> {
    pub(super) const fn new(
        session: &'a Session,
        config: &'a CqlConfig,
        profiles: &'a Profiles,
    ) -> Self {
        Self {
            session,
            config,
            profiles,
        }
    }

    /// Refuses a schema that is not the one this program knows.
    pub(super) async fn check(&self) -> Result<(), ConnectError> {
        let keyspace = self.config.keyspace.clone();
        match self.version().await? {
            VERSION => Ok(()),
            found if found > VERSION => Err(self.newer(found)),
            found => Err(ConnectError::OlderSchema {
                keyspace,
                found,
                needed: VERSION,
            }),
        }
    }

    /// Makes what is missing, each migration after the one before. Only one process at a time.
    pub(super) async fn migrate(&self) -> Result<CqlMigration, ConnectError> {
        let keyspaces_made = self.make_keyspaces().await?;
        if !self.has_version_table().await? {
            let own = self.config.ownership_keyspace();
            self.execute(&format!(
                "CREATE TABLE IF NOT EXISTS {own}.schema_version (
                     name text, version int, holder text, applied_ms bigint,
                     PRIMARY KEY (name, version))"
            ))
            .await?;
        }
        // Before the lock: a newer program's schema is not even touched by that.
        let found = self.version().await?;
        if found > VERSION {
            return Err(self.newer(found));
        }
        let mut report = CqlMigration {
            keyspaces_made,
            from: found,
            to: found,
        };
        if found == VERSION {
            return Ok(report);
        }
        let lock = self.lock().await?;
        let outcome = self.apply_missing(&mut report).await;
        self.unlock(&lock).await?;
        outcome.map(|()| report)
    }

    /// What [`migrate`](Self::migrate) would do, without doing it.
    pub(super) async fn plan(&self) -> Result<CqlMigration, ConnectError> {
        let missing = self.missing_keyspaces().await?;
        if !missing.is_empty() {
            self.check_replication()?;
        }
        let found = self.version().await?;
        if found > VERSION {
            return Err(self.newer(found));
        }
        let names = missing.iter().map(|(_, name)| (*name).to_owned());
        Ok(CqlMigration {
            keyspaces_made: names.collect(),
            from: found,
            to: VERSION,
        })
    }

    async fn apply_missing(&self, report: &mut CqlMigration) -> Result<(), ConnectError> {
        // Again: another process may have been here before the lock.
        let found = self.version().await?;
        report.from = found;
        report.to = found;
        for (number, migration) in (1..).zip(&MIGRATIONS).skip(found as usize) {
            let own = self.config.ownership_keyspace();
            for (keyspace, text) in [
                (self.config.keyspace.as_str(), migration.tables),
                (own, migration.ownership),
            ] {
                for statement in statements(text) {
                    self.execute(&qualified(&statement, keyspace)).await?;
                }
            }
            self.transaction(
                &format!(
                    "INSERT INTO {own}.schema_version (name, version, holder, applied_ms)
                     VALUES ('schema', ?, ?, toUnixTimestamp(now())) IF NOT EXISTS"
                ),
                (number, "rookery"),
            )
            .await?;
            report.to = number as u32;
            tracing::info!(schema.version = number, "schema migrated");
        }
        Ok(())
    }

    /// The version of the schema; 0 when there is none.
    async fn version(&self) -> Result<u32, ConnectError> {
        if !self.has_version_table().await? {
            return Ok(0);
        }
        let own = self.config.ownership_keyspace();
        let mut statement = self.statement(&format!(
            "SELECT version FROM {own}.schema_version WHERE name = 'schema'
             ORDER BY version DESC LIMIT 1"
        ));
        statement.set_consistency(Consistency::LocalSerial);
        let rows = self.rows("read the schema's version", statement).await?;
        let version = rows.first().and_then(|row| row.first().cloned().flatten());
        match version {
            None => Ok(0),
            Some(CqlValue::Int(version)) if version > 0 => Ok(version.unsigned_abs()),
            other => Err(ConnectError::Unsound {
                what: format!("the schema's version is {other:?}"),
            }),
        }
    }

    async fn has_version_table(&self) -> Result<bool, ConnectError> {
        let own = self.config.ownership_keyspace();
        let statement = self.statement(&format!(
            "SELECT table_name FROM system_schema.tables
             WHERE keyspace_name = '{own}' AND table_name = 'schema_version'"
        ));
        let rows = self.rows("read the schema", statement).await?;
        Ok(!rows.is_empty())
    }

    /// Keyspaces that are not there, with their settings.
    async fn missing_keyspaces(&self) -> Result<Vec<(&'static str, &'a str)>, ConnectError> {
        let mut missing = Vec::new();
        for (setting, name) in self.config.keyspaces() {
            let statement = self.statement(&format!(
                "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = '{name}'"
            ));
            if self.rows("read the keyspaces", statement).await?.is_empty() {
                missing.push((setting, name));
            }
        }
        Ok(missing)
    }

    /// A keyspace with more copies than nodes could be made, and then not be written to.
    fn check_replication(&self) -> Result<(), ConnectError> {
        let state = self.session.get_cluster_state();
        let mut counts = BTreeMap::new();
        for node in state.get_nodes_info() {
            let datacenter = node.datacenter.clone().unwrap_or_default();
            *counts.entry(datacenter).or_insert(0_usize) += 1;
        }
        let factor = self.config.replication_factor;
        let few = counts
            .into_iter()
            .find(|(_, nodes)| *nodes < usize::from(factor));
        match few {
            None => Ok(()),
            Some((datacenter, nodes)) => Err(ConnectError::TooFewNodes {
                datacenter,
                nodes,
                factor,
            }),
        }
    }

    async fn make_keyspaces(&self) -> Result<Vec<String>, ConnectError> {
        let mut made = Vec::new();
        for (setting, name) in self.missing_keyspaces().await? {
            self.check_replication()?;
            // Lightweight transactions do not go with tablets on every ScyllaDB; Cassandra does
            // not know the word.
            let apart = setting == "cql.ownership_keyspace" && self.is_scylla().await;
            let tablets = if apart {
                " AND tablets = {'enabled': false}"
            } else {
                ""
            };
            let factor = self.config.replication_factor;
            self.execute(&format!(
                "CREATE KEYSPACE IF NOT EXISTS {name} WITH replication = \
                 {{'class': 'NetworkTopologyStrategy', 'replication_factor': {factor}}}{tablets}"
            ))
            .await?;
            made.push(name.to_owned());
            tracing::info!(keyspace = name, "keyspace made");
        }
        Ok(made)
    }

    /// Only ScyllaDB has this table.
    async fn is_scylla(&self) -> bool {
        let statement =
            self.statement("SELECT keyspace_name FROM system_schema.scylla_keyspaces LIMIT 1");
        self.rows("ask for ScyllaDB", statement).await.is_ok()
    }

    /// Takes the lock of migrations; it ends by itself when its holder died.
    async fn lock(&self) -> Result<String, ConnectError> {
        let holder = format!("process {} {:08x}", std::process::id(), fastrand::u32(..));
        let own = self.config.ownership_keyspace();
        let insert = format!(
            "INSERT INTO {own}.schema_version (name, version, holder, applied_ms)
             VALUES ('lock', 0, ?, toUnixTimestamp(now())) IF NOT EXISTS USING TTL {}",
            limits::CQL_MIGRATION_LOCK.as_secs()
        );
        let until = Instant::now() + limits::CQL_MIGRATION_LOCK + Duration::from_secs(1);
        loop {
            if self.transaction(&insert, (holder.as_str(),)).await? {
                return Ok(holder);
            }
            if Instant::now() >= until {
                return Err(ConnectError::Locked {
                    keyspace: own.to_owned(),
                });
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn unlock(&self, holder: &str) -> Result<(), ConnectError> {
        let own = self.config.ownership_keyspace();
        let delete = format!(
            "DELETE FROM {own}.schema_version WHERE name = 'lock' AND version = 0 IF holder = ?"
        );
        self.transaction(&delete, (holder,)).await.map(drop)
    }

    fn newer(&self, found: u32) -> ConnectError {
        ConnectError::NewerSchema {
            keyspace: self.config.keyspace.clone(),
            found,
            known: VERSION,
        }
    }

    pub(super) fn statement(&self, text: &str) -> Statement {
        let mut statement = Statement::new(text);
        statement.set_execution_profile_handle(Some(self.profiles.migration.clone()));
        statement
    }

    fn failed(&self, what: &str, error: ExecutionError) -> ConnectError {
        denied(self.config, &error).unwrap_or_else(|| ConnectError::Query {
            what: what.to_owned(),
            source: Box::new(error),
        })
    }

    async fn execute(&self, text: &str) -> Result<QueryResult, ConnectError> {
        self.session
            .query_unpaged(self.statement(text), ())
            .await
            .map_err(|error| self.failed(first_line(text), error))
    }

    /// Whether it was applied.
    pub(super) async fn transaction(
        &self,
        text: &str,
        values: impl SerializeRow,
    ) -> Result<bool, ConnectError> {
        let result = self
            .session
            .query_unpaged(self.statement(text), values)
            .await;
        let result = result.map_err(|error| self.failed(first_line(text), error))?;
        let rows = decode(first_line(text), result)?;
        let applied = rows.first().and_then(|row| row.first().cloned().flatten());
        Ok(applied == Some(CqlValue::Boolean(true)))
    }

    pub(super) async fn rows(
        &self,
        what: &str,
        statement: Statement,
    ) -> Result<Vec<Vec<Option<CqlValue>>>, ConnectError> {
        let result = self.session.query_unpaged(statement, ()).await;
        decode(what, result.map_err(|error| self.failed(what, error))?)
    }
}

fn decode(what: &str, result: QueryResult) -> Result<Vec<Vec<Option<CqlValue>>>, ConnectError> {
    let unsound = |problem: String| ConnectError::Unsound {
        what: format!("{what}: {problem}"),
    };
    let rows = result
        .into_rows_result()
        .map_err(|error| unsound(error.to_string()))?;
    let rows = rows
        .rows::<Row>()
        .map_err(|error| unsound(error.to_string()))?;
    rows.map(|row| row.map(|row| row.columns))
        .collect::<Result<_, _>>()
        .map_err(|error| unsound(error.to_string()))
}

/// The statements of a file, without comments.
fn statements(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with("--"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let statements = text.split(';').map(str::trim);
    statements
        .filter(|statement| !statement.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Files name tables alone, so that they can be read and run in a shell.
fn qualified(statement: &str, keyspace: &str) -> String {
    for head in ["CREATE TABLE IF NOT EXISTS ", "ALTER TABLE "] {
        if let Some(rest) = statement.strip_prefix(head) {
            return format!("{head}{keyspace}.{rest}");
        }
    }
    unreachable!("a test checks that every statement begins as one of these")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_of_every_migration_is_understood() {
        let mut tables = 0;
        for migration in &MIGRATIONS {
            for statement in [migration.tables, migration.ownership]
                .map(statements)
                .concat()
            {
                let text = qualified(&statement, "rookery");
                assert!(text.contains(" rookery."), "{text}");
                assert!(!text.contains("--"), "{text}");
                tables += 1;
            }
        }
        assert_eq!(tables, 15);
    }
}
