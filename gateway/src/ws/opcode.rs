//! What a frame is.

/// The opcode of a frame that is not a continuation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A message of UTF-8 text.
    Text = 0x1,
    /// A message of bytes.
    Binary = 0x2,
    /// The sender's last frame.
    Close = 0x8,
    /// Asks for a pong with the same payload.
    Ping = 0x9,
    /// Answers a ping.
    Pong = 0xA,
}

impl Opcode {
    /// The four bits on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// Close, ping and pong: short, never fragmented, allowed between fragments.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }
}
