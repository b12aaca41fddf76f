//! Random writes: any order and any repetition must read equal.

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use rookery_proto::{
    ids::{Epoch, Offset, RoomId},
    v1::member::Role,
};
use tokio::runtime::Runtime;

use super::fixture::{
    cursor, log_write, marking, membership, message, room, sent, settings, user_named,
};
use crate::{
    CursorRow, EpochList, EventKind, LogRow, MarkRow, MemberRow, RoomRow, RoomWrite, SentRow,
    Store, StoreError, UserRoomRow,
};

/// Each is a random sequence of writes; a write costs a sync of the disk.
const CASES: u32 = 24;
const USERS: [&str; 3] = ["ada", "bob", "cyd"];
const TIME_MS: u64 = 1_800_000_000_000;

/// One write; its content is a function of its key.
#[derive(Clone, Copy, Debug)]
enum Op {
    Message {
        offset: u64,
        epoch: u64,
    },
    Mark {
        offset: u64,
        epoch: u64,
        target: u64,
        delete: bool,
    },
    Settings {
        offset: u64,
        epoch: u64,
    },
    Member {
        user: usize,
        offset: u64,
        epoch: u64,
    },
    Sent {
        user: usize,
        offset: u64,
        epoch: u64,
    },
    Cursor {
        user: usize,
        offset: u64,
    },
    List {
        epoch: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let (offset, epoch, user) = (1..12_u64, 1..5_u64, 0..USERS.len());
    prop_oneof![
        (offset.clone(), epoch.clone()).prop_map(|(offset, epoch)| Op::Message { offset, epoch }),
        (offset.clone(), epoch.clone()).prop_map(|(offset, epoch)| Op::Mark {
            offset: offset + 20,
            epoch,
            target: offset,
            delete: (offset + epoch).is_multiple_of(2),
        }),
        (offset.clone(), epoch.clone()).prop_map(|(offset, epoch)| Op::Settings { offset, epoch }),
        (user.clone(), offset.clone(), epoch.clone()).prop_map(|(user, offset, epoch)| {
            Op::Member {
                user,
                offset,
                epoch,
            }
        }),
        (user.clone(), offset.clone(), epoch.clone()).prop_map(|(user, offset, epoch)| Op::Sent {
            user,
            offset,
            epoch
        }),
        (user, offset).prop_map(|(user, offset)| Op::Cursor { user, offset }),
        epoch.prop_map(|epoch| Op::List { epoch }),
    ]
}

/// A sequence, and the same with everything doubled and shuffled.
fn two_orders() -> impl Strategy<Value = (Vec<Op>, Vec<Op>)> {
    vec(op(), 1..16).prop_flat_map(|ops| {
        let doubled = [ops.as_slice(), ops.as_slice()].concat();
        (Just(ops), Just(doubled).prop_shuffle())
    })
}

fn write(room: &RoomId, op: Op) -> RoomWrite {
    let mut write = RoomWrite::new(room.clone());
    match op {
        Op::Message { offset, epoch } => return log_write(room, vec![message(offset, epoch)]),
        Op::Mark {
            offset,
            epoch,
            target,
            delete,
        } => {
            let kind = if delete {
                EventKind::Deleted
            } else {
                EventKind::Edited
            };
            write.log.push(marking(offset, epoch, kind, target));
        }
        Op::Settings { offset, epoch } => write.settings = Some(settings(offset, epoch)),
        Op::Member {
            user,
            offset,
            epoch,
        } => {
            let role = offset.is_multiple_of(2).then_some(Role::Member);
            write
                .members
                .push(membership(&user_named(USERS[user]), offset, epoch, role));
        }
        Op::Sent {
            user,
            offset,
            epoch,
        } => {
            let client_id = format!("id-{}", offset % 3);
            let user = user_named(USERS[user]);
            write
                .sent
                .push(sent(&user, &client_id, offset, epoch, TIME_MS + offset));
        }
        Op::Cursor { user, offset } => write.cursors.push(cursor(&user_named(USERS[user]), offset)),
        Op::List { .. } => {}
    }
    write
}

/// The first half one by one, the rest as one group.
async fn apply(store: &dyn Store, room: &RoomId, ops: &[Op]) -> Result<(), StoreError> {
    for op in ops {
        if let Op::List { epoch } = *op {
            let list = EpochList::default().claimed_by(Epoch(epoch), Offset(epoch * 2));
            store.put_room_epochs(room, &list).await?;
        }
    }
    let writes: Vec<_> = ops.iter().map(|&op| write(room, op)).collect();
    let (single, grouped) = writes.split_at(writes.len() / 2);
    for write in single.chunks(1) {
        store.commit(write).await?;
    }
    store.commit(grouped).await
}

/// Everything that can be read of a room.
#[derive(Debug, PartialEq)]
struct Reads {
    list: EpochList,
    log: Vec<LogRow>,
    marks: Vec<MarkRow>,
    deletions: Vec<(Offset, Offset, Epoch)>,
    settings: Vec<RoomRow>,
    members: Vec<MemberRow>,
    cursors: Vec<CursorRow>,
    sent: Vec<Vec<SentRow>>,
    user_rooms: Vec<Vec<(Offset, Epoch, bool)>>,
}

async fn read(store: &dyn Store, room: &RoomId) -> Result<Reads, StoreError> {
    let (mut sent, mut user_rooms) = (Vec::new(), Vec::new());
    for user in USERS.map(user_named) {
        sent.push(store.sent_ids(room, &user, TIME_MS, 1_000).await?);
        sent.push(store.sent_id(room, &user, "id-1").await?);
        let rooms = store.user_rooms(&user, None, u32::MAX).await?;
        let own = rooms.into_iter().filter(|row| row.room == *room);
        user_rooms.push(
            own.map(
                |UserRoomRow {
                     offset,
                     epoch,
                     member,
                     ..
                 }| (offset, epoch, member),
            )
            .collect(),
        );
    }
    Ok(Reads {
        list: store.room_epochs(room).await?,
        log: store.log_range(room, Offset(0), Offset(1_000)).await?,
        marks: store.marks(room, Offset(0), Offset(1_000)).await?,
        deletions: store.deletions(room).await?,
        settings: store.settings(room).await?,
        members: store.members(room).await?,
        cursors: store.cursors(room).await?,
        sent,
        user_rooms,
    })
}

pub fn idempotent_writes_in_any_order_read_equal(runtime: &Runtime, store: &dyn Store) {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&two_orders(), |(once, doubled)| {
        let (left, right) = (room(), room());
        let reads = runtime.block_on(async {
            apply(store, &left, &once).await?;
            apply(store, &right, &doubled).await?;
            Ok::<_, StoreError>((read(store, &left).await?, read(store, &right).await?))
        });
        let (left, right) = reads.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(left, right);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
