//! Centrifuge's JSON protocol: what Centrifugo and servers on its library speak at
//! `/connection/websocket`.
//!
//! Ids are 32 bits, so a tag carries only the low bits of when it was due; the clock has the rest.
//! A subscription's answer does not name its channel; its tag has the room's number. With history
//! and positioning configured, publications have dense offsets and losses are seen; a subscription
//! is not recovered but begun anew, which a run counts as `reset`.

use super::{Heard, Kind, Refusal, Say, Tag, Unreadable, json::Scanner};
use crate::light::{
    clock::now_us,
    frames::{OPCODE_TEXT, push_masked},
};

/// Bits of a tag's value in an id: 4 of the 32 are its kind. As microseconds they last 268 s.
const VALUE_BITS: u32 = 28;

pub(super) fn say(tag: Tag, say: &Say<'_>, out: &mut Vec<u8>) -> bool {
    let id = id(tag);
    let text = match *say {
        Say::Login { .. } => {
            format!("{{\"id\":{id},\"connect\":{{\"name\":\"rookery-loadtest\"}}}}")
        }
        Say::Join { room, .. } => {
            format!("{{\"id\":{id},\"subscribe\":{{\"channel\":\"{room}\"}}}}")
        }
        Say::Send { room, text } => {
            format!("{{\"id\":{id},\"publish\":{{\"channel\":\"{room}\",\"data\":\"{text}\"}}}}")
        }
        Say::History { room } => format!(
            "{{\"id\":{id},\"history\":{{\"channel\":\"{room}\",\"limit\":50,\"reverse\":true}}}}"
        ),
        // Without a limit only the position is answered.
        Say::Head { room } => format!("{{\"id\":{id},\"history\":{{\"channel\":\"{room}\"}}}}"),
        Say::Pong => "{}".to_owned(),
        Say::Open { .. }
        | Say::Typing { .. }
        | Say::Read { .. }
        | Say::Presence { .. }
        | Say::Watch { .. }
        | Say::Bye => return false,
    };
    push_masked(out, OPCODE_TEXT, text.as_bytes());
    true
}

fn id(tag: Tag) -> u64 {
    let value = tag.value & ((1 << VALUE_BITS) - 1);
    Tag { value, ..tag }.number()
}

/// What an id was made of, at this time.
fn tag(id: u64, now_us: u64) -> Option<Tag> {
    let tag = Tag::from_number(id)?;
    let value = match tag.kind {
        Kind::Open | Kind::Join | Kind::Head => tag.value,
        // The last time with these low bits.
        _ => {
            let ago = now_us.wrapping_sub(tag.value) & ((1 << VALUE_BITS) - 1);
            now_us.saturating_sub(ago)
        }
    };
    Some(Tag { value, ..tag })
}

/// A frame has one or more replies, a line each.
pub(super) fn hear(payload: &[u8], tell: &mut impl FnMut(Heard<'_>)) -> Result<(), Unreadable> {
    let mut json = Scanner::new(payload);
    while json.peek().is_some() {
        reply(&mut json, tell)?;
    }
    Ok(())
}

fn reply(json: &mut Scanner<'_>, tell: &mut impl FnMut(Heard<'_>)) -> Result<(), Unreadable> {
    let (mut id, mut offset, mut error, mut connected, mut empty) = (0, 0, None, false, true);
    json.object()?;
    while let Some(key) = json.key()? {
        empty = false;
        match key {
            b"push" => tell(push(json)?),
            b"id" => id = json.number()?,
            b"error" => error = Some(refused(json)?),
            b"subscribe" | b"history" => offset = position(json)?,
            b"connect" => {
                json.skip()?;
                connected = true;
            }
            _ => {
                json.skip()?;
            }
        }
    }
    if empty {
        tell(Heard::Ping);
    } else if let Some((refusal, message)) = error {
        tell(Heard::Refused {
            tag: tag(id, now_us()),
            refusal,
            message,
        });
    } else if connected {
        tell(Heard::Welcome);
    } else if let Some(tag) = tag(id, now_us()) {
        tell(Heard::Answered { tag, offset });
    }
    Ok(())
}

fn push<'a>(json: &mut Scanner<'a>) -> Result<Heard<'a>, Unreadable> {
    let (mut room, mut publication) = (&[][..], None);
    json.object()?;
    while let Some(key) = json.key()? {
        match key {
            b"channel" => room = json.string()?,
            b"pub" => publication = Some(published(json)?),
            _ => {
                json.skip()?;
            }
        }
    }
    Ok(match publication {
        Some((text, offset)) => Heard::Event { room, offset, text },
        None => Heard::Other,
    })
}

fn published<'a>(json: &mut Scanner<'a>) -> Result<(&'a [u8], u64), Unreadable> {
    let (mut text, mut offset) = (&[][..], 0);
    json.object()?;
    while let Some(key) = json.key()? {
        match key {
            b"data" if json.peek() == Some(b'"') => text = json.string()?,
            b"offset" => offset = json.number()?,
            _ => {
                json.skip()?;
            }
        }
    }
    Ok((text, offset))
}

fn position(json: &mut Scanner<'_>) -> Result<u64, Unreadable> {
    let mut offset = 0;
    json.object()?;
    while let Some(key) = json.key()? {
        if key == b"offset" {
            offset = json.number()?;
        } else {
            json.skip()?;
        }
    }
    Ok(offset)
}

fn refused<'a>(json: &mut Scanner<'a>) -> Result<(Refusal, &'a [u8]), Unreadable> {
    /// Too many requests.
    const TOO_MANY: u64 = 111;
    let (mut code, mut message, mut temporary) = (0, &[][..], false);
    json.object()?;
    while let Some(key) = json.key()? {
        match key {
            b"code" => code = json.number()?,
            b"message" => message = json.string()?,
            b"temporary" => temporary = json.boolean()?,
            _ => {
                json.skip()?;
            }
        }
    }
    let refusal = match (code, temporary) {
        (TOO_MANY, _) => Refusal::Busy(0),
        (_, true) => Refusal::Unavailable,
        (_, false) => Refusal::Never,
    };
    Ok((refusal, message))
}

#[cfg(test)]
mod tests {
    use super::super::{
        Dialect,
        tests::{heard, said},
    };
    use super::*;

    const WIRE: Dialect = Dialect::Centrifuge;

    fn join() -> Tag {
        Tag {
            kind: Kind::Join,
            value: 3,
        }
    }

    #[test]
    fn commands_and_replies_are_those_documented() {
        let login = Say::Login { user: "run-u1" };
        let connect = r#"{"id":51,"connect":{"name":"rookery-loadtest"}}"#;
        assert_eq!(said(WIRE, join(), &login), [connect]);
        let subscribe = Say::Join {
            room: "run-r0",
            after: Some(4),
            session: "",
        };
        let text = r#"{"id":51,"subscribe":{"channel":"run-r0"}}"#;
        assert_eq!(said(WIRE, join(), &subscribe), [text]);
        let connected =
            br#"{"id":1,"connect":{"client":"c","version":"6.0.0","ping":25,"pong":true}}"#;
        assert_eq!(heard(WIRE, connected), ["Welcome"]);
        let answered = Heard::Answered {
            tag: join(),
            offset: 7,
        };
        let subscribed = br#"{"id":51,"subscribe":{"recoverable":true,"epoch":"x","offset":7}}"#;
        assert_eq!(heard(WIRE, subscribed), [format!("{answered:?}")]);
        assert_eq!(heard(WIRE, b"{}"), ["Ping"]);
        assert_eq!(said(WIRE, join(), &Say::Pong), ["{}"]);
    }

    #[test]
    fn several_replies_of_one_frame_are_all_heard() {
        let publication = r#"{"push":{"channel":"run-r0","pub":{"data":"00ab","offset":8}}}"#;
        let left = r#"{"push":{"channel":"run-r0","leave":{"info":{"client":"c"}}}}"#;
        let refused = r#"{"id":51,"error":{"code":100,"message":"internal","temporary":true}}"#;
        let frame = format!("{publication}\n{left}\n{refused}\n{{}}");
        let event = Heard::Event {
            room: b"run-r0",
            offset: 8,
            text: b"00ab",
        };
        let refused = Heard::Refused {
            tag: Some(join()),
            refusal: Refusal::Unavailable,
            message: b"internal",
        };
        let want = [event, Heard::Other, refused, Heard::Ping].map(|heard| format!("{heard:?}"));
        assert_eq!(heard(WIRE, frame.as_bytes()), want);
    }

    #[test]
    fn a_time_comes_back_whole_from_the_low_bits_of_an_id() {
        for due in [5, (1 << VALUE_BITS) - 1, (1 << 47) + 12_345] {
            let sent = Tag {
                kind: Kind::Send,
                value: due,
            };
            assert!(id(sent) < 1 << 32);
            for later in [0, 1, 250_000_000] {
                assert_eq!(tag(id(sent), due + later), Some(sent), "{due} + {later}");
            }
        }
        assert_eq!(tag(0, 1_000), None);
    }
}
