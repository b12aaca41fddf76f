//! The faults there are.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $word:literal $place:ident,)*) => {
        /// Kinds of faults. In plans they go by the words of [`Kind::word`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Kind {
            $($(#[$doc])* #[serde(rename = $word)] $kind,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Its name in plans.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$kind => $word,)* }
            }

            /// What it needs.
            #[must_use]
            pub const fn place(self) -> Place {
                match self { $(Self::$kind => Place::$place,)* }
            }
        }
    };
}

/// What a fault can happen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// One process with everything in it.
    Server,
    /// A cluster with two nodes or more.
    Nodes,
    /// A cluster with three nodes or more.
    ThreeNodes,
    /// A cluster with two gateways or more.
    Gateways,
    /// Any cluster.
    Cluster,
    /// A cluster on one NATS server.
    OneNats,
    /// A cluster on three NATS servers.
    ThreeNats,
    /// A cluster on one database node.
    OneReplica,
    /// A cluster on three database nodes.
    ThreeReplicas,
}

kinds! {
    /// SIGKILL, and a new start on the same data.
    KillServer "kill-server" Server,
    /// SIGSTOP for a while, then SIGCONT.
    PauseServer "pause-server" Server,
    /// SIGTERM and a new start: a deploy.
    StopServer "stop-server" Server,
    /// Connections of clients are reset, new ones too.
    CutClients "cut-clients" Server,
    /// Connections of clients stand; what one side says gets nowhere, or nothing does.
    StallClients "stall-clients" Server,
    /// What clients say and hear comes late.
    DelayClients "delay-clients" Server,
    /// SIGKILL; started again when every room works without it.
    KillNode "kill-node" Nodes,
    /// SIGKILL; started again a moment later.
    KillGateway "kill-gateway" Gateways,
    /// SIGSTOP for longer than anybody waits for it, then SIGCONT.
    PauseNode "pause-node" Nodes,
    /// Of three nodes one is paused and one killed at the same moment.
    LoseTwoNodes "lose-two-nodes" ThreeNodes,
    /// SIGSTOP for longer than its links may be silent.
    PauseGateway "pause-gateway" Gateways,
    /// SIGTERM and a new start: a deploy.
    StopNode "stop-node" Nodes,
    /// The same of a gateway.
    StopGateway "stop-gateway" Gateways,
    /// A fourth node comes, or goes by SIGTERM.
    ScaleNodes "scale-nodes" ThreeNodes,
    /// A node's connections to NATS are reset, new ones too.
    CutNodeFromNats "cut-node-from-nats" Cluster,
    /// Connections to NATS stand; what the node says gets nowhere, or what it is told.
    StallNodeFromNats "stall-node-from-nats" Cluster,
    /// A node's connections to the database are reset, or stand and carry nothing.
    CutNodeFromDatabase "cut-node-from-database" Cluster,
    /// A gateway's connections to NATS are reset, new ones too.
    CutGatewayFromNats "cut-gateway-from-nats" Cluster,
    /// What a node says to NATS or to the database, and what it hears, comes late.
    DelayNode "delay-node" Cluster,
    /// NATS loses some of what nodes or gateways publish.
    LoseMessages "lose-messages" Cluster,
    /// All of NATS is killed and comes back.
    RestartNats "restart-nats" OneNats,
    /// A NATS server stops for a while and goes on, all connections standing.
    PauseNats "pause-nats" Cluster,
    /// The only database node stops and comes back.
    RestartDatabase "restart-database" OneReplica,
    /// One database node stops for a while and goes on.
    PauseDatabaseNode "pause-database-node" Cluster,
    /// One of three NATS servers is killed; it comes back when every room works without it.
    KillNatsServer "kill-nats-server" ThreeNats,
    /// One NATS server with its nodes and gateways on one side, two on the other.
    SplitNats "split-nats" ThreeNats,
    /// One of three replicas is killed, and comes back.
    KillReplica "kill-replica" ThreeReplicas,
}

impl Place {
    /// What a plan lacks where the fault cannot happen.
    #[must_use]
    pub const fn needs(self) -> &'static str {
        match self {
            Self::Server => "target.kind = \"embedded\"",
            Self::Nodes => "a cluster with target.nodes of 2 or more",
            Self::ThreeNodes => "a cluster with target.nodes of 3",
            Self::Gateways => "a cluster with target.gateways of 2 or more",
            Self::Cluster => "target.kind = \"cluster\"",
            Self::OneNats => "a cluster with target.nats-servers of 1",
            Self::ThreeNats => "a cluster with target.nats-servers of 3",
            Self::OneReplica => "a cluster with target.replicas of 1",
            Self::ThreeReplicas => "a cluster with target.replicas of 3",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
