//! RFC 6455, case by case: tables modelled on the areas of the Autobahn suite, properties, and
//! random bytes.

mod cases;
mod properties;

use super::{Decoder, Incoming, Input, Violation};

/// Bound on messages in these tests.
const MESSAGE_BYTES_MAX: u32 = 128 * 1024;

/// A message that outlives its buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Incoming<'_>> for Owned {
    fn from(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Text(text) => Self::Text(text.to_owned()),
            Incoming::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Incoming::Ping(payload) => Self::Ping(payload.to_vec()),
            Incoming::Pong(payload) => Self::Pong(payload.to_vec()),
            Incoming::Close(close) => {
                Self::Close(close.map(|(code, reason)| (code, reason.to_owned())))
            }
        }
    }
}

/// What came out of a decoder: messages, and the violation that ended it, if any.
type Outcome = (Vec<Owned>, Option<Violation>);

/// Feeds chunks to a fresh decoder. After the end it must hold nothing that was delivered.
fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, bytes_max: u32) -> Outcome {
    let mut decoder = Decoder::new(bytes_max);
    let mut messages = Vec::new();
    let mut violation = None;
    for chunk in chunks {
        let mut bytes = chunk.to_vec();
        let mut input = Input::new(&mut bytes);
        loop {
            match decoder.next(&mut input) {
                Ok(Some(message)) => messages.push(message.into()),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(violation, None, "a second violation: {error}");
                    violation = Some(error);
                }
            }
        }
        let bound = 2 * bytes_max as usize + 512;
        assert!(decoder.held_bytes() <= bound, "{}", decoder.held_bytes());
    }
    (messages, violation)
}

/// One frame, as a client or a liar would send it.
#[derive(Clone, Debug)]
struct Frame {
    first: u8,
    masked: bool,
    length: Length,
    payload: Vec<u8>,
}

/// How a frame's length is written.
#[derive(Clone, Copy, Debug)]
enum Length {
    Shortest,
    /// In two bytes, whatever it is.
    Two,
    /// In eight bytes, whatever it is.
    Eight,
    /// In eight bytes, and not the payload's.
    Lie(u64),
}

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

const KEY: [u8; 4] = [0xA1, 0x5C, 0x00, 0x7F];

fn frame(first: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame {
        first,
        masked: true,
        length: Length::Shortest,
        payload: payload.as_ref().to_vec(),
    }
}

fn close(code: u16, reason: impl AsRef<[u8]>) -> Frame {
    frame(FIN | CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

impl Frame {
    fn unmasked(mut self) -> Self {
        self.masked = false;
        self
    }

    fn length(mut self, length: Length) -> Self {
        self.length = length;
        self
    }

    fn encode(&self, key: [u8; 4]) -> Vec<u8> {
        let len = self.payload.len();
        let mask_bit = if self.masked { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match (self.length, len) {
            (Length::Shortest, 0..=125) => bytes.push(mask_bit | len as u8),
            (Length::Shortest, 126..=65_535) | (Length::Two, _) => {
                bytes.push(mask_bit | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            (Length::Shortest | Length::Eight, _) => {
                bytes.push(mask_bit | 127);
                bytes.extend((len as u64).to_be_bytes());
            }
            (Length::Lie(lie), _) => {
                bytes.push(mask_bit | 127);
                bytes.extend(lie.to_be_bytes());
            }
        }
        if self.masked {
            bytes.extend(key);
            bytes.extend(
                self.payload
                    .iter()
                    .enumerate()
                    .map(|(at, byte)| byte ^ key[at % 4]),
            );
        } else {
            bytes.extend(&self.payload);
        }
        bytes
    }
}

#[test]
fn decoder_is_small_and_holds_nothing_while_idle() {
    assert!(size_of::<Decoder>() <= 48, "{}", size_of::<Decoder>());
    let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
    let mut feed = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let mut input = Input::new(&mut bytes);
        while decoder.next(&mut input).unwrap().is_some() {}
        decoder.held_bytes()
    };
    let message = frame(FIN | TEXT, "x".repeat(1000)).encode(KEY);
    assert_eq!(feed(&message), 0, "a whole message is never held");
    assert!(feed(&message[..7]) >= 7);
    assert!(feed(&message[7..500]) >= 400);
    assert_eq!(feed(&message[500..]), 0);
    assert!(feed(&frame(TEXT, "a").encode(KEY)) >= 1);
    assert!(feed(&frame(FIN | PING, "b").encode(KEY)[..7]) >= 2);
    assert!(feed(&frame(FIN | PING, "b").encode(KEY)[7..]) >= 1);
    assert_eq!(feed(&frame(FIN | CONTINUATION, "c").encode(KEY)), 0);
    assert!(feed(&close(1000, "bye").encode(KEY)[..9]) > 0);
    assert_eq!(feed(&close(1000, "bye").encode(KEY)[9..]), 0);
    assert_eq!(feed(b"more"), 0, "nothing after close");
}

#[test]
fn message_announced_too_large_is_refused_before_it_is_read() {
    let mut announced = frame(FIN | BINARY, [])
        .length(Length::Lie(u64::from(MESSAGE_BYTES_MAX) + 1))
        .encode(KEY);
    let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
    let violation = decoder.next(&mut Input::new(&mut announced)).unwrap_err();
    assert_eq!(
        violation,
        Violation::TooLarge {
            bytes_max: MESSAGE_BYTES_MAX
        }
    );
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn text_that_turns_bad_is_refused_before_its_message_ends() {
    let check = |frames: &[Frame], cut: usize| {
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.encode(KEY)).collect();
        let (messages, violation) = decode([&bytes[..bytes.len() - cut]], MESSAGE_BYTES_MAX);
        assert_eq!(messages, []);
        assert_eq!(violation, Some(Violation::TextNotUtf8), "{frames:?}");
    };
    let bad = [b"good then ".as_slice(), b"\xff", &[b'x'; 40]].concat();
    check(&[frame(FIN | TEXT, &bad)], 20);
    check(&[frame(TEXT, &bad)], 0);
    check(&[frame(TEXT, "good"), frame(CONTINUATION, &bad)], 10);
    check(&[frame(TEXT, b"\xe2\x82"), frame(CONTINUATION, b"x")], 0);
}
