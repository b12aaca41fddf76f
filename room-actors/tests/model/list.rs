//! The epoch list in 16 bits: which epoch's row counts at each of four offsets.
//!
//! `tests` holds it against [`rookery_persistence::EpochList`], which the servers use.

use super::state::{Epoch, OFFSETS_MAX, Offset, row};

/// A whole list: four bits for each offset hold the epoch whose row counts there, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct List(u16);

impl List {
    pub(crate) fn epoch_at(self, offset: Offset) -> Epoch {
        ((self.0 >> (4 * (offset - 1))) & 15) as Epoch
    }

    /// The list a new owner writes: this one cut behind `head`, then its own epoch.
    pub(crate) fn claimed_by(self, epoch: Epoch, head: Offset) -> Self {
        let kept = ((1_u32 << (4 * head)) - 1) as u16;
        let own = u16::from(epoch) * 0x1111;
        Self(self.0 & kept | own & !kept)
    }

    /// The last offset of the contiguous prefix of rows that count.
    pub(crate) fn head_in(self, rows: u64) -> Offset {
        let mut head = 0;
        while head < OFFSETS_MAX {
            let epoch = self.epoch_at(head + 1);
            if epoch == 0 || rows & row(head + 1, epoch) == 0 {
                break;
            }
            head += 1;
        }
        head
    }

    /// The rows that count up to `head`.
    pub(crate) fn rows_to(self, head: Offset) -> u64 {
        let mut rows = 0;
        let mut offset = 1;
        while offset <= head {
            rows |= row(offset, self.epoch_at(offset));
            offset += 1;
        }
        rows
    }

    /// The weaker rule: at each offset the highest epoch that any entry of any list gives.
    pub(crate) fn merged(lists: &[Self]) -> Self {
        let mut merged = 0;
        let mut highest = 0;
        for offset in 1..=OFFSETS_MAX {
            for list in lists {
                highest = highest.max(list.epoch_at(offset));
            }
            merged |= u16::from(highest) << (4 * (offset - 1));
        }
        Self(merged)
    }

    /// The weaker rule: at each offset the highest epoch of the rows seen.
    pub(crate) fn highest_of(rows: u64) -> Self {
        let mut list = 0;
        for offset in 1..=OFFSETS_MAX {
            let epochs = (rows >> (4 * (offset - 1))) & 15;
            let highest = 64 - epochs.leading_zeros();
            list |= (highest as u16) << (4 * (offset - 1));
        }
        Self(list)
    }
}

#[cfg(test)]
mod tests {
    use rookery_persistence::EpochList;
    use rookery_proto::ids;

    use super::*;
    use crate::{state::OWNERS_MAX, walk::Random};

    /// What `room/wake.rs` adopts, in the words of [`EpochList`].
    fn adopted(list: &EpochList, rows: u64) -> Offset {
        let counts = |offset: Offset| {
            (1..=OWNERS_MAX).any(|epoch| {
                rows & row(offset, epoch) != 0
                    && list.is_canonical(ids::Offset(offset.into()), ids::Epoch(epoch.into()))
            })
        };
        (1..=OFFSETS_MAX)
            .take_while(|&offset| counts(offset))
            .count() as Offset
    }

    fn check_same(list: List, real: &EpochList) {
        for offset in 1..=OFFSETS_MAX {
            let epoch = real.epoch_at(ids::Offset(offset.into()));
            let epoch = epoch.map_or(0, |epoch| epoch.0);
            assert_eq!(
                u64::from(list.epoch_at(offset)),
                epoch,
                "{real:?} at {offset}"
            );
        }
    }

    #[test]
    fn model_and_epoch_list_decide_alike_in_random_takeovers() {
        let mut random = Random::new(7);
        for _ in 0..20_000 {
            let (mut list, mut real) = (List::default(), EpochList::default());
            for epoch in 1..=OWNERS_MAX {
                if random.below(4) == 0 {
                    continue;
                }
                // Dense tails are rare among random bits: or-ing two makes them common.
                let rows = (random.next() | random.next()) & 0xffff;
                let head = list.head_in(rows);
                assert_eq!(head, adopted(&real, rows), "{real:?} over rows {rows:#x}");
                list = list.claimed_by(epoch, head);
                real = real.claimed_by(ids::Epoch(epoch.into()), ids::Offset(head.into()));
                check_same(list, &real);
            }
        }
    }

    #[test]
    fn rows_to_head_are_those_that_count() {
        let list = List::default().claimed_by(1, 0).claimed_by(3, 2);
        assert_eq!(list.rows_to(3), row(1, 1) | row(2, 1) | row(3, 3));
        assert_eq!(list.head_in(list.rows_to(3)), 3);
    }

    #[test]
    fn merged_lists_take_the_highest_epoch_that_began() {
        let old = List::default().claimed_by(1, 0).claimed_by(2, 1);
        let new = List::default().claimed_by(1, 0).claimed_by(3, 3);
        let merged = List::merged(&[old, new]);
        let epochs: Vec<_> = (1..=OFFSETS_MAX).map(|at| merged.epoch_at(at)).collect();
        assert_eq!(epochs, [1, 2, 2, 3]);
    }

    #[test]
    fn highest_epoch_is_taken_offset_by_offset() {
        let list = List::highest_of(row(1, 1) | row(1, 3) | row(2, 2));
        assert_eq!(
            (list.epoch_at(1), list.epoch_at(2), list.epoch_at(3)),
            (3, 2, 0)
        );
    }
}
