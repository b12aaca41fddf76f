//! Frames to and from WebSocket messages, in both encodings.

use bytes::Bytes;
use prost::Message as _;
use rookery_proto::v1;
use tokio_tungstenite::tungstenite::Message;

/// How frames are encoded on a connection: its WebSocket subprotocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// `rookery.v1.json`.
    #[default]
    Json,
    /// `rookery.v1.protobuf`.
    Protobuf,
}

/// A server message that is no frame of the wire.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not the JSON of a server frame.
    #[error("text message is not a server frame: {text:.200}")]
    Json {
        /// What came.
        text: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Not the protobuf of a server frame.
    #[error("binary message is not a server frame")]
    Protobuf(#[source] prost::DecodeError),
    /// A text message on a protobuf connection or the reverse.
    #[error("a message of the wrong type for {0:?}")]
    WrongType(Encoding),
}

impl Encoding {
    /// Both encodings.
    pub const ALL: [Self; 2] = [Self::Json, Self::Protobuf];

    /// The subprotocol's name.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "rookery.v1.json",
            Self::Protobuf => "rookery.v1.protobuf",
        }
    }

    /// Encodes a client frame.
    #[must_use]
    pub fn encode(self, frame: &v1::ClientFrame) -> Message {
        match self {
            Self::Json => Message::text(
                serde_json::to_string(frame).expect("a frame has only string keys and finite data"),
            ),
            Self::Protobuf => Message::Binary(frame.encode_to_vec().into()),
        }
    }

    /// Decodes a data message of the server.
    ///
    /// # Errors
    /// When it is no frame of the wire in this encoding.
    pub fn decode(self, message: &Message) -> Result<v1::ServerFrame, DecodeError> {
        match (self, message) {
            (Self::Json, Message::Text(text)) => {
                serde_json::from_str(text).map_err(|source| DecodeError::Json {
                    text: text.as_str().to_owned(),
                    source,
                })
            }
            (Self::Protobuf, Message::Binary(data)) => {
                v1::ServerFrame::decode(Bytes::clone(data)).map_err(DecodeError::Protobuf)
            }
            _ => Err(DecodeError::WrongType(self)),
        }
    }
}
