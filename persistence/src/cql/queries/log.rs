//! Rows of a log and its marks, bucket by bucket.

use bytes::Bytes;
use rookery_proto::ids::{Epoch, Offset, RoomId};

use super::{
    super::{
        Open,
        error::Unsound,
        writes::{Write, bucket},
    },
    ENOUGH, MORE, bound, event_kind, number,
};
use crate::{LogRow, MarkRow, StoreError, limits};

/// A row of `room_log`, as it is selected.
type Log<'a> = (i64, i64, i8, i64, i64, &'a [u8]);
/// A row of `room_marks`.
type Mark<'a> = (i64, i64, i64, i8, &'a [u8]);

const _: () = assert!(
    limits::LOG_READ_OFFSETS_MAX <= limits::BUCKET_OFFSETS,
    "a range reads two buckets at most"
);

/// The newest rows of a log, from the highest offset down.
struct Tail {
    rows: Vec<LogRow>,
    /// Offsets that are wanted and not seen yet.
    missing: u32,
    /// There are rows below, which are not wanted.
    is_cut: bool,
}

impl Tail {
    const fn of(offsets: u32) -> Self {
        Self {
            rows: Vec::new(),
            missing: offsets,
            is_cut: false,
        }
    }

    /// Adds the next row below.
    fn push(&mut self, row: LogRow) {
        let is_new = self.rows.last().is_none_or(|it| it.offset != row.offset);
        if is_new && self.missing == 0 {
            self.is_cut = true;
        }
        if !self.is_cut {
            self.missing -= u32::from(is_new);
            self.rows.push(row);
        }
    }
}

impl Open {
    /// Walks down from the newest bucket until it has seen enough offsets.
    ///
    /// The newest one is where the hint says, or above, as long as there are rows: offsets are
    /// dense up to the head, and no row lies a whole bucket above it, so an empty bucket has none
    /// above it either. The hint saves reads and nothing else: when it is too low, or gone, more
    /// buckets are probed; when it is too high, the walk down passes empty ones. It is nearly
    /// always right, so its bucket is read while the one above is probed.
    pub(in crate::cql) async fn log_tail(
        &self,
        room: &RoomId,
        offsets: u32,
    ) -> Result<Vec<LogRow>, StoreError> {
        let mut tail = Tail::of(offsets);
        if offsets == 0 {
            return Ok(tail.rows);
        }
        let hint = self.head_hint(room).await?;
        let (is_hint_low, ()) = tokio::try_join!(
            self.has_rows(room, hint + 1),
            self.read_down(room, hint, &mut tail),
        )?;
        let mut below = hint;
        if is_hint_low {
            let newest = self.newest_bucket_from(room, hint + 1).await?;
            self.keep_head(room, newest).await;
            tail = Tail::of(offsets);
            below = newest + 1;
        }
        for bucket in (0..below).rev() {
            if tail.missing == 0 {
                break;
            }
            self.read_down(room, bucket, &mut tail).await?;
        }
        tail.rows.reverse();
        Ok(tail.rows)
    }

    async fn head_hint(&self, room: &RoomId) -> Result<u64, StoreError> {
        let mut hint = 0;
        let statement = &self.statements.head;
        self.read("read head hint", statement, (room.as_str(),), |page| {
            for row in page.rows::<(i64,)>()? {
                hint = number(row?.0)?;
            }
            Ok(MORE)
        })
        .await?;
        Ok(hint)
    }

    /// The highest bucket with rows, from one on that has some.
    async fn newest_bucket_from(&self, room: &RoomId, from: u64) -> Result<u64, StoreError> {
        let mut newest = from;
        while self.has_rows(room, newest + 1).await? {
            newest += 1;
        }
        Ok(newest)
    }

    /// Adds a bucket's rows from its highest offset on, until there are enough.
    async fn read_down(
        &self,
        room: &RoomId,
        bucket: u64,
        tail: &mut Tail,
    ) -> Result<(), StoreError> {
        let values = (room.as_str(), bound(bucket));
        let mut statement = self.statements.log_down.clone();
        // Few offsets have rows of two epochs, so one page has them all and one row more.
        let rows = i32::try_from(tail.missing.saturating_add(1)).unwrap_or(i32::MAX);
        statement.set_page_size(rows.min(limits::CQL_PAGE_ROWS));
        self.read("read log tail", &statement, values, |page| {
            for row in page.rows::<Log<'_>>()? {
                tail.push(log_row(row?)?);
                if tail.is_cut {
                    return Ok(ENOUGH);
                }
            }
            Ok(MORE)
        })
        .await
    }

    async fn has_rows(&self, room: &RoomId, bucket: u64) -> Result<bool, StoreError> {
        let mut any = false;
        let values = (room.as_str(), bound(bucket));
        let statement = &self.statements.any_in_bucket;
        self.read("probe log", statement, values, |page| {
            any = page.rows_num() > 0;
            Ok(ENOUGH)
        })
        .await?;
        Ok(any)
    }

    /// Keeps the hint. When that fails, the next reader probes more.
    pub(in crate::cql) async fn keep_head(&self, room: &RoomId, bucket: u64) {
        let write = Write::Head(room, bucket);
        if let Err(error) = self.write("put head hint", &[write]).await {
            tracing::debug!(room.id = %room, %error, "head hint not kept");
        }
    }

    pub(in crate::cql) async fn log_range(
        &self,
        room: &RoomId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<LogRow>, StoreError> {
        let mut rows = Vec::new();
        for bucket in buckets(from, to) {
            let values = (room.as_str(), bound(bucket), bound(from.0), bound(to.0));
            let statement = &self.statements.log_range;
            self.read("read log", statement, values, |page| {
                for row in page.rows::<Log<'_>>()? {
                    rows.push(log_row(row?)?);
                }
                Ok(MORE)
            })
            .await?;
        }
        Ok(rows)
    }

    pub(in crate::cql) async fn marks(
        &self,
        room: &RoomId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<MarkRow>, StoreError> {
        let mut rows = Vec::new();
        for bucket in buckets(from, to) {
            let values = (room.as_str(), bound(bucket), bound(from.0), bound(to.0));
            let statement = &self.statements.marks;
            self.read("read marks", statement, values, |page| {
                for row in page.rows::<Mark<'_>>()? {
                    let (target, offset, epoch, kind, event) = row?;
                    rows.push(MarkRow {
                        target: Offset(number(target)?),
                        offset: Offset(number(offset)?),
                        epoch: Epoch(number(epoch)?),
                        kind: event_kind(kind)?,
                        event: Bytes::copy_from_slice(event),
                    });
                }
                Ok(MORE)
            })
            .await?;
        }
        Ok(rows)
    }
}

fn log_row(
    (offset, epoch, kind, message_count, target, event): Log<'_>,
) -> Result<LogRow, Unsound> {
    Ok(LogRow {
        offset: Offset(number(offset)?),
        epoch: Epoch(number(epoch)?),
        kind: event_kind(kind)?,
        message_count: number(message_count)?,
        target: Offset(number(target)?),
        // A copy: a slice would keep the whole page in memory.
        event: Bytes::copy_from_slice(event),
    })
}

/// The buckets of a range, none when it is empty.
fn buckets(from: Offset, to: Offset) -> impl Iterator<Item = u64> {
    let last = if from <= to { bucket(to) + 1 } else { 0 };
    bucket(from)..last
}
