//! What membership needs: who this is, the bus, and the table of heartbeats.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    bus::Broadcast,
    endpoint::{EndpointId, Role},
};

/// Why the table of heartbeats could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the table of heartbeats did not answer")]
pub struct LivenessError {
    /// The database's error.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// One row of the table of heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivenessRow {
    /// The key.
    pub endpoint: EndpointId,
    /// Opaque; no two writes of one endpoint have the same.
    pub heartbeat: Bytes,
}

/// The table of heartbeats: the second way in which nodes see each other.
///
/// Writes are plain (not lightweight transactions) and may be lost or come late; a row that nobody
/// writes any more goes away by itself after an hour or more. `read` is a quorum read of all rows,
/// which sees every write that was acknowledged before it began. Both may take as long as they
/// like: they are dropped after [`crate::limits::TABLE_TIMEOUT`].
#[async_trait]
pub trait Liveness: Send + Sync + 'static {
    /// Keeps the row, instead of the endpoint's former one.
    async fn write(&self, row: LivenessRow) -> Result<(), LivenessError>;

    /// All rows.
    async fn read(&self) -> Result<Vec<LivenessRow>, LivenessError>;
}

/// Who this is.
#[derive(Clone, Debug)]
pub struct MembershipConfig {
    /// Name of the node: the same over restarts, no two nodes have the same. 1 to
    /// [`super::NODE_NAME_BYTES_MAX`] bytes.
    pub node: String,
    /// What it does. Gateways observe and own nothing.
    pub role: Role,
    /// This run of it; not 0.
    pub incarnation: u64,
}

/// What it needs.
#[derive(Clone)]
pub struct MembershipPorts {
    /// Carries heartbeats.
    pub bus: Arc<dyn Broadcast>,
    /// The table; `None` for a gateway without a database: it believes owners until others claim
    /// what they had.
    pub table: Option<Arc<dyn Liveness>>,
}
