//! The rule the owners follow: the designed one, or one that is weaker in a single point.

use std::{fmt, str::FromStr};

/// What owners do. Each weaker rule differs from [`Rule::AsDesigned`] in what its line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// Claim, wake, append and acknowledge as DESIGN §4 says.
    AsDesigned,
    /// As designed, but a room without list and rows is claimed by its first event: what the code
    /// does so that a mistyped name leaves nothing in the database. It must hold as well.
    FirstEventClaims,

    // ---- named in DESIGN §4 ---------------------------------------------------------------------
    /// Acknowledges what is at a quorum, without reading the own fence.
    NoFenceRead,
    /// Reads the own fence at any time after the write began.
    FenceReadBeforeWrite,
    /// Serves as soon as the new list is at a quorum.
    NoFenceReadAfterWaking,
    /// Acknowledges a row although one before it is not acknowledged.
    AcksOutOfOrder,
    /// Wakes from the rows of one replica.
    RowsReadAtOneReplica,
    /// Wakes from the list of one replica.
    ListReadAtOneReplica,
    /// Takes the epoch while the fence is decided but not at a quorum.
    ClaimNotLearned,
    /// Serves adopted rows that may be at one replica.
    NoRewrite,
    /// Sends the new list and goes on.
    ListNotAwaited,
    /// Writes the new list (and waits for its quorum) only when there is something to append.
    ListAtFirstAppend,
    /// Takes the entries of all lists seen, instead of the newest list.
    ListsMerged,
    /// Keeps no list: of several rows at one offset, the highest epoch counts.
    HighestEpochWins,

    // ---- found while modelling ------------------------------------------------------------------
    /// Takes the epoch first and fences the former owner then. A claimant that stops in between
    /// leaves the owner before it unfenced for ever: the next one fences only the claimant.
    EpochBeforeFence,
    /// Reads the own fence at one replica.
    FenceReadAtOneReplica,
    /// Calls a write complete that reached one replica.
    WriteAtOneReplica,

    // ---- of planned moves (ADR 0008) ------------------------------------------------------------
    /// Takes a room for at rest because its shard was released, whatever epoch its list ends with.
    AtRestByRelease,
    /// Releases the shard while rows are on their way.
    ReleaseInFlight,
}

impl Rule {
    /// Every rule with its name on the command line.
    pub(crate) const ALL: [(Self, &'static str); 19] = [
        (Self::AsDesigned, "as-designed"),
        (Self::FirstEventClaims, "first-event-claims"),
        (Self::NoFenceRead, "no-fence-read"),
        (Self::FenceReadBeforeWrite, "fence-read-before-write"),
        (Self::NoFenceReadAfterWaking, "no-fence-read-after-waking"),
        (Self::AcksOutOfOrder, "acks-out-of-order"),
        (Self::RowsReadAtOneReplica, "rows-read-at-one-replica"),
        (Self::ListReadAtOneReplica, "list-read-at-one-replica"),
        (Self::ClaimNotLearned, "claim-not-learned"),
        (Self::NoRewrite, "no-rewrite"),
        (Self::ListNotAwaited, "list-not-awaited"),
        (Self::ListAtFirstAppend, "list-at-first-append"),
        (Self::ListsMerged, "lists-merged"),
        (Self::HighestEpochWins, "highest-epoch-wins"),
        (Self::EpochBeforeFence, "epoch-before-fence"),
        (Self::FenceReadAtOneReplica, "fence-read-at-one-replica"),
        (Self::WriteAtOneReplica, "write-at-one-replica"),
        (Self::AtRestByRelease, "at-rest-by-release"),
        (Self::ReleaseInFlight, "release-in-flight"),
    ];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::ALL.iter().find(|(rule, _)| rule == self);
        f.write_str(named.expect("every rule is in the table").1)
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = Self::ALL.iter().find(|(_, known)| *known == name);
        named.map(|(rule, _)| *rule).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|(_, known)| *known).collect();
            format!("no rule {name:?}; there are {}", known.join(", "))
        })
    }
}
