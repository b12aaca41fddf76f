//! The table of heartbeats.

use async_trait::async_trait;
use rookery_cluster::{EndpointId, Liveness, LivenessError, LivenessRow};

use super::NodeStore;
use crate::{
    mutation::Mutation,
    quorum::{NoQuorum, QUORUM},
    replica::{Key, Partition, Row},
};

#[async_trait]
impl Liveness for NodeStore {
    async fn write(&self, row: LivenessRow) -> Result<(), LivenessError> {
        self.process.pass().await;
        if self.breaks(Mutation::RowsNotWritten) {
            return Ok(());
        }
        let key = Key::Heartbeat(row.endpoint.as_str().to_owned());
        let row = Row::Heartbeat(self.quorum.world.number(), row.heartbeat);
        let batch = (Partition::Heartbeats, vec![(key, row)]);
        let done = self.quorum.write(&self.process, vec![batch], QUORUM).await;
        self.process.pass().await;
        done.map_err(silent)
    }

    async fn read(&self) -> Result<Vec<LivenessRow>, LivenessError> {
        self.process.pass().await;
        let partition = Partition::Heartbeats;
        let rows = self.quorum.read(&self.process, QUORUM, partition).await;
        self.process.pass().await;
        let rows = rows.map_err(silent)?;
        Ok(rows
            .into_iter()
            .filter_map(|row| match row {
                (Key::Heartbeat(endpoint), Row::Heartbeat(_, heartbeat)) => Some(LivenessRow {
                    endpoint: EndpointId::from_wire(&endpoint),
                    heartbeat,
                }),
                _ => None,
            })
            .collect())
    }
}

fn silent(error: NoQuorum) -> LivenessError {
    LivenessError {
        source: Box::new(error),
    }
}
