//! What the light client speaks: one [`Dialect`] for each protocol and encoding, a file of
//! functions each.
//!
//! A dialect has two halves, both without state: [`Dialect::say`] appends finished WebSocket
//! frames, [`Dialect::hear`] reads the payload of one and tells what is in it. What belongs to a
//! connection (its rooms, their last offsets, how many answers it waits for) is not theirs.
//!
//! ```text
//!   upgrade (path, subprotocol)
//!      └► the client speaks first: say Login ─────────┐
//!      └► the server does (`server_speaks_first`):     │
//!         Heard::Hello ► say Login ────────────────────┤
//!         or Heard::Welcome at once, without a login   │
//!                                       Heard::Welcome ◄┘
//!      └► say Join for each room ► Heard::Joined each (then the page's events, unless `reset`)
//!      └► say anything ► Heard::Answered or Heard::Refused with its tag
//! ```
//!
//! To add a protocol: a variant for each of its encodings here, a file `wire/NAME.rs` with `say`
//! and `hear` and tests of both on frames as the protocol documents them, and a line in each
//! `match` below (the compiler names them). What the protocol cannot do, `say` leaves out and
//! answers `false`; what it does not answer, [`Dialect::answers`] says. Rooms without offsets are
//! told with offset 0: losses are then not seen by the row of offsets. A room's name may be
//! decorated on the wire; `hear` gives the name that `say` was given.

mod centrifuge;
pub mod json;
pub mod protobuf;
mod pusher;
mod rookery;
mod socket_io;

use crate::{limits::LIGHT_TAG_BYTES, scenario::RoomKind};

use super::orders::Wire;

/// A protocol in one encoding; a byte of each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Rookery's v1, binary.
    RookeryProtobuf,
    /// Rookery's v1, text.
    RookeryJson,
    /// Socket.IO 4, text.
    SocketIo,
    /// Pusher channels 7, text.
    Pusher,
    /// Centrifuge's protocol, text.
    Centrifuge,
}

/// What a connection says.
#[derive(Clone, Copy, Debug)]
pub enum Say<'a> {
    /// Who it is: the first it says.
    Login {
        /// The user's name and id.
        user: &'a str,
    },
    /// Creates a room, if it is not there.
    Open {
        /// Its name.
        room: &'a str,
        /// Of this kind.
        kind: RoomKind,
    },
    /// Listens to a room.
    Join {
        /// Its name.
        room: &'a str,
        /// Resumes behind this offset.
        after: Option<u64>,
        /// What [`Heard::Session`] told; empty where nothing was told.
        session: &'a str,
    },
    /// A message.
    Send {
        /// Where.
        room: &'a str,
        /// Letters, digits and spaces; begins with when it was due, see [`due_of`].
        text: &'a str,
    },
    /// A typing signal.
    Typing {
        /// Where.
        room: &'a str,
    },
    /// Has read up to here.
    Read {
        /// Where.
        room: &'a str,
        /// Up to this.
        offset: u64,
    },
    /// The newest page.
    History {
        /// Where.
        room: &'a str,
    },
    /// Asks how far the room is; its answer has the head.
    Head {
        /// Where.
        room: &'a str,
    },
    /// Changes its own status.
    Presence {
        /// Away, or online.
        away: bool,
    },
    /// Wants to hear of these users' presence.
    Watch {
        /// Who.
        users: &'a [String],
    },
    /// Answers [`Heard::Ping`].
    Pong,
    /// Is about to close in order, in the protocol's own words; most have none beyond the
    /// WebSocket's close, which follows.
    Bye,
}

/// What a connection hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// The server is there and waits for the login.
    Hello,
    /// What the server calls this connection, where joins must say it. [`Heard::Welcome`] follows.
    Session(&'a [u8]),
    /// Logged in.
    Welcome,
    /// A room is listened to. The events of a resumed room follow, unless `reset`.
    Joined {
        /// Which, as it was said.
        room: &'a [u8],
        /// Its last offset; 0: none, or not told.
        head: u64,
        /// It could not be resumed behind the offset asked for.
        reset: bool,
    },
    /// A command is done.
    Answered {
        /// Which.
        tag: Tag,
        /// The head asked for; the offset of the message; of a join that did not name its room, its
        /// head; else 0.
        offset: u64,
    },
    /// It is not done.
    Refused {
        /// Which; `None`: the server does not say.
        tag: Option<Tag>,
        /// What kind of refusal.
        refusal: Refusal,
        /// In the server's words.
        message: &'a [u8],
    },
    /// An event of a room.
    Event {
        /// Which, as it was said.
        room: &'a [u8],
        /// Dense, from 1; 0: the protocol has none.
        offset: u64,
        /// Of a message; of other events empty.
        text: &'a [u8],
    },
    /// The server asks to resume this room behind the last offset.
    Resume {
        /// Which.
        room: &'a [u8],
    },
    /// A ping of the protocol itself.
    Ping,
    /// Anything else that is in order.
    Other,
}

/// Why something is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too much now; the same helps after so many milliseconds.
    Busy(u32),
    /// It cannot be done now, or nobody knows whether it was; the same may help later.
    Unavailable,
    /// The same again would be refused again.
    Never,
}

/// What a command is, carried in its id so that nobody keeps a table of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Kind of command.
    pub kind: Kind,
    /// Of [`Kind::Open`], [`Kind::Join`] and [`Kind::Head`] the room's number; of the others when
    /// it was due, microseconds of the machine's monotonic clock. Below 2^48.
    pub value: u64,
}

/// Kinds of commands that have answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`Say::Login`].
    Login = 1,
    /// [`Say::Open`].
    Open = 2,
    /// [`Say::Join`].
    Join = 3,
    /// [`Say::Send`].
    Send = 4,
    /// [`Say::Typing`].
    Typing = 5,
    /// [`Say::Read`].
    Read = 6,
    /// [`Say::History`].
    History = 7,
    /// [`Say::Head`].
    Head = 8,
    /// [`Say::Presence`].
    Presence = 9,
    /// [`Say::Watch`].
    Watch = 10,
}

/// The server's bytes are not what the dialect says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's message cannot be read: {0}")]
pub struct Unreadable(pub &'static str);

impl Dialect {
    /// What a connection speaks to such a server; in JSON where there is no other.
    #[must_use]
    pub const fn of(wire: Wire, json: bool) -> Self {
        match (wire, json) {
            (Wire::Rookery, false) => Self::RookeryProtobuf,
            (Wire::Rookery, true) => Self::RookeryJson,
            (Wire::SocketIo, _) => Self::SocketIo,
            (Wire::Pusher, _) => Self::Pusher,
            (Wire::Centrifuge, _) => Self::Centrifuge,
        }
    }

    /// Path and query of the upgrade.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::RookeryProtobuf | Self::RookeryJson => "/v1/ws",
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket",
            Self::Pusher => "/app/app-key?protocol=7&client=rookery-loadtest&version=1",
            Self::Centrifuge => "/connection/websocket",
        }
    }

    /// Subprotocol asked for.
    #[must_use]
    pub const fn subprotocol(self) -> Option<&'static str> {
        match self {
            Self::RookeryProtobuf => Some("rookery.v1.protobuf"),
            Self::RookeryJson => Some("rookery.v1.json"),
            Self::SocketIo | Self::Pusher | Self::Centrifuge => None,
        }
    }

    /// Whether the client waits for the server's first message before its login.
    #[must_use]
    pub const fn server_speaks_first(self) -> bool {
        match self {
            Self::SocketIo | Self::Pusher => true,
            Self::RookeryProtobuf | Self::RookeryJson | Self::Centrifuge => false,
        }
    }

    /// Whether the server answers commands of that kind.
    #[must_use]
    pub const fn answers(self, kind: Kind) -> bool {
        match self {
            // The login's answer is `welcome`.
            Self::RookeryProtobuf | Self::RookeryJson | Self::SocketIo | Self::Centrifuge => {
                !matches!(kind, Kind::Login)
            }
            Self::Pusher => false,
        }
    }

    /// Appends the finished frames that say it; false: this protocol has no words for it.
    pub fn say(self, tag: Tag, say: &Say<'_>, out: &mut Vec<u8>) -> bool {
        match self {
            Self::RookeryProtobuf => rookery::say(false, tag, say, out),
            Self::RookeryJson => rookery::say(true, tag, say, out),
            Self::SocketIo => socket_io::say(tag, say, out),
            Self::Pusher => pusher::say(say, out),
            Self::Centrifuge => centrifuge::say(tag, say, out),
        }
    }

    /// Reads the payload of a text or binary frame and tells what is in it, in order.
    ///
    /// # Errors
    /// See [`Unreadable`]; what came before may have been told.
    pub fn hear(self, payload: &[u8], tell: &mut impl FnMut(Heard<'_>)) -> Result<(), Unreadable> {
        match self {
            Self::RookeryProtobuf => rookery::hear_protobuf(payload, tell),
            Self::RookeryJson => rookery::hear_json(payload, tell),
            Self::SocketIo => socket_io::hear(payload, tell),
            Self::Pusher => pusher::hear(payload, tell),
            Self::Centrifuge => centrifuge::hear(payload, tell),
        }
    }
}

impl Tag {
    /// A number below 2^52, for protocols whose ids are numbers.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.value << 4 | self.kind as u64
    }

    /// What [`Tag::number`] was made of.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        let kind = match number & 0xF {
            1 => Kind::Login,
            2 => Kind::Open,
            3 => Kind::Join,
            4 => Kind::Send,
            5 => Kind::Typing,
            6 => Kind::Read,
            7 => Kind::History,
            8 => Kind::Head,
            9 => Kind::Presence,
            10 => Kind::Watch,
            _ => return None,
        };
        let value = number >> 4;
        Some(Self { kind, value })
    }

    /// The number as text, for protocols whose ids are texts.
    #[must_use]
    pub fn text(self) -> String {
        let text = format!("{:x}", self.number());
        debug_assert!(text.len() <= LIGHT_TAG_BYTES, "a tag is a short id");
        text
    }

    /// What [`Tag::text`] was made of.
    #[must_use]
    pub fn from_text(text: &[u8]) -> Option<Self> {
        Self::from_number(hexadecimal(text)?)
    }
}

/// When a text was due: its first [`DUE_DIGITS`] bytes.
#[must_use]
pub fn due_of(text: &[u8]) -> Option<u64> {
    hexadecimal(text.get(..DUE_DIGITS)?)
}

/// Hexadecimal digits at the beginning of each text: when it was due, microseconds of the
/// machine's monotonic clock.
pub const DUE_DIGITS: usize = 16;

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        number = number << 4 | u64::from(value);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is heard of a frame, as it is shown.
    pub(super) fn heard(wire: Dialect, payload: &[u8]) -> Vec<String> {
        let mut heard = Vec::new();
        wire.hear(payload, &mut |one| heard.push(format!("{one:?}")))
            .unwrap();
        heard
    }

    /// The texts of the frames that are said: none, or one shorter than 126 bytes.
    pub(super) fn said(wire: Dialect, tag: Tag, say: &Say<'_>) -> Vec<String> {
        let mut out = Vec::new();
        if !wire.say(tag, say, &mut out) {
            return Vec::new();
        }
        assert_eq!((out[0], usize::from(out[1] & 0x7F)), (0x81, out.len() - 6));
        vec![String::from_utf8(out.split_off(6)).unwrap()]
    }

    proptest! {
        #[test]
        fn a_tag_comes_back_from_its_number_and_its_text(kind in 1_u64..=10, value in 0_u64..1 << 48) {
            let tag = Tag::from_number(value << 4 | kind).unwrap();
            prop_assert_eq!(tag.value, value);
            prop_assert_eq!(Tag::from_number(tag.number()), Some(tag));
            prop_assert_eq!(Tag::from_text(tag.text().as_bytes()), Some(tag));
        }

        #[test]
        fn a_due_time_comes_back_from_the_text(due: u64, rest in "[a-z ]*") {
            prop_assert_eq!(due_of(format!("{due:016x}{rest}").as_bytes()), Some(due));
        }
    }

    #[test]
    fn texts_of_others_have_no_due_time() {
        for text in [
            "",
            "hello",
            "0123456789abcde",
            "0123456789abcdeF",
            "0123456789 abcdef",
        ] {
            assert_eq!(due_of(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Tag::from_text(b"login"), None);
        assert_eq!(Tag::from_text(b"f"), None);
    }
}
