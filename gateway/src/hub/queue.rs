//! What waits for one socket.

use std::{collections::VecDeque, io};

use bytes::{Buf as _, Bytes};

use super::wire::Wire;
use crate::limits::{QUEUE_ANSWER_BYTES_MAX, WRITE_SLICES_MAX};

/// Bytes waiting for one socket: whole frames, the first perhaps written in part. One piece lies
/// in the queue itself, so that the common flush (one piece, written at once) allocates nothing,
/// and an empty queue holds no memory.
#[derive(Debug, Default)]
pub(super) struct Queue {
    first: Bytes,
    rest: VecDeque<Bytes>,
    bytes: usize,
    /// Of `bytes`: answers to the session's own commands.
    answer_bytes: usize,
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Nothing waits.
    Empty,
    /// The socket takes no more now.
    Blocked,
    /// The connection is gone.
    Broken,
}

impl Queue {
    /// Bytes that count against the session's bound.
    pub(super) fn bound_bytes(&self) -> usize {
        // Answers may be written in part already.
        self.bytes
            .saturating_sub(self.answer_bytes.min(QUEUE_ANSWER_BYTES_MAX))
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        if self.bytes == 0 {
            self.bytes = piece.len();
            self.first = piece;
        } else {
            self.bytes += piece.len();
            self.rest.push_back(piece);
        }
    }

    /// Like [`push`](Self::push), for an answer to the session's own command.
    pub(super) fn push_answer(&mut self, piece: Bytes) {
        self.answer_bytes += piece.len();
        self.push(piece);
    }

    /// Drops all but the piece that is perhaps written in part.
    pub(super) fn keep_first(&mut self) {
        self.rest = VecDeque::new();
        self.bytes = self.first.len();
        self.answer_bytes = 0;
    }

    /// Writes until the queue is empty or the socket takes no more. Adds the bytes written to
    /// `written` and counts system calls in `writes`.
    pub(super) fn flush(
        &mut self,
        wire: &impl Wire,
        written: &mut u64,
        writes: &mut u64,
    ) -> Flushed {
        while self.bytes > 0 {
            *writes += 1;
            let result = if self.rest.is_empty() {
                wire.write(&[io::IoSlice::new(&self.first)])
            } else {
                let mut slices = [io::IoSlice::new(&[]); WRITE_SLICES_MAX];
                slices[0] = io::IoSlice::new(&self.first);
                let mut count = 1;
                for (slice, piece) in slices[1..].iter_mut().zip(&self.rest) {
                    *slice = io::IoSlice::new(piece);
                    count += 1;
                }
                wire.write(&slices[..count])
            };
            match result {
                Ok(0) => return Flushed::Broken,
                Ok(bytes) => {
                    *written += bytes as u64;
                    self.advance(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Flushed::Broken,
            }
        }
        self.answer_bytes = 0;
        Flushed::Empty
    }

    /// Takes `bytes` from the front.
    fn advance(&mut self, mut bytes: usize) {
        self.bytes -= bytes;
        loop {
            if bytes < self.first.len() {
                self.first.advance(bytes);
                return;
            }
            bytes -= self.first.len();
            match self.rest.pop_front() {
                Some(piece) => self.first = piece,
                None => {
                    self.first = Bytes::new();
                    self.rest = VecDeque::new();
                    return;
                }
            }
        }
    }
}
