use super::text::text_id;
use crate::limits::USER_ID_BYTES_MAX;

text_id! {
    /// Names a person (`sub` of the token): 1 to 128 bytes, no control characters.
    UserId,
    1..=USER_ID_BYTES_MAX,
    |c| !c.is_control()
}
