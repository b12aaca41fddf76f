//! Received bytes become messages.
//!
//! The reader gives what it read as an [`Input`] and calls [`Decoder::next`] until it returns
//! `None`. A whole, unfragmented message is unmasked where it lies and lent from there, never
//! copied. What cannot be delivered yet (the start of a frame, the fragments of a message) moves
//! into `held`, which is freed when it runs empty: an idle connection holds no buffer.
//!
//! ```text
//!            header whole               payload whole, FIN
//!   Header ───────────────► Payload ─────────────────────► Lent ──► Header
//!     ▲                        │ payload whole, not FIN
//!     └────────────────────────┘        any ── close or violation ──► Closed
//! ```
//! `held` is laid out as
//! ```text
//!   [ fragments of the message so far | bytes of the frame at hand ]
//!   0                             frame_start                  held.len()
//! ```
//! where the bytes of the frame at hand are its raw header, in `Header`, or its unmasked payload,
//! in `Payload`. A control frame between fragments uses the same place and is cut off afterwards.

use super::{Opcode, Violation, close, frame::CONTROL_BYTES_MAX, mask};

/// What a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message, whole.
    Text(&'a str),
    /// A binary message, whole.
    Binary(&'a [u8]),
    /// Wants a pong with this payload.
    Ping(&'a [u8]),
    /// A sign of life.
    Pong(&'a [u8]),
    /// The client's last frame, with code and reason if it gave them.
    Close(Option<(u16, &'a str)>),
}

/// Bytes just read, and how far they are decoded. They are unmasked in place.
#[derive(Debug)]
pub struct Input<'a> {
    bytes: &'a mut [u8],
    taken: usize,
}

impl<'a> Input<'a> {
    /// Wraps bytes that continue where the last input ended.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, taken: 0 }
    }

    /// The bytes not decoded yet: an input made of them continues here.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// The last `len` bytes taken.
    fn last(&self, len: usize) -> &[u8] {
        &self.bytes[self.taken - len..self.taken]
    }

    /// Takes at most `bytes_max` bytes.
    fn take(&mut self, bytes_max: usize) -> &mut [u8] {
        let start = self.taken;
        self.taken += bytes_max.min(self.bytes.len() - start);
        &mut self.bytes[start..self.taken]
    }
}

/// What the decoder waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// A frame's header; some of it may be held.
    Header,
    /// The payload of the frame at hand.
    Payload,
    /// The next call: the message in `held` is lent to the caller.
    Lent,
    /// Nothing: the client closed or broke the protocol. All further input is dropped.
    Closed,
}

/// Kind of a frame, continuation included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Continuation,
    New(Opcode),
}

/// A frame's header, checked as far as it can be alone.
struct Header {
    kind: Kind,
    fin: bool,
    key: [u8; 4],
    payload_len: u64,
    header_len: usize,
}

/// The server's side of one connection's receiving half.
#[derive(Debug)]
pub struct Decoder {
    held: Vec<u8>,
    /// Bytes of fragments at the start of `held`.
    frame_start: u32,
    /// Payload bytes of the frame at hand that are still to come.
    missing: u32,
    /// Bytes at the start of `held` known to be UTF-8.
    utf8_len: u32,
    message_bytes_max: u32,
    /// Of the frame at hand, rotated to its next byte.
    key: [u8; 4],
    phase: Phase,
    /// Opcode of the message being put together, if there is one.
    message: Option<Opcode>,
    /// Opcode of the frame at hand; a continuation has its message's.
    frame: Opcode,
    fin: bool,
}

impl Decoder {
    /// A decoder for a fresh connection that refuses messages above `message_bytes_max` bytes.
    #[must_use]
    pub const fn new(message_bytes_max: u32) -> Self {
        Self {
            held: Vec::new(),
            frame_start: 0,
            missing: 0,
            utf8_len: 0,
            message_bytes_max,
            key: [0; 4],
            phase: Phase::Header,
            message: None,
            frame: Opcode::Binary,
            fin: true,
        }
    }

    /// Bytes of heap this connection holds for a frame or message that is not whole.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// The next message, or `None` when all input is used up. Call it until then: only that frees
    /// the buffer of a message that was put together.
    ///
    /// # Errors
    /// A [`Violation`] ends the connection; the decoder drops all input after it.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut Input<'_>,
    ) -> Result<Option<Incoming<'a>>, Violation> {
        match self.phase {
            Phase::Lent => self.end_frame(),
            Phase::Closed => self.held = Vec::new(),
            Phase::Header | Phase::Payload => {}
        }
        let incoming = match self.step(input) {
            Ok(Step::Starved) => {
                if self.held.is_empty() {
                    self.held = Vec::new();
                }
                return Ok(None);
            }
            Ok(Step::Here(len)) => incoming(self.frame, input.last(len)),
            Ok(Step::Held(start)) => incoming(self.frame, &self.held[start..]),
            Err(violation) => Err(violation),
        };
        if incoming.is_err() || self.frame == Opcode::Close {
            self.phase = Phase::Closed;
        }
        incoming.map(Some)
    }

    /// Goes on until there is something to deliver or no input left.
    fn step(&mut self, input: &mut Input<'_>) -> Result<Step, Violation> {
        loop {
            match self.phase {
                Phase::Header => {
                    let Some(header) = self.header(input)? else {
                        return Ok(Step::Starved);
                    };
                    self.begin_frame(&header)?;
                    let missing = self.missing as usize;
                    if self.stands_alone() && input.rest().len() >= missing {
                        mask::unmask(input.take(missing), self.key);
                        return Ok(Step::Here(missing));
                    }
                    self.phase = Phase::Payload;
                }
                Phase::Payload => {
                    self.hold(input);
                    if self.frame == Opcode::Text {
                        self.check_utf8()?;
                    }
                    if self.missing > 0 {
                        return Ok(Step::Starved);
                    }
                    if self.frame.is_control() {
                        self.phase = Phase::Lent;
                        return Ok(Step::Held(self.frame_start as usize));
                    }
                    if self.fin {
                        self.phase = Phase::Lent;
                        return Ok(Step::Held(0));
                    }
                    self.frame_start = offset(self.held.len());
                    self.phase = Phase::Header;
                }
                Phase::Lent | Phase::Closed => {
                    input.take(usize::MAX);
                    return Ok(Step::Starved);
                }
            }
        }
    }

    /// The next frame's header, from the input alone where it is whole there.
    fn header(&mut self, input: &mut Input<'_>) -> Result<Option<Header>, Violation> {
        let start = self.frame_start as usize;
        if self.held.len() == start {
            match parse_header(input.rest())? {
                Parsed::Whole(header) => {
                    input.take(header.header_len);
                    return Ok(Some(header));
                }
                Parsed::Missing(_) => {
                    self.held.extend_from_slice(input.take(usize::MAX));
                    return Ok(None);
                }
            }
        }
        loop {
            match parse_header(&self.held[start..])? {
                Parsed::Whole(header) => {
                    self.held.truncate(start);
                    return Ok(Some(header));
                }
                Parsed::Missing(bytes) => {
                    let more = input.take(bytes);
                    if more.is_empty() {
                        return Ok(None);
                    }
                    self.held.extend_from_slice(more);
                }
            }
        }
    }

    /// Checks a header against what came before it and makes it the frame at hand.
    fn begin_frame(&mut self, header: &Header) -> Result<(), Violation> {
        let control = matches!(header.kind, Kind::New(opcode) if opcode.is_control());
        self.frame = match (header.kind, self.message) {
            (Kind::Continuation, None) => return Err(Violation::ContinuationWithoutMessage),
            (Kind::Continuation, Some(message)) => message,
            (Kind::New(opcode), Some(_)) if !opcode.is_control() => {
                return Err(Violation::MessageInsideMessage);
            }
            (Kind::New(opcode), _) => opcode,
        };
        if !control {
            let room = u64::from(self.message_bytes_max.saturating_sub(self.frame_start));
            if header.payload_len > room {
                return Err(Violation::TooLarge {
                    bytes_max: self.message_bytes_max,
                });
            }
            if !header.fin {
                self.message = Some(self.frame);
            }
        }
        self.missing = u32::try_from(header.payload_len)
            .expect("at most 125 for control frames, at most message_bytes_max for others");
        self.key = header.key;
        self.fin = header.fin;
        Ok(())
    }

    /// Whether the frame at hand is a message by itself.
    fn stands_alone(&self) -> bool {
        self.frame.is_control() || (self.fin && self.message.is_none())
    }

    /// Moves what there is of the payload into `held`.
    fn hold(&mut self, input: &mut Input<'_>) {
        let bytes = input.take(self.missing as usize);
        self.key = mask::unmask(bytes, self.key);
        self.missing -= offset(bytes.len());
        self.held.extend_from_slice(bytes);
    }

    /// Checks what is new of a held text message. A code point cut at the end waits for the rest,
    /// unless there is none.
    fn check_utf8(&mut self) -> Result<(), Violation> {
        let new = &self.held[self.utf8_len as usize..];
        match std::str::from_utf8(new) {
            Ok(_) => self.utf8_len = offset(self.held.len()),
            Err(error) if error.error_len().is_none() => {
                if self.fin && self.missing == 0 {
                    return Err(Violation::TextNotUtf8);
                }
                self.utf8_len += offset(error.valid_up_to());
            }
            Err(_) => return Err(Violation::TextNotUtf8),
        }
        Ok(())
    }

    /// Forgets the message that was lent.
    fn end_frame(&mut self) {
        if self.frame.is_control() {
            self.held.truncate(self.frame_start as usize);
        } else {
            self.held.clear();
            self.frame_start = 0;
            self.utf8_len = 0;
            self.message = None;
        }
        self.phase = Phase::Header;
    }
}

/// What [`Decoder::step`] came to.
enum Step {
    /// No input left.
    Starved,
    /// The payload is the last so many bytes taken of the input.
    Here(usize),
    /// The payload is `held` from there.
    Held(usize),
}

/// A position in `held`: the larger of `message_bytes_max` and a few headers, so it fits.
fn offset(len: usize) -> u32 {
    u32::try_from(len).expect("a message has at most u32::MAX bytes")
}

/// Gives a whole payload its meaning.
fn incoming(opcode: Opcode, payload: &[u8]) -> Result<Incoming<'_>, Violation> {
    match opcode {
        Opcode::Text => std::str::from_utf8(payload)
            .map(Incoming::Text)
            .map_err(|_| Violation::TextNotUtf8),
        Opcode::Binary => Ok(Incoming::Binary(payload)),
        Opcode::Ping => Ok(Incoming::Ping(payload)),
        Opcode::Pong => Ok(Incoming::Pong(payload)),
        Opcode::Close => close::parse(payload),
    }
}

/// What the start of a frame says.
enum Parsed {
    Whole(Header),
    /// At least so many more bytes are needed.
    Missing(usize),
}

/// Reads a client frame's header; wrong first bytes are refused before the rest is there.
fn parse_header(bytes: &[u8]) -> Result<Parsed, Violation> {
    let Some(&[first, second]) = bytes.first_chunk::<2>() else {
        return Ok(Parsed::Missing(2 - bytes.len()));
    };
    if first & 0x70 != 0 {
        return Err(Violation::ReservedBits);
    }
    let fin = first & 0x80 != 0;
    let kind = match first & 0x0F {
        0x0 => Kind::Continuation,
        0x1 => Kind::New(Opcode::Text),
        0x2 => Kind::New(Opcode::Binary),
        0x8 => Kind::New(Opcode::Close),
        0x9 => Kind::New(Opcode::Ping),
        0xA => Kind::New(Opcode::Pong),
        opcode => return Err(Violation::ReservedOpcode { opcode }),
    };
    let short_len = second & 0x7F;
    if matches!(kind, Kind::New(opcode) if opcode.is_control()) {
        if !fin {
            return Err(Violation::FragmentedControl);
        }
        if usize::from(short_len) > CONTROL_BYTES_MAX {
            return Err(Violation::LongControl);
        }
    }
    if second & 0x80 == 0 {
        return Err(Violation::NotMasked);
    }
    let len_bytes = match short_len {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let header_len = 2 + len_bytes + 4;
    if bytes.len() < header_len {
        return Ok(Parsed::Missing(header_len - bytes.len()));
    }
    let (len, key) = bytes[2..header_len].split_at(len_bytes);
    let payload_len = if let Ok(len) = <[u8; 2]>::try_from(len) {
        u64::from(u16::from_be_bytes(len))
    } else if let Ok(len) = <[u8; 8]>::try_from(len) {
        u64::from_be_bytes(len)
    } else {
        u64::from(short_len)
    };
    match short_len {
        126 if payload_len < 126 => return Err(Violation::LengthNotMinimal),
        127 if payload_len > i64::MAX as u64 => return Err(Violation::LengthNegative),
        127 if payload_len <= u64::from(u16::MAX) => return Err(Violation::LengthNotMinimal),
        _ => {}
    }
    Ok(Parsed::Whole(Header {
        kind,
        fin,
        key: key.try_into().expect("a header ends with four key bytes"),
        payload_len,
        header_len,
    }))
}
