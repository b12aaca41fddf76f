//! Sizes and times of tokens. Each token is judged once, when it arrives; nothing queues here.

use std::time::Duration;

/// Bytes of a token: it must fit a request line beside the rest. Longer ones are refused unread.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Rules of one token's `grants`: looked through on each command to a channel. More are refused.
pub const GRANTS_MAX: usize = 256;

/// How far clocks may be apart by default: more than servers that keep time ever are.
pub const LEEWAY_DEFAULT: Duration = Duration::from_secs(30);

/// Most leeway that can be configured: beyond this, `exp` means little.
pub const LEEWAY_MAX: Duration = Duration::from_secs(600);

/// Bytes of an HS256 secret: as many as its hash has (RFC 7518 §3.2).
pub const SECRET_BYTES_MIN: usize = 32;

/// Bits of an RSA modulus (RFC 7518 §3.3).
pub const RSA_BITS_MIN: usize = 2048;
