//! The musts of DESIGN §4 and §6, each broken on purpose.

use rookery_loadtest::checker::Verdict;

use crate::{
    judge::{Found, Kind},
    profile::Profile,
};

/// One rule broken. What the store does for one node differs from what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// The fence is said to be open without reading it.
    FenceNotRead,
    /// The fence is read when the write begins, not when it is complete.
    FenceBeforeWrite,
    /// The fence is not read after waking.
    FenceNotReadAfterWaking,
    /// Rows of the log are read at one replica.
    RowsAtOneReplica,
    /// The list is read at one replica.
    ListAtOneReplica,
    /// A claim or fence is taken for done before a quorum has learned of it.
    ClaimNotLearned,
    /// Adopted rows are not written again.
    NoTailRewrite,
    /// The list is not at quorum before the first append.
    ListNotAwaited,
    /// Entries of different lists are merged.
    ListsMerged,
    /// No list: the highest epoch wins.
    HighestEpochWins,
    /// A new owner adopts what stands behind a hole; where the hole is, it tells an empty event.
    AdoptedBehindHole,
    /// A gateway delivers an event although one before it has not come.
    HoleDelivered,
    /// The sent id of a voided event answers a retry.
    VoidSentIdBelieved,
    /// A new owner does not write the sent ids that its tail implies.
    IdsNotDerived,
    /// A commit is acknowledged when a later one is durable.
    AcksOutOfOrder,
    /// The sent ids of a former owner are forgotten.
    SentIdsForgotten,
    /// Marks, members and deletions of voided events count.
    VoidDerivedCounts,
    /// A cursor is what was written last.
    CursorOverwritten,
    /// A commit is said to be durable when one replica has it.
    AckAtOneReplica,
    /// One event of a group is not written.
    EventLeftOut,
    /// A gateway asks for a resume as if the user wanted to be let in.
    ResumeJoins,
    /// Presence: a gateway announces its sessions once.
    NotAnnouncedAgain,
    /// Presence: a new owner does not wait for announcements.
    NoTimeToAnnounce,
    /// Presence: devices without session, and sessions of dead gateways, count on.
    GoneStillCounts,
    /// Presence: a gateway does not tell of sessions that close.
    CloseNotTold,
    /// Presence: a gateway watches once.
    NotWatchedAgain,
    /// Presence: each change is told at once.
    NotThrottled,
    /// Presence: a gateway passes on what somebody says who is not the owner any more.
    FormerOwnerBelieved,
    /// Nodes do not write their rows of heartbeats: who is on the other side of a split looks dead.
    RowsNotWritten,
}

impl Mutation {
    pub(crate) const ALL: [Self; 29] = [
        Self::FenceNotRead,
        Self::FenceBeforeWrite,
        Self::FenceNotReadAfterWaking,
        Self::RowsAtOneReplica,
        Self::ListAtOneReplica,
        Self::ClaimNotLearned,
        Self::NoTailRewrite,
        Self::ListNotAwaited,
        Self::ListsMerged,
        Self::HighestEpochWins,
        Self::AcksOutOfOrder,
        Self::AdoptedBehindHole,
        Self::HoleDelivered,
        Self::VoidSentIdBelieved,
        Self::IdsNotDerived,
        Self::SentIdsForgotten,
        Self::VoidDerivedCounts,
        Self::CursorOverwritten,
        Self::AckAtOneReplica,
        Self::EventLeftOut,
        Self::ResumeJoins,
        Self::NotAnnouncedAgain,
        Self::NoTimeToAnnounce,
        Self::GoneStillCounts,
        Self::CloseNotTold,
        Self::NotWatchedAgain,
        Self::NotThrottled,
        Self::FormerOwnerBelieved,
        Self::RowsNotWritten,
    ];

    /// Where the search for it begins: near the first seed that shows it, where that is far.
    pub(crate) fn first(self) -> u64 {
        match self {
            Self::FormerOwnerBelieved => 1_160,
            _ => 1,
        }
    }

    /// Under which it is searched for: that which makes its schedules frequent.
    pub(crate) fn profile(self) -> Profile {
        match self {
            Self::FenceNotReadAfterWaking
            | Self::RowsAtOneReplica
            | Self::ListAtOneReplica
            | Self::ClaimNotLearned
            | Self::NoTailRewrite
            | Self::ListNotAwaited
            | Self::ListsMerged
            | Self::HighestEpochWins
            | Self::AdoptedBehindHole
            | Self::VoidSentIdBelieved
            | Self::AckAtOneReplica => Profile::Takeovers,
            Self::FenceNotRead
            | Self::FenceBeforeWrite
            | Self::AcksOutOfOrder
            | Self::CursorOverwritten => Profile::LateCommits,
            Self::HoleDelivered
            | Self::IdsNotDerived
            | Self::SentIdsForgotten
            | Self::VoidDerivedCounts
            | Self::EventLeftOut
            | Self::ResumeJoins => Profile::Broad,
            Self::NotAnnouncedAgain
            | Self::NoTimeToAnnounce
            | Self::GoneStillCounts
            | Self::CloseNotTold
            | Self::NotWatchedAgain
            | Self::NotThrottled
            | Self::FormerOwnerBelieved => Profile::Presence,
            Self::RowsNotWritten => Profile::RealPresence,
        }
    }

    /// Whether one of these is what breaking this rule leads to.
    pub(crate) fn is_shown_by(self, found: &[Found]) -> bool {
        found.iter().any(|it| self.shows(it.kind))
    }

    fn shows(self, kind: Kind) -> bool {
        use Verdict::{
            Conflict, CursorBackwards, Divergent, Duplicate, Gap, Lost, Phantom, Reordered,
            UnreadWrong,
        };
        let of_the_log = matches!(
            kind,
            Kind::Wrong(Lost | Duplicate | Phantom | Gap | Reordered | Conflict) | Kind::Trace
        );
        match self {
            Self::FenceNotRead
            | Self::FenceBeforeWrite
            | Self::FenceNotReadAfterWaking
            | Self::RowsAtOneReplica
            | Self::ListAtOneReplica
            | Self::ClaimNotLearned
            | Self::NoTailRewrite
            | Self::ListNotAwaited
            | Self::ListsMerged
            | Self::HighestEpochWins
            | Self::AcksOutOfOrder
            | Self::AdoptedBehindHole
            | Self::AckAtOneReplica
            | Self::EventLeftOut => of_the_log,
            Self::VoidDerivedCounts => {
                of_the_log || kind == Kind::Wrong(Divergent) || kind == Kind::Wrong(UnreadWrong)
            }
            Self::VoidSentIdBelieved => {
                matches!(kind, Kind::Wrong(Lost | Conflict) | Kind::Trace)
            }
            Self::IdsNotDerived | Self::SentIdsForgotten => {
                matches!(kind, Kind::Wrong(Duplicate | Conflict))
            }
            Self::HoleDelivered => kind == Kind::Wrong(Gap),
            Self::ResumeJoins => matches!(kind, Kind::Wrong(Phantom | Duplicate)),
            Self::NotAnnouncedAgain | Self::NoTimeToAnnounce => kind == Kind::Offline,
            Self::GoneStillCounts | Self::CloseNotTold => kind == Kind::Ghost,
            Self::NotWatchedAgain => kind == Kind::Outdated,
            Self::FormerOwnerBelieved => {
                matches!(kind, Kind::Outdated | Kind::Ghost | Kind::Offline)
            }
            Self::NotThrottled => kind == Kind::TooOften,
            Self::RowsNotWritten => kind == Kind::Moved,
            Self::CursorOverwritten => matches!(kind, Kind::Wrong(CursorBackwards)),
        }
    }
}
