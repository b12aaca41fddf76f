//! Rows per second through the store, beside the same rows inserted raw in the same run.
//!
//! `cargo bench -p rookery-persistence --bench commit -- --seconds 2 [--dir FOLDER]`
//!
//! Raw: rusqlite with the same schema, settings and statements, one transaction a group. Store:
//! the same groups through `SqliteStore::commit`, one at a time ("1 flying"), and as many at once
//! as the store advises ("N flying"). On all sides rows are made before the clock starts on them.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rookery_persistence::{
    CursorRow, EventKind, LogRow, OpenError, RoomWrite, SentRow, SqliteConfig, SqliteStore, Store,
    limits,
};
use rookery_proto::ids::{Epoch, Offset, RoomId, UserId};
use rusqlite::{Connection, params};
use tokio::task::{JoinError, JoinSet};

const GROUPS: [usize; 4] = [1, 16, 64, 256];
const ROOMS: usize = 2_000;
/// Slices of each side.
const TURNS: u32 = 8;
const ROWS_PER_WRITE: usize = 3;
const EVENT_BYTES: usize = 200;

/// Makes groups of messages, each in the next room.
struct Source {
    rooms: Vec<RoomId>,
    users: Vec<UserId>,
    heads: Vec<u64>,
    next: usize,
    made: u64,
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
            made: 0,
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
            time_ms: 1_800_000_000_000 + self.made / 10,
        };
        self.made += 1;
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
        self.groups
            .get(self.groups.len() * 99 / 100)
            .map_or(0.0, |took| took.as_secs_f64() * 1e3)
    }
}

/// The side without us.
struct Raw {
    connection: Connection,
    source: Source,
    rate: Rate,
}

impl Raw {
    fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(&format!(
            "PRAGMA page_size = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA cache_size = -{}; PRAGMA wal_autocheckpoint = {};",
            limits::SQLITE_PAGE_BYTES,
            limits::SQLITE_WRITER_CACHE_KIB,
            limits::SQLITE_WAL_PAGES
        ))?;
        connection.execute_batch(include_str!("../schema/sqlite/0001_init.sql"))?;
        Ok(Self {
            connection,
            source: Source::new(),
            rate: Rate::default(),
        })
    }

    fn run(&mut self, writes: usize, run: Duration) -> rusqlite::Result<()> {
        let connection = &self.connection;
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
        let end = self.rate.took + run;
        while self.rate.took < end {
            let group = self.source.group(writes);
            let started = Instant::now();
            connection.execute_batch("BEGIN IMMEDIATE")?;
            for write in &group {
                let room = write.room.as_str();
                for row in &write.log {
                    let (kind, count) = (row.kind as u8, row.message_count as i64);
                    let (offset, epoch) = (row.offset.0 as i64, row.epoch.0 as i64);
                    let (target, event) = (row.target.0 as i64, &row.event[..]);
                    log.execute(params![room, offset, epoch, kind, count, target, event])?;
                }
                for row in &write.sent {
                    let (offset, epoch) = (row.offset.0 as i64, row.epoch.0 as i64);
                    let (digest, time_ms) = (row.digest as i64, row.time_ms as i64);
                    let (user, id) = (row.user.as_str(), &row.client_id);
                    sent.execute(params![room, user, id, offset, epoch, digest, time_ms])?;
                }
                for row in &write.cursors {
                    let (offset, count) = (row.offset.0 as i64, row.message_count as i64);
                    cursor.execute(params![room, row.user.as_str(), offset, count])?;
                }
            }
            connection.execute_batch("COMMIT")?;
            self.rate.groups.push(started.elapsed());
            self.rate.took += started.elapsed();
            self.rate.rows += writes * ROWS_PER_WRITE;
        }
        Ok(())
    }
}

/// Our side, with so many groups in flight.
struct Ours {
    store: Arc<SqliteStore>,
    in_flight: usize,
    source: Source,
    rate: Rate,
}

impl Ours {
    fn open(path: &Path, in_flight: usize) -> Result<Self, OpenError> {
        let store = Arc::new(SqliteStore::open(SqliteConfig::new(path))?);
        Ok(Self {
            store,
            in_flight,
            source: Source::new(),
            rate: Rate::default(),
        })
    }

    /// As on the raw side, making a group is not timed while nothing is under way.
    async fn run(&mut self, writes: usize, run: Duration) {
        let mut commits = JoinSet::new();
        let (started, mut untimed) = (Instant::now(), Duration::ZERO);
        while started.elapsed() - untimed < run {
            let making = Instant::now();
            let group = self.source.group(writes);
            if commits.is_empty() {
                untimed += making.elapsed();
            }
            let store = Arc::clone(&self.store);
            commits.spawn(async move {
                let began = Instant::now();
                store
                    .commit(&group)
                    .await
                    .expect("a bench has room on its disk");
                began.elapsed()
            });
            self.rate.rows += writes * ROWS_PER_WRITE;
            if commits.len() >= self.in_flight {
                self.note(commits.join_next().await);
            }
        }
        while !commits.is_empty() {
            self.note(commits.join_next().await);
        }
        self.rate.took += started.elapsed() - untimed;
    }

    fn note(&mut self, commit: Option<Result<Duration, JoinError>>) {
        if let Some(took) = commit {
            self.rate
                .groups
                .push(took.expect("a commit does not panic"));
        }
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
    // Slices take turns, so that what else the machine does meets all sides alike.
    let slice = Duration::from_secs_f64(arguments.seconds / f64::from(TURNS));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    println!(
        "a group of N messages is {ROWS_PER_WRITE}N rows: log ({EVENT_BYTES} B event), sent id, \
         cursor; {ROOMS} rooms; {} s each in {TURNS} turns; per store: rows/s, ratio to raw, p99\n",
        arguments.seconds
    );
    println!(
        "{:>6} | {:>9} {:>9} | {:>9} {:>6} {:>9} | {:>9} {:>6} {:>9}",
        "group", "raw", "p99 ms", "1 flying", "ratio", "p99 ms", "N flying", "ratio", "p99 ms"
    );
    for writes in GROUPS {
        let folder = tempfile::tempdir_in(&arguments.folder)?;
        let mut raw = Raw::open(&folder.path().join("raw.db"))?;
        let mut one = Ours::open(&folder.path().join("one.db"), 1)?;
        let flying = limits::SQLITE_COMMITS_IN_FLIGHT;
        let mut many = Ours::open(&folder.path().join("many.db"), flying)?;
        for _ in 0..TURNS {
            raw.run(writes, slice)?;
            runtime.block_on(one.run(writes, slice));
            runtime.block_on(many.run(writes, slice));
        }
        let base = raw.rate.rows_per_second();
        print!("{writes:>6} | {base:>9.0} {:>9.2}", raw.rate.p99_ms());
        for mut side in [one, many] {
            let rate = side.rate.rows_per_second();
            print!(
                " | {rate:>9.0} {:>6.2} {:>9.2}",
                rate / base,
                side.rate.p99_ms()
            );
            runtime.block_on(side.store.close());
        }
        println!();
    }
    Ok(())
}
