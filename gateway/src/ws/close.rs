//! What a close frame may carry.

use super::{Incoming, Violation};

/// Whether a peer may send this close code: those RFC 6455 and its registry define for the wire
/// (1005, 1006 and 1015 are not), and the two open ranges.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Reads the payload of a close frame.
pub(super) fn parse(payload: &[u8]) -> Result<Incoming<'_>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(Incoming::Close(None))
        } else {
            Err(Violation::ShortClose)
        };
    };
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(Violation::CloseCode { code });
    }
    let reason = std::str::from_utf8(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
    Ok(Incoming::Close(Some((code, reason))))
}
