//! WebSocket close codes. The range tells a client what to do; the code tells people why.
//!
//! | range | the client |
//! |---|---|
//! | 4000-4099 | reconnects (with backoff) and resumes |
//! | 4100-4199 | gets a new token, reconnects and resumes; after 4102 the same token will do |
//! | 4200-4299 | does not reconnect |
//!
//! Of the standard codes, 1001, 1006, 1011 and 1012 mean reconnect; 1002, 1003, 1007 and 1009 do not.

use std::fmt;

/// Why the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// The client closed, or nothing is wrong.
    Normal = 1000,
    /// The client broke RFC 6455.
    Protocol = 1002,
    /// A binary message on a JSON connection or a text message on a protobuf one.
    UnsupportedData = 1003,
    /// A text message that is not UTF-8.
    InvalidUtf8 = 1007,
    /// A message larger than `limits.frameBytesMax`.
    TooLarge = 1009,
    /// A fault of the server.
    Internal = 1011,
    /// The server stops or moves its sessions: reconnect and resume.
    GoingAway = 4000,
    /// This reader fell too far behind: reconnect and resume.
    SlowReader = 4001,
    /// No sign of life within two heartbeat intervals.
    HeartbeatTimeout = 4002,
    /// The server is full: reconnect later, with backoff.
    Overloaded = 4003,
    /// The token expired while connected.
    TokenExpired = 4100,
    /// The token given at the start is expired, forged or not for us.
    TokenInvalid = 4101,
    /// No token within the time for the first frame.
    AuthenticateTimeout = 4102,
    /// The client sent too many frames that are not valid commands.
    TooManyErrors = 4200,
    /// The first frame was not `authenticate`.
    NotAuthenticated = 4201,
}

/// What a client does after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// Reconnect with the same token and resume.
    Resume,
    /// Get a new token first.
    NewToken,
    /// Do not reconnect.
    Never,
}

impl Reconnect {
    /// What to do after a close with this number, which need not be one of ours.
    #[must_use]
    pub const fn after(number: u16) -> Self {
        match number {
            1001 | 1006 | 1011 | 1012 | 4000..=4099 => Self::Resume,
            // Its token is not at fault: the network was slow, or the client was.
            4102 => Self::Resume,
            4100..=4199 => Self::NewToken,
            _ => Self::Never,
        }
    }
}

impl CloseCode {
    /// Every code the server sends.
    pub const ALL: [Self; 15] = [
        Self::Normal,
        Self::Protocol,
        Self::UnsupportedData,
        Self::InvalidUtf8,
        Self::TooLarge,
        Self::Internal,
        Self::GoingAway,
        Self::SlowReader,
        Self::HeartbeatTimeout,
        Self::Overloaded,
        Self::TokenExpired,
        Self::TokenInvalid,
        Self::AuthenticateTimeout,
        Self::TooManyErrors,
        Self::NotAuthenticated,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The reason text sent beside the number.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Normal => "",
            Self::Protocol => "protocol error",
            Self::UnsupportedData => "wrong message type for this subprotocol",
            Self::InvalidUtf8 => "text is not UTF-8",
            Self::TooLarge => "message too large",
            Self::Internal => "internal error",
            Self::GoingAway => "going away: reconnect and resume",
            Self::SlowReader => "reader too slow: reconnect and resume",
            Self::HeartbeatTimeout => "no heartbeat: reconnect and resume",
            Self::Overloaded => "overloaded: reconnect later",
            Self::TokenExpired => "token expired: reconnect with a new one",
            Self::TokenInvalid => "token not accepted: reconnect with a new one",
            Self::AuthenticateTimeout => "no token in time",
            Self::TooManyErrors => "too many invalid frames",
            Self::NotAuthenticated => "first frame must be authenticate",
        }
    }

    /// What the client is to do.
    #[must_use]
    pub const fn reconnect(self) -> Reconnect {
        Reconnect::after(self.number())
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.reason())
    }
}
