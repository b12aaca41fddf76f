//! Cases of what a room derives from its events.

use std::sync::Arc;

use rookery_proto::{
    ids::{Offset, RoomId},
    v1::{self, member::Role},
};

use super::{
    CaseResult,
    fixture::{cursor, membership, message, room, sent, settings, user, user_named},
};
use crate::{EpochList, MemberRow, RoomRow, RoomWrite, Store};

pub async fn unknown_room_reads_empty(store: Arc<dyn Store>) -> CaseResult {
    let (room, user) = (room(), user());
    assert_eq!(store.room_epochs(&room).await?, EpochList::default());
    assert_eq!(store.log_tail(&room, 10).await?, []);
    assert_eq!(store.log_range(&room, Offset(1), Offset(10)).await?, []);
    assert_eq!(store.marks(&room, Offset(1), Offset(10)).await?, []);
    assert_eq!(store.deletions(&room).await?, []);
    assert_eq!(store.settings(&room).await?, []);
    assert_eq!(store.members(&room).await?, []);
    assert_eq!(store.cursors(&room).await?, []);
    assert_eq!(store.sent_ids(&room, &user, 0, 10).await?, []);
    assert_eq!(store.sent_id(&room, &user, "id").await?, []);
    Ok(())
}

pub async fn settings_keep_every_version(store: Arc<dyn Store>) -> CaseResult {
    let room = room();
    let versions = [
        settings(1, 1),
        RoomRow {
            kind: v1::room::Kind::Direct,
            ..settings(4, 1)
        },
        RoomRow {
            kind: v1::room::Kind::Channel,
            client_id: "c-1".to_owned(),
            ..settings(4, 2)
        },
    ];
    for index in [2, 0, 1, 2, 0] {
        let settings = Some(versions[index].clone());
        store
            .commit(&[RoomWrite {
                settings,
                ..RoomWrite::new(room.clone())
            }])
            .await?;
    }
    assert_eq!(store.settings(&room).await?, versions);
    Ok(())
}

pub async fn members_keep_every_version(store: Arc<dyn Store>) -> CaseResult {
    let (room, ada, bob) = (room(), user_named("ada"), user_named("bob"));
    let rows = [
        membership(&ada, 1, 1, Some(Role::Owner)),
        membership(&ada, 6, 1, None),
        membership(&ada, 6, 2, Some(Role::Moderator)),
        membership(&bob, 2, 1, Some(Role::Member)),
    ];
    for order in [[3, 1, 0, 2], [0, 1, 2, 3]] {
        let members: Vec<MemberRow> = order.map(|index: usize| rows[index].clone()).into();
        store
            .commit(&[RoomWrite {
                members,
                ..RoomWrite::new(room.clone())
            }])
            .await?;
    }
    assert_eq!(store.members(&room).await?, rows);
    Ok(())
}

pub async fn cursors_keep_the_largest_offset(store: Arc<dyn Store>) -> CaseResult {
    let (room, ada, bob) = (room(), user_named("ada"), user_named("bob"));
    for offset in [4, 9, 2, 9, 7] {
        let cursors = vec![cursor(&ada, offset), cursor(&bob, offset * 100)];
        store
            .commit(&[RoomWrite {
                cursors,
                ..RoomWrite::new(room.clone())
            }])
            .await?;
    }
    assert_eq!(
        store.cursors(&room).await?,
        [cursor(&ada, 9), cursor(&bob, 900)]
    );
    Ok(())
}

pub async fn sent_ids_are_newest_first_by_time_and_limit(store: Arc<dyn Store>) -> CaseResult {
    let (room, ada, bob) = (room(), user(), user());
    let now = 1_800_000_000_000;
    // By client id they are in another order than by time.
    let rows: Vec<_> = (0..8)
        .map(|n| sent(&ada, &format!("id-{}", n * 3 % 8), n + 1, 1, now + n * 10))
        .collect();
    let others = (0..8).map(|n| sent(&bob, &format!("id-{n}"), n + 20, 1, now + n * 10));
    let all = rows.iter().cloned().chain(others).collect();
    store
        .commit(&[RoomWrite {
            sent: all,
            ..RoomWrite::new(room.clone())
        }])
        .await?;
    let newest: Vec<_> = rows.iter().rev().cloned().collect();
    assert_eq!(store.sent_ids(&room, &ada, now, 100).await?, newest);
    assert_eq!(store.sent_ids(&room, &ada, now, 3).await?, newest[..3]);
    assert_eq!(
        store.sent_ids(&room, &ada, now + 50, 100).await?,
        newest[..3]
    );
    assert_eq!(store.sent_ids(&room, &ada, now + 71, 100).await?, []);
    assert_eq!(store.sent_ids(&room, &ada, now, 0).await?, []);
    Ok(())
}

pub async fn sent_id_tells_every_row_of_its_key(store: Arc<dyn Store>) -> CaseResult {
    let (room, other, ada) = (room(), room(), user());
    let now = 1_800_000_000_000;
    let rows = vec![
        sent(&ada, "same", 3, 1, now),
        sent(&ada, "same", 3, 2, now + 5),
    ];
    let mut all = rows.clone();
    all.push(sent(&ada, "samer", 4, 2, now));
    for _ in 0..2 {
        let sent = all.clone();
        store
            .commit(&[RoomWrite {
                sent,
                ..RoomWrite::new(room.clone())
            }])
            .await?;
    }
    assert_eq!(store.sent_id(&room, &ada, "same").await?, rows);
    assert_eq!(store.sent_id(&room, &ada, "sam").await?, []);
    assert_eq!(store.sent_id(&room, &user(), "same").await?, []);
    assert_eq!(store.sent_id(&other, &ada, "same").await?, []);
    Ok(())
}

/// How many rows go is up to the adapter: a database may expire them itself.
pub async fn expiry_spares_what_is_young(store: Arc<dyn Store>) -> CaseResult {
    let (room, ada) = (room(), user());
    let now = 1_800_000_000_000;
    let sent: Vec<_> = (1..=20)
        .map(|n| sent(&ada, &format!("id-{n}"), n, 1, now + n))
        .collect();
    let young = sent[9..].to_vec();
    store
        .commit(&[RoomWrite {
            sent,
            ..RoomWrite::new(room.clone())
        }])
        .await?;
    let gone = store.expire_sent_ids(now + 10, 100).await?;
    assert!(gone <= 9, "{gone} rows");
    let mut read = store.sent_ids(&room, &ada, now + 10, 100).await?;
    read.reverse();
    assert_eq!(read, young);
    Ok(())
}

pub async fn odd_characters_come_back_unchanged(store: Arc<dyn Store>) -> CaseResult {
    let plain = room();
    let room = RoomId::parse(&format!("{plain}:.~_-A")).expect("all of them are allowed");
    let names = [
        "Robert'); DROP TABLE rooms;--",
        "ünï 🦀 名前",
        "a\"b\\c%_?1",
        " ",
        "Ａ",
    ];
    let mut write = RoomWrite::new(room.clone());
    for (offset, name) in (1..).zip(names) {
        let user = user_named(name);
        write.log.push(message(offset, 1));
        write.members.push(MemberRow {
            name: format!("{name}\n\t\u{200d}"),
            ..membership(&user, offset, 1, Some(Role::Member))
        });
        write.cursors.push(cursor(&user, offset));
        write
            .sent
            .push(sent(&user, name, offset, 1, 1_800_000_000_000));
    }
    write.settings = Some(RoomRow {
        name: names.concat(),
        creator: user_named(names[1]),
        client_id: names[0].to_owned(),
        ..settings(1, 1)
    });
    store.commit(std::slice::from_ref(&write)).await?;
    write.members.sort_by(|a, b| a.user.cmp(&b.user));
    write.cursors.sort_by(|a, b| a.user.cmp(&b.user));
    assert_eq!(store.members(&room).await?, write.members);
    assert_eq!(store.cursors(&room).await?, write.cursors);
    assert_eq!(
        store.settings(&room).await?,
        [write.settings.expect("set above")]
    );
    for row in &write.sent {
        let read = store.sent_id(&room, &row.user, &row.client_id).await?;
        assert_eq!(read, std::slice::from_ref(row));
    }
    assert_eq!(store.members(&plain).await?, []);
    Ok(())
}
