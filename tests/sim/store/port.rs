//! The port itself.

use std::collections::BTreeMap;

use async_trait::async_trait;
use prost::Message as _;
use rookery_persistence::{
    Claim, CursorRow, EpochList, EventKind, Incarnation, LogRow, MarkRow, MemberRow, RoomRow,
    RoomWrite, SentRow, ShardKind, Store, StoreError, TakeFrom, UserRoomRow, UserRow,
    ownership::Owner,
};
use rookery_proto::{
    ids::{Epoch, Offset, RoomId, UserId},
    shard::Shard,
    v1,
};

use super::{NodeStore, as_if_valid, unknown};
use crate::{
    mutation::Mutation,
    quorum::{Point, QUORUM},
    replica::{Key, Partition, Row},
};

#[async_trait]
impl Store for NodeStore {
    fn durability(&self) -> String {
        "simulated".to_owned()
    }

    fn commits_in_flight_max(&self) -> usize {
        4
    }

    async fn register_node(&self, _node: &str, incarnation: Incarnation) -> Result<(), StoreError> {
        self.register(incarnation).await
    }

    async fn take_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        _node: &str,
        taker: Incarnation,
        from: TakeFrom,
    ) -> Result<Claim, StoreError> {
        self.take(kind, shard, taker, from).await
    }

    async fn release_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        incarnation: Incarnation,
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        self.release(kind, shard, incarnation, epoch).await
    }

    async fn give_shard(
        &self,
        kind: ShardKind,
        shard: Shard,
        owner: Owner,
        _node: &str,
        next: Incarnation,
    ) -> Result<bool, StoreError> {
        self.give(kind, shard, owner, next).await
    }

    async fn is_fenced(&self, incarnation: Incarnation) -> Result<bool, StoreError> {
        self.read_fence(incarnation).await
    }

    async fn commit(&self, group: &[RoomWrite]) -> Result<(), StoreError> {
        if !self.breaks(Mutation::IdsNotDerived) {
            return self.write_group(group).await;
        }
        // Only who wakes a room writes both at once.
        let mut group = group.to_vec();
        for write in group.iter_mut().filter(|write| !write.log.is_empty()) {
            write.sent.clear();
        }
        self.write_group(&group).await
    }

    async fn room_epochs(&self, room: &RoomId) -> Result<EpochList, StoreError> {
        self.waking.enter();
        self.list(room).await
    }

    async fn put_room_epochs(&self, room: &RoomId, list: &EpochList) -> Result<(), StoreError> {
        self.write_list(room, list).await
    }

    async fn log_tail(&self, room: &RoomId, offsets: u32) -> Result<Vec<LogRow>, StoreError> {
        let mut rows = self.log(room).await?;
        if self.breaks(Mutation::AdoptedBehindHole) {
            fill_holes(&mut rows, &self.list(room).await?);
        }
        let mut known: Vec<Offset> = rows.iter().map(|row| row.offset).collect();
        known.dedup();
        let newest = &known[known.len().saturating_sub(offsets as usize)..];
        let wanted = |row: &LogRow| newest.first().is_some_and(|first| row.offset >= *first);
        Ok(rows.into_iter().filter(wanted).collect())
    }

    async fn log_range(
        &self,
        room: &RoomId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<LogRow>, StoreError> {
        let rows = self.log(room).await?;
        let wanted = rows
            .into_iter()
            .filter(|row| from <= row.offset && row.offset <= to);
        Ok(wanted.collect())
    }

    async fn marks(
        &self,
        room: &RoomId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<MarkRow>, StoreError> {
        let list = self.looks_canonical(room).await?;
        let partition = Partition::Marks(room.clone());
        let rows = self.read_rows("read marks", partition).await?;
        Ok(rows
            .into_values()
            .filter_map(|row| match row {
                Row::Mark(row) if from <= row.target && row.target <= to => Some(MarkRow {
                    epoch: as_if_valid(list.as_ref(), row.offset, row.epoch),
                    ..row
                }),
                _ => None,
            })
            .collect())
    }

    async fn deletions(&self, room: &RoomId) -> Result<Vec<(Offset, Offset, Epoch)>, StoreError> {
        let list = self.looks_canonical(room).await?;
        let partition = Partition::Room(room.clone());
        let rows = self.read_rows("read deletions", partition).await?;
        Ok(rows
            .into_keys()
            .filter_map(|key| match key {
                Key::Deletion(target, offset, epoch) => {
                    let epoch = as_if_valid(list.as_ref(), Offset(offset), Epoch(epoch));
                    Some((Offset(target), Offset(offset), epoch))
                }
                _ => None,
            })
            .collect())
    }

    async fn settings(&self, room: &RoomId) -> Result<Vec<RoomRow>, StoreError> {
        let partition = Partition::Room(room.clone());
        let rows = self.read_rows("read settings", partition).await?;
        Ok(rows
            .into_values()
            .filter_map(|row| match row {
                Row::Settings(row) => Some(row),
                _ => None,
            })
            .collect())
    }

    async fn members(&self, room: &RoomId) -> Result<Vec<MemberRow>, StoreError> {
        let list = self.looks_canonical(room).await?;
        let partition = Partition::Room(room.clone());
        let rows = self.read_rows("read members", partition).await?;
        Ok(rows
            .into_values()
            .filter_map(|row| match row {
                Row::Member(row) => Some(MemberRow {
                    epoch: as_if_valid(list.as_ref(), row.offset, row.epoch),
                    ..row
                }),
                _ => None,
            })
            .collect())
    }

    async fn cursors(&self, room: &RoomId) -> Result<Vec<CursorRow>, StoreError> {
        let partition = Partition::Room(room.clone());
        let rows = self.read_rows("read cursors", partition).await?;
        Ok(rows
            .into_values()
            .filter_map(|row| match row {
                Row::Cursor(row) => Some(row),
                _ => None,
            })
            .collect())
    }

    async fn sent_ids(
        &self,
        room: &RoomId,
        user: &UserId,
        since_ms: u64,
        limit: u32,
    ) -> Result<Vec<SentRow>, StoreError> {
        let mut rows = self.sent(room, user).await?;
        rows.retain(|row| row.time_ms >= since_ms);
        rows.sort_by_key(|row| std::cmp::Reverse((row.time_ms, row.offset)));
        rows.truncate(limit as usize);
        Ok(rows)
    }

    async fn sent_id(
        &self,
        room: &RoomId,
        user: &UserId,
        client_id: &str,
    ) -> Result<Vec<SentRow>, StoreError> {
        let mut rows = self.sent(room, user).await?;
        rows.retain(|row| row.client_id == client_id);
        Ok(rows)
    }

    async fn user_rooms(
        &self,
        user: &UserId,
        after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<UserRoomRow>, StoreError> {
        let partition = Partition::User(user.clone());
        let rows = self.read_rows("read user's rooms", partition).await?;
        let mut newest: BTreeMap<RoomId, UserRoomRow> = BTreeMap::new();
        for (key, row) in rows {
            if let (Key::UserRoom(room, offset, epoch), Row::UserRoom(member)) = (key, row)
                && after.is_none_or(|after| room > *after)
            {
                let row = UserRoomRow {
                    room: room.clone(),
                    offset: Offset(offset),
                    epoch: Epoch(epoch),
                    member,
                };
                newest.insert(room, row);
            }
        }
        Ok(newest.into_values().take(limit as usize).collect())
    }

    async fn user(&self, user: &UserId) -> Result<UserRow, StoreError> {
        let partition = Partition::User(user.clone());
        let rows = self.read_rows("read user", partition).await?;
        let last_seen_ms = match rows.get(&Key::LastSeen) {
            Some(Row::LastSeen(time)) => *time,
            _ => 0,
        };
        Ok(UserRow { last_seen_ms })
    }

    async fn put_last_seen(&self, user: &UserId, last_seen_ms: u64) -> Result<(), StoreError> {
        self.begin(Point::Other).await?;
        let rows = vec![(Key::LastSeen, Row::LastSeen(last_seen_ms))];
        let batch = (Partition::User(user.clone()), rows);
        let done = self.quorum.write(&self.process, vec![batch], QUORUM).await;
        self.process.pass().await;
        done.map_err(unknown("write last seen"))
    }

    async fn expire_sent_ids(&self, before_ms: u64, limit: u32) -> Result<u64, StoreError> {
        self.begin(Point::Other).await?;
        Ok(self.quorum.expire(before_ms, limit))
    }

    async fn close(&self) {
        *self.closed.lock().expect("no panic while held") = true;
    }
}

/// For a mutation: an empty event stands where no row counts but one behind it does.
fn fill_holes(rows: &mut Vec<LogRow>, list: &EpochList) {
    let counts = |row: &&LogRow| list.is_canonical(row.offset, row.epoch);
    let mut filled: Vec<LogRow> = Vec::new();
    for row in rows.iter().filter(counts) {
        while let Some(before) = filled.last()
            && before.offset.next() < row.offset
        {
            let offset = before.offset.next();
            let epoch = list.epoch_at(offset).unwrap_or(row.epoch);
            let event = v1::Event {
                offset: offset.0,
                epoch: epoch.0,
                body: None,
                ..v1::Event::decode(before.event.clone()).expect("an event")
            };
            filled.push(LogRow {
                offset,
                epoch,
                kind: EventKind::ReactionAdded,
                message_count: before.message_count,
                target: Offset::ZERO,
                event: event.encode_to_vec().into(),
            });
        }
        filled.push(row.clone());
    }
    *rows = filled;
}
