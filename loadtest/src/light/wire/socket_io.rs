//! Socket.IO 4 over a WebSocket (Engine.IO 4), namespace `/`, commands with acknowledgements.
//!
//! Socket.IO carries events by name and leaves their meaning to the server. The names here are
//! those of `loadtest/peers/socket-io/server.mjs`: `open`, `join`, `send`, `typing`, `read`,
//! `history` and `head` are answered by one object, and a room's messages come as `event`.

use super::{Heard, Kind, Refusal, Say, Tag, Unreadable, json::Scanner};
use crate::light::frames::{OPCODE_TEXT, push_masked};

pub(super) fn say(tag: Tag, say: &Say<'_>, out: &mut Vec<u8>) -> bool {
    // Engine.IO's 4 is a message; in it Socket.IO's 0 connects, 1 ends, 2 is an event.
    let text = match *say {
        Say::Login { user } => format!("40{{\"name\":\"{user}\"}}"),
        Say::Open { room, .. } => event(tag, "open", room, ""),
        Say::Join { room, after, .. } => {
            let after = after.map_or_else(String::new, |after| format!(",{after}"));
            event(tag, "join", room, &after)
        }
        Say::Send { room, text } => event(tag, "send", room, &format!(",\"{text}\"")),
        Say::Typing { room } => event(tag, "typing", room, ""),
        Say::Read { room, offset } => event(tag, "read", room, &format!(",{offset}")),
        Say::History { room } => event(tag, "history", room, ""),
        Say::Head { room } => event(tag, "head", room, ""),
        Say::Pong => "3".to_owned(),
        Say::Bye => "41".to_owned(),
        Say::Presence { .. } | Say::Watch { .. } => return false,
    };
    push_masked(out, OPCODE_TEXT, text.as_bytes());
    true
}

fn event(tag: Tag, name: &str, room: &str, more: &str) -> String {
    format!("42{}[\"{name}\",\"{room}\"{more}]", tag.number())
}

pub(super) fn hear(payload: &[u8], tell: &mut impl FnMut(Heard<'_>)) -> Result<(), Unreadable> {
    match payload {
        [b'0', ..] => tell(Heard::Hello),
        b"2" => tell(Heard::Ping),
        [b'4', b'0', ..] => tell(Heard::Welcome),
        [b'4', b'2', rest @ ..] => tell(heard_event(after_id(rest).1)?),
        [b'4', b'3', rest @ ..] => answer(rest, tell)?,
        [b'4', b'4', rest @ ..] => tell(Heard::Refused {
            tag: None,
            refusal: Refusal::Never,
            message: rest,
        }),
        [b'4', b'5' | b'6', ..] => return Err(Unreadable("binary Socket.IO packets")),
        _ => tell(Heard::Other),
    }
    Ok(())
}

/// The number before a packet's array, and the array.
fn after_id(rest: &[u8]) -> (Option<u64>, &[u8]) {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (id, array) = rest.split_at(digits);
    let id = str::from_utf8(id).ok().and_then(|id| id.parse().ok());
    (id, array)
}

fn heard_event(array: &[u8]) -> Result<Heard<'_>, Unreadable> {
    let mut json = Scanner::new(array);
    json.array()?;
    if !json.item()? || json.string()? != b"event" || !json.item()? {
        return Ok(Heard::Other);
    }
    let (mut room, mut offset, mut text) = (&[][..], 0, &[][..]);
    json.object()?;
    while let Some(key) = json.key()? {
        match key {
            b"room" => room = json.string()?,
            b"offset" => offset = json.number()?,
            b"text" => text = json.string()?,
            _ => {
                json.skip()?;
            }
        }
    }
    Ok(Heard::Event { room, offset, text })
}

fn answer(rest: &[u8], tell: &mut impl FnMut(Heard<'_>)) -> Result<(), Unreadable> {
    let (id, array) = after_id(rest);
    let Some(tag) = id.and_then(Tag::from_number) else {
        tell(Heard::Other);
        return Ok(());
    };
    let (mut room, mut offset, mut reset, mut error) = (&[][..], 0, false, None);
    let mut json = Scanner::new(array);
    json.array()?;
    if json.item()? {
        json.object()?;
        while let Some(key) = json.key()? {
            match key {
                b"room" => room = json.string()?,
                b"offset" | b"head" => offset = json.number()?,
                b"reset" => reset = json.boolean()?,
                b"error" => error = Some(json.string()?),
                _ => {
                    json.skip()?;
                }
            }
        }
    }
    tell(match (error, tag.kind) {
        (Some(message), _) => Heard::Refused {
            tag: Some(tag),
            refusal: Refusal::Never,
            message,
        },
        (None, Kind::Join) => Heard::Joined {
            room,
            head: offset,
            reset,
        },
        (None, _) => Heard::Answered { tag, offset },
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{
        Dialect,
        tests::{heard, said},
    };
    use super::*;

    const WIRE: Dialect = Dialect::SocketIo;

    fn tag(kind: Kind) -> Tag {
        Tag { kind, value: 3 }
    }

    #[test]
    fn handshake_and_heartbeat_are_those_of_engine_io() {
        let opened = br#"0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        assert_eq!(heard(WIRE, opened), ["Hello"]);
        let login = Say::Login { user: "run-u1" };
        assert_eq!(
            said(WIRE, tag(Kind::Login), &login),
            [r#"40{"name":"run-u1"}"#]
        );
        assert_eq!(heard(WIRE, br#"40{"sid":"b"}"#), ["Welcome"]);
        assert_eq!(heard(WIRE, b"2"), ["Ping"]);
        assert_eq!(said(WIRE, tag(Kind::Login), &Say::Pong), ["3"]);
        let refused = heard(WIRE, br#"44{"message":"Not authorized"}"#);
        assert!(refused[0].contains("Refused"), "{refused:?}");
    }

    #[test]
    fn commands_are_events_with_an_id_and_answers_find_them() {
        let send = Say::Send {
            room: "run-r0",
            text: "abc",
        };
        assert_eq!(
            said(WIRE, tag(Kind::Send), &send),
            [r#"4252["send","run-r0","abc"]"#]
        );
        let join = Say::Join {
            room: "run-r0",
            after: Some(7),
            session: "",
        };
        assert_eq!(
            said(WIRE, tag(Kind::Join), &join),
            [r#"4251["join","run-r0",7]"#]
        );
        for (payload, want) in [
            (
                &br#"4352[{"offset":9}]"#[..],
                Heard::Answered {
                    tag: tag(Kind::Send),
                    offset: 9,
                },
            ),
            (
                br#"4351[{"room":"run-r0","head":9,"reset":true}]"#,
                Heard::Joined {
                    room: b"run-r0",
                    head: 9,
                    reset: true,
                },
            ),
            (
                b"4354[]",
                Heard::Answered {
                    tag: tag(Kind::Read),
                    offset: 0,
                },
            ),
            (
                br#"42["event",{"room":"run-r0","offset":10,"text":"abc"}]"#,
                Heard::Event {
                    room: b"run-r0",
                    offset: 10,
                    text: b"abc",
                },
            ),
            (br#"42["news",{"room":1}]"#, Heard::Other),
            (b"41", Heard::Other),
        ] {
            assert_eq!(heard(WIRE, payload), [format!("{want:?}")]);
        }
        let refused = heard(WIRE, br#"4352[{"error":"no such room"}]"#);
        assert!(refused[0].contains("Never"), "{refused:?}");
    }

    #[test]
    fn what_is_no_packet_is_unreadable() {
        for payload in [&b"42[\"event\",{"[..], b"451-[\"event\"]", b"4352{"] {
            assert!(WIRE.hear(payload, &mut |_| {}).is_err(), "{payload:?}");
        }
    }
}
