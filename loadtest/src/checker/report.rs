//! What the checker found.

use std::{collections::BTreeMap, fmt};

use crate::limits::EXAMPLES_MAX;

/// Each way in which a history can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Acknowledged, but the final log does not hold it (at its offset with its content, where the
    /// answer names an offset); or told as so already, and it was not.
    Lost,
    /// One `clientId`, or one operation, at two offsets; or an event twice in one page, or delivered
    /// twice in one session beyond what resuming allows; or somebody joined who was a member, or left who was
    /// none.
    Duplicate,
    /// Delivered, read or acknowledged in another order than the log's; or an operation that began
    /// after another's event was known, at a lower offset.
    Reordered,
    /// In the log or delivered, but nobody asked for it (or it was refused); or delivered, but
    /// not what the final log holds: a trace of what was voided.
    Phantom,
    /// An offset missing in the final log, in a page, or in a delivered stream.
    Gap,
    /// A user's cursor is told lower than what was acknowledged before the question.
    CursorBackwards,
    /// An unread count that no head between question and answer explains.
    UnreadWrong,
    /// A client's state, or a page's folded messages, that differ from the final log folded; or
    /// whom an answer takes for a member, and of how many it tells.
    Divergent,
    /// A retry with the same `clientId` and content answered with another offset or refused, or
    /// other content accepted under a used `clientId`.
    Conflict,
    /// An answer that ends before what was known when the question was asked, or refuses a member
    /// as none.
    Stale,
    /// A watcher shows a user as online who has had no session for longer than
    /// [`GHOST_MAX`](crate::limits::GHOST_MAX), or as offline one who has had one for as long. Time
    /// counts from when it was told or became so, whichever is later; a status not known yet says
    /// nothing.
    Ghost,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Lost,
        Self::Duplicate,
        Self::Reordered,
        Self::Phantom,
        Self::Gap,
        Self::CursorBackwards,
        Self::UnreadWrong,
        Self::Divergent,
        Self::Conflict,
        Self::Stale,
        Self::Ghost,
    ];

    /// The word in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicate => "duplicate",
            Self::Reordered => "reordered",
            Self::Phantom => "phantom",
            Self::Gap => "gap",
            Self::CursorBackwards => "cursor backwards",
            Self::UnreadWrong => "unread wrong",
            Self::Divergent => "divergent",
            Self::Conflict => "conflict",
            Self::Stale => "stale",
            Self::Ghost => "presence ghost",
        }
    }
}

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The room; empty where it is about none.
    pub room: String,
    /// When it was seen, in microseconds of the history; 0: only the final log shows it.
    pub at: u64,
    /// Which client saw it, where one did.
    pub client: Option<u32>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.room)?;
        if let Some(client) = self.client {
            let comma = if self.room.is_empty() { "" } else { ", " };
            write!(f, "{comma}client {client} at {:.6} s", seconds(self.at))?;
        }
        write!(f, ": {}", self.what)
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Lines of the history.
    pub records: u64,
    /// Rooms with a final log.
    pub rooms: u64,
    /// Events in the final logs.
    pub log_events: u64,
    /// Changes asked for: rooms, messages, edits, deletes, reactions.
    pub changes: u64,
    /// Of these, acknowledged.
    pub acked: u64,
    /// Of these, refused for good.
    pub refused: u64,
    /// Of these, with an unknown outcome that the log shows as happened.
    pub unknown_happened: u64,
    /// Of these, with an unknown outcome of which the log has no trace.
    pub unknown_not_happened: u64,
    /// Events delivered, live and in joins.
    pub delivered: u64,
    /// Events read in history pages.
    pub read: u64,
    /// Unread answers held against the log.
    pub unread_checked: u64,
    /// Answers about members held against the log.
    pub members_checked: u64,
    /// Statuses of users told to watchers.
    pub statuses: u64,
    /// Replicas compared.
    pub replicas: u64,
    /// Sessions opened.
    pub sessions: u64,
}

impl Totals {
    /// Counts those of another history too.
    pub fn add(&mut self, other: &Self) {
        let Self {
            records,
            rooms,
            log_events,
            changes,
            acked,
            refused,
            unknown_happened,
            unknown_not_happened,
            delivered,
            read,
            unread_checked,
            members_checked,
            statuses,
            replicas,
            sessions,
        } = other;
        self.records += records;
        self.rooms += rooms;
        self.log_events += log_events;
        self.changes += changes;
        self.acked += acked;
        self.refused += refused;
        self.unknown_happened += unknown_happened;
        self.unknown_not_happened += unknown_not_happened;
        self.delivered += delivered;
        self.read += read;
        self.unread_checked += unread_checked;
        self.members_checked += members_checked;
        self.statuses += statuses;
        self.replicas += replicas;
        self.sessions += sessions;
    }
}

/// The judgement of a history.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was looked at.
    pub totals: Totals,
    /// Whether the history's last line was cut and so left out.
    pub torn: bool,
    /// Rooms with acknowledged changes of which no final log was read: nothing can be said about
    /// them, so such a history is not sound.
    pub unjudged_rooms: Vec<String>,
    found: BTreeMap<Verdict, (u64, Vec<Violation>)>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.found.is_empty() && self.unjudged_rooms.is_empty()
    }

    /// How many violations of one kind there are.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> u64 {
        self.found.get(&verdict).map_or(0, |(count, _)| *count)
    }

    /// The kinds found.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.found.keys().copied().collect()
    }

    /// The first violations of one kind, at most [`EXAMPLES_MAX`].
    #[must_use]
    pub fn examples(&self, verdict: Verdict) -> &[Violation] {
        self.found
            .get(&verdict)
            .map_or(&[], |(_, examples)| examples)
    }

    pub(super) fn found(&mut self, verdict: Verdict, violation: Violation) {
        let (count, examples) = self.found.entry(verdict).or_default();
        *count += 1;
        if examples.len() < EXAMPLES_MAX {
            examples.push(violation);
        }
    }

    /// Something only the logs show.
    pub(super) fn in_log(&mut self, verdict: Verdict, room: &str, what: String) {
        self.found(
            verdict,
            Violation {
                room: room.to_owned(),
                at: 0,
                client: None,
                what,
            },
        );
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = &self.totals;
        for (word, count) in [
            ("records", t.records),
            ("rooms", t.rooms),
            ("sessions", t.sessions),
            ("events in the logs", t.log_events),
            ("changes asked for", t.changes),
            ("  acknowledged", t.acked),
            ("  refused", t.refused),
            ("  unknown, happened", t.unknown_happened),
            ("  unknown, did not", t.unknown_not_happened),
            ("events delivered", t.delivered),
            ("events read in pages", t.read),
            ("unread answers", t.unread_checked),
            ("membership answers", t.members_checked),
            ("presence told", t.statuses),
            ("replicas compared", t.replicas),
        ] {
            writeln!(f, "{word:<24}{count:>12}")?;
        }
        writeln!(f)?;
        for verdict in Verdict::ALL {
            writeln!(f, "{:<24}{:>12}", verdict.word(), self.count(verdict))?;
            for example in self.examples(verdict) {
                writeln!(f, "    {example}")?;
            }
        }
        for room in &self.unjudged_rooms {
            writeln!(f, "no final log was read of room {room}")?;
        }
        if self.torn {
            writeln!(f, "the last line was cut and is left out")?;
        }
        write!(
            f,
            "{}",
            if self.is_sound() {
                "sound"
            } else {
                "NOT SOUND"
            }
        )
    }
}
