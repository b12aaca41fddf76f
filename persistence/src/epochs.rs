//! Which of several rows at one offset counts.

use rookery_proto::ids::{Epoch, Offset};

/// A room's whole list of (epoch, first offset), as its newest owner wrote it.
///
/// The list with the highest last epoch wins as a whole; entries of different lists are never
/// merged. A row is canonical when its epoch is the one the list gives for its offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochList {
    /// Ascending in both; empty for a room that no one has owned.
    entries: Vec<(Epoch, Offset)>,
}

impl EpochList {
    /// Takes the entries of one stored list.
    ///
    /// Returns `None` unless epochs strictly ascend and first offsets never descend.
    #[must_use]
    pub fn from_entries(entries: Vec<(Epoch, Offset)>) -> Option<Self> {
        entries
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1)
            .then_some(Self { entries })
    }

    /// The entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[(Epoch, Offset)] {
        &self.entries
    }

    /// The epoch that claimed the room last.
    #[must_use]
    pub fn last_epoch(&self) -> Option<Epoch> {
        self.entries.last().map(|entry| entry.0)
    }

    /// The epoch whose row counts at this offset.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<Epoch> {
        let after = self.entries.partition_point(|entry| entry.1 <= offset);
        after.checked_sub(1).map(|index| self.entries[index].0)
    }

    /// Whether the row of that epoch at that offset counts.
    #[must_use]
    pub fn is_canonical(&self, offset: Offset, epoch: Epoch) -> bool {
        self.epoch_at(offset) == Some(epoch)
    }

    /// The list a new owner writes: this one cut behind `head`, then (epoch, head + 1).
    ///
    /// # Panics
    /// When `epoch` is not larger than every epoch of the list: the caller does not own the room.
    #[must_use]
    pub fn claimed_by(&self, epoch: Epoch, head: Offset) -> Self {
        assert!(
            self.last_epoch() < Some(epoch),
            "a claim needs a larger epoch than the last"
        );
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .copied()
            .filter(|entry| entry.1 <= head)
            .collect();
        entries.push((epoch, head.next()));
        Self { entries }
    }

    /// As it is stored: "epoch:first epoch:first …".
    pub(crate) fn to_text(&self) -> String {
        let entries: Vec<_> = self
            .entries
            .iter()
            .map(|(epoch, first)| format!("{epoch}:{first}"))
            .collect();
        entries.join(" ")
    }

    /// From its stored text; `None` when that is not sound.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let entries = text.split(' ').map(|entry| {
            let (epoch, first) = entry.split_once(':')?;
            Some((Epoch(epoch.parse().ok()?), Offset(first.parse().ok()?)))
        });
        Self::from_entries(entries.collect::<Option<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u64, u64)]) -> EpochList {
        let entries = entries
            .iter()
            .map(|&(epoch, first)| (Epoch(epoch), Offset(first)))
            .collect();
        EpochList::from_entries(entries).unwrap()
    }

    #[test]
    fn row_counts_only_under_the_epoch_of_its_offset() {
        let list = list(&[(1, 1), (3, 5)]);
        assert!(list.is_canonical(Offset(4), Epoch(1)));
        assert!(!list.is_canonical(Offset(5), Epoch(1)));
        assert!(list.is_canonical(Offset(5), Epoch(3)));
        assert!(!list.is_canonical(Offset(0), Epoch(1)));
    }

    #[test]
    fn claim_cuts_what_begins_behind_the_adopted_prefix() {
        let claimed = list(&[(1, 1), (3, 5), (4, 9)]).claimed_by(Epoch(7), Offset(6));
        assert_eq!(claimed, list(&[(1, 1), (3, 5), (7, 7)]));
    }

    #[test]
    fn list_out_of_order_is_refused() {
        let entries = vec![(Epoch(2), Offset(1)), (Epoch(1), Offset(4))];
        assert_eq!(EpochList::from_entries(entries), None);
    }

    #[test]
    fn epoch_list_survives_its_text() {
        let list = EpochList::default()
            .claimed_by(Epoch(1), Offset(0))
            .claimed_by(Epoch(7), Offset(40));
        assert_eq!(list.to_text(), "1:1 7:41");
        assert_eq!(EpochList::from_text("1:1 7:41"), Some(list));
    }

    #[test]
    fn damaged_list_text_is_refused() {
        for text in [
            "", "1", "1:", "1:1  2:2", "2:1 1:3", "1:9 2:3", "x:1", "-1:1",
        ] {
            assert_eq!(EpochList::from_text(text), None, "{text:?}");
        }
    }
}
