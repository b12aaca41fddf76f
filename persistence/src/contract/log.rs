//! Cases of a room's log and its marks.

use std::sync::Arc;

use bytes::Bytes;
use rookery_proto::{
    ids::{Epoch, Offset},
    shard::Shard,
};
use tokio::task::JoinSet;

use super::{
    CaseResult,
    fixture::{incarnation, log_write, mark_of, marking, message, room},
};
use crate::{EpochList, EventKind, LogRow, ShardKind, Store, TakeFrom, limits};

pub async fn commit_then_read_gives_the_same_rows(store: Arc<dyn Store>) -> CaseResult {
    let (room, other) = (room(), room());
    let rows: Vec<_> = (1..=5).map(|offset| message(offset, 1)).collect();
    let elsewhere = vec![message(1, 9)];
    let group = [
        log_write(&room, rows.clone()),
        log_write(&other, elsewhere.clone()),
    ];
    store.commit(&group).await?;
    assert_eq!(store.log_range(&room, Offset(1), Offset(5)).await?, rows);
    assert_eq!(store.log_tail(&room, 100).await?, rows);
    assert_eq!(store.log_tail(&other, 100).await?, elsewhere);
    Ok(())
}

pub async fn rows_of_all_epochs_are_kept_and_told_apart(store: Arc<dyn Store>) -> CaseResult {
    let room = room();
    let void = message(3, 1);
    let rows = vec![
        message(1, 1),
        message(2, 1),
        void.clone(),
        message(3, 2),
        message(4, 2),
    ];
    store.commit(&[log_write(&room, rows.clone())]).await?;
    let read = store.log_tail(&room, 10).await?;
    assert_eq!(read, rows);
    let list = EpochList::default()
        .claimed_by(Epoch(1), Offset(0))
        .claimed_by(Epoch(2), Offset(2));
    let voided: Vec<_> = read
        .into_iter()
        .filter(|row| !list.is_canonical(row.offset, row.epoch))
        .collect();
    assert_eq!(voided, [void]);
    Ok(())
}

pub async fn late_write_of_an_old_epoch_overwrites_nothing(store: Arc<dyn Store>) -> CaseResult {
    let room = room();
    let (newer, older) = (
        marking(2, 5, EventKind::Edited, 1),
        marking(2, 3, EventKind::Deleted, 1),
    );
    store
        .commit(&[log_write(&room, vec![message(1, 5), newer.clone()])])
        .await?;
    store
        .commit(&[log_write(&room, vec![message(1, 3), older.clone()])])
        .await?;
    let rows = vec![message(1, 3), message(1, 5), older.clone(), newer.clone()];
    assert_eq!(store.log_tail(&room, 10).await?, rows);
    let marks = store.marks(&room, Offset(1), Offset(1)).await?;
    assert_eq!(marks, [mark_of(&older), mark_of(&newer)]);
    Ok(())
}

pub async fn repeated_commit_changes_nothing(store: Arc<dyn Store>) -> CaseResult {
    let room = room();
    let rows = vec![
        message(1, 1),
        message(2, 1),
        marking(3, 1, EventKind::ReactionAdded, 2),
    ];
    let writes: Vec<_> = rows
        .iter()
        .map(|row| log_write(&room, vec![row.clone()]))
        .collect();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        for index in order {
            store.commit(&writes[index..=index]).await?;
        }
        store.commit(&writes).await?;
    }
    assert_eq!(store.log_tail(&room, 10).await?, rows);
    assert_eq!(
        store.marks(&room, Offset(0), Offset(9)).await?,
        [mark_of(&rows[2])]
    );
    Ok(())
}

pub async fn range_is_inclusive_and_ordered(store: Arc<dyn Store>) -> CaseResult {
    let room = room();
    let bucket = limits::BUCKET_OFFSETS;
    let edge = bucket - 3..=bucket + 3;
    let rows: Vec<_> = edge
        .flat_map(|offset| [message(offset, 4), message(offset, 10)])
        .collect();
    let mut backwards = rows.clone();
    backwards.reverse();
    for row in backwards {
        store.commit(&[log_write(&room, vec![row])]).await?;
    }
    let read = store
        .log_range(&room, Offset(bucket - 2), Offset(bucket + 1))
        .await?;
    assert_eq!(read, rows[2..10]);
    let widest = Offset(bucket - 2 + limits::LOG_READ_OFFSETS_MAX - 1);
    assert_eq!(
        store.log_range(&room, Offset(bucket - 2), widest).await?,
        rows[2..]
    );
    assert_eq!(store.log_range(&room, Offset(5), Offset(4)).await?, []);
    assert_eq!(store.log_range(&room, Offset(1), Offset(9)).await?, []);
    Ok(())
}

pub async fn tail_counts_offsets_across_gaps_and_epochs(store: Arc<dyn Store>) -> CaseResult {
    let room = room();
    let far = limits::BUCKET_OFFSETS + 7;
    let rows: Vec<_> = [(1, 1), (2, 1), (3, 1), (far, 1), (far, 2), (far + 1, 2)]
        .map(|(offset, epoch)| message(offset, epoch))
        .into();
    store.commit(&[log_write(&room, rows.clone())]).await?;
    for (offsets, first) in [(1, 5), (2, 3), (3, 2), (5, 0), (100, 0)] {
        assert_eq!(
            store.log_tail(&room, offsets).await?,
            rows[first..],
            "{offsets} offsets"
        );
    }
    assert_eq!(store.log_tail(&room, 0).await?, []);
    Ok(())
}

pub async fn large_events_come_back_whole(store: Arc<dyn Store>) -> CaseResult {
    let room = room();
    let sizes = [0, 1, 1_000, 4_095, 4_096, 64 * 1024];
    let rows: Vec<LogRow> = (1..)
        .zip(sizes)
        .map(|(offset, size): (u64, usize)| {
            let event: Bytes = (0..size).map(|byte| (byte % 251) as u8).collect();
            LogRow {
                event,
                ..marking(offset, 1, EventKind::Edited, 1)
            }
        })
        .collect();
    store.commit(&[log_write(&room, rows.clone())]).await?;
    assert_eq!(store.log_tail(&room, 10).await?, rows);
    let marks = store.marks(&room, Offset(1), Offset(1)).await?;
    assert_eq!(marks, rows.iter().map(mark_of).collect::<Vec<_>>());
    Ok(())
}

pub async fn concurrent_commits_are_all_there(store: Arc<dyn Store>) -> CaseResult {
    let rooms: Vec<_> = (0..8).map(|_| room()).collect();
    let mut commits = JoinSet::new();
    for offset in 1..=16 {
        for room in &rooms {
            let (store, room) = (Arc::clone(&store), room.clone());
            commits.spawn(async move {
                let row = message(offset, 1);
                store.commit(&[log_write(&room, vec![row.clone()])]).await?;
                // What has returned is seen at once, whatever else is under way.
                let read = store
                    .log_range(&room, Offset(offset), Offset(offset))
                    .await?;
                assert_eq!(read, [row]);
                Ok(())
            });
        }
    }
    commits
        .join_all()
        .await
        .into_iter()
        .collect::<CaseResult>()?;
    let rows: Vec<_> = (1..=16).map(|offset| message(offset, 1)).collect();
    for room in &rooms {
        assert_eq!(store.log_tail(room, 100).await?, rows);
    }
    Ok(())
}

pub async fn empty_commit_is_done(store: Arc<dyn Store>) -> CaseResult {
    let room = room();
    store.commit(&[]).await?;
    store.commit(&[log_write(&room, Vec::new())]).await?;
    assert_eq!(store.log_tail(&room, 10).await?, []);
    Ok(())
}

pub async fn marks_are_found_by_target(store: Arc<dyn Store>) -> CaseResult {
    let room = room();
    let rows = vec![
        marking(10, 1, EventKind::Edited, 2),
        marking(11, 1, EventKind::ReactionAdded, 5),
        marking(11, 2, EventKind::ReactionRemoved, 2),
        marking(12, 2, EventKind::Deleted, 2),
        marking(13, 2, EventKind::Edited, 7),
    ];
    store.commit(&[log_write(&room, rows.clone())]).await?;
    let expected = [&rows[0], &rows[2], &rows[3], &rows[1]].map(mark_of);
    assert_eq!(store.marks(&room, Offset(2), Offset(5)).await?, expected);
    assert_eq!(store.marks(&room, Offset(3), Offset(4)).await?, []);
    assert_eq!(
        store.marks(&room, Offset(7), Offset(7)).await?,
        [mark_of(&rows[4])]
    );
    Ok(())
}

pub async fn deletions_are_found_without_their_events(store: Arc<dyn Store>) -> CaseResult {
    let room = room();
    let rows = vec![
        marking(10, 1, EventKind::Deleted, 8),
        marking(11, 1, EventKind::Edited, 3),
        marking(12, 1, EventKind::Deleted, 3),
        marking(12, 2, EventKind::Deleted, 8),
    ];
    store.commit(&[log_write(&room, rows)]).await?;
    let expected = [(3, 12, 1), (8, 10, 1), (8, 12, 2)]
        .map(|(target, offset, epoch)| (Offset(target), Offset(offset), Epoch(epoch)));
    assert_eq!(store.deletions(&room).await?, expected);
    Ok(())
}

/// A store that cannot tell says so; one that does must be right.
pub async fn commit_as_somebody_tells_only_what_the_fence_says(
    store: Arc<dyn Store>,
) -> CaseResult {
    let (former, next, unknown) = (incarnation(), incarnation(), incarnation());
    let (room, shard) = (room(), Shard::of("commit as somebody"));
    let group = |offset| Arc::from([log_write(&room, vec![message(offset, 1)])]);
    store.register_node("node-a", former).await?;
    store.register_node("node-b", next).await?;
    let told = |fenced: bool, told: Option<bool>| told.is_none_or(|told| told == fenced);
    assert!(told(false, store.commit_as(former, &group(1)).await?));
    for taker in [former, next] {
        let from = TakeFrom::Anyone;
        store
            .take_shard(ShardKind::Rooms, shard, "node", taker, from)
            .await?;
    }
    assert!(told(true, store.commit_as(former, &group(2)).await?));
    assert!(told(false, store.commit_as(next, &group(3)).await?));
    assert!(told(true, store.commit_as(unknown, &group(4)).await?));
    assert!(told(true, store.commit_as(former, &Arc::from([])).await?));
    // What somebody who is fenced writes is there all the same; nobody relies on it.
    let rows = store.log_range(&room, Offset(1), Offset(4)).await?;
    assert_eq!(rows, (1..=4).map(|at| message(at, 1)).collect::<Vec<_>>());
    Ok(())
}
