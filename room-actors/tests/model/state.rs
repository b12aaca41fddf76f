//! What replicas hold, where owners are, and what readers have seen: some words of bits.

use super::list::List;

/// 1, 2, 3 …: the number of an ownership, and here the name of the owner that has it.
pub(crate) type Epoch = u8;
/// 1, 2, 3 …
pub(crate) type Offset = u8;

pub(crate) const REPLICAS: usize = 3;
pub(crate) const OWNERS_MAX: Epoch = 4;
pub(crate) const OFFSETS_MAX: Offset = 4;

// What one replica holds, one bit each: 16 rows, 4 lists, 4 fences. Above them, which owner has
// read what here: bookkeeping of owners, kept here because replicas are then interchangeable.
const LISTS_AT: u8 = 16;
const FENCES_AT: u8 = 20;
const READS_AT: u8 = 24;
const READS_EACH: u8 = 3 + OFFSETS_MAX;
const _: () = assert!(READS_AT + OWNERS_MAX * READS_EACH <= 64);

/// All rows.
pub(crate) const ROWS: u64 = 0xffff;
/// Everything that is written.
pub(crate) const WRITES: u64 = (1 << READS_AT) - 1;

/// The row of that epoch at that offset.
pub(crate) const fn row(offset: Offset, epoch: Epoch) -> u64 {
    1 << (4 * (offset - 1) + epoch - 1)
}

/// The list that this epoch's owner wrote.
pub(crate) const fn list(epoch: Epoch) -> u64 {
    1 << (LISTS_AT + epoch - 1)
}

/// The fence against this epoch's owner.
pub(crate) const fn fence(epoch: Epoch) -> u64 {
    1 << (FENCES_AT + epoch - 1)
}

/// All rows of epochs below this one.
pub(crate) const fn rows_before(epoch: Epoch) -> u64 {
    ((1 << (epoch - 1)) - 1) * 0x1111
}

/// What the bit of a write stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Row { offset: Offset, epoch: Epoch },
    List { epoch: Epoch },
    Fence { epoch: Epoch },
}

impl Write {
    pub(crate) fn of_bit(bit: u8) -> Self {
        match bit {
            0..LISTS_AT => Self::Row {
                offset: bit / 4 + 1,
                epoch: bit % 4 + 1,
            },
            LISTS_AT..FENCES_AT => Self::List {
                epoch: bit - LISTS_AT + 1,
            },
            _ => Self::Fence {
                epoch: bit - FENCES_AT + 1,
            },
        }
    }
}

/// A read that an owner makes at several replicas, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Of the lists, to wake.
    Lists,
    /// Of the rows, to wake.
    Rows,
    /// Of the own fence, before serving.
    FenceToServe,
    /// Of the own fence, before acknowledging this offset.
    FenceToAck(Offset),
}

impl Read {
    /// The bit a replica has when this owner has read there.
    pub(crate) const fn by(self, owner: Epoch) -> u64 {
        let which = match self {
            Self::Lists => 0,
            Self::Rows => 1,
            Self::FenceToServe => 2,
            Self::FenceToAck(offset) => 2 + offset,
        };
        1 << (READS_AT + (owner - 1) * READS_EACH + which)
    }

    const fn all_by(owner: Epoch) -> u64 {
        ((1 << READS_EACH) - 1) << (READS_AT + (owner - 1) * READS_EACH)
    }
}

/// How far an owner is. It may stall in any phase, for ever or for a while.
///
/// ```text
/// Idle ─► Fencing ─► Waking ─► Adopted ─► Listed ─► Confirmed ─► Serving
///                       └► Empty ─► EmptyServed ─►┘                 (FirstEventClaims only)
/// and from wherever it reads its fence, or a list newer than itself, or releases: ─► Stopped
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    #[default]
    Idle,
    /// The former owner's fence is decided. (`EpochBeforeFence`: the epoch is taken.)
    Fencing,
    /// Has the epoch; reads lists and rows.
    Waking,
    /// Knows the prefix; repeats its rows until they are at a quorum.
    Adopted,
    /// The new list is on its way, then the own fence is read.
    Listed,
    /// Was not fenced when it read.
    Confirmed,
    /// Serves its prefix, appends, acknowledges.
    Serving,
    /// Found no list and no row.
    Empty,
    /// Has told someone that the room is empty, and has written nothing.
    EmptyServed,
    /// Is fenced or superseded, and knows it; or has released the shard.
    Stopped,
}

/// One owner. Its epoch is its place in [`State::owners`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) phase: Phase,
    /// Whether it ever served.
    pub(crate) served: bool,
    /// Nobody had the shard when it took it: the owner before had released it.
    pub(crate) after_release: bool,
    /// It took the room for at rest, and wrote no adopted row again.
    pub(crate) at_rest: bool,
    /// The adopted prefix ends here.
    pub(crate) adopted: Offset,
    /// Rows appended behind it.
    pub(crate) appended: u8,
    /// Bit `offset - 1`: acknowledged by this owner.
    pub(crate) acked: u8,
    /// Bit `epoch - 1`: that list was seen while waking.
    pub(crate) lists_seen: u8,
    /// Rows seen while waking.
    pub(crate) rows_seen: u16,
    /// The list it works under, and writes.
    pub(crate) list: List,
}

impl Owner {
    /// The offset of the last appended row.
    pub(crate) fn last(&self) -> Offset {
        self.adopted + self.appended
    }

    pub(crate) fn has_acked(&self, offset: Offset) -> bool {
        self.acked & (1 << (offset - 1)) != 0
    }
}

/// Broken promises, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Broken(u8);

impl Broken {
    pub(crate) const NOTHING: Self = Self(0);
    /// An acknowledged event is not at its offset for a later owner.
    pub(crate) const LOST: Self = Self(1);
    /// An offset was served as two events.
    pub(crate) const TWO_EVENTS: Self = Self(2);
    /// A row that an owner did not adopt, before it served, was served (by anyone, at any time).
    pub(crate) const REVIVED: Self = Self(4);

    pub(crate) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = [
            (Self::LOST, "acknowledged event lost"),
            (Self::TWO_EVENTS, "offset served as two events"),
            (Self::REVIVED, "void row served"),
        ];
        let broken = words.into_iter().filter(|(bit, _)| self.has(*bit));
        let broken: Vec<_> = broken.map(|(_, words)| words).collect();
        f.write_str(if broken.is_empty() {
            "nothing broken"
        } else {
            ""
        })?;
        f.write_str(&broken.join(", "))
    }
}

/// Everything at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) replicas: [u64; REPLICAS],
    /// Writes that may arrive at any replica from now on.
    pub(crate) sent: u64,
    /// The epoch in the shard's row: linearizable, so one number.
    pub(crate) epoch: Epoch,
    /// That row names nobody: the owner of this epoch released the shard.
    pub(crate) released: bool,
    pub(crate) owners: [Owner; OWNERS_MAX as usize],
    /// Rows that were acknowledged.
    pub(crate) acked: u64,
    /// Rows that some owner served.
    pub(crate) served: u64,
    /// Rows that an owner did not adopt, and then served.
    pub(crate) void: u64,
    pub(crate) broken: Broken,
}

impl State {
    pub(crate) fn owner(&self, epoch: Epoch) -> &Owner {
        &self.owners[usize::from(epoch) - 1]
    }

    pub(crate) fn owner_mut(&mut self, epoch: Epoch) -> &mut Owner {
        &mut self.owners[usize::from(epoch) - 1]
    }

    /// What at least two replicas have.
    pub(crate) fn at_quorum(&self) -> u64 {
        let [a, b, c] = self.replicas;
        a & b | b & c | a & c
    }

    /// What at least one replica has.
    pub(crate) fn at_any(&self) -> u64 {
        let [a, b, c] = self.replicas;
        a | b | c
    }

    /// Forgets reads that are over.
    pub(crate) fn forget(&mut self, reads: u64) {
        let [a, b, c] = &mut self.replicas;
        *a &= !reads;
        *b &= !reads;
        *c &= !reads;
    }

    /// Ends an owner. What it wrote stays, and may still arrive.
    pub(crate) fn stop(&mut self, epoch: Epoch) {
        self.forget(Read::all_by(epoch));
        let owner = self.owner_mut(epoch);
        owner.phase = Phase::Stopped;
        owner.acked = 0;
        owner.lists_seen = 0;
        owner.rows_seen = 0;
    }
}
