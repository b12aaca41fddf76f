//! Who lives: the rule of two silences.
//!
//! A node is dead to an observer when, by the observer's own monotonic clock, both hold at once:
//! - the bus has carried no serving heartbeat of it for [`BUS_SILENCE`];
//! - its row in the table was not newer in the second of two reads, begun at least
//!   [`ROW_SILENCE`] after the first had ended, both after the last heartbeat, and still fresh.
//!
//! And the observer must have served all the while: what it did not hear while it was cut off
//! itself is no evidence. A wrong verdict harms nothing, because the fence decides.
//!
//! ```text
//!              heard, or row changed                     quiet
//!  Stranger ───────────────────────────► Alive ◄──────────────────► Suspect
//!     │                                    ▲                           │
//!     └──────── both silences ──► Dead ────┘ heard, or row changed     │
//!                                  ▲────────── both silences ──────────┘
//! ```

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::beat::Beat;
use crate::{
    endpoint::EndpointId,
    limits::{
        BUS_SILENCE, DEAD_KEPT, EVIDENCE_FRESH, NODES_MAX, ROW_FRESH, ROW_SILENCE, SUSPECT_AFTER,
    },
};

/// What is known of a node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Heard on the bus, or seen writing its row, lately.
    Alive,
    /// It was alive, and is quiet; not both silences yet. Keeps what it owns.
    Suspect,
    /// Known from the table alone and not seen alive. What it owned is not taken yet.
    Stranger,
    /// Both silences. What it owned may be taken.
    Dead,
}

/// What one observer knows of the others.
#[derive(Debug)]
pub(crate) struct Observer {
    known: BTreeMap<EndpointId, Known>,
    /// Since when the observer has served without a break. `None`: it does not.
    serving_since: Option<Instant>,
    has_table: bool,
}

#[derive(Debug)]
pub(crate) struct Known {
    /// The newest, from the bus or the table.
    pub(crate) beat: Beat,
    first_known: Instant,
    /// Number of the newest heartbeat from the bus.
    heard_number: Option<u64>,
    /// When the last serving heartbeat was heard on the bus.
    heard: Option<Instant>,
    /// When a read last showed that it had written its row.
    row_changed: Option<Instant>,
    row: Option<RowWatch>,
    lived: bool,
    dead_since: Option<Instant>,
}

/// What reads of the table show of one row.
#[derive(Debug)]
struct RowWatch {
    /// Number of the newest heartbeat that was in it; `None`: there was no row.
    number: Option<u64>,
    /// End of the first read that showed this.
    since: Instant,
    /// Begin of the latest read that showed it, once that is [`ROW_SILENCE`] after `since`.
    still: Option<Instant>,
}

impl Known {
    fn new(beat: Beat, now: Instant) -> Self {
        Self {
            beat,
            first_known: now,
            heard_number: None,
            heard: None,
            row_changed: None,
            row: None,
            lived: false,
            dead_since: None,
        }
    }

    pub(crate) fn life(&self, now: Instant) -> Life {
        if self.dead_since.is_some() {
            return Life::Dead;
        }
        let row_fresh = self
            .row_changed
            .is_some_and(|at| now.duration_since(at) < ROW_FRESH);
        if self.is_near(now) || row_fresh {
            Life::Alive
        } else if self.lived {
            Life::Suspect
        } else {
            Life::Stranger
        }
    }

    /// Whether the bus carries its heartbeats to us.
    pub(crate) fn is_near(&self, now: Instant) -> bool {
        self.heard
            .is_some_and(|at| now.duration_since(at) < BUS_SILENCE)
    }

    fn quiet_since(&self, serving_since: Instant) -> Instant {
        self.heard.unwrap_or(self.first_known).max(serving_since)
    }

    fn revive(&mut self) {
        self.lived = true;
        self.dead_since = None;
    }

    fn read(&mut self, number: Option<u64>, started: Instant, now: Instant, quiet_since: Instant) {
        let fresh = RowWatch {
            number,
            since: now,
            still: None,
        };
        match &mut self.row {
            // A smaller number is older: its last write has reached few replicas, and this read
            // asked others. That it comes and goes is no sign of life.
            Some(row) if number <= row.number => {
                if row.since < quiet_since {
                    *row = fresh;
                } else if started.saturating_duration_since(row.since) >= ROW_SILENCE {
                    row.still = Some(started);
                }
            }
            Some(_) => {
                self.row = Some(fresh);
                if number.is_some() && self.beat.state.serves() {
                    self.row_changed = Some(now);
                    self.revive();
                }
            }
            None => self.row = Some(fresh),
        }
    }

    fn both_silences(&self, serving_since: Instant, now: Instant) -> bool {
        let quiet = now.duration_since(self.quiet_since(serving_since));
        let still = self.row.as_ref().and_then(|row| row.still);
        quiet >= BUS_SILENCE && still.is_some_and(|at| now.duration_since(at) <= EVIDENCE_FRESH)
    }
}

impl Observer {
    /// Knows nobody. Without a table nobody is ever dead.
    pub(crate) fn new(has_table: bool) -> Self {
        Self {
            known: BTreeMap::new(),
            serving_since: None,
            has_table,
        }
    }

    /// All others, in the order of their endpoints.
    pub(crate) fn known(&self) -> impl Iterator<Item = (&EndpointId, &Known)> {
        self.known.iter()
    }

    pub(crate) fn get(&self, endpoint: &EndpointId) -> Option<&Known> {
        self.known.get(endpoint)
    }

    /// The observer serves, or no longer. When it begins to, all clocks start anew.
    pub(crate) fn set_serving(&mut self, serving: bool, now: Instant) {
        if serving && self.serving_since.is_none() {
            self.serving_since = Some(now);
            for known in self.known.values_mut() {
                known.row = None;
            }
        } else if !serving {
            self.serving_since = None;
        }
    }

    /// Since when the observer has served without a break.
    pub(crate) fn serving_since(&self) -> Option<Instant> {
        self.serving_since
    }

    /// A heartbeat came by the bus. Returns whether what it says (not only its number) is news.
    pub(crate) fn heard(&mut self, beat: Beat, now: Instant) -> bool {
        let Some((known, is_new)) = self.entry(&beat, now) else {
            return false;
        };
        if known.heard_number.is_some_and(|heard| heard >= beat.number) {
            return false;
        }
        known.heard_number = Some(beat.number);
        let mut news = is_new;
        if beat.state.serves() {
            news |= known.life(now) != Life::Alive;
            known.heard = Some(now);
            known.row = None;
            known.revive();
        }
        news | known.take_newer(beat)
    }

    /// A read of the table ended now. Returns whether it says anything new.
    pub(crate) fn read(&mut self, rows: Vec<Beat>, started: Instant, now: Instant) -> bool {
        let mut numbers = BTreeMap::new();
        let mut news = false;
        for row in rows {
            numbers.insert(row.endpoint(), row.number);
            if let Some((known, is_new)) = self.entry(&row, now) {
                news |= is_new | known.take_newer(row);
            }
        }
        for (endpoint, known) in &mut self.known {
            let before = known.life(now);
            // While we do not serve, reads show life but are no evidence of silence.
            let quiet_since = known.quiet_since(self.serving_since.unwrap_or(now));
            known.read(numbers.get(endpoint).copied(), started, now, quiet_since);
            news |= known.life(now) != before;
        }
        news
    }

    /// The database says that this one owns shards: it is known from now on.
    pub(crate) fn meet(&mut self, beat: Beat, now: Instant) {
        if let Some((known, is_new)) = self.entry(&beat, now)
            && !is_new
        {
            known.beat.claims.extend(beat.claims);
        }
    }

    /// Finds who is dead now, and forgets who has long been. Returns the newly dead.
    pub(crate) fn judge(&mut self, now: Instant) -> Vec<EndpointId> {
        let mut dead = Vec::new();
        if let Some(serving_since) = self.serving_since {
            for (endpoint, known) in &mut self.known {
                if known.dead_since.is_none() && known.both_silences(serving_since, now) {
                    known.dead_since = Some(now);
                    dead.push(endpoint.clone());
                }
            }
        }
        let has_table = self.has_table;
        self.known.retain(|_, known| {
            let has_row = known.row.as_ref().is_some_and(|row| row.number.is_some());
            match known.dead_since {
                Some(since) => has_row || now.duration_since(since) < DEAD_KEPT,
                None => {
                    let last = known.heard.unwrap_or(known.first_known);
                    has_table || now.duration_since(last) < DEAD_KEPT
                }
            }
        });
        dead
    }

    /// Whether somebody is looked for in the table.
    pub(crate) fn is_looking(&self, now: Instant) -> bool {
        let Some(serving_since) = self.serving_since else {
            return true;
        };
        self.known.values().any(|known| {
            known.dead_since.is_none()
                && now.duration_since(known.quiet_since(serving_since)) >= SUSPECT_AFTER
        })
    }

    fn entry(&mut self, beat: &Beat, now: Instant) -> Option<(&mut Known, bool)> {
        let endpoint = beat.endpoint();
        let is_new = !self.known.contains_key(&endpoint);
        if is_new && self.known.len() >= NODES_MAX {
            tracing::error!(node.endpoint = %endpoint, "too many nodes, this one is not heard");
            return None;
        }
        let known = self.known.entry(endpoint);
        Some((
            known.or_insert_with(|| Known::new(beat.clone(), now)),
            is_new,
        ))
    }
}

impl Known {
    /// Keeps a heartbeat unless a newer one is known. Returns whether it says something else.
    fn take_newer(&mut self, beat: Beat) -> bool {
        if beat.number < self.beat.number {
            return false;
        }
        let news = beat.claims != self.beat.claims || beat.state != self.beat.state;
        self.beat = beat;
        news
    }
}
