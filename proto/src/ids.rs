//! Names and positions, each a type of its own.
//!
//! Text ids are checked once, where they enter ([`RoomId::parse`] and its like), and are cheap to
//! clone afterwards. Their size limits are in [`crate::limits`].

mod epoch;
mod offset;
mod room;
mod session;
mod text;
mod user;

pub use epoch::Epoch;
pub use offset::Offset;
pub use room::RoomId;
pub use session::SessionId;
pub use text::IdError;
pub use user::UserId;
