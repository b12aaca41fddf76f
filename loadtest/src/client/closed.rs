//! How a connection ended.

use std::fmt;

use rookery_proto::close::{CloseCode, Reconnect};
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// The end of a connection, as the client saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Closed {
    /// The close code, when there was a close frame.
    pub code: Option<u16>,
    /// The close frame's reason, or what broke.
    pub reason: String,
}

impl Closed {
    /// Cut without a close frame.
    #[must_use]
    pub fn cut(reason: impl Into<String>) -> Self {
        Self {
            code: None,
            reason: reason.into(),
        }
    }

    pub(crate) fn from_frame(frame: Option<&CloseFrame>) -> Self {
        match frame {
            Some(frame) => Self {
                code: Some(frame.code.into()),
                reason: frame.reason.as_str().to_owned(),
            },
            None => Self {
                code: Some(1005),
                reason: "close frame without a code".to_owned(),
            },
        }
    }

    /// The code as one of the server's table.
    #[must_use]
    pub fn code(&self) -> Option<CloseCode> {
        let code = self.code?;
        CloseCode::ALL
            .into_iter()
            .find(|known| known.number() == code)
    }

    /// What the client is to do now. A connection cut without a close frame is resumed.
    #[must_use]
    pub fn reconnect(&self) -> Reconnect {
        self.code.map_or(Reconnect::Resume, Reconnect::after)
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "closed with {code}: {}", self.reason),
            None => write!(f, "cut: {}", self.reason),
        }
    }
}
