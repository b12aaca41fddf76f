//! Cases of epoch lists, shards and fences.

use std::{collections::HashSet, sync::Arc};

use rookery_proto::{
    ids::{Epoch, Offset},
    shard::Shard,
};
use tokio::task::JoinSet;

use super::{
    CaseResult,
    fixture::{incarnation, room},
};
use crate::{EpochList, Store};

fn list(entries: &[(u64, u64)]) -> EpochList {
    let entries = entries
        .iter()
        .map(|&(epoch, first)| (Epoch(epoch), Offset(first)))
        .collect();
    EpochList::from_entries(entries).expect("the case names a sound list")
}

pub async fn epoch_list_with_the_highest_last_epoch_wins(store: Arc<dyn Store>) -> CaseResult {
    let (room, other) = (room(), room());
    let (first, second, third) = (
        list(&[(1, 1)]),
        list(&[(1, 1), (2, 8), (5, 9)]),
        list(&[(1, 1), (12, 4)]),
    );
    store.put_room_epochs(&room, &first).await?;
    assert_eq!(store.room_epochs(&room).await?, first);
    store.put_room_epochs(&room, &third).await?;
    assert_eq!(store.room_epochs(&room).await?, third);
    // A late list of an old owner wins nothing, and nothing of it is merged.
    store.put_room_epochs(&room, &second).await?;
    store.put_room_epochs(&room, &first).await?;
    assert_eq!(store.room_epochs(&room).await?, third);
    store.put_room_epochs(&room, &third).await?;
    assert_eq!(store.room_epochs(&room).await?, third);
    assert_eq!(store.room_epochs(&other).await?, EpochList::default());
    Ok(())
}

pub async fn epoch_list_is_never_replaced_by_another(store: Arc<dyn Store>) -> CaseResult {
    let room = room();
    let long: Vec<_> = (1..=500).map(|epoch| (epoch * 7, epoch * 3)).collect();
    let (longer, shorter) = (list(&long), list(&[(7, 3), (3_499, 9)]));
    store.put_room_epochs(&room, &longer).await?;
    store.put_room_epochs(&room, &shorter).await?;
    assert_eq!(store.room_epochs(&room).await?, longer);
    Ok(())
}

pub async fn shard_epochs_ascend_and_fence_the_former_owner(store: Arc<dyn Store>) -> CaseResult {
    let shard = Shard::of("fencing");
    let owners = [incarnation(), incarnation(), incarnation()];
    let mut last = Epoch(0);
    for (index, &owner) in owners.iter().enumerate() {
        store.register_node("node-a", owner).await?;
        let epoch = store.take_shard(shard, "node-a", owner).await?;
        assert!(epoch > last, "{epoch} after {last}");
        last = epoch;
        for (earlier, &incarnation) in owners[..=index].iter().enumerate() {
            assert_eq!(
                store.is_fenced(incarnation).await?,
                earlier < index,
                "owner {earlier}"
            );
        }
    }
    Ok(())
}

pub async fn shard_taken_again_by_its_owner_fences_nobody(store: Arc<dyn Store>) -> CaseResult {
    let (shard, owner) = (Shard::of("taken again"), incarnation());
    store.register_node("node-a", owner).await?;
    let first = store.take_shard(shard, "node-a", owner).await?;
    let second = store.take_shard(shard, "node-a", owner).await?;
    assert!(second > first);
    assert!(!store.is_fenced(owner).await?);
    Ok(())
}

pub async fn unregistered_incarnation_is_fenced(store: Arc<dyn Store>) -> CaseResult {
    let (known, unknown) = (incarnation(), incarnation());
    store.register_node("node-a", known).await?;
    assert!(!store.is_fenced(known).await?);
    assert!(store.is_fenced(unknown).await?);
    Ok(())
}

pub async fn registering_again_lifts_no_fence(store: Arc<dyn Store>) -> CaseResult {
    let (shard, old, new) = (Shard::of("register again"), incarnation(), incarnation());
    store.register_node("node-a", old).await?;
    store.register_node("node-a", old).await?;
    assert!(!store.is_fenced(old).await?);
    store.take_shard(shard, "node-a", old).await?;
    store.register_node("node-b", new).await?;
    store.take_shard(shard, "node-b", new).await?;
    store.register_node("node-a", old).await?;
    assert!(store.is_fenced(old).await?);
    assert!(!store.is_fenced(new).await?);
    Ok(())
}

pub async fn concurrent_takers_get_different_epochs(store: Arc<dyn Store>) -> CaseResult {
    let (shard, owner) = (Shard::of("many takers"), incarnation());
    store.register_node("node-a", owner).await?;
    let mut takers = JoinSet::new();
    for _ in 0..16 {
        let store = Arc::clone(&store);
        takers.spawn(async move { store.take_shard(shard, "node-a", owner).await });
    }
    let epochs = takers
        .join_all()
        .await
        .into_iter()
        .collect::<Result<HashSet<_>, _>>()?;
    assert_eq!(epochs.len(), 16);
    let highest = epochs.into_iter().max().expect("sixteen of them");
    assert!(store.take_shard(shard, "node-a", owner).await? > highest);
    Ok(())
}

pub async fn many_nodes_at_one_shard_leave_only_its_owner_unfenced(
    store: Arc<dyn Store>,
) -> CaseResult {
    let shard = Shard::of("many nodes");
    let mut takers = JoinSet::new();
    for _ in 0..8 {
        let (store, owner) = (Arc::clone(&store), incarnation());
        takers.spawn(async move {
            store.register_node("node-a", owner).await?;
            let epoch = store.take_shard(shard, "node-a", owner).await?;
            Ok((epoch, owner))
        });
    }
    let mut owners = takers
        .join_all()
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    owners.sort();
    let last = owners.len() - 1;
    for (index, (epoch, owner)) in owners.iter().enumerate() {
        assert!(index == 0 || owners[index - 1].0 < *epoch, "{owners:?}");
        assert_eq!(
            store.is_fenced(*owner).await?,
            index < last,
            "owner of epoch {epoch}"
        );
    }
    Ok(())
}
