//! Who asked for each event of the log?

use super::{RoomJudge, attempts::NONE};
use crate::checker::{
    content::{Change, Kind},
    facts::{Outcome, answers_without_offset},
    report::Verdict,
};

impl RoomJudge<'_> {
    /// Who asked for the event at this offset?
    pub(super) fn event(&mut self, offset: u64) {
        let Some(entry) = self.log.entry(offset).copied() else {
            if !self.is_promised(offset) {
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
            if !self.is_promised(offset) {
                self.wrong(Verdict::Phantom, what);
            }
            return;
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

    /// Whether something was acknowledged there. If it is not what the log holds, it is lost, and that
    /// is said instead of what the log holds.
    fn is_promised(&self, offset: u64) -> bool {
        self.acked(offset).next().is_some() || (offset == 1 && self.opened)
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
}
