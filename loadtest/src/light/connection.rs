//! What the light client knows of one connection.

use mio::net::TcpStream;

use super::{frames::FrameReader, wire::Dialect};

/// A connection's own state, beside its seats. Names are computed from its number.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Option<TcpStream>,
    pub(super) reader: FrameReader,
    /// What its socket did not take; mostly empty, and then without memory.
    pub(super) unsent: Vec<u8>,
    /// When this attempt to connect began.
    pub(super) opened_us: u64,
    /// When it was cut, until it is whole again; 0: it was not.
    pub(super) cut_us: u64,
    /// Counts its sockets, so that timers of one that is gone are known.
    pub(super) generation: u32,
    /// Attempts in a row that came to nothing.
    pub(super) attempts: u32,
    /// Commands without an answer yet.
    pub(super) unanswered: u32,
    /// Rooms before this one were asked for.
    pub(super) joins_from: u16,
    /// Rooms asked for without an answer yet.
    pub(super) joins_open: u16,
    pub(super) watching: Watching,
    pub(super) phase: Phase,
    pub(super) dialect: Dialect,
}

/// How far a connection is.
///
/// ```text
///   Away ─► Connecting ─► Upgrading ─► Greeting ─► Greeted ─► Joining ─► Whole ─► Closing
///    ▲ whatever ends it                             (until told to join)             │
///    └───────────────────────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No socket.
    Away,
    /// TCP.
    Connecting,
    /// HTTP.
    Upgrading,
    /// Logs in.
    Greeting,
    /// Logged in.
    Greeted,
    /// Joins or resumes its rooms.
    Joining,
    /// In all its rooms.
    Whole,
    /// Closed in order; waits for the server to do the same.
    Closing,
}

/// Whether it watches the presence of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watching {
    No,
    Asked,
    Yes,
}

/// A connection's place in a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    /// The offset it has.
    pub(super) last: u64,
    pub(super) room: u32,
    pub(super) state: SeatState,
    /// Whether `last` is known, so that it is resumed.
    pub(super) known: bool,
}

/// Whether the server sends a room's events here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeatState {
    Away,
    Asked,
    Joined,
}

/// Seats that the bound on a connection's memory is meant for.
const SEATS_USUAL: usize = 8;
const _: () = assert!(size_of::<Connection>() + SEATS_USUAL * size_of::<Seat>() <= 256);

impl Connection {
    pub(super) const fn new(dialect: Dialect) -> Self {
        Self {
            stream: None,
            reader: FrameReader::new(),
            unsent: Vec::new(),
            opened_us: 0,
            cut_us: 0,
            generation: 0,
            attempts: 0,
            unanswered: 0,
            joins_from: 0,
            joins_open: 0,
            watching: Watching::No,
            phase: Phase::Away,
            dialect,
        }
    }
}
