//! How a client can break the protocol.

use rookery_proto::close::CloseCode;

/// What is wrong with a client's frame. The connection ends with [`Violation::close_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// One of the three reserved bits is set, though no extension was negotiated.
    #[error("reserved bits are set")]
    ReservedBits,
    /// An opcode RFC 6455 does not define.
    #[error("opcode {opcode:#x} is reserved")]
    ReservedOpcode {
        /// The four bits.
        opcode: u8,
    },
    /// Clients must mask every frame.
    #[error("frame is not masked")]
    NotMasked,
    /// Control frames are whole.
    #[error("control frame is fragmented")]
    FragmentedControl,
    /// Control frames carry at most 125 bytes.
    #[error("control frame has more than 125 bytes")]
    LongControl,
    /// The length is written in more bytes than it needs.
    #[error("length is not in its shortest form")]
    LengthNotMinimal,
    /// The highest bit of a 64-bit length is set.
    #[error("length has its highest bit set")]
    LengthNegative,
    /// A continuation without a message to continue.
    #[error("continuation without a message")]
    ContinuationWithoutMessage,
    /// A new message before the last fragment of the one before.
    #[error("new message inside a fragmented one")]
    MessageInsideMessage,
    /// A close payload of one byte.
    #[error("close payload of one byte")]
    ShortClose,
    /// A close code that must not be sent.
    #[error("close code {code} must not be sent")]
    CloseCode {
        /// The code received.
        code: u16,
    },
    /// A close reason that is not UTF-8.
    #[error("close reason is not utf-8")]
    CloseReasonNotUtf8,
    /// A text message that is not UTF-8.
    #[error("text is not utf-8")]
    TextNotUtf8,
    /// The message would be larger than allowed; decided from the header, before it is read.
    #[error("message has more than {bytes_max} bytes")]
    TooLarge {
        /// Most bytes a message may have.
        bytes_max: u32,
    },
}

impl Violation {
    /// The code to close the connection with.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode { .. }
            | Self::NotMasked
            | Self::FragmentedControl
            | Self::LongControl
            | Self::LengthNotMinimal
            | Self::LengthNegative
            | Self::ContinuationWithoutMessage
            | Self::MessageInsideMessage
            | Self::ShortClose
            | Self::CloseCode { .. } => CloseCode::Protocol,
            Self::CloseReasonNotUtf8 | Self::TextNotUtf8 => CloseCode::InvalidUtf8,
            Self::TooLarge { .. } => CloseCode::TooLarge,
        }
    }
}
