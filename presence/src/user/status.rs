//! What a device chose and what others see of it.

use rookery_proto::v1::presence::Status;

/// The status a device chose. Ordered: the least one of a user's devices wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Choice {
    Dnd,
    Online,
    Away,
    /// Shows nothing to others.
    Invisible,
}

impl Choice {
    pub(crate) const COUNT: usize = 4;
    pub(super) const BEST_FIRST: [Self; Self::COUNT] =
        [Self::Dnd, Self::Online, Self::Away, Self::Invisible];

    /// What a client may choose; `None` for the others and for unknown numbers.
    pub(crate) fn from_wire(status: i32) -> Option<Self> {
        match Status::try_from(status).ok()? {
            Status::Online => Some(Self::Online),
            Status::Away => Some(Self::Away),
            Status::Dnd => Some(Self::Dnd),
            Status::Invisible => Some(Self::Invisible),
            Status::Unspecified | Status::Offline => None,
        }
    }

    const fn status(self) -> Status {
        match self {
            Self::Dnd => Status::Dnd,
            Self::Online => Status::Online,
            Self::Away => Status::Away,
            Self::Invisible => Status::Invisible,
        }
    }
}

/// One user's presence as someone sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) status: Status,
    /// 0 while not offline, or when never seen.
    pub(crate) last_seen_ms: u64,
}

impl Shown {
    /// Gateways have not had time to say whether the user is connected.
    pub(crate) const UNKNOWN: Self = Self {
        status: Status::Unspecified,
        last_seen_ms: 0,
    };

    pub(super) const fn chosen(choice: Choice) -> Self {
        Self {
            status: choice.status(),
            last_seen_ms: 0,
        }
    }

    pub(super) const fn offline(last_seen_ms: u64) -> Self {
        Self {
            status: Status::Offline,
            last_seen_ms,
        }
    }
}

/// How a user looks to others and to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) others: Shown,
    /// Differs only while the user is invisible.
    pub(super) own: Shown,
}

impl View {
    pub(super) const fn for_watcher(&self, own: bool) -> Shown {
        if own { self.own } else { self.others }
    }
}
