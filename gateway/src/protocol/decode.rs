//! A client's message becomes a command, or an error that names the field.

use std::fmt;

use prost::Message as _;
use rookery_proto::{
    errors::Code,
    limits::CLIENT_ID_BYTES_MAX,
    v1::{ClientFrame, client_frame::Command},
};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::Encoding;

/// Bytes of an error's message: parsers quote what they read.
const MESSAGE_BYTES_MAX: usize = 200;

/// Why a message is no command. Becomes one `error` frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadFrame {
    /// As much of the frame's id as could be read.
    pub(crate) id: String,
    /// `INVALID` or `UNSUPPORTED`.
    pub(crate) code: Code,
    /// For people.
    pub(crate) message: String,
    /// Path of the offending field, or empty.
    pub(crate) field: String,
}

impl BadFrame {
    fn new(id: &str, code: Code, message: impl fmt::Display, field: &str) -> Self {
        let mut message = message.to_string();
        cut(&mut message, MESSAGE_BYTES_MAX);
        Self {
            id: id.to_owned(),
            code,
            message,
            field: field.to_owned(),
        }
    }
}

/// Decodes one message. A returned frame has an id of allowed length and a command.
pub(crate) fn decode(encoding: Encoding, payload: &[u8]) -> Result<(String, Command), BadFrame> {
    let frame = match encoding {
        Encoding::Json => decode_json(payload)?,
        Encoding::Protobuf => ClientFrame::decode(payload).map_err(|error| {
            BadFrame::new(&Outline::of_protobuf(payload).id, Code::Invalid, error, "")
        })?,
    };
    let mut id = frame.id;
    let id_bytes = id.len();
    if !(1..=CLIENT_ID_BYTES_MAX).contains(&id_bytes) {
        cut(&mut id, CLIENT_ID_BYTES_MAX);
        let message = format!("must have 1 to {CLIENT_ID_BYTES_MAX} bytes, has {id_bytes}");
        return Err(BadFrame::new(&id, Code::Invalid, message, "id"));
    }
    match frame.command {
        Some(command) => Ok((id, command)),
        None => Err(no_command(encoding, payload, &id)),
    }
}

fn decode_json(payload: &[u8]) -> Result<ClientFrame, BadFrame> {
    let mut json = serde_json::Deserializer::from_slice(payload);
    let bad = |message: &dyn fmt::Display, field: &str| {
        let outline = Outline::of_json(payload);
        BadFrame::new(&outline.id, Code::Invalid, message, field)
    };
    let frame = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        // "." is the frame itself, "?" a key that was not read.
        let field = path.trim_end_matches(['.', '?']);
        let text = error.inner().to_string();
        if text.contains("untagged enum Content") {
            bad(&"expected a number in range", field)
        } else {
            bad(&text, field)
        }
    })?;
    match json.end() {
        Ok(()) => Ok(frame),
        Err(error) => Err(bad(&error, "")),
    }
}

fn no_command(encoding: Encoding, payload: &[u8], id: &str) -> BadFrame {
    let outline = match encoding {
        Encoding::Json => Outline::of_json(payload),
        Encoding::Protobuf => Outline::of_protobuf(payload),
    };
    match outline.unknown {
        Some(name) => {
            let message = "not a command this server knows";
            BadFrame::new(id, Code::Unsupported, message, &name)
        }
        None => BadFrame::new(id, Code::Invalid, "has no command", ""),
    }
}

/// Shortens a text to at most `bytes_max`, at a character's end.
fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let end = (0..=bytes_max)
            .rev()
            .find(|&end| text.is_char_boundary(end));
        text.truncate(end.expect("zero is a boundary"));
    }
}

/// What can be told about a frame that is not valid: read as far as it goes.
#[derive(Debug, Default)]
struct Outline {
    id: String,
    /// The first field no command has.
    unknown: Option<String>,
}

impl Outline {
    fn of_json(payload: &[u8]) -> Self {
        let mut outline = Self::default();
        // An error ends the reading; what was found before it stays.
        let _ = OutlineSeed(&mut outline)
            .deserialize(&mut serde_json::Deserializer::from_slice(payload));
        outline
    }

    fn of_protobuf(payload: &[u8]) -> Self {
        let mut outline = Self::default();
        let mut rest = payload;
        while let Ok((tag, wire_type)) = prost::encoding::decode_key(&mut rest) {
            if tag == 1 && wire_type == prost::encoding::WireType::LengthDelimited {
                let Ok(bytes) = prost::encoding::decode_varint(&mut rest) else {
                    break;
                };
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                let Some((id, behind)) = rest.split_at_checked(bytes) else {
                    break;
                };
                outline.set_id(&String::from_utf8_lossy(id));
                rest = behind;
                continue;
            }
            if outline.unknown.is_none() {
                let mut name = tag.to_string();
                cut(&mut name, CLIENT_ID_BYTES_MAX);
                outline.unknown = Some(name);
            }
            let context = prost::encoding::DecodeContext::default();
            if prost::encoding::skip_field(wire_type, tag, &mut rest, context).is_err() {
                break;
            }
        }
        outline
    }

    fn set_id(&mut self, id: &str) {
        self.id = id.to_owned();
        cut(&mut self.id, CLIENT_ID_BYTES_MAX);
    }
}

struct OutlineSeed<'a>(&'a mut Outline);

impl<'de> DeserializeSeed<'de> for OutlineSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OutlineSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(mut key) = map.next_key::<String>()? {
            if key == "id" {
                self.0.set_id(&map.next_value::<String>()?);
                continue;
            }
            if self.0.unknown.is_none() && !COMMANDS.contains(&key.as_str()) {
                cut(&mut key, CLIENT_ID_BYTES_MAX);
                self.0.unknown = Some(key);
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// The commands' names in JSON; a test holds them against the wire.
const COMMANDS: [&str; 18] = [
    "authenticate",
    "refreshToken",
    "ping",
    "createRoom",
    "join",
    "leave",
    "send",
    "edit",
    "delete",
    "react",
    "unreact",
    "markRead",
    "typing",
    "history",
    "rooms",
    "setPresence",
    "watchPresence",
    "unwatchPresence",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_name_is_a_command_of_the_wire() {
        for name in COMMANDS {
            let frame: ClientFrame = serde_json::from_str(&format!("{{{name:?}:{{}}}}")).unwrap();
            assert!(frame.command.is_some(), "{name}");
        }
    }
}
