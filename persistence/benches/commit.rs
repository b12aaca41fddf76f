//! Rows per second through the store, beside the same rows inserted raw in the same run.
//!
//! `cargo bench -p rookery-persistence --bench commit -- --seconds 2 [--dir FOLDER]`
//!
//! Raw: rusqlite with the same schema, settings and statements, one transaction a group. Store:
//! the same groups through `SqliteStore::commit`, first one at a time, then with as many in
//! flight as the store advises. Both sides make their rows before the clock starts on them.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rookery_persistence::{
    CursorRow, EventKind, LogRow, RoomWrite, SentRow, SqliteConfig, SqliteStore, Store, limits,
};
use rookery_proto::ids::{Epoch, Offset, RoomId, UserId};
use rusqlite::{Connection, params};
use tokio::task::JoinSet;

const GROUPS: [usize; 4] = [1, 16, 64, 256];
const ROOMS: usize = 2_000;
const ROWS_PER_WRITE: usize = 3;
const EVENT_BYTES: usize = 200;

/// Makes groups of messages, each in the next room.
struct Source {
    rooms: Vec<RoomId>,
    users: Vec<UserId>,
    heads: Vec<u64>,
    next: usize,
    event: Bytes,
}

impl Source {
    fn new() -> Self {
        let room = |n| RoomId::parse(&format!("room-{n:06}")).expect("a room id");
        let user = |n| UserId::parse(&format!("user-{n:06}")).expect("a user id");
        Self {
            rooms: (0..ROOMS).map(room).collect(),
            users: (0..ROOMS).map(user).collect(),
            heads: vec![0; ROOMS],
            next: 0,
            event: vec![0x5a; EVENT_BYTES].into(),
        }
    }

    fn group(&mut self, writes: usize) -> Vec<RoomWrite> {
        (0..writes).map(|_| self.write()).collect()
    }

    fn write(&mut self) -> RoomWrite {
        // A stride that visits all rooms, not in the order of their names.
        self.next = (self.next + 787) % ROOMS;
        let (room, user) = (&self.rooms[self.next], &self.users[self.next]);
        self.heads[self.next] += 1;
        let (offset, epoch) = (Offset(self.heads[self.next]), Epoch(1));
        let log = LogRow {
            offset,
            epoch,
            kind: EventKind::Message,
            message_count: offset.0,
            target: Offset::ZERO,
            event: self.event.clone(),
        };
        let sent = SentRow {
            user: user.clone(),
            client_id: format!("client-id-{:012}", offset.0),
            offset,
            epoch,
            digest: 0x5a5a_5a5a_5a5a ^ offset.0,
            time_ms: 1_800_000_000_000 + offset.0,
        };
        let cursor = CursorRow {
            user: user.clone(),
            offset,
            message_count: offset.0,
        };
        RoomWrite {
            log: vec![log],
            sent: vec![sent],
            cursors: vec![cursor],
            ..RoomWrite::new(room.clone())
        }
    }
}

/// What one side did.
struct Rate {
    rows: usize,
    took: Duration,
    slowest: Vec<Duration>,
}

impl Rate {
    fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.took.as_secs_f64()
    }

    fn p99(&mut self) -> Duration {
        self.slowest.sort();
        self.slowest
            .get(self.slowest.len() * 99 / 100)
            .copied()
            .unwrap_or_default()
    }
}

fn raw(path: &Path, writes: usize, run: Duration) -> rusqlite::Result<Rate> {
    let connection = Connection::open(path)?;
    connection.execute_batch(&format!(
        "PRAGMA page_size = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA cache_size = -{}; PRAGMA wal_autocheckpoint = {};",
        limits::SQLITE_PAGE_BYTES,
        limits::SQLITE_WRITER_CACHE_KIB,
        limits::SQLITE_WAL_PAGES
    ))?;
    connection.execute_batch(include_str!("../schema/sqlite/0001_init.sql"))?;
    let mut log = connection.prepare(
        "INSERT INTO room_log (room, offset, epoch, kind, message_count, target, event)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
    )?;
    let mut sent = connection.prepare(
        "INSERT INTO sent_ids (room, user, client_id, offset, epoch, digest, time_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
    )?;
    let mut cursor = connection.prepare(
        "INSERT INTO read_cursors (room, user, offset, message_count)
         VALUES (?1, ?2, ?3, ?4) ON CONFLICT (room, user) DO UPDATE
         SET offset = excluded.offset, message_count = excluded.message_count
         WHERE excluded.offset > read_cursors.offset",
    )?;
    let mut source = Source::new();
    let mut rate = Rate {
        rows: 0,
        took: Duration::ZERO,
        slowest: Vec::new(),
    };
    while rate.took < run {
        let group = source.group(writes);
        let started = Instant::now();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for write in &group {
            let room = write.room.as_str();
            for row in &write.log {
                let (kind, count) = (row.kind as u8, row.message_count as i64);
                let (offset, epoch) = (row.offset.0 as i64, row.epoch.0 as i64);
                let target = row.target.0 as i64;
                log.execute(params![
                    room,
                    offset,
                    epoch,
                    kind,
                    count,
                    target,
                    &row.event[..]
                ])?;
            }
            for row in &write.sent {
                let (offset, epoch) = (row.offset.0 as i64, row.epoch.0 as i64);
                let (digest, time_ms) = (row.digest as i64, row.time_ms as i64);
                let user = row.user.as_str();
                sent.execute(params![
                    room,
                    user,
                    row.client_id,
                    offset,
                    epoch,
                    digest,
                    time_ms
                ])?;
            }
            for row in &write.cursors {
                let (offset, count) = (row.offset.0 as i64, row.message_count as i64);
                cursor.execute(params![room, row.user.as_str(), offset, count])?;
            }
        }
        connection.execute_batch("COMMIT")?;
        rate.slowest.push(started.elapsed());
        rate.took += started.elapsed();
        rate.rows += writes * ROWS_PER_WRITE;
    }
    Ok(rate)
}

/// `in_flight` groups at a time; a new one is made while the others are under way.
async fn store(path: &Path, writes: usize, in_flight: usize, run: Duration) -> (Rate, u64) {
    let store = Arc::new(SqliteStore::open(SqliteConfig::new(path)).expect("a new database"));
    let mut source = Source::new();
    let mut rate = Rate {
        rows: 0,
        took: Duration::ZERO,
        slowest: Vec::new(),
    };
    let mut made = source.group(writes);
    let mut commits = JoinSet::new();
    let mut idle = Duration::ZERO;
    let started = Instant::now();
    while started.elapsed() - idle < run {
        let group = std::mem::take(&mut made);
        let store = Arc::clone(&store);
        commits.spawn(async move {
            let began = Instant::now();
            store
                .commit(&group)
                .await
                .expect("a bench has room on its disk");
            began.elapsed()
        });
        if in_flight == 1 {
            // As on the raw side, making a group is not timed.
            take(&mut commits, &mut rate).await;
            let making = Instant::now();
            made = source.group(writes);
            idle += making.elapsed();
        } else {
            made = source.group(writes);
            if commits.len() >= in_flight {
                take(&mut commits, &mut rate).await;
            }
        }
        rate.rows += writes * ROWS_PER_WRITE;
    }
    while !commits.is_empty() {
        take(&mut commits, &mut rate).await;
    }
    rate.took = started.elapsed() - idle;
    let transactions = store.transactions();
    store.close().await;
    (rate, transactions)
}

async fn take(commits: &mut JoinSet<Duration>, rate: &mut Rate) {
    if let Some(took) = commits.join_next().await {
        rate.slowest.push(took.expect("a commit does not panic"));
    }
}

struct Arguments {
    seconds: f64,
    folder: PathBuf,
}

/// `cargo bench` adds `--bench`; other unknown words are refused.
fn arguments() -> Result<Arguments, String> {
    let mut found = Arguments {
        seconds: 2.0,
        folder: std::env::temp_dir(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--bench" => {}
            "--seconds" => found.seconds = value()?.parse().map_err(|_| "not a number")?,
            "--dir" => found.folder = value()?.into(),
            _ => return Err(format!("unknown argument {word}")),
        }
    }
    Ok(found)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = arguments()?;
    let run = Duration::from_secs_f64(arguments.seconds);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    println!(
        "a group of N messages is {ROWS_PER_WRITE}N rows: log ({EVENT_BYTES} B event), sent id, \
         cursor; {ROOMS} rooms; {} s each\n",
        arguments.seconds
    );
    println!(
        "{:>6} {:>11} {:>9} | {:>11} {:>6} {:>9} | {:>11} {:>6} {:>9} {:>8}",
        "group",
        "raw rows/s",
        "p99 ms",
        "store, 1",
        "ratio",
        "p99 ms",
        "store, N",
        "ratio",
        "p99 ms",
        "per txn"
    );
    for writes in GROUPS {
        let in_flight = limits::SQLITE_COMMITS_IN_FLIGHT;
        let folder = tempfile::tempdir_in(&arguments.folder)?;
        let mut raw = raw(&folder.path().join("raw.db"), writes, run)?;
        let path = folder.path().join("one.db");
        let (mut one, _) = runtime.block_on(store(&path, writes, 1, run));
        let path = folder.path().join("many.db");
        let (mut many, transactions) = runtime.block_on(store(&path, writes, in_flight, run));
        let base = raw.rows_per_second();
        println!(
            "{writes:>6} {base:>11.0} {:>9.2} | {:>11.0} {:>6.2} {:>9.2} | {:>11.0} {:>6.2} {:>9.2} {:>8.1}",
            raw.p99().as_secs_f64() * 1e3,
            one.rows_per_second(),
            one.rows_per_second() / base,
            one.p99().as_secs_f64() * 1e3,
            many.rows_per_second(),
            many.rows_per_second() / base,
            many.p99().as_secs_f64() * 1e3,
            many.rows as f64 / (transactions as f64 * ROWS_PER_WRITE as f64),
        );
    }
    Ok(())
}
