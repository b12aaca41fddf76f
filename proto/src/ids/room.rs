use super::text::text_id;
use crate::limits::ROOM_ID_BYTES_MAX;

text_id! {
    /// Names a room: 1 to 64 of `A-Z a-z 0-9 . _ - ~ :`.
    RoomId,
    1..=ROOM_ID_BYTES_MAX,
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '~' | ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_id_with_bad_text_is_refused() {
        assert!(RoomId::parse("general").is_ok());
        assert!(RoomId::parse("").is_err());
        assert!(RoomId::parse(&"x".repeat(65)).is_err());
        assert_eq!(
            RoomId::parse("a b").unwrap_err().to_string(),
            "must not contain ' '"
        );
    }
}
