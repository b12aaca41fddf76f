//! Holds what was asked for against the final logs.

use std::collections::{HashMap, HashSet};

use super::{
    content::{Change, Key, Kind, describe},
    facts::{Disorder, Facts, FinalRead, Operation, Outcome, answers_without_offset},
    log::RoomLog,
    report::{Report, Verdict, Violation},
};

/// What the second pass judges by.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) logs: HashMap<String, RoomLog>,
    pub(super) users: HashMap<u32, String>,
}

/// Judges every operation and every event of the final logs.
pub(super) fn judge(mut facts: Facts, report: &mut Report) -> Judged {
    report.totals.sessions = facts.sessions;
    let mut by_room: HashMap<u32, Vec<usize>> = HashMap::new();
    for (index, operation) in facts.operations.iter().enumerate() {
        by_room.entry(operation.room).or_default().push(index);
    }
    let mut logs = HashMap::new();
    let mut rooms: Vec<u32> = facts.finals.keys().copied().collect();
    rooms.sort_unstable();
    for room in rooms {
        let read = facts.finals.remove(&room).expect("listed above");
        let name = facts.rooms.name(room).to_owned();
        let indexes = by_room.remove(&room).unwrap_or_default();
        let operations: Vec<&Operation> = indexes
            .iter()
            .map(|index| &facts.operations[*index])
            .collect();
        let log = RoomJudge::new(&name, read, &operations, report).judge();
        report.totals.rooms += 1;
        report.totals.log_events += log.head();
        logs.insert(name, log);
    }
    for (room, indexes) in by_room {
        let acked = indexes.iter().any(|index| {
            matches!(
                facts.operations[*index].outcome,
                Outcome::Appended { offset: 1.., .. }
            )
        });
        if acked {
            report
                .unjudged_rooms
                .push(facts.rooms.name(room).to_owned());
        }
    }
    report.unjudged_rooms.sort();
    Judged {
        logs,
        users: facts.users,
    }
}

struct RoomJudge<'a> {
    name: &'a str,
    log: RoomLog,
    operations: &'a [&'a Operation],
    report: &'a mut Report,
    /// Operations whose event was found.
    claimed: HashSet<usize>,
    by_key: HashMap<Key, Vec<usize>>,
    by_offset: HashMap<u64, Vec<usize>>,
    /// Where each named message is.
    named_at: HashMap<Key, u64>,
}

impl<'a> RoomJudge<'a> {
    fn new(
        name: &'a str,
        read: FinalRead,
        operations: &'a [&'a Operation],
        report: &'a mut Report,
    ) -> Self {
        for (offset, disorder) in &read.disorder {
            let (verdict, what) = match disorder {
                Disorder::Repeated => (Verdict::Duplicate, "twice in one page of the final log"),
                Disorder::StepsBack => (Verdict::Reordered, "out of order in the final log"),
            };
            report.in_log(verdict, name, format!("offset {offset} {what}"));
        }
        let mut by_key: HashMap<Key, Vec<usize>> = HashMap::new();
        let mut by_offset: HashMap<u64, Vec<usize>> = HashMap::new();
        for (index, operation) in operations.iter().enumerate() {
            by_key.entry(operation.change.key).or_default().push(index);
            if let Outcome::Appended {
                offset: offset @ 1..,
                ..
            } = operation.outcome
            {
                by_offset.entry(offset).or_default().push(index);
            }
        }
        Self {
            name,
            log: RoomLog::new(read.events, read.head),
            operations,
            report,
            claimed: HashSet::new(),
            by_key,
            by_offset,
            named_at: HashMap::new(),
        }
    }

    fn judge(mut self) -> RoomLog {
        for offset in 1..=self.log.head() {
            self.event(offset);
        }
        for (index, operation) in self.operations.iter().enumerate() {
            self.operation(index, operation);
        }
        self.log.seal();
        self.log
    }

    fn wrong(&mut self, verdict: Verdict, what: String) {
        self.log.wrong = true;
        self.report.in_log(verdict, self.name, what);
    }

    /// Who asked for the event at this offset?
    fn event(&mut self, offset: u64) {
        let Some(entry) = self.log.entry(offset) else {
            // If it was acknowledged, it is lost, and that is said instead.
            if !self.by_offset.contains_key(&offset) {
                self.wrong(
                    Verdict::Gap,
                    format!("offset {offset} is missing in the final log"),
                );
            }
            return;
        };
        let described = describe(&entry.event);
        let Some(made) = entry.change else {
            self.wrong(
                Verdict::Phantom,
                format!("{described}: an event without content"),
            );
            return;
        };
        let acked = self.by_offset.get(&offset).map_or(&[][..], Vec::as_slice);
        let fits = |index: &&usize| self.operations[**index].change.fits(&made);
        let claimant = acked.iter().find(fits).copied();
        let candidates = self.by_key.get(&made.key).map_or(&[][..], Vec::as_slice);
        if made.kind == Kind::NamedMessage
            && let Some(first) = self.named_at.insert(made.key, offset)
        {
            let what = format!("{described} is also at offset {first}");
            self.wrong(Verdict::Duplicate, what);
            self.claimed.extend(claimant);
            return;
        }
        let claimant = claimant.or_else(|| {
            candidates
                .iter()
                .find(|index| self.claimable(**index, &made))
                .copied()
        });
        let Some(index) = claimant else {
            let other_content = acked
                .iter()
                .any(|index| self.operations[*index].change.key == made.key);
            if other_content {
                // Said once, as what became of the acknowledged operation.
                self.log.wrong = true;
                return;
            }
            let taken = candidates.iter().filter(fits).any(|index| {
                let outcome = self.operations[*index].outcome;
                matches!(outcome, Outcome::Appended { offset: 1.., .. })
                    || self.claimed.contains(index)
            });
            let refused = candidates
                .iter()
                .filter(fits)
                .any(|index| matches!(self.operations[*index].outcome, Outcome::Refused { .. }));
            let (verdict, why) = if taken {
                (
                    Verdict::Duplicate,
                    "was asked for once and is in the log again",
                )
            } else if refused {
                (Verdict::Phantom, "was refused and is in the log")
            } else {
                (Verdict::Phantom, "was asked for by nobody")
            };
            self.wrong(verdict, format!("{described} {why}"));
            return;
        };
        self.claimed.insert(index);
        // Which of several attempts it was, nobody can tell once its text is redacted.
        let unknown = |index: &&usize| self.operations[**index].outcome == Outcome::Unknown;
        let unclear = made.text.is_none()
            && !acked.contains(&index)
            && candidates.iter().filter(fits).filter(unknown).count() > 1;
        let named = made.kind == Kind::NamedMessage;
        let began = candidates
            .iter()
            .filter(|candidate| named || unclear || **candidate == index)
            .map(|candidate| self.operations[*candidate].began)
            .min()
            .unwrap_or(0);
        let text = self.operations[index].change.text;
        self.log.explain(offset, began, text.filter(|_| !unclear));
    }

    fn claimable(&self, index: usize, made: &Change) -> bool {
        let operation = self.operations[index];
        !self.claimed.contains(&index)
            && operation.change.fits(made)
            && match operation.outcome {
                Outcome::Unknown => true,
                Outcome::Done => answers_without_offset(made.kind),
                Outcome::Refused { .. } | Outcome::Appended { .. } => false,
            }
    }

    /// Is the operation's outcome what the log says?
    fn operation(&mut self, index: usize, operation: &Operation) {
        let totals = &mut self.report.totals;
        let counts = operation.change.kind != Kind::Join;
        totals.changes += u64::from(counts);
        match operation.outcome {
            Outcome::Unknown => {
                let happened = self.claimed.contains(&index)
                    || (operation.change.kind == Kind::NamedMessage
                        && self.named_at.contains_key(&operation.change.key));
                let count = if happened {
                    &mut totals.unknown_happened
                } else {
                    &mut totals.unknown_not_happened
                };
                *count += u64::from(counts);
            }
            Outcome::Done => totals.acked += u64::from(counts),
            Outcome::Refused { conflict } => {
                totals.refused += u64::from(counts);
                let mut others = self.others(index);
                let retry = others.next().is_some_and(|other| {
                    others
                        .chain([other])
                        .all(|other| other.change.fits(&operation.change))
                });
                if conflict && retry && operation.change.kind == Kind::NamedMessage {
                    self.at(
                        Verdict::Conflict,
                        operation,
                        "a retry with the same content was refused as a conflict".to_owned(),
                    );
                }
            }
            Outcome::Appended { offset: 0, .. } => totals.acked += 1,
            Outcome::Appended { offset, duplicate } => {
                totals.acked += 1;
                self.appended(index, operation, offset);
                if offset <= operation.floor && !duplicate {
                    let what = format!(
                        "acknowledged at offset {offset}, but offset {} was known before it began",
                        operation.floor
                    );
                    self.at(Verdict::Reordered, operation, what);
                }
            }
        }
    }

    fn appended(&mut self, index: usize, operation: &Operation, offset: u64) {
        let entry = self.log.entry(offset);
        if entry.is_some_and(|entry| {
            entry
                .change
                .is_some_and(|made| operation.change.fits(&made))
        }) {
            return;
        }
        let holds = entry.map_or_else(|| "nothing".to_owned(), |entry| describe(&entry.event));
        // Another attempt of the same message is where it should be: this answer is what is wrong.
        let named = operation.change.kind == Kind::NamedMessage;
        let kept = named && self.named_at.contains_key(&operation.change.key);
        let elsewhere = kept
            && self.others(index).any(|other| {
                matches!(other.outcome, Outcome::Appended { offset: there @ 1.., .. }
                    if there != offset || other.change.text != operation.change.text)
            });
        if elsewhere {
            let what = format!(
                "one client id answered with two offsets or for two texts: here {offset}, where the log holds {holds}"
            );
            self.log.wrong = true;
            self.at(Verdict::Conflict, operation, what);
        } else {
            self.log.lost.insert(offset);
            self.log.wrong = true;
            let what = format!("acknowledged at offset {offset}, where the log holds {holds}");
            self.at(Verdict::Lost, operation, what);
        }
    }

    /// The other attempts with the same key.
    fn others(&self, index: usize) -> impl Iterator<Item = &'a Operation> {
        let key = self.operations[index].change.key;
        self.by_key[&key]
            .iter()
            .filter(move |other| **other != index)
            .map(|other| self.operations[*other])
    }

    fn at(&mut self, verdict: Verdict, operation: &Operation, what: String) {
        self.report.found(
            verdict,
            Violation {
                room: self.name.to_owned(),
                at: operation.began,
                client: Some(operation.client),
                what,
            },
        );
    }
}
