//! Rows per second through the CQL adapter, beside the raw driver in the same run.
//!
//! `cargo bench -p rookery-persistence --bench cql -- --at HOST:PORT[,HOST:PORT…] [--seconds 4]`
//!
//! Raw: the scylla crate with the same statements, the same rows, the same batches (made before
//! the clock starts) and as many of them in flight, at LOCAL_QUORUM. Store: the same groups
//! through `CqlStore::commit`, as many at once as the store advises. Sides take turns in slices.
//! "spread": each message of a group is in another room, three batches a message (log; sent id,
//! twice; cursor). "hot": all messages of a group are one user's in one room.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use rookery_persistence::{
    CqlConfig, CqlStore, CursorRow, EventKind, LogRow, RoomWrite, SentRow, Store, limits,
};
use rookery_proto::ids::{Epoch, Offset, RoomId, UserId};
use scylla::{
    client::{
        execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder,
    },
    statement::{
        Consistency,
        batch::{Batch, BatchStatement, BatchType},
        prepared::PreparedStatement,
    },
};
use tokio::task::JoinSet;

const ROOMS: usize = 2_000;
const EVENT_BYTES: usize = 200;
/// More than a database on one machine takes.
const MESSAGES_PER_SECOND_MAX: f64 = 100_000.0;
/// Slices of each side.
const TURNS: u32 = 6;

/// What a group looks like.
#[derive(Clone, Copy)]
enum Shape {
    /// So many messages, each in another room.
    Spread(usize),
    /// So many messages of one user in one room.
    Hot(usize),
}

impl Shape {
    const fn messages(self) -> usize {
        match self {
            Self::Spread(messages) | Self::Hot(messages) => messages,
        }
    }
}

/// Makes groups of messages.
struct Source {
    rooms: Vec<RoomId>,
    users: Vec<UserId>,
    heads: Vec<u64>,
    next: usize,
    epoch: Epoch,
    event: Bytes,
}

impl Source {
    /// Sides differ in their epoch, so that neither overwrites rows of the other.
    fn new(epoch: u64) -> Self {
        let room = |n| RoomId::parse(&format!("room-{n:06}")).expect("a room id");
        let user = |n| UserId::parse(&format!("user-{n:06}")).expect("a user id");
        Self {
            rooms: (0..ROOMS).map(room).collect(),
            users: (0..ROOMS).map(user).collect(),
            heads: vec![0; ROOMS],
            next: 0,
            epoch: Epoch(epoch),
            event: vec![0x5a; EVENT_BYTES].into(),
        }
    }

    fn group(&mut self, shape: Shape) -> Vec<RoomWrite> {
        match shape {
            Shape::Spread(messages) => (0..messages).map(|_| self.write(1)).collect(),
            Shape::Hot(messages) => vec![self.write(messages)],
        }
    }

    fn write(&mut self, messages: usize) -> RoomWrite {
        // A stride that visits all rooms, not in the order of their names.
        self.next = (self.next + 787) % ROOMS;
        let (room, user) = (&self.rooms[self.next], &self.users[self.next]);
        let mut write = RoomWrite::new(room.clone());
        for _ in 0..messages {
            self.heads[self.next] += 1;
            let offset = Offset(self.heads[self.next]);
            write.log.push(LogRow {
                offset,
                epoch: self.epoch,
                kind: EventKind::Message,
                message_count: offset.0,
                target: Offset::ZERO,
                event: self.event.clone(),
            });
            write.sent.push(SentRow {
                user: user.clone(),
                client_id: format!("client-id-{:012}", offset.0),
                offset,
                epoch: self.epoch,
                digest: 0x5a5a_5a5a_5a5a ^ offset.0,
                time_ms: 1_800_000_000_000 + offset.0,
            });
            write.cursors = vec![CursorRow {
                user: user.clone(),
                offset,
                message_count: offset.0,
            }];
        }
        write
    }
}

/// Rows that a group is stored as.
fn rows(group: &[RoomWrite]) -> usize {
    let rows = |write: &RoomWrite| write.log.len() + 2 * write.sent.len() + write.cursors.len();
    group.iter().map(rows).sum()
}

/// What one side did so far.
#[derive(Default)]
struct Rate {
    rows: usize,
    took: Duration,
    groups: Vec<Duration>,
}

impl Rate {
    fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.took.as_secs_f64()
    }

    fn p99_ms(&mut self) -> f64 {
        self.groups.sort();
        let at = self.groups.get(self.groups.len() * 99 / 100);
        at.map_or(0.0, |took| took.as_secs_f64() * 1e3)
    }
}

type Log = (String, i64, i64, i64, i8, i64, i64, Bytes);
type Sent = (String, String, String, i64, i64, i64, i64);
type Cursor = (String, String, i64, i64, i64);

/// One batch of the raw side, with its values.
enum RawBatch {
    Log(Batch, Vec<Log>),
    Sent(Batch, Vec<Sent>),
    Cursor(Batch, Vec<Cursor>),
}

/// The side without us.
struct Raw {
    session: Session,
    log: PreparedStatement,
    sent: [PreparedStatement; 2],
    cursor: PreparedStatement,
}

impl Raw {
    async fn connect(contact_points: &[String], keyspace: &str) -> anyhow::Result<Self> {
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::LocalQuorum)
            .build();
        let session = SessionBuilder::new()
            .known_nodes(contact_points)
            .default_execution_profile_handle(profile.into_handle())
            .use_keyspace(keyspace, false)
            .build()
            .await?;
        let sent = async |table| {
            let columns = "(room, user, client_id, offset, epoch, digest, time_ms)";
            let text = format!("INSERT INTO {table} {columns} VALUES (?, ?, ?, ?, ?, ?, ?)");
            session.prepare(text).await
        };
        let sent = [sent("sent_ids").await?, sent("sent_ids_by_time").await?];
        let log = session.prepare(
            "INSERT INTO room_log (room, bucket, offset, epoch, kind, message_count, target, event)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        );
        let log = log.await?;
        let cursor = session.prepare(
            "INSERT INTO read_cursors (room, user, offset, message_count)
             VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
        );
        let cursor = cursor.await?;
        Ok(Self {
            session,
            log,
            sent,
            cursor,
        })
    }

    fn batch(statements: impl Iterator<Item = PreparedStatement>) -> Batch {
        let statements = statements.map(BatchStatement::from).collect();
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
        batch.set_is_idempotent(true);
        batch
    }

    /// One batch a partition, cut where the store cuts it.
    fn batches(&self, group: &[RoomWrite]) -> Vec<RawBatch> {
        let mut batches = Vec::new();
        for write in group {
            let room = || write.room.as_str().to_owned();
            let buckets = write.log.chunk_by(|a, b| {
                a.offset.0 / limits::BUCKET_OFFSETS == b.offset.0 / limits::BUCKET_OFFSETS
            });
            for rows in buckets.flat_map(|rows| rows.chunks(limits::CQL_BATCH_ROWS_MAX)) {
                let values = rows.iter().map(|row| {
                    let bucket = row.offset.0 / limits::BUCKET_OFFSETS;
                    let (offset, epoch) = (row.offset.0 as i64, row.epoch.0 as i64);
                    let (count, target) = (row.message_count as i64, row.target.0 as i64);
                    let (kind, event) = (row.kind as i8, row.event.clone());
                    (
                        room(),
                        bucket as i64,
                        offset,
                        epoch,
                        kind,
                        count,
                        target,
                        event,
                    )
                });
                let batch = Self::batch(rows.iter().map(|_| self.log.clone()));
                batches.push(RawBatch::Log(batch, values.collect()));
            }
            for rows in write.sent.chunks(limits::CQL_BATCH_ROWS_MAX / 2) {
                let values = rows.iter().flat_map(|row| {
                    let (offset, epoch) = (row.offset.0 as i64, row.epoch.0 as i64);
                    let (digest, time_ms) = (row.digest as i64, row.time_ms as i64);
                    let (user, id) = (row.user.as_str().to_owned(), row.client_id.clone());
                    let values = (room(), user, id, offset, epoch, digest, time_ms);
                    [values.clone(), values]
                });
                let batch = Self::batch(rows.iter().flat_map(|_| self.sent.clone()));
                batches.push(RawBatch::Sent(batch, values.collect()));
            }
            let values = write.cursors.iter().map(|row| {
                let (offset, count) = (row.offset.0 as i64, row.message_count as i64);
                (room(), row.user.as_str().to_owned(), offset, count, offset)
            });
            let batch = Self::batch(write.cursors.iter().map(|_| self.cursor.clone()));
            batches.push(RawBatch::Cursor(batch, values.collect()));
        }
        batches
    }

    async fn send(&self, batches: &[RawBatch]) -> anyhow::Result<()> {
        let mut answers: FuturesUnordered<_> = batches
            .iter()
            .map(async |batch| match batch {
                RawBatch::Log(batch, values) => self.session.batch(batch, values).await,
                RawBatch::Sent(batch, values) => self.session.batch(batch, values).await,
                RawBatch::Cursor(batch, values) => self.session.batch(batch, values).await,
            })
            .collect();
        while let Some(answer) = answers.next().await {
            answer?;
        }
        Ok(())
    }
}

/// A side: what writes, what makes its groups, what it did.
struct Side<W> {
    writer: Arc<W>,
    source: Source,
    rate: Rate,
}

impl<W: Send + Sync + 'static> Side<W> {
    fn new(writer: W, epoch: u64) -> Self {
        Self {
            writer: Arc::new(writer),
            source: Source::new(epoch),
            rate: Rate::default(),
        }
    }

    /// One slice. Groups are made before its clock starts, more than can be written in it.
    async fn run<G, F>(
        &mut self,
        shape: Shape,
        slice: Duration,
        prepare: impl Fn(&W, Vec<RoomWrite>) -> G,
        write: impl Fn(Arc<W>, G) -> F + Copy + Send + 'static,
    ) -> anyhow::Result<()>
    where
        G: Send + 'static,
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let ahead = (MESSAGES_PER_SECOND_MAX * slice.as_secs_f64()) as usize / shape.messages();
        let mut groups: Vec<_> = (0..ahead.max(64))
            .map(|_| {
                let group = self.source.group(shape);
                (rows(&group), prepare(&self.writer, group))
            })
            .collect();
        let mut commits = JoinSet::new();
        let started = Instant::now();
        while started.elapsed() < slice {
            let (rows, group) = groups.pop().context("too few groups were made")?;
            let writer = Arc::clone(&self.writer);
            commits.spawn(async move {
                let began = Instant::now();
                write(writer, group).await.map(|()| began.elapsed())
            });
            self.rate.rows += rows;
            if commits.len() >= limits::CQL_COMMITS_IN_FLIGHT
                && let Some(took) = commits.join_next().await
            {
                self.rate.groups.push(took??);
            }
        }
        while let Some(took) = commits.join_next().await {
            self.rate.groups.push(took??);
        }
        self.rate.took += started.elapsed();
        Ok(())
    }
}

struct Arguments {
    seconds: f64,
    contact_points: Vec<String>,
}

/// `cargo bench` adds `--bench`; other unknown words are refused.
fn arguments() -> anyhow::Result<Arguments> {
    let mut found = Arguments {
        seconds: 4.0,
        contact_points: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .with_context(|| format!("{word} needs a value"))
        };
        match word.as_str() {
            "--bench" => {}
            "--seconds" => found.seconds = value()?.parse()?,
            "--at" => found.contact_points = value()?.split(',').map(str::to_owned).collect(),
            _ => bail!("unknown argument {word}"),
        }
    }
    Ok(found)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = arguments()?;
    if arguments.contact_points.is_empty() {
        println!("no database: --at HOST:PORT, see scripts/services");
        return Ok(());
    }
    let slice = Duration::from_secs_f64(arguments.seconds / f64::from(TURNS));
    println!(
        "a message is 4 rows (log, {EVENT_BYTES} B event; sent id, twice; cursor; in a hot group \
         one cursor for all); {} groups in flight; {} s a side in {TURNS} turns\n",
        limits::CQL_COMMITS_IN_FLIGHT,
        arguments.seconds
    );
    println!(
        "{:>11} | {:>10} {:>8} | {:>10} {:>8} | {:>5}",
        "group", "raw rows/s", "p99 ms", "ours", "p99 ms", "ratio"
    );
    for shape in [
        Shape::Spread(1),
        Shape::Spread(16),
        Shape::Spread(64),
        Shape::Hot(64),
    ] {
        let keyspace = format!("rookery_bench_{}", std::process::id());
        let config = CqlConfig {
            replication_factor: if arguments.contact_points.len() >= 3 {
                3
            } else {
                1
            },
            ..CqlConfig::new(arguments.contact_points.clone(), &keyspace)
        };
        CqlStore::migrate(config.clone()).await?;
        let raw = Raw::connect(&arguments.contact_points, &keyspace).await?;
        let mut raw = Side::new(raw, 1);
        let mut ours = Side::new(CqlStore::connect(config).await?, 2);
        for _ in 0..TURNS {
            raw.run(
                shape,
                slice,
                |raw, group| raw.batches(&group),
                |raw, batches| async move { raw.send(&batches).await },
            )
            .await?;
            ours.run(
                shape,
                slice,
                |_, group| group,
                |store, group| async move { Ok(store.commit(&group).await?) },
            )
            .await?;
        }
        let (base, rate) = (raw.rate.rows_per_second(), ours.rate.rows_per_second());
        let name = match shape {
            Shape::Spread(messages) => format!("spread {messages}"),
            Shape::Hot(messages) => format!("hot {messages}"),
        };
        println!(
            "{name:>11} | {base:>10.0} {:>8.2} | {rate:>10.0} {:>8.2} | {:>5.2}",
            raw.rate.p99_ms(),
            ours.rate.p99_ms(),
            rate / base
        );
        ours.writer.close().await;
        let drop = format!("DROP KEYSPACE {keyspace}");
        raw.writer.session.query_unpaged(drop, ()).await?;
    }
    Ok(())
}
