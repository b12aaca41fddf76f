//! Pusher channels, protocol 7, of the application with the key `app-key` and the secret `app-secret`.
//!
//! There is no login, no offset, no history and no answer to what is published, so a run sees
//! deliveries and their latency, and neither acks nor losses. Messages are client events. The
//! protocol has them on private channels only, so rooms are private channels; their joins are signed
//! here with the application's secret, as an application's own server would do it for its users.
//! Client events do not come back to who sent them.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::{Heard, Refusal, Say, Unreadable, json::Scanner};
use crate::light::frames::{OPCODE_TEXT, push_masked};

const KEY: &str = "app-key";
const SECRET: &[u8] = b"app-secret";
/// Of the channels in which clients may publish.
const PRIVATE: &str = "private-";

pub(super) fn say(say: &Say<'_>, out: &mut Vec<u8>) -> bool {
    let text = match *say {
        Say::Join { room, session, .. } => subscribe(room, session),
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

fn subscribe(room: &str, session: &str) -> String {
    let channel = format!("{PRIVATE}{room}");
    let auth = signature(&format!("{session}:{channel}"));
    format!(
        "{{\"event\":\"pusher:subscribe\",\"data\":{{\"auth\":\"{KEY}:{auth}\",\"channel\":\"{channel}\"}}}}"
    )
}

fn signature(text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("a key may have any length");
    mac.update(text.as_bytes());
    let bytes = mac.finalize().into_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn client_event(name: &str, room: &str, data: &str) -> String {
    format!("{{\"event\":\"{name}\",\"channel\":\"{PRIVATE}{room}\",\"data\":\"{data}\"}}")
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
    let channel = channel.strip_prefix(PRIVATE.as_bytes()).unwrap_or(channel);
    if event == b"pusher:connection_established" {
        tell(Heard::Session(socket_id(data)));
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

/// Digits and a point, in a JSON object that is itself a string.
fn socket_id(data: &[u8]) -> &[u8] {
    const NAME: &[u8] = b"socket_id";
    let digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let named = data.windows(NAME.len()).position(|window| window == NAME);
    let behind = named.map_or(&[][..], |at| &data[at + NAME.len()..]);
    let from = behind.iter().position(digit);
    let behind = from.map_or(&[][..], |from| &behind[from..]);
    let length = behind.iter().take_while(|byte| digit(byte)).count();
    &behind[..length]
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
        let session = Heard::Session(b"1.2");
        assert_eq!(
            heard(WIRE, established),
            [format!("{session:?}"), "Welcome".to_owned()]
        );
        let joined = Heard::Joined {
            room: b"run-r0",
            head: 0,
            reset: true,
        };
        let succeeded =
            br#"{"event":"pusher_internal:subscription_succeeded","channel":"private-run-r0","data":"{}"}"#;
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
    fn joins_are_signed_as_the_protocol_documents() {
        // Made by another program:
        // printf '1234.1234:private-foobar' | openssl dgst -sha256 -hmac app-secret
        let auth = "695a8cd51a83b5a43d1f4f377be2765565eb8eed690c9cb02e4266a9f9c30fbd";
        let text = format!(
            r#"{{"event":"pusher:subscribe","data":{{"auth":"app-key:{auth}","channel":"private-foobar"}}}}"#
        );
        assert_eq!(subscribe("foobar", "1234.1234"), text);
    }

    #[test]
    fn messages_go_out_as_client_events_and_come_in_from_anybody() {
        let send = Say::Send {
            room: "run-r0",
            text: "00ab c",
        };
        let sent = r#"{"event":"client-message","channel":"private-run-r0","data":"00ab c"}"#;
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
