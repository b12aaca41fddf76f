//! Cases of what is found by user, and of the end.

use std::sync::Arc;

use rookery_proto::{
    ids::{Epoch, Offset, RoomId},
    shard::Shard,
    v1::member::Role,
};

use super::{
    CaseResult,
    fixture::{incarnation, log_write, membership, message, room, user},
};
use crate::{
    EpochList, RoomWrite, ShardKind, Store, StoreError, TakeFrom, UserRoomRow, UserRow,
    ownership::Owner,
};

pub async fn user_rooms_tell_the_newest_row_in_pages(store: Arc<dyn Store>) -> CaseResult {
    let (ada, bob) = (user(), user());
    let mut rooms: Vec<RoomId> = (0..7).map(|_| room()).collect();
    rooms.sort();
    for (index, room) in rooms.iter().enumerate() {
        // The newest row comes first, and one of an older epoch last.
        let members = vec![
            membership(&ada, 8, 3, index.is_multiple_of(2).then_some(Role::Member)),
            membership(&bob, 9, 3, Some(Role::Member)),
            membership(&ada, 2, 1, Some(Role::Owner)),
            membership(&ada, 8, 2, None),
        ];
        store
            .commit(&[RoomWrite {
                members,
                ..RoomWrite::new(room.clone())
            }])
            .await?;
    }
    let row = |index: usize| UserRoomRow {
        room: rooms[index].clone(),
        offset: Offset(8),
        epoch: Epoch(3),
        member: index.is_multiple_of(2),
    };
    let all: Vec<_> = (0..7).map(row).collect();
    assert_eq!(store.user_rooms(&ada, None, 100).await?, all);
    assert_eq!(store.user_rooms(&ada, None, 3).await?, all[..3]);
    assert_eq!(store.user_rooms(&ada, Some(&rooms[2]), 3).await?, all[3..6]);
    assert_eq!(store.user_rooms(&ada, Some(&rooms[5]), 3).await?, all[6..]);
    assert_eq!(store.user_rooms(&ada, Some(&rooms[6]), 3).await?, []);
    assert_eq!(store.user_rooms(&user(), None, 3).await?, []);
    Ok(())
}

pub async fn last_seen_never_moves_back(store: Arc<dyn Store>) -> CaseResult {
    let ada = user();
    assert_eq!(store.user(&ada).await?, UserRow::default());
    for last_seen_ms in [1_800_000_000_000, 1_800_000_000_500, 1_800_000_000_200] {
        store.put_last_seen(&ada, last_seen_ms).await?;
    }
    assert_eq!(
        store.user(&ada).await?,
        UserRow {
            last_seen_ms: 1_800_000_000_500
        }
    );
    Ok(())
}

pub async fn closed_store_refuses_everything(store: Arc<dyn Store>) -> CaseResult {
    let (room, ada, incarnation) = (room(), user(), incarnation());
    store
        .commit(&[log_write(&room, vec![message(1, 1)])])
        .await?;
    store.close().await;
    store.close().await;
    let list = EpochList::default().claimed_by(Epoch(1), Offset(0));
    let (kind, shard) = (ShardKind::Rooms, Shard::of("closed"));
    let epoch = Epoch(1);
    let owner = Owner { incarnation, epoch };
    let answers = [
        store.register_node("node-a", incarnation).await,
        store
            .take_shard(kind, shard, "node-a", incarnation, TakeFrom::Anyone)
            .await
            .map(drop),
        store
            .release_shard(kind, shard, incarnation, Epoch(1))
            .await,
        store
            .give_shard(kind, shard, owner, "node-b", incarnation)
            .await
            .map(drop),
        store.is_fenced(incarnation).await.map(drop),
        store.commit(&[log_write(&room, vec![message(2, 1)])]).await,
        store.room_epochs(&room).await.map(drop),
        store.put_room_epochs(&room, &list).await,
        store.log_tail(&room, 1).await.map(drop),
        store.log_range(&room, Offset(1), Offset(1)).await.map(drop),
        store.marks(&room, Offset(1), Offset(1)).await.map(drop),
        store.deletions(&room).await.map(drop),
        store.settings(&room).await.map(drop),
        store.members(&room).await.map(drop),
        store.cursors(&room).await.map(drop),
        store.sent_ids(&room, &ada, 0, 1).await.map(drop),
        store.sent_id(&room, &ada, "id").await.map(drop),
        store.user_rooms(&ada, None, 1).await.map(drop),
        store.user(&ada).await.map(drop),
        store.put_last_seen(&ada, 1).await,
        store.expire_sent_ids(1, 1).await.map(drop),
    ];
    for (index, answer) in answers.into_iter().enumerate() {
        assert!(
            matches!(answer, Err(StoreError::Closed)),
            "call {index}: {answer:?}"
        );
    }
    Ok(())
}
