//! How a node stands in its cluster, and why it does not serve.

/// How this node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not yet heard by itself, or the table has not answered yet.
    Joining,
    /// Serves.
    Serving,
    /// Serves, and hands over what it owns.
    Leaving,
    /// Left: owns nothing any more.
    Left,
    /// Does not serve for now: it admits nothing, and its row stands still.
    Suspended(Suspended),
    /// Another has taken what it owned. This incarnation never serves again.
    Fenced,
}

impl Standing {
    /// Whether commands are admitted.
    #[must_use]
    pub const fn serves(self) -> bool {
        matches!(self, Self::Serving | Self::Leaving)
    }
}

/// Why a node does not serve for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspended {
    /// It does not hear its own heartbeats: others may not either.
    Deaf,
    /// The table of heartbeats cannot be read or written.
    Table,
    /// Its commits fail.
    Commits,
}

impl Suspended {
    /// For readiness and logs.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Deaf => "does not hear its own heartbeats on the bus",
            Self::Table => "cannot use the table of heartbeats",
            Self::Commits => "commits fail",
        }
    }
}
