//! Frames that many sessions get: built at most once per encoding.

use std::sync::OnceLock;

use bytes::Bytes;
use prost::Message as _;
use rookery_proto::v1::{Event, Notice, ServerFrame, Signal, server_frame::Frame};

use super::{Encoding, encode};

/// What the bytes of a [`SharedFrame`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// A `rookery.v1.Event`.
    Event,
    /// A `rookery.v1.Signal`.
    Signal,
    /// A `rookery.v1.Notice`.
    Notice,
}

impl Body {
    /// Its field in `ServerFrame`; a test holds it against the wire.
    const fn tag(self) -> u32 {
        match self {
            Self::Event => 4,
            Self::Signal => 5,
            Self::Notice => 6,
        }
    }
}

/// An encoded message on its way to many sockets, of any lane.
#[derive(Debug)]
pub(crate) struct SharedFrame {
    body: Body,
    encoded: Bytes,
    json: OnceLock<Bytes>,
    protobuf: OnceLock<Bytes>,
}

impl SharedFrame {
    /// Takes the encoded message; builds nothing yet.
    pub(crate) const fn new(body: Body, encoded: Bytes) -> Self {
        Self {
            body,
            encoded,
            json: OnceLock::new(),
            protobuf: OnceLock::new(),
        }
    }

    /// The finished WebSocket frame. The first call of each encoding builds it.
    pub(crate) fn frame(&self, encoding: Encoding) -> &Bytes {
        match encoding {
            Encoding::Json => self.json.get_or_init(|| self.build_json()),
            Encoding::Protobuf => self
                .protobuf
                .get_or_init(|| encode::protobuf_wrapped(self.body.tag(), &self.encoded)),
        }
    }

    fn build_json(&self) -> Bytes {
        let bytes = self.encoded.clone();
        let decoded = match self.body {
            Body::Event => Event::decode(bytes).map(Frame::Event),
            Body::Signal => Signal::decode(bytes).map(Frame::Signal),
            Body::Notice => Notice::decode(bytes).map(Frame::Notice),
        };
        let frame = decoded
            .inspect_err(|error| tracing::error!(error = %error, "peer sent an unreadable message"))
            .ok();
        encode::json(&ServerFrame { frame }, self.encoded.len() * 2)
    }
}
