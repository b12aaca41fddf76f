//! What a copy of a whole installation needs of the database, beside the port: a record of how far
//! it is, whether other data is there, and shards that go on from the epochs of their old owners.
//!
//! The record is the row `copy` of `schema_version`, changed by lightweight transactions from what
//! was read: of two copies at once one stops.

use rookery_proto::ids::Epoch;
use scylla::{statement::Consistency, value::CqlValue};
use tokio::time::sleep;

use super::{CqlStore, schema::Schema};
use crate::{ConnectError, Incarnation, ShardKind, StoreError, limits};

/// Tables with data of an installation. Any row in one of them is somebody's.
const DATA: [(&str, &str, bool); 8] = [
    ("room_log", "room", false),
    ("room_epochs", "room", false),
    ("rooms", "room", false),
    ("room_members", "room", false),
    ("read_cursors", "room", false),
    ("sent_ids", "room", false),
    ("users", "user", false),
    ("shards", "shard", true),
];

/// A record was not as expected: another process copies into the same keyspace.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("another process copies into it")]
    Changed,
    #[error(transparent)]
    Database(#[from] ConnectError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Schema<'_> {
    /// How far a copy is, as it was written; `None`: there never was one.
    pub(super) async fn copy_record(&self) -> Result<Option<String>, ConnectError> {
        let own = self.config.ownership_keyspace();
        let mut statement = self.statement(&format!(
            "SELECT holder FROM {own}.schema_version WHERE name = 'copy' AND version = 0"
        ));
        statement.set_consistency(Consistency::LocalSerial);
        let rows = self.rows("read the record of a copy", statement).await?;
        match rows.first().and_then(|row| row.first().cloned().flatten()) {
            None => Ok(None),
            Some(CqlValue::Text(record)) => Ok(Some(record)),
            Some(other) => Err(ConnectError::Unsound {
                what: format!("the record of a copy is {other:?}"),
            }),
        }
    }

    /// Writes a record in the place of the one that was read.
    async fn put_copy_record(&self, former: Option<&str>, next: &str) -> Result<(), RecordError> {
        let own = self.config.ownership_keyspace();
        let insert = format!(
            "INSERT INTO {own}.schema_version (name, version, holder, applied_ms)
             VALUES ('copy', 0, ?, toUnixTimestamp(now())) IF NOT EXISTS"
        );
        let update = format!(
            "UPDATE {own}.schema_version SET holder = ?, applied_ms = toUnixTimestamp(now())
             WHERE name = 'copy' AND version = 0 IF holder = ?"
        );
        let mut tries = limits::COPY_TRIES;
        loop {
            let outcome = match former {
                None => self.transaction(&insert, (next,)).await,
                Some(former) => self.transaction(&update, (next, former)).await,
            };
            let error = match outcome {
                Ok(true) => return Ok(()),
                Ok(false) => None,
                Err(error) => Some(error),
            };
            if error.is_some() {
                sleep(limits::COPY_PAUSE).await;
            }
            // What is there now tells what became of a transaction whose answer was lost.
            let found = self.copy_record().await?;
            if found.as_deref() == Some(next) {
                return Ok(());
            }
            tries -= 1;
            match error {
                Some(_) if found.as_deref() == former && tries > 0 => {}
                Some(error) if found.as_deref() == former => return Err(error.into()),
                Some(_) | None => return Err(RecordError::Changed),
            }
        }
    }

    /// A table in which something is stored.
    async fn holds_data(&self) -> Result<Option<&'static str>, ConnectError> {
        for (table, column, owned) in DATA {
            let keyspace = match owned {
                true => self.config.ownership_keyspace(),
                false => &self.config.keyspace,
            };
            let statement =
                self.statement(&format!("SELECT {column} FROM {keyspace}.{table} LIMIT 1"));
            if !self.rows("look for data", statement).await?.is_empty() {
                return Ok(Some(table));
            }
        }
        Ok(None)
    }

    /// Lets a shard go on after that epoch, owned by nobody.
    async fn seed_shard(
        &self,
        kind: ShardKind,
        shard: u16,
        epoch: Epoch,
    ) -> Result<(), ConnectError> {
        let own = self.config.ownership_keyspace();
        let insert = format!(
            "INSERT INTO {own}.shards (kind, shard, epoch, node, incarnation)
             VALUES (?, ?, ?, '', ?) IF NOT EXISTS"
        );
        let raise =
            format!("UPDATE {own}.shards SET epoch = ? WHERE kind = ? AND shard = ? IF epoch < ?");
        let too_large = |_| ConnectError::Unsound {
            what: format!("shard {shard} has epoch {epoch}"),
        };
        let epoch = i64::try_from(epoch.0).map_err(too_large)?;
        let (kind, shard) = (kind as i8, i32::from(shard));
        let nobody = Incarnation::NOBODY.0.cast_signed();
        let mut tries = limits::COPY_TRIES;
        loop {
            let seeded = async {
                let insert = self.transaction(&insert, (kind, shard, epoch, nobody));
                if !insert.await? {
                    self.transaction(&raise, (epoch, kind, shard, epoch))
                        .await?;
                }
                Ok(())
            };
            tries -= 1;
            match seeded.await {
                // A busy database; whatever was done, the same again changes nothing more.
                Err(ConnectError::Query { .. }) if tries > 0 => sleep(limits::COPY_PAUSE).await,
                outcome => return outcome,
            }
        }
    }
}

impl CqlStore {
    /// Connects although a copy into the keyspace is not finished.
    pub(crate) async fn connect_to_copy(config: crate::CqlConfig) -> Result<Self, ConnectError> {
        Self::connect_unless(config, false).await
    }

    /// How far a copy into the keyspace is.
    pub(crate) async fn copy_record(&self) -> Result<Option<String>, RecordError> {
        Ok(self.calls().await?.schema().copy_record().await?)
    }

    /// Says how far it is now; fails when another process has said so meanwhile.
    pub(crate) async fn put_copy_record(
        &self,
        former: Option<&str>,
        next: &str,
    ) -> Result<(), RecordError> {
        let open = self.calls().await?;
        open.schema().put_copy_record(former, next).await
    }

    /// A table in which something is stored.
    pub(crate) async fn holds_data(&self) -> Result<Option<&'static str>, RecordError> {
        Ok(self.calls().await?.schema().holds_data().await?)
    }

    /// Lets a shard go on after that epoch.
    pub(crate) async fn seed_shard(
        &self,
        kind: ShardKind,
        shard: u16,
        epoch: Epoch,
    ) -> Result<(), RecordError> {
        let open = self.calls().await?;
        Ok(open.schema().seed_shard(kind, shard, epoch).await?)
    }
}
