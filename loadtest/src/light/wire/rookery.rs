//! Rookery's v1 in both encodings.
//!
//! What is said is made by `prost` and `serde`, as the recording client makes it. What is heard is
//! scanned by hand: a run hears a hundred times what it says, on the same machine as the server.

use prost::Message as _;
use rookery_proto::{
    errors::retryable,
    v1::{self, client_frame::Command, error::Code, presence::Status},
};

use super::{
    Heard, Refusal, Say, Tag, Unreadable,
    json::Scanner,
    protobuf::{Fields, Value},
};
use crate::{
    light::frames::{OPCODE_BINARY, OPCODE_TEXT, push_masked},
    scenario::RoomKind,
};

pub(super) fn say(json: bool, tag: Tag, say: &Say<'_>, out: &mut Vec<u8>) -> bool {
    let Some(command) = command(tag, say) else {
        return false;
    };
    let frame = v1::ClientFrame {
        id: tag.text(),
        command: Some(command),
    };
    if json {
        let text = serde_json::to_vec(&frame).expect("a frame has only string keys");
        push_masked(out, OPCODE_TEXT, &text);
    } else {
        push_masked(out, OPCODE_BINARY, &frame.encode_to_vec());
    }
    true
}

fn command(tag: Tag, say: &Say<'_>) -> Option<Command> {
    Some(match *say {
        Say::Login { user } => Command::Authenticate(v1::Authenticate {
            name: user.to_owned(),
            // One device for each: what comes back after a cut is the same.
            device: "load".to_owned(),
            ..v1::Authenticate::default()
        }),
        Say::Open { room, kind } => Command::CreateRoom(v1::CreateRoom {
            room: room.to_owned(),
            kind: match kind {
                RoomKind::Channel => v1::room::Kind::Channel,
                RoomKind::Group => v1::room::Kind::Group,
            }
            .into(),
            name: room.to_owned(),
            public: kind == RoomKind::Group,
            client_id: tag.text(),
            ..v1::CreateRoom::default()
        }),
        Say::Join { room, after, .. } => Command::Join(v1::Join {
            room: room.to_owned(),
            from: after.map(v1::join::From::AfterOffset),
            resume: after.is_some(),
        }),
        Say::Send { room, text } => Command::Send(v1::Send {
            room: room.to_owned(),
            text: text.to_owned(),
            client_id: tag.text(),
        }),
        Say::Typing { room } => Command::Typing(v1::Typing {
            room: room.to_owned(),
            active: true,
        }),
        Say::Read { room, offset } => Command::MarkRead(v1::MarkRead {
            room: room.to_owned(),
            offset,
        }),
        Say::History { room } => Command::History(v1::History {
            room: room.to_owned(),
            ..v1::History::default()
        }),
        Say::Head { room } => Command::History(v1::History {
            room: room.to_owned(),
            limit: 1,
            ..v1::History::default()
        }),
        Say::Presence { away } => Command::SetPresence(v1::SetPresence {
            status: if away { Status::Away } else { Status::Online }.into(),
        }),
        Say::Watch { users } => Command::WatchPresence(v1::WatchPresence {
            users: users.to_vec(),
        }),
        Say::Pong | Say::Bye => return None,
    })
}

// ---- protobuf ------------------------------------------------------------------------------------

pub(super) fn hear_protobuf(
    payload: &[u8],
    tell: &mut impl FnMut(Heard<'_>),
) -> Result<(), Unreadable> {
    let mut frame = Fields::new(payload);
    while let Some((field, value)) = frame.next()? {
        match field {
            4 => tell(event(value)?),
            2 => ack(value, tell)?,
            1 => tell(Heard::Welcome),
            3 => tell(error(value)?),
            6 => tell(notice(value)?),
            _ => tell(Heard::Other),
        }
    }
    Ok(())
}

#[inline]
fn event(value: Value<'_>) -> Result<Heard<'_>, Unreadable> {
    let (mut room, mut offset, mut text) = (&[][..], 0, &[][..]);
    let mut fields = value.fields();
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => room = value.bytes(),
            3 => offset = value.number(),
            7 => {
                let mut message = value.fields();
                while let Some((field, value)) = message.next()? {
                    if field == 1 {
                        text = value.bytes();
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(Heard::Event { room, offset, text })
}

fn ack(value: Value<'_>, tell: &mut impl FnMut(Heard<'_>)) -> Result<(), Unreadable> {
    let (mut tag, mut offset, mut joined) = (None, 0, None);
    let mut fields = value.fields();
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => tag = Tag::from_text(value.bytes()),
            6 => joined = Some(value),
            // The offset appended, or the head beside a page of history.
            7 | 9 => {
                let wanted = if field == 7 { 2 } else { 3 };
                let mut result = value.fields();
                while let Some((field, value)) = result.next()? {
                    if field == wanted {
                        offset = value.number();
                    }
                }
            }
            _ => {}
        }
    }
    match (joined, tag) {
        (Some(joined), _) => self::joined(joined, tell)?,
        (None, Some(tag)) => tell(Heard::Answered { tag, offset }),
        (None, None) => tell(Heard::Other),
    }
    Ok(())
}

fn joined(value: Value<'_>, tell: &mut impl FnMut(Heard<'_>)) -> Result<(), Unreadable> {
    let (mut room, mut head, mut reset) = (&[][..], 0, false);
    let mut fields = value.fields();
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => {
                let mut described = value.fields();
                while let Some((field, value)) = described.next()? {
                    if field == 1 {
                        room = value.bytes();
                    }
                }
            }
            2 => head = value.number(),
            4 => reset = value.number() != 0,
            _ => {}
        }
    }
    tell(Heard::Joined { room, head, reset });
    if !reset {
        let mut fields = value.fields();
        while let Some((field, value)) = fields.next()? {
            if field == 5 {
                tell(event(value)?);
            }
        }
    }
    Ok(())
}

fn error(value: Value<'_>) -> Result<Heard<'_>, Unreadable> {
    let (mut tag, mut code, mut message, mut after_ms) = (None, 0, &[][..], 0);
    let mut fields = value.fields();
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => tag = Tag::from_text(value.bytes()),
            2 => code = i32::try_from(value.number()).unwrap_or_default(),
            3 => message = value.bytes(),
            5 => after_ms = u32::try_from(value.number()).unwrap_or(u32::MAX),
            _ => {}
        }
    }
    let code = Code::try_from(code).unwrap_or_default();
    Ok(Heard::Refused {
        tag,
        refusal: refusal(code, after_ms),
        message,
    })
}

fn refusal(code: Code, after_ms: u32) -> Refusal {
    match code {
        Code::Overloaded | Code::RateLimited => Refusal::Busy(after_ms),
        other if retryable(other) => Refusal::Unavailable,
        _ => Refusal::Never,
    }
}

fn notice(value: Value<'_>) -> Result<Heard<'_>, Unreadable> {
    let mut fields = value.fields();
    while let Some((field, value)) = fields.next()? {
        if field == 4 {
            let mut resume = value.fields();
            while let Some((field, value)) = resume.next()? {
                if field == 1 {
                    return Ok(Heard::Resume {
                        room: value.bytes(),
                    });
                }
            }
        }
    }
    Ok(Heard::Other)
}

// ---- JSON ----------------------------------------------------------------------------------------

pub(super) fn hear_json(
    payload: &[u8],
    tell: &mut impl FnMut(Heard<'_>),
) -> Result<(), Unreadable> {
    let mut json = Scanner::new(payload);
    json.object()?;
    while let Some(kind) = json.key()? {
        match kind {
            b"event" => tell(json_event(&mut json)?),
            b"ack" => json_ack(&mut json, tell)?,
            b"error" => tell(json_error(&mut json)?),
            b"notice" => tell(json_notice(&mut json)?),
            b"welcome" => {
                json.skip()?;
                tell(Heard::Welcome);
            }
            _ => {
                json.skip()?;
                tell(Heard::Other);
            }
        }
    }
    Ok(())
}

fn json_event<'a>(json: &mut Scanner<'a>) -> Result<Heard<'a>, Unreadable> {
    let (mut room, mut offset, mut text) = (&[][..], 0, &[][..]);
    json.object()?;
    while let Some(key) = json.key()? {
        match key {
            b"room" => room = json.string()?,
            b"offset" => offset = json.number()?,
            b"message" => {
                json.object()?;
                while let Some(key) = json.key()? {
                    if key == b"text" {
                        text = json.string()?;
                    } else {
                        json.skip()?;
                    }
                }
            }
            _ => {
                json.skip()?;
            }
        }
    }
    Ok(Heard::Event { room, offset, text })
}

fn json_ack<'a>(
    json: &mut Scanner<'a>,
    tell: &mut impl FnMut(Heard<'_>),
) -> Result<(), Unreadable> {
    let (mut tag, mut offset, mut joined) = (None, 0, None);
    json.object()?;
    while let Some(key) = json.key()? {
        match key {
            b"id" => tag = Tag::from_text(json.string()?),
            b"joined" => joined = Some(json.skip()?),
            b"appended" => offset = json_member(json, b"offset")?,
            b"history" => offset = json_member(json, b"head")?,
            _ => {
                json.skip()?;
            }
        }
    }
    match (joined, tag) {
        (Some(joined), _) => json_joined(joined, tell)?,
        (None, Some(tag)) => tell(Heard::Answered { tag, offset }),
        (None, None) => tell(Heard::Other),
    }
    Ok(())
}

/// A number of the object ahead; 0 when it has none of that name.
fn json_member(json: &mut Scanner<'_>, wanted: &[u8]) -> Result<u64, Unreadable> {
    let mut number = 0;
    json.object()?;
    while let Some(key) = json.key()? {
        if key == wanted {
            number = json.number()?;
        } else {
            json.skip()?;
        }
    }
    Ok(number)
}

fn json_joined(joined: &[u8], tell: &mut impl FnMut(Heard<'_>)) -> Result<(), Unreadable> {
    let (mut room, mut head, mut reset, mut events) = (&[][..], 0, false, &b"[]"[..]);
    let mut json = Scanner::new(joined);
    json.object()?;
    while let Some(key) = json.key()? {
        match key {
            b"room" => {
                json.object()?;
                while let Some(key) = json.key()? {
                    if key == b"id" {
                        room = json.string()?;
                    } else {
                        json.skip()?;
                    }
                }
            }
            b"head" => head = json.number()?,
            b"reset" => reset = json.boolean()?,
            b"events" => events = json.skip()?,
            _ => {
                json.skip()?;
            }
        }
    }
    tell(Heard::Joined { room, head, reset });
    if !reset {
        let mut json = Scanner::new(events);
        json.array()?;
        while json.item()? {
            tell(json_event(&mut json)?);
        }
    }
    Ok(())
}

fn json_error<'a>(json: &mut Scanner<'a>) -> Result<Heard<'a>, Unreadable> {
    let (mut tag, mut code, mut message, mut after_ms) = (None, Code::Unspecified, &[][..], 0);
    json.object()?;
    while let Some(key) = json.key()? {
        match key {
            b"id" => tag = Tag::from_text(json.string()?),
            b"code" => {
                let name = str::from_utf8(json.string()?).unwrap_or_default();
                code = Code::from_str_name(name).unwrap_or_default();
            }
            b"message" => message = json.string()?,
            b"retryAfterMs" => after_ms = u32::try_from(json.number()?).unwrap_or(u32::MAX),
            _ => {
                json.skip()?;
            }
        }
    }
    Ok(Heard::Refused {
        tag,
        refusal: refusal(code, after_ms),
        message,
    })
}

fn json_notice<'a>(json: &mut Scanner<'a>) -> Result<Heard<'a>, Unreadable> {
    let mut heard = Heard::Other;
    json.object()?;
    while let Some(key) = json.key()? {
        if key == b"resumeRoom" {
            json.object()?;
            while let Some(key) = json.key()? {
                let value = json.string()?;
                if key == b"room" {
                    heard = Heard::Resume { room: value };
                }
            }
        } else {
            json.skip()?;
        }
    }
    Ok(heard)
}

#[cfg(test)]
mod tests;
