//! Pusher channels, protocol 7, public channels, the application key `app-key`.
//!
//! There is no login, no offset, no history and no answer to what is published, so a run sees
//! deliveries and their latency, and neither acks nor losses. Messages are client events, which
//! servers of this protocol pass on only on private channels unless they are told otherwise; they
//! do not come back to who sent them.

use super::{Heard, Refusal, Say, Unreadable, json::Scanner};
use crate::light::frames::{OPCODE_TEXT, push_masked};

pub(super) fn say(say: &Say<'_>, out: &mut Vec<u8>) -> bool {
    let text = match *say {
        Say::Join { room, .. } => {
            format!("{{\"event\":\"pusher:subscribe\",\"data\":{{\"channel\":\"{room}\"}}}}")
        }
        Say::Send { room, text } => client_event("client-message", room, text),
        Say::Typing { room } => client_event("client-typing", room, ""),
        Say::Pong => "{\"event\":\"pusher:pong\",\"data\":{}}".to_owned(),
        Say::Login { .. }
        | Say::Open { .. }
        | Say::Read { .. }
        | Say::History { .. }
        | Say::Head { .. }
        | Say::Presence { .. }
        | Say::Watch { .. }
        | Say::Bye => return false,
    };
    push_masked(out, OPCODE_TEXT, text.as_bytes());
    true
}

fn client_event(name: &str, room: &str, data: &str) -> String {
    format!("{{\"event\":\"{name}\",\"channel\":\"{room}\",\"data\":\"{data}\"}}")
}

pub(super) fn hear(payload: &[u8], tell: &mut impl FnMut(Heard<'_>)) -> Result<(), Unreadable> {
    let (mut event, mut channel, mut data) = (&[][..], &[][..], &[][..]);
    let mut json = Scanner::new(payload);
    json.object()?;
    while let Some(key) = json.key()? {
        match key {
            b"event" => event = json.string()?,
            b"channel" => channel = json.string()?,
            b"data" => data = json.skip()?,
            _ => {
                json.skip()?;
            }
        }
    }
    tell(match event {
        b"pusher:connection_established" => Heard::Welcome,
        b"pusher_internal:subscription_succeeded" => Heard::Joined {
            room: channel,
            head: 0,
            // There is no offset to resume behind.
            reset: true,
        },
        b"pusher:ping" => Heard::Ping,
        b"pusher:error" => Heard::Refused {
            tag: None,
            refusal: refusal(data)?,
            message: data,
        },
        b"client-typing" => Heard::Other,
        event if event.starts_with(b"pusher") => Heard::Other,
        _ => Heard::Event {
            room: channel,
            offset: 0,
            // A string as it stands in JSON, without its quotes.
            text: data
                .strip_prefix(b"\"")
                .and_then(|data| data.strip_suffix(b"\""))
                .unwrap_or_default(),
        },
    });
    Ok(())
}

/// The hundreds of an error's code say what helps.
fn refusal(data: &[u8]) -> Result<Refusal, Unreadable> {
    let mut code = 0;
    let mut json = Scanner::new(data);
    if json.peek() != Some(b'{') {
        return Ok(Refusal::Never);
    }
    json.object()?;
    while let Some(key) = json.key()? {
        if key == b"code" && json.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            code = json.number()?;
        } else {
            json.skip()?;
        }
    }
    Ok(match code {
        4_100..4_200 => Refusal::Unavailable,
        4_301 => Refusal::Busy(0),
        _ => Refusal::Never,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{
        Dialect, Kind, Tag,
        tests::{heard, said},
    };
    use super::*;

    const WIRE: Dialect = Dialect::Pusher;
    const TAG: Tag = Tag {
        kind: Kind::Send,
        value: 3,
    };

    #[test]
    fn connection_and_subscription_are_heard() {
        let established = br#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":120}"}"#;
        assert_eq!(heard(WIRE, established), ["Welcome"]);
        let join = Say::Join {
            room: "run-r0",
            after: None,
        };
        assert_eq!(
            said(WIRE, TAG, &join),
            [r#"{"event":"pusher:subscribe","data":{"channel":"run-r0"}}"#]
        );
        let joined = Heard::Joined {
            room: b"run-r0",
            head: 0,
            reset: true,
        };
        let succeeded =
            br#"{"event":"pusher_internal:subscription_succeeded","channel":"run-r0","data":"{}"}"#;
        assert_eq!(heard(WIRE, succeeded), [format!("{joined:?}")]);
        assert_eq!(
            heard(WIRE, br#"{"event":"pusher:ping","data":{}}"#),
            ["Ping"]
        );
        assert_eq!(
            said(WIRE, TAG, &Say::Pong),
            [r#"{"event":"pusher:pong","data":{}}"#]
        );
        assert!(said(WIRE, TAG, &Say::Head { room: "run-r0" }).is_empty());
    }

    #[test]
    fn messages_go_out_as_client_events_and_come_in_from_anybody() {
        let send = Say::Send {
            room: "run-r0",
            text: "00ab c",
        };
        let sent = r#"{"event":"client-message","channel":"run-r0","data":"00ab c"}"#;
        assert_eq!(said(WIRE, TAG, &send), [sent]);
        let event = Heard::Event {
            room: b"run-r0",
            offset: 0,
            text: b"00ab c",
        };
        assert_eq!(heard(WIRE, sent.as_bytes()), [format!("{event:?}")]);
        let published = br#"{"channel":"run-r0","event":"news","data":"00ab c"}"#;
        assert_eq!(heard(WIRE, published), [format!("{event:?}")]);
    }

    #[test]
    fn errors_say_whether_it_helps_to_try_again() {
        for (code, refusal) in [
            ("4001", Refusal::Never),
            ("4100", Refusal::Unavailable),
            ("4301", Refusal::Busy(0)),
            ("null", Refusal::Never),
        ] {
            let data = format!("{{\"code\":{code},\"message\":\"no\"}}");
            let payload = format!("{{\"event\":\"pusher:error\",\"data\":{data}}}");
            let want = Heard::Refused {
                tag: None,
                refusal,
                message: data.as_bytes(),
            };
            assert_eq!(heard(WIRE, payload.as_bytes()), [format!("{want:?}")]);
        }
        assert!(WIRE.hear(b"{\"event\":", &mut |_| {}).is_err());
    }
}
