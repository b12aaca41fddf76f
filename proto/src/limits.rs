//! Sizes the wire itself promises. Larger input is an error that names the field.

/// Bytes of a room id: fits a log line and a database key.
pub const ROOM_ID_BYTES_MAX: usize = 64;
/// Bytes of a user id: what identity providers put into `sub` (OpenID Connect allows 255 ASCII
/// characters; 128 covers the issuers we know).
pub const USER_ID_BYTES_MAX: usize = 128;
/// Bytes of a user's or a room's display name.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of a client frame's `id` and of a `clientId`: a UUID fits in every common spelling.
pub const CLIENT_ID_BYTES_MAX: usize = 64;
/// Bytes of a device name.
pub const DEVICE_BYTES_MAX: usize = 64;
/// Bytes of a message's text: longer than any chat message people write by hand.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a reaction's emoji: the longest emoji sequences have about 40.
pub const EMOJI_BYTES_MAX: usize = 64;
/// Bytes of one client frame, after reassembly.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Events of one history page and of a join's `last`.
pub const HISTORY_EVENTS_MAX: u32 = 200;
/// Events of a history page that names no limit.
pub const HISTORY_EVENTS_DEFAULT: u32 = 50;
/// Rooms of one page of `rooms`.
pub const ROOM_PAGE_MAX: u32 = 200;
/// Rooms of a page of `rooms` that names no limit.
pub const ROOM_PAGE_DEFAULT: u32 = 100;
/// Users named in one `createRoom`.
pub const CREATE_MEMBERS_MAX: usize = 256;
/// Users told in `Joined.here` and in one roster signal.
pub const HERE_USERS_MAX: usize = 100;

const _: () = assert!(
    TEXT_BYTES_MAX * 2 < FRAME_BYTES_MAX,
    "a text fits its frame, escaped"
);
