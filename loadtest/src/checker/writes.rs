//! Holds what was asked for against the final logs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    content::{Change, Key, Kind},
    facts::{Disorder, Facts, FinalRead, Known, Operation, Outcome, answers_without_offset},
    log::RoomLog,
    names::Names,
    report::{Report, Verdict, Violation},
};
use crate::history::Record;

/// What the second pass judges by.
#[derive(Debug)]
pub(super) struct Judged {
    /// By the room's number.
    logs: Vec<Option<RoomLog>>,
    pub(super) rooms: Names,
    pub(super) people: Names,
    pub(super) emoji: Names,
    /// Clients to their users.
    users: HashMap<u32, u32>,
}

impl Judged {
    /// The room's final log.
    pub(super) fn log(&self, room: &str) -> Option<&RoomLog> {
        self.logs.get(self.rooms.find(room)? as usize)?.as_ref()
    }

    /// The same, where it is not judged wrong.
    pub(super) fn sound_log(&self, room: u32) -> Option<&RoomLog> {
        let log = self.logs.get(room as usize)?.as_ref();
        log.filter(|log| !log.wrong)
    }

    /// Who it is of.
    pub(super) fn user(&self, record: &Record) -> Option<u32> {
        self.users.get(&record.client).copied()
    }

    pub(super) fn seen(&self, record: &Record, room: u32, what: String) -> Violation {
        super::streams::seen(record, self.rooms.name(room), what)
    }

    /// Reactions, to be read.
    pub(super) fn named(
        &self,
        reactions: &BTreeMap<u32, BTreeSet<u32>>,
    ) -> BTreeMap<&str, BTreeSet<&str>> {
        let named = |users: &BTreeSet<u32>| users.iter().map(|it| self.people.name(*it)).collect();
        let each = reactions.iter();
        each.map(|(emoji, users)| (self.emoji.name(*emoji), named(users)))
            .collect()
    }
}

/// Judges every operation and every event of the final logs. What was gathered of a room is given
/// back when it is judged.
pub(super) fn judge(facts: Facts, report: &mut Report) -> Judged {
    report.totals.sessions = facts.sessions;
    let mut logs = Vec::new();
    for (number, room) in (0..).zip(facts.by_room) {
        let name = facts.rooms.name(number);
        let Some(read) = room.read else {
            let acked = room.operations.iter().any(|operation| {
                matches!(operation.outcome, Outcome::Appended { offset: 1.., .. })
            });
            if acked {
                report.unjudged_rooms.push(name.to_owned());
            }
            logs.push(None);
            continue;
        };
        let mut judge = RoomJudge::new(name, &facts.people, read, &room.operations, report);
        judge.known = room.known;
        let log = judge.judge();
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

/// Ends a list.
const NONE: u32 = u32::MAX;

/// Operations by what they have in common, in the order they began: lists through one vector.
#[derive(Debug, Default)]
struct Lists {
    /// By operation.
    next: Vec<u32>,
}

impl Lists {
    fn new(operations: &[Operation]) -> Self {
        Self {
            next: vec![NONE; operations.len()],
        }
    }

    /// Puts an operation before those of a list, of which `first` is the first.
    fn prepend(&mut self, first: &mut u32, index: usize) {
        let number = u32::try_from(index).expect("fewer than 2^32 operations in a room");
        self.next[index] = std::mem::replace(first, number);
    }

    fn from(&self, first: u32) -> impl Iterator<Item = usize> {
        let some = |number: u32| (number != NONE).then_some(number as usize);
        std::iter::successors(some(first), move |index| some(self.next[*index]))
    }
}

/// The operations with one key.
#[derive(Clone, Copy, Debug)]
struct Candidates {
    first: u32,
    /// The first that may still be found in the log.
    open: u32,
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
        for (offset, disorder) in &read.disorder {
            let (verdict, what) = match disorder {
                Disorder::Repeated => (Verdict::Duplicate, "twice in one page of the final log"),
                Disorder::StepsBack => (Verdict::Reordered, "out of order in the final log"),
            };
            report.in_log(verdict, name, format!("offset {offset} {what}"));
        }
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

    fn judge(mut self) -> RoomLog {
        if let Some(head) = self.log.cut_at {
            let what = format!("it says that it goes on far beyond offset {head}, and it does not");
            self.wrong(Verdict::Gap, what);
        }
        for offset in 1..=self.log.head() {
            self.event(offset);
        }
        for (offset, user) in std::mem::take(&mut self.log.members.needless) {
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

    /// Who asked for the event at this offset?
    fn event(&mut self, offset: u64) {
        let Some(entry) = self.log.entry(offset).copied() else {
            // If it was acknowledged, it is lost, and that is said instead.
            if self.acked(offset).next().is_none() {
                self.wrong(
                    Verdict::Gap,
                    format!("offset {offset} is missing in the final log"),
                );
            }
            return;
        };
        let described = || entry.describe(offset, self.people);
        let Some(made) = entry.change else {
            let what = format!("{}: an event without content", described());
            return self.wrong(Verdict::Phantom, what);
        };
        let fits = |index: &usize| self.operations[*index].change.fits(&made);
        let acked = self.acked(offset).find(fits);
        if made.kind == Kind::NamedMessage
            && let Some(first) = self.named_at.get(&made.key)
        {
            let what = format!("{} is also at offset {first}", described());
            self.named_at.insert(made.key, offset);
            self.wrong(Verdict::Duplicate, what);
            if let Some(index) = acked {
                self.claimed[index] = true;
            }
            return;
        }
        if made.kind == Kind::NamedMessage {
            self.named_at.insert(made.key, offset);
        }
        let claimant = acked
            .or_else(|| self.claimable(offset, &made))
            .or_else(|| self.asked_again(&made));
        let Some(index) = claimant else {
            return self.unasked(offset, &made, described());
        };
        self.claimed[index] = true;
        // Which of several attempts it was, nobody can tell once its text is redacted.
        let unknown = |index: &usize| self.operations[*index].outcome == Outcome::Unknown;
        let unclear = made.kind == Kind::Edit
            && made.text.is_none()
            && acked.is_none()
            && self.candidates(made.key).filter(unknown).count() > 1;
        let began = |index: usize| self.operations[index].began;
        let began = if unclear || made.kind == Kind::NamedMessage {
            self.candidates(made.key).map(began).min().unwrap_or(0)
        } else {
            began(index)
        };
        self.newest = self.newest.max(began);
        let text = self.operations[index].change.text;
        self.log.explain(offset, began, text.filter(|_| !unclear));
    }

    /// The first operation without an answer that names an offset that may have become this.
    fn claimable(&mut self, offset: u64, made: &Change) -> Option<usize> {
        let candidates = self.by_key.get(&made.key)?;
        let known = self.known.since(offset);
        let never = |index: &usize| {
            self.claimed[*index]
                || !matches!(
                    self.operations[*index].outcome,
                    Outcome::Unknown | Outcome::Done
                )
        };
        let mut rest = self.with_key.from(candidates.open).skip_while(never);
        let first = rest.next();
        let fits = |index: &usize| {
            let operation = &self.operations[*index];
            !never(index)
                && operation.began <= known
                && operation.change.fits(made)
                && (operation.outcome == Outcome::Unknown || answers_without_offset(made.kind))
        };
        let found = first.into_iter().chain(rest).find(fits);
        // Whoever was found or answered before is not looked at again.
        let open = first.map_or(NONE, |first| u32::try_from(first).unwrap_or(NONE));
        if let Some(candidates) = self.by_key.get_mut(&made.key) {
            candidates.open = open;
        }
        found
    }

    /// A join or a leave without an answer is asked again by the gateway when the room's owner is
    /// lost. Where another device of the user did the opposite meanwhile, it is done twice.
    fn asked_again(&self, made: &Change) -> Option<usize> {
        if !matches!(made.kind, Kind::Join | Kind::Leave) {
            return None;
        }
        let mut candidates = self.candidates(made.key);
        candidates
            .find(|index| self.claimed[*index] && self.operations[*index].ended >= self.newest)
    }

    /// An event that no operation explains.
    fn unasked(&mut self, offset: u64, made: &Change, described: String) {
        let other_content = self
            .acked(offset)
            .any(|index| self.operations[index].change.key == made.key);
        if other_content {
            // Said once, as what became of the acknowledged operation.
            self.log.wrong = true;
            return;
        }
        let same = |index: &usize| self.operations[*index].change.fits(made);
        let taken = self.candidates(made.key).filter(same).any(|index| {
            let outcome = self.operations[index].outcome;
            matches!(outcome, Outcome::Appended { offset: 1.., .. }) || self.claimed[index]
        });
        let refused = self
            .candidates(made.key)
            .filter(same)
            .any(|index| matches!(self.operations[index].outcome, Outcome::Refused { .. }));
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
