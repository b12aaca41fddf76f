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
use crate::{
    Claim, EpochList, Incarnation,
    ShardKind::{self, Presence, Rooms},
    Store, StoreError, TakeFrom,
    ownership::Owner,
};

/// Takes a shard that cannot be refused.
async fn take(
    store: &dyn Store,
    kind: ShardKind,
    shard: Shard,
    owner: Incarnation,
    from: TakeFrom,
) -> Result<Epoch, StoreError> {
    match store.take_shard(kind, shard, "node-a", owner, from).await? {
        Claim::Taken(epoch) => Ok(epoch),
        refused @ Claim::Refused { .. } => panic!("{from:?}: {refused:?}"),
    }
}

/// Incarnations that are registered.
async fn registered<const N: usize>(store: &dyn Store) -> Result<[Incarnation; N], StoreError> {
    let all = std::array::from_fn(|_| incarnation());
    for incarnation in all {
        store.register_node("node-a", incarnation).await?;
    }
    Ok(all)
}

/// A shard that nobody has, of some epoch: stores of several cases may share one database.
async fn free_shard(store: &dyn Store, kind: ShardKind, name: &str) -> Result<Shard, StoreError> {
    let (shard, former) = (Shard::of(name), incarnation());
    let epoch = take(store, kind, shard, former, TakeFrom::Anyone).await?;
    store.release_shard(kind, shard, former, epoch).await?;
    Ok(shard)
}

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
    let owners = registered::<3>(&*store).await?;
    let mut last = Epoch(0);
    for (index, &owner) in owners.iter().enumerate() {
        let epoch = take(&*store, Rooms, shard, owner, TakeFrom::Anyone).await?;
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

pub async fn free_shard_is_taken_from_nobody(store: Arc<dyn Store>) -> CaseResult {
    let shard = free_shard(&*store, Rooms, "free").await?;
    let [owner] = registered(&*store).await?;
    let first = take(&*store, Rooms, shard, owner, TakeFrom::Nobody).await?;
    assert!(first > Epoch(1), "{first} after one that was released");
    Ok(())
}

pub async fn shard_of_another_is_refused_and_nobody_is_fenced(store: Arc<dyn Store>) -> CaseResult {
    let shard = free_shard(&*store, Rooms, "refused").await?;
    let [owner, other, third] = registered(&*store).await?;
    let epoch = take(&*store, Rooms, shard, owner, TakeFrom::Nobody).await?;
    for from in [
        TakeFrom::Nobody,
        TakeFrom::Owner(other),
        TakeFrom::Owner(third),
    ] {
        let claim = store
            .take_shard(Rooms, shard, "node-b", other, from)
            .await?;
        assert_eq!(claim, Claim::Refused { owner, epoch }, "{from:?}");
    }
    for incarnation in [owner, other, third] {
        assert!(!store.is_fenced(incarnation).await?, "{incarnation:?}");
    }
    // And it is still its owner's.
    let again = take(&*store, Rooms, shard, owner, TakeFrom::Owner(owner)).await?;
    assert_eq!(again, Epoch(epoch.0 + 1));
    Ok(())
}

pub async fn shard_taken_from_its_dead_owner_fences_that_one(store: Arc<dyn Store>) -> CaseResult {
    let shard = free_shard(&*store, Rooms, "dead").await?;
    let [dead, next] = registered(&*store).await?;
    let before = take(&*store, Rooms, shard, dead, TakeFrom::Nobody).await?;
    let after = take(&*store, Rooms, shard, next, TakeFrom::Owner(dead)).await?;
    assert!(after > before);
    assert!(store.is_fenced(dead).await?);
    assert!(!store.is_fenced(next).await?);
    // Who was dead and comes back gets nothing by that name.
    let late = TakeFrom::Owner(dead);
    let claim = store.take_shard(Rooms, shard, "node-a", dead, late).await?;
    let (owner, epoch) = (next, after);
    assert_eq!(claim, Claim::Refused { owner, epoch });
    Ok(())
}

pub async fn second_shard_of_a_dead_owner_is_taken_too(store: Arc<dyn Store>) -> CaseResult {
    let [dead, next] = registered(&*store).await?;
    let mut shards = Vec::new();
    for name in ["dead one", "dead two", "dead three"] {
        let shard = free_shard(&*store, Rooms, name).await?;
        take(&*store, Rooms, shard, dead, TakeFrom::Nobody).await?;
        shards.push(shard);
    }
    for shard in shards {
        take(&*store, Rooms, shard, next, TakeFrom::Owner(dead)).await?;
    }
    assert!(store.is_fenced(dead).await?);
    assert!(!store.is_fenced(next).await?);
    Ok(())
}

pub async fn shard_taken_again_by_its_owner_fences_nobody(store: Arc<dyn Store>) -> CaseResult {
    let shard = free_shard(&*store, Rooms, "taken again").await?;
    let [owner] = registered(&*store).await?;
    let mut last = take(&*store, Rooms, shard, owner, TakeFrom::Nobody).await?;
    // From nobody again: that is how an unknown outcome is asked for.
    for from in [
        TakeFrom::Nobody,
        TakeFrom::Owner(owner),
        TakeFrom::Owner(incarnation()),
        TakeFrom::Anyone,
    ] {
        let epoch = take(&*store, Rooms, shard, owner, from).await?;
        assert!(epoch > last, "{from:?}: {epoch} after {last}");
        last = epoch;
    }
    assert!(!store.is_fenced(owner).await?);
    Ok(())
}

pub async fn released_shard_is_free_and_keeps_its_epoch(store: Arc<dyn Store>) -> CaseResult {
    let shard = free_shard(&*store, Rooms, "released").await?;
    let [first, second] = registered(&*store).await?;
    let epoch = take(&*store, Rooms, shard, first, TakeFrom::Nobody).await?;
    store.release_shard(Rooms, shard, first, epoch).await?;
    let next = take(&*store, Rooms, shard, second, TakeFrom::Nobody).await?;
    assert_eq!(next, Epoch(epoch.0 + 1));
    assert!(!store.is_fenced(first).await?, "it gave the shard back");
    Ok(())
}

pub async fn release_of_what_one_does_not_own_does_nothing(store: Arc<dyn Store>) -> CaseResult {
    let shard = free_shard(&*store, Rooms, "not owned").await?;
    let [former, owner, other] = registered(&*store).await?;
    let old = take(&*store, Rooms, shard, former, TakeFrom::Nobody).await?;
    store.release_shard(Rooms, shard, former, old).await?;
    let epoch = take(&*store, Rooms, shard, owner, TakeFrom::Nobody).await?;
    // A second time, of another's, under another epoch, of another kind.
    store.release_shard(Rooms, shard, former, old).await?;
    store.release_shard(Rooms, shard, former, epoch).await?;
    store.release_shard(Rooms, shard, owner, old).await?;
    store.release_shard(Presence, shard, owner, epoch).await?;
    let from = TakeFrom::Nobody;
    let claim = store
        .take_shard(Rooms, shard, "node-b", other, from)
        .await?;
    assert_eq!(claim, Claim::Refused { owner, epoch });
    Ok(())
}

pub async fn given_shard_is_the_next_owners_under_the_next_epoch(
    store: Arc<dyn Store>,
) -> CaseResult {
    for kind in ShardKind::ALL {
        let shard = free_shard(&*store, kind, "given").await?;
        let [giver, next, other] = registered(&*store).await?;
        let epoch = take(&*store, kind, shard, giver, TakeFrom::Nobody).await?;
        let given = Owner {
            incarnation: giver,
            epoch,
        };
        // The second time as after an answer that was lost.
        for _ in 0..2 {
            assert!(store.give_shard(kind, shard, given, "node-b", next).await?);
        }
        let from = TakeFrom::Nobody;
        let claim = store.take_shard(kind, shard, "node-c", other, from).await?;
        let (owner, epoch) = (next, Epoch(epoch.0 + 1));
        assert_eq!(claim, Claim::Refused { owner, epoch });
        // As who was not told does.
        let again = take(&*store, kind, shard, next, from).await?;
        assert_eq!(again, Epoch(epoch.0 + 1));
        for incarnation in [giver, next, other] {
            assert!(!store.is_fenced(incarnation).await?, "{incarnation:?}");
        }
    }
    Ok(())
}

pub async fn gift_of_what_one_does_not_own_does_nothing(store: Arc<dyn Store>) -> CaseResult {
    let shard = free_shard(&*store, Rooms, "not to give").await?;
    let [former, owner, other] = registered(&*store).await?;
    let old = take(&*store, Rooms, shard, former, TakeFrom::Nobody).await?;
    let epoch = take(&*store, Rooms, shard, owner, TakeFrom::Owner(former)).await?;
    // A former owner's, of another epoch, another's, of another kind.
    for (kind, incarnation, epoch) in [
        (Rooms, former, old),
        (Rooms, owner, old),
        (Rooms, former, epoch),
        (Presence, owner, epoch),
    ] {
        let not_its = Owner { incarnation, epoch };
        let given = store.give_shard(kind, shard, not_its, "node-b", other);
        assert!(!given.await?, "{kind:?} {not_its:?}");
    }
    let from = TakeFrom::Nobody;
    let claim = store
        .take_shard(Rooms, shard, "node-b", other, from)
        .await?;
    assert_eq!(claim, Claim::Refused { owner, epoch });
    // What it gave is not the giver's any more.
    let its = Owner {
        incarnation: owner,
        epoch,
    };
    assert!(store.give_shard(Rooms, shard, its, "node-b", other).await?);
    store
        .release_shard(Rooms, shard, other, Epoch(epoch.0 + 1))
        .await?;
    assert!(!store.give_shard(Rooms, shard, its, "node-b", other).await?);
    Ok(())
}

pub async fn two_takers_of_a_free_shard_one_wins_and_neither_is_fenced(
    store: Arc<dyn Store>,
) -> CaseResult {
    let shard = free_shard(&*store, Rooms, "two takers").await?;
    let takers = registered::<2>(&*store).await?;
    let [one, other] = takers.map(|taker| {
        let from = TakeFrom::Nobody;
        store.take_shard(Rooms, shard, "node-a", taker, from)
    });
    let (one, other) = tokio::join!(one, other);
    let (winner, epoch, claim) = match (one?, other?) {
        (Claim::Taken(epoch), claim) => (takers[0], epoch, claim),
        (claim, Claim::Taken(epoch)) => (takers[1], epoch, claim),
        refused => panic!("neither has it: {refused:?}"),
    };
    let owner = winner;
    assert_eq!(claim, Claim::Refused { owner, epoch });
    for taker in takers {
        assert!(!store.is_fenced(taker).await?);
    }
    Ok(())
}

pub async fn two_takers_from_a_dead_owner_one_wins_and_neither_is_fenced(
    store: Arc<dyn Store>,
) -> CaseResult {
    let shard = free_shard(&*store, Rooms, "two heirs").await?;
    let [dead, first, second] = registered(&*store).await?;
    take(&*store, Rooms, shard, dead, TakeFrom::Nobody).await?;
    let [one, other] = [first, second].map(|taker| {
        let from = TakeFrom::Owner(dead);
        store.take_shard(Rooms, shard, "node-a", taker, from)
    });
    let (one, other) = tokio::join!(one, other);
    let claims = [one?, other?];
    let taken = |claim: &&Claim| matches!(claim, Claim::Taken(_));
    assert_eq!(claims.iter().filter(taken).count(), 1, "{claims:?}");
    assert!(store.is_fenced(dead).await?);
    assert!(!store.is_fenced(first).await?);
    assert!(!store.is_fenced(second).await?);
    Ok(())
}

pub async fn presence_is_apart_from_rooms_and_fences_nobody(store: Arc<dyn Store>) -> CaseResult {
    let shard = free_shard(&*store, Rooms, "apart").await?;
    free_shard(&*store, Presence, "apart").await?;
    let [rooms, presence, next] = registered(&*store).await?;
    let room_epoch = take(&*store, Rooms, shard, rooms, TakeFrom::Nobody).await?;
    let epoch = take(&*store, Presence, shard, presence, TakeFrom::Nobody).await?;
    let from = TakeFrom::Nobody;
    let claim = store
        .take_shard(Presence, shard, "node-b", next, from)
        .await?;
    let owner = presence;
    assert_eq!(claim, Claim::Refused { owner, epoch });
    let later = take(&*store, Presence, shard, next, TakeFrom::Owner(presence)).await?;
    assert!(later > epoch);
    let last = take(&*store, Presence, shard, presence, TakeFrom::Anyone).await?;
    assert!(last > later);
    for incarnation in [rooms, presence, next] {
        assert!(!store.is_fenced(incarnation).await?, "{incarnation:?}");
    }
    store.release_shard(Presence, shard, presence, last).await?;
    take(&*store, Presence, shard, next, TakeFrom::Nobody).await?;
    let claim = store.take_shard(Rooms, shard, "node-b", next, from).await?;
    let (owner, epoch) = (rooms, room_epoch);
    assert_eq!(claim, Claim::Refused { owner, epoch });
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
    take(&*store, Rooms, shard, old, TakeFrom::Anyone).await?;
    store.register_node("node-b", new).await?;
    take(&*store, Rooms, shard, new, TakeFrom::Anyone).await?;
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
        takers.spawn(async move { take(&*store, Rooms, shard, owner, TakeFrom::Anyone).await });
    }
    let epochs = takers
        .join_all()
        .await
        .into_iter()
        .collect::<Result<HashSet<_>, _>>()?;
    assert_eq!(epochs.len(), 16);
    let highest = epochs.into_iter().max().expect("sixteen of them");
    assert!(take(&*store, Rooms, shard, owner, TakeFrom::Anyone).await? > highest);
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
            let claim = store.take_shard(Rooms, shard, "node-a", owner, TakeFrom::Anyone);
            Ok((claim.await?, owner))
        });
    }
    let claims = takers
        .join_all()
        .await
        .into_iter()
        .collect::<Result<Vec<_>, StoreError>>()?;
    let mut owners = Vec::new();
    for (claim, taker) in claims {
        match claim {
            Claim::Taken(epoch) => owners.push((epoch, taker)),
            // It was ours, by a transaction without an answer, and taken from us before we asked.
            Claim::Refused { .. } => assert!(store.is_fenced(taker).await?, "{taker:?} refused"),
        }
    }
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
