//! What a run is made of. Each profile makes certain schedules frequent; all must be survived.

use rookery_loadtest::workload::Weights;
use tokio::time::Duration;

use crate::{
    presence::USERS,
    quorum::{Slow, Traps},
    work::ROOMS,
};

/// What a run is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// A bit of everything.
    Broad,
    /// One room that changes hands several times a second. Writes come to one replica first, and
    /// whoever wakes stands still between its steps: owners adopt different tails.
    Takeovers,
    /// What one owner commits lands when another has the room. Clients wait a short time and
    /// repeat what they sent; some only read.
    LateCommits,
    /// Shards are handed over in order, again and again, among other misfortunes: rooms at rest.
    Moves,
    /// The real membership: nodes find out by themselves that others are gone.
    Real,
    /// People with devices come, go and watch each other, while their shards move and gateways
    /// die, stand still and are cut off.
    Presence,
    /// The same under the real membership; or the bus is in two halves for a while, and nothing
    /// else is wrong.
    RealPresence,
}

/// One seed of so many has real membership: it takes long.
const REAL_EVERY: u64 = 20;
/// One seed of so many has people beside that, which takes longer still.
const REAL_PRESENCE_EVERY: u64 = 100;
/// One seed of so many is about presence.
const PRESENCE_EVERY: u64 = 10;

/// The numbers of a profile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rooms: &'static [&'static str],
    pub(crate) nodes: usize,
    /// How long misfortunes go on.
    pub(crate) work: Duration,
    /// How often that; in between all come to rest, and it is looked what is shown of people.
    pub(crate) rounds: u32,
    /// Longest time between two misfortunes.
    pub(crate) misfortune_ms_max: u64,
    /// Of ten misfortunes so many are takeovers from owners that live.
    pub(crate) alarms: u8,
    /// Longest until a killed node is started again.
    pub(crate) restart_ms_max: u64,
    pub(crate) traps: Traps,
    /// Longest until a process learns that a shard has another owner.
    pub(crate) news_ms_max: u64,
    /// All times up to that are as likely; else most are short.
    pub(crate) news_even: bool,
    /// How long a client waits for an answer.
    pub(crate) deadline: Duration,
    /// Longest time between two commands of a client.
    pub(crate) pace_ms_max: u64,
    /// One of so many commands is a message that was sent before.
    pub(crate) again_one_in: u8,
    pub(crate) weights: Weights,
    /// The last so many clients read and react only.
    pub(crate) readers: u32,
    /// Whether there are people whose presence is watched.
    pub(crate) has_people: bool,
}

const BROAD: Plan = Plan {
    rooms: &ROOMS,
    nodes: 3,
    work: Duration::from_secs(9),
    rounds: 1,
    misfortune_ms_max: 700,
    alarms: 0,
    restart_ms_max: 1_500,
    traps: Traps::NONE,
    news_ms_max: 400,
    news_even: false,
    deadline: Duration::from_secs(3),
    pace_ms_max: 150,
    again_one_in: 12,
    weights: Weights {
        send: 50,
        edit: 12,
        delete: 5,
        react: 12,
        unreact: 5,
        mark_read: 10,
        history: 8,
        rooms: 0,
        rejoin: 3,
        // Leaving is chosen apart: not everybody does.
        leave: 0,
    },
    readers: 0,
    has_people: false,
};

const TAKEOVERS: Plan = Plan {
    rooms: &[ROOMS[0]],
    nodes: 4,
    work: Duration::from_secs(7),
    misfortune_ms_max: 250,
    alarms: 8,
    restart_ms_max: 150,
    traps: Traps {
        commit: Slow {
            often: 50,
            ms_max: 300,
        },
        rewrite: Slow {
            often: 300,
            ms_max: 600,
        },
        list: Slow {
            often: 300,
            ms_max: 600,
        },
        fence: Slow::NEVER,
        torn: Slow {
            often: 150,
            ms_max: 1_500,
        },
    },
    news_even: true,
    weights: Weights {
        history: 20,
        rejoin: 15,
        ..BROAD.weights
    },
    ..BROAD
};

const LATE_COMMITS: Plan = Plan {
    rooms: &[ROOMS[0]],
    nodes: 4,
    work: Duration::from_secs(7),
    misfortune_ms_max: 400,
    alarms: 8,
    restart_ms_max: 150,
    traps: Traps {
        commit: Slow {
            often: 250,
            ms_max: 1_200,
        },
        ..Traps::NONE
    },
    news_even: true,
    deadline: Duration::from_millis(700),
    pace_ms_max: 60,
    again_one_in: 3,
    weights: Weights {
        rejoin: 10,
        ..BROAD.weights
    },
    readers: 1,
    ..BROAD
};

const MOVES: Plan = Plan {
    rooms: &[ROOMS[0], ROOMS[1]],
    nodes: 4,
    work: Duration::from_secs(7),
    misfortune_ms_max: 300,
    alarms: 8,
    restart_ms_max: 300,
    traps: Traps {
        commit: Slow {
            often: 60,
            ms_max: 500,
        },
        rewrite: Slow {
            often: 100,
            ms_max: 300,
        },
        list: Slow {
            often: 100,
            ms_max: 300,
        },
        fence: Slow::NEVER,
        torn: Slow {
            often: 60,
            ms_max: 1_000,
        },
    },
    deadline: Duration::from_millis(1_500),
    pace_ms_max: 80,
    again_one_in: 6,
    weights: Weights {
        rejoin: 8,
        ..BROAD.weights
    },
    readers: 1,
    ..BROAD
};

const REAL: Plan = Plan {
    work: Duration::from_secs(25),
    ..BROAD
};

const REAL_PRESENCE: Plan = Plan {
    rooms: &[ROOMS[0]],
    misfortune_ms_max: 1_500,
    restart_ms_max: 3_000,
    pace_ms_max: 1_000,
    has_people: true,
    ..REAL
};

const PRESENCE: Plan = Plan {
    work: Duration::from_secs(20),
    rounds: 3,
    misfortune_ms_max: 3_000,
    news_ms_max: 1_500,
    news_even: true,
    pace_ms_max: 4_000,
    ..REAL_PRESENCE
};

/// What readers do.
pub(crate) const READER: Weights = Weights {
    send: 0,
    edit: 0,
    delete: 0,
    react: 15,
    unreact: 5,
    mark_read: 50,
    history: 10,
    rooms: 0,
    rejoin: 10,
    leave: 0,
};

impl Profile {
    pub(crate) const ALL: [Self; 7] = [
        Self::Broad,
        Self::Takeovers,
        Self::LateCommits,
        Self::Moves,
        Self::Real,
        Self::Presence,
        Self::RealPresence,
    ];

    /// The profiles of the seeds that the sound code must survive.
    pub(crate) fn of_seed(seed: u64) -> Self {
        if seed.is_multiple_of(REAL_EVERY) {
            return match seed % REAL_PRESENCE_EVERY == REAL_EVERY {
                true => Self::RealPresence,
                false => Self::Real,
            };
        }
        if seed % PRESENCE_EVERY == PRESENCE_EVERY / 2 {
            return Self::Presence;
        }
        match seed % 4 {
            0 => Self::Broad,
            1 => Self::Takeovers,
            2 => Self::LateCommits,
            _ => Self::Moves,
        }
    }

    pub(crate) fn plan(self) -> &'static Plan {
        match self {
            Self::Broad => &BROAD,
            Self::Takeovers => &TAKEOVERS,
            Self::LateCommits => &LATE_COMMITS,
            Self::Moves => &MOVES,
            Self::Real => &REAL,
            Self::Presence => &PRESENCE,
            Self::RealPresence => &REAL_PRESENCE,
        }
    }
}

impl Plan {
    /// Whose presence is watched.
    pub(crate) fn people(&self) -> impl Iterator<Item = &'static str> + use<> {
        let people = self.has_people.then_some(USERS);
        people.into_iter().flatten()
    }
}
