//! Waking: whatever rows and lists are there, the adopted prefix is dense and canonical.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use rookery_persistence::{EpochList, EventKind, LogRow};
use rookery_proto::ids::{Epoch, Offset};

use crate::{
    limits::WAKE_TAIL_OFFSETS,
    room::wake::{RecoverError, recover},
};

fn row(offset: u64, epoch: u64) -> LogRow {
    LogRow {
        offset: Offset(offset),
        epoch: Epoch(epoch),
        kind: EventKind::Message,
        message_count: offset,
        target: Offset::ZERO,
        event: Bytes::new(),
    }
}

fn list(entries: &[(u64, u64)]) -> EpochList {
    let entries = entries
        .iter()
        .map(|&(epoch, first)| (Epoch(epoch), Offset(first)));
    EpochList::from_entries(entries.collect()).unwrap()
}

fn check_recover(
    entries: &[(u64, u64)],
    rows: &[(u64, u64)],
    own: u64,
    adopted: &[(u64, u64)],
    claimed: &[(u64, u64)],
) {
    let tail = rows
        .iter()
        .map(|&(offset, epoch)| row(offset, epoch))
        .collect();
    let recovery = recover(list(entries), tail, WAKE_TAIL_OFFSETS, Epoch(own)).unwrap();
    let got: Vec<_> = recovery
        .adopted
        .iter()
        .map(|row| (row.offset.0, row.epoch.0))
        .collect();
    assert_eq!(got, adopted);
    assert_eq!(recovery.epochs, list(claimed));
    assert_eq!(recovery.claim.is_some(), claimed != entries);
}

#[test]
fn new_room_is_claimed_from_its_first_offset() {
    check_recover(&[], &[], 3, &[], &[(3, 1)]);
}

#[test]
fn same_epoch_only_loads() {
    check_recover(
        &[(3, 1)],
        &[(1, 3), (2, 3)],
        3,
        &[(1, 3), (2, 3)],
        &[(3, 1)],
    );
}

#[test]
fn row_behind_a_hole_is_void_for_ever() {
    check_recover(
        &[(1, 1)],
        &[(1, 1), (2, 1), (4, 1)],
        2,
        &[(1, 1), (2, 1)],
        &[(1, 1), (2, 3)],
    );
}

#[test]
fn late_row_of_an_old_owner_is_not_adopted() {
    check_recover(
        &[(1, 1), (2, 3)],
        &[(1, 1), (2, 1), (3, 1), (3, 2), (4, 1)],
        5,
        &[(1, 1), (2, 1), (3, 2)],
        &[(1, 1), (2, 3), (5, 4)],
    );
}

#[test]
fn claim_that_appended_nothing_is_cut() {
    check_recover(
        &[(1, 1), (2, 3)],
        &[(1, 1), (2, 1)],
        4,
        &[(1, 1), (2, 1)],
        &[(1, 1), (4, 3)],
    );
}

#[test]
fn room_of_a_later_owner_is_left_alone() {
    let error = recover(list(&[(4, 1)]), Vec::new(), WAKE_TAIL_OFFSETS, Epoch(3)).unwrap_err();
    assert_eq!(
        error,
        RecoverError::Superseded {
            own: Epoch(3),
            claimed: Epoch(4)
        }
    );
}

#[test]
fn tail_without_a_canonical_row_where_one_must_be_is_not_sound() {
    let error = recover(
        list(&[(1, 1)]),
        vec![row(5_000, 2)],
        WAKE_TAIL_OFFSETS,
        Epoch(3),
    )
    .unwrap_err();
    let offset = Offset(5_001 - u64::from(WAKE_TAIL_OFFSETS));
    assert_eq!(error, RecoverError::Hole { offset });
}

#[test]
fn void_rows_without_a_first_event_leave_an_empty_room() {
    check_recover(&[(1, 1)], &[(2, 1), (3, 1)], 2, &[], &[(2, 1)]);
}

proptest! {
    /// Owners one after another: each adopts, claims, appends; some of its rows never land, some
    /// land only after its successor has claimed.
    #[test]
    fn owners_in_a_row_keep_what_was_acknowledged(
        owners in vec((0..6_usize, vec(0..3_u8, 0..6)), 1..6),
    ) {
        let mut rows: Vec<LogRow> = Vec::new();
        let mut late: Vec<LogRow> = Vec::new();
        let mut winning = EpochList::default();
        // What every later owner must find: (offset, epoch).
        let mut acknowledged: Vec<(u64, u64)> = Vec::new();
        for (index, (acked, fates)) in owners.into_iter().enumerate() {
            let epoch = index as u64 + 1;
            rows.sort_by_key(|row| (row.offset, row.epoch));
            let recovery = recover(winning.clone(), rows.clone(), WAKE_TAIL_OFFSETS, Epoch(epoch)).unwrap();
            let adopted: Vec<_> =
                recovery.adopted.iter().map(|row| (row.offset.0, row.epoch.0)).collect();
            let head = adopted.len() as u64;
            for (at, (offset, epoch)) in (1..).zip(&adopted) {
                prop_assert_eq!(*offset, at, "dense");
                prop_assert!(winning.is_canonical(Offset(*offset), Epoch(*epoch)));
            }
            prop_assert!(adopted.starts_with(&acknowledged), "{:?} lost of {:?}", adopted, acknowledged);
            let claim = recovery.claim.expect("a new epoch claims");
            prop_assert!(claim.rewrite_from <= adopted.len());
            winning = recovery.epochs;
            prop_assert!(winning.is_canonical(Offset(head + 1), Epoch(epoch)));
            prop_assert!(!winning.is_canonical(Offset(head), Epoch(epoch)));
            // Adopted rows are served from here on.
            acknowledged = adopted;
            rows.append(&mut late);
            // Acknowledged ones landed; of those behind some landed, some land late, some never.
            for offset in head + 1..=head + acked as u64 {
                rows.push(row(offset, epoch));
                acknowledged.push((offset, epoch));
            }
            for (at, fate) in (head + acked as u64 + 1..).zip(fates) {
                match fate {
                    0 => rows.push(row(at, epoch)),
                    1 => late.push(row(at, epoch)),
                    _ => {}
                }
            }
        }
    }
}
