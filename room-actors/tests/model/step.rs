//! One thing that happens, in words.

use std::fmt;

use super::state::{Epoch, Offset, Read, Write};

/// A replica by its index.
pub(crate) type Replica = u8;

/// One thing that happens, at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A write reaches a replica.
    Arrive {
        /// Bit of the write.
        bit: u8,
        replica: Replica,
    },
    /// An owner goes on.
    Act { owner: Epoch, act: Act },
}

/// What an owner does in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// The fence against the former owner is decided, and from now on learned by replicas.
    Fence,
    /// Sets the shard's epoch to its own.
    TakeEpoch,
    /// Gives the shard to nobody, and ends.
    Release,
    /// Reads at one replica; the read is over when enough of them answered.
    Read(Read, Replica),
    /// Goes on from writing the adopted rows again; the new list is sent.
    Rewritten,
    /// Sends the new list later than designed.
    SendList,
    /// Serves what it adopted.
    Serve,
    /// Says that the room is empty.
    ServeEmpty,
    /// Sends the next row.
    Append,
    Ack(Offset),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Arrive { bit, replica } => {
                match Write::of_bit(bit) {
                    Write::Row { offset, epoch } => {
                        write!(f, "    row {offset} of epoch {epoch}")?;
                    }
                    Write::List { epoch } => write!(f, "    list of epoch {epoch}")?,
                    Write::Fence { epoch } => write!(f, "    fence of owner {epoch}")?,
                }
                write!(f, " reaches replica {}", name(replica))
            }
            Self::Act { owner, act } => {
                write!(f, "owner {owner} ")?;
                match act {
                    Act::Fence => write!(f, "decides the fence of owner {}", owner - 1),
                    Act::Release => f.write_str("releases the shard"),
                    Act::TakeEpoch => write!(f, "takes epoch {owner}"),
                    Act::Read(read, replica) => {
                        match read {
                            Read::Lists => f.write_str("reads the lists")?,
                            Read::Rows => f.write_str("reads the rows")?,
                            Read::FenceToServe => f.write_str("reads its fence after waking")?,
                            Read::FenceToAck(offset) => {
                                write!(f, "reads its fence for offset {offset}")?;
                            }
                        }
                        write!(f, " at replica {}", name(replica))
                    }
                    Act::Rewritten => f.write_str("is done with the adopted rows"),
                    Act::SendList => f.write_str("sends its list"),
                    Act::Serve => f.write_str("serves what it adopted"),
                    Act::ServeEmpty => f.write_str("says that the room is empty"),
                    Act::Append => f.write_str("sends its next row"),
                    Act::Ack(offset) => write!(f, "acknowledges offset {offset}"),
                }
            }
        }
    }
}

fn name(replica: Replica) -> char {
    char::from(b'A' + replica)
}

/// Steps that may come next: a list of fixed room, because it is filled billions of times.
pub(crate) struct Steps {
    steps: [Step; Self::MAX],
    count: usize,
}

impl Steps {
    /// More than all writes at all replicas and all that four owners may do at once.
    const MAX: usize = 24 * 3 + 4 * 18;

    pub(crate) fn new() -> Self {
        let none = Step::Arrive { bit: 0, replica: 0 };
        Self {
            steps: [none; Self::MAX],
            count: 0,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.count = 0;
    }

    pub(crate) fn push(&mut self, step: Step) {
        self.steps[self.count] = step;
        self.count += 1;
    }

    pub(crate) fn as_slice(&self) -> &[Step] {
        &self.steps[..self.count]
    }
}
