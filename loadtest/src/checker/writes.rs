//! Holds what was asked for against the final logs.

mod attempts;
mod events;
mod unchanged;

use std::collections::HashMap;

use super::{
    content::{Key, Kind},
    facts::{Facts, FinalRead, Known, Operation, Outcome, Unchanged},
    judged::Judged,
    log::{Entry, RoomLog},
    names::Names,
    report::{Report, Verdict, Violation},
};
use attempts::{Candidates, Lists, NONE};

/// Judges every operation and every event of the final logs. What was gathered of a room is given
/// back when it is judged.
pub(super) fn judge(facts: Facts, report: &mut Report) -> Judged {
    report.totals.sessions = facts.sessions;
    let mut logs = Vec::new();
    for (number, room) in (0..).zip(facts.by_room) {
        let name = facts.rooms.name(number);
        let Some(read) = room.read else {
            let acked = |operation: &Operation| match operation.outcome {
                Outcome::Appended { offset, .. } => offset > 0,
                Outcome::Done => operation.change.kind == Kind::Open,
                Outcome::Unknown | Outcome::Refused { .. } | Outcome::Elsewhere => false,
            };
            if room.operations.iter().any(acked) {
                report.unjudged_rooms.push(name.to_owned());
            }
            logs.push(None);
            continue;
        };
        let mut judge = RoomJudge::new(name, &facts.people, read, &room.operations, report);
        judge.known = room.known;
        let log = judge.judge(&room.unchanged);
        report.totals.rooms += 1;
        report.totals.log_events += log.head();
        logs.push(Some(log));
    }
    report.unjudged_rooms.sort();
    Judged {
        logs,
        rooms: facts.rooms,
        people: facts.people,
        emoji: facts.emoji,
        users: facts.users,
    }
}

struct RoomJudge<'a> {
    name: &'a str,
    people: &'a Names,
    log: RoomLog,
    operations: &'a [Operation],
    report: &'a mut Report,
    /// Operations whose event was found.
    claimed: Vec<bool>,
    by_key: HashMap<Key, Candidates>,
    with_key: Lists,
    /// By offset: the first of the operations acknowledged there.
    acked_at: Vec<u32>,
    with_offset: Lists,
    /// Where each named message is.
    named_at: HashMap<Key, u64>,
    known: Known,
    /// Whether its opening was acknowledged.
    opened: bool,
    /// When the newest operation began of those whose events were found so far.
    newest: u64,
}

impl<'a> RoomJudge<'a> {
    fn new(
        name: &'a str,
        people: &'a Names,
        read: FinalRead,
        operations: &'a [Operation],
        report: &'a mut Report,
    ) -> Self {
        let opens = |operation: &Operation| {
            operation.change.kind == Kind::Open && operation.outcome == Outcome::Done
        };
        let log = RoomLog::new(read);
        let mut judge = Self {
            name,
            people,
            operations,
            report,
            claimed: vec![false; operations.len()],
            by_key: HashMap::new(),
            with_key: Lists::new(operations),
            acked_at: vec![NONE; usize::try_from(log.head()).unwrap_or(usize::MAX) + 1],
            with_offset: Lists::new(operations),
            named_at: HashMap::new(),
            known: Known::default(),
            opened: operations.iter().any(opens),
            newest: 0,
            log,
        };
        for (index, operation) in operations.iter().enumerate().rev() {
            let none = Candidates {
                first: NONE,
                open: NONE,
            };
            let candidates = judge.by_key.entry(operation.change.key).or_insert(none);
            judge.with_key.prepend(&mut candidates.first, index);
            candidates.open = candidates.first;
            if let Outcome::Appended {
                offset: offset @ 1..,
                ..
            } = operation.outcome
                && let Some(first) = usize::try_from(offset)
                    .ok()
                    .and_then(|offset| judge.acked_at.get_mut(offset))
            {
                judge.with_offset.prepend(first, index);
            }
        }
        judge
    }

    fn judge(mut self, unchanged: &[Unchanged]) -> RoomLog {
        let begins = self.log.entry(1).and_then(Entry::kind);
        if self.opened && begins != Some(Kind::Open) {
            let what = "its opening was acknowledged, and the log does not begin with it";
            self.log.lost.insert(1);
            self.wrong(Verdict::Lost, what.to_owned());
        }
        if let Some(head) = self.log.cut_at {
            let what = format!("it says that it goes on far beyond offset {head}, and it does not");
            self.wrong(Verdict::Gap, what);
        }
        for offset in 1..=self.log.head() {
            self.event(offset);
        }
        let mut needless = std::mem::take(&mut self.log.members.needless);
        if self.log.wrong {
            needless.clear();
        }
        for (offset, user) in needless {
            let entry = self.log.entry(offset);
            let described = entry.map(|entry| entry.describe(offset, self.people));
            let what = format!(
                "{}: {:?} was that already",
                described.unwrap_or_default(),
                self.people.name(user)
            );
            self.wrong(Verdict::Duplicate, what);
        }
        for (index, operation) in self.operations.iter().enumerate() {
            self.operation(index, operation);
        }
        self.log.seal();
        for told in unchanged {
            self.unchanged(told);
        }
        self.log
    }

    /// Operations that ask for the same, but for its text.
    fn candidates(&self, key: Key) -> impl Iterator<Item = usize> {
        let first = self.by_key.get(&key).map_or(NONE, |it| it.first);
        self.with_key.from(first)
    }

    fn acked(&self, offset: u64) -> impl Iterator<Item = usize> {
        let place = usize::try_from(offset).ok();
        let first = place.and_then(|offset| self.acked_at.get(offset));
        self.with_offset.from(first.copied().unwrap_or(NONE))
    }

    fn wrong(&mut self, verdict: Verdict, what: String) {
        self.log.wrong = true;
        self.report.in_log(verdict, self.name, what);
    }

    /// Is the operation's outcome what the log says?
    fn operation(&mut self, index: usize, operation: &Operation) {
        let totals = &mut self.report.totals;
        let counts = operation.change.kind != Kind::Join;
        totals.changes += u64::from(counts);
        match operation.outcome {
            Outcome::Unknown => {
                let happened = self.claimed[index]
                    || (operation.change.kind == Kind::NamedMessage
                        && self.named_at.contains_key(&operation.change.key));
                let count = if happened {
                    &mut totals.unknown_happened
                } else {
                    &mut totals.unknown_not_happened
                };
                *count += u64::from(counts);
            }
            Outcome::Elsewhere => totals.changes -= u64::from(counts),
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
                // The attempts at one message begin with the first.
                let named = operation.change.kind == Kind::NamedMessage;
                let first = named.then(|| self.candidates(operation.change.key).next());
                let first = first.flatten().unwrap_or(index);
                let floor = self.operations[first].floor;
                if offset <= floor && !duplicate {
                    let what = format!(
                        "acknowledged at offset {offset}, but offset {floor} was known before it began"
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
        let holds = entry.map_or_else(
            || "nothing".to_owned(),
            |entry| entry.describe(offset, self.people),
        );
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
        let operations = self.operations;
        self.candidates(operations[index].change.key)
            .filter(move |other| *other != index)
            .map(move |other| &operations[other])
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
