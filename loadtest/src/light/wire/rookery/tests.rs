//! The scanners against `prost` and `serde`, over frames made at random.

use proptest::prelude::*;
use rookery_proto::v1::{ack::Result as Answer, event::Body, notice, server_frame::Frame, signal};

use super::*;
use crate::{
    light::{frames::FrameReader, orders::Wire, wire::Dialect},
    scenario::RoomKind,
};

/// What is in a frame, by the schema; texts as JSON writes them when `json`.
fn expected(frame: &v1::ServerFrame, json: bool) -> Vec<String> {
    let written = |text: &str| {
        let quoted = serde_json::to_string(text).unwrap();
        let raw = if json {
            &quoted[1..quoted.len() - 1]
        } else {
            text
        };
        raw.as_bytes().to_vec()
    };
    let event = |event: &v1::Event| {
        let (room, text) = match &event.body {
            Some(Body::Message(message)) => (written(&event.room), written(&message.text)),
            _ => (written(&event.room), Vec::new()),
        };
        let heard = Heard::Event {
            room: &room,
            offset: event.offset,
            text: &text,
        };
        format!("{heard:?}")
    };
    match frame.frame.as_ref().unwrap() {
        Frame::Welcome(_) => vec![format!("{:?}", Heard::Welcome)],
        Frame::Event(told) => vec![event(told)],
        Frame::Error(error) => {
            let heard = Heard::Refused {
                tag: Tag::from_text(error.id.as_bytes()),
                refusal: refusal(error.code(), error.retry_after_ms),
                message: &written(&error.message),
            };
            vec![format!("{heard:?}")]
        }
        Frame::Notice(v1::Notice {
            body: Some(notice::Body::ResumeRoom(resume)),
        }) => {
            let room = &written(&resume.room);
            vec![format!("{:?}", Heard::Resume { room })]
        }
        Frame::Ack(ack) => {
            let tag = Tag::from_text(ack.id.as_bytes()).unwrap();
            let offset = match ack.result.as_ref().unwrap() {
                Answer::Joined(joined) => {
                    let room = &written(&joined.room.as_ref().unwrap().id);
                    let (head, reset) = (joined.head, joined.reset);
                    let first = format!("{:?}", Heard::Joined { room, head, reset });
                    let shown = joined.events.iter().filter(|_| !reset);
                    return std::iter::once(first).chain(shown.map(event)).collect();
                }
                Answer::Appended(appended) => appended.offset,
                Answer::History(page) => page.head,
                _ => 0,
            };
            vec![format!("{:?}", Heard::Answered { tag, offset })]
        }
        Frame::Signal(_) | Frame::Notice(_) => vec![format!("{:?}", Heard::Other)],
    }
}

fn heard(dialect: Dialect, payload: &[u8]) -> Result<Vec<String>, Unreadable> {
    let mut all = Vec::new();
    dialect.hear(payload, &mut |heard| all.push(format!("{heard:?}")))?;
    Ok(all)
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9-]{1,20}", "[ -~\\n\"\\\\é👍]{0,40}"]
}

fn any_event() -> impl Strategy<Value = v1::Event> {
    let offset = 0_u64..1 << 53;
    (any_text(), offset, any_text(), any_text(), 0..3).prop_map(
        |(room, offset, text, client_id, kind)| v1::Event {
            room,
            offset,
            epoch: offset % 7,
            time_ms: offset / 3,
            actor: Some(v1::User {
                id: client_id.clone(),
                name: text.clone(),
            }),
            body: match kind {
                0 => Some(Body::MessageDeleted(v1::MessageDeleted { target: offset })),
                1 => Some(Body::MessageEdited(v1::MessageEdited { target: 1, text })),
                _ => Some(Body::Message(v1::Message {
                    text,
                    client_id,
                    ..v1::Message::default()
                })),
            },
        },
    )
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let events = prop::collection::vec(any_event(), 0..4);
    (any_text(), 0_u64..1 << 53, events, any::<bool>(), 0..5).prop_map(
        |(id, head, events, reset, kind)| match kind {
            0 => Answer::Joined(v1::Joined {
                here: vec![v1::User {
                    id: id.clone(),
                    name: id.clone(),
                }],
                room: Some(v1::Room {
                    id,
                    ..v1::Room::default()
                }),
                head,
                reset,
                events,
                ..v1::Joined::default()
            }),
            1 => Answer::Appended(v1::Appended {
                room: id,
                offset: head,
                ..v1::Appended::default()
            }),
            2 => Answer::History(v1::HistoryPage {
                room: id,
                head,
                events,
            }),
            3 => Answer::Cursor(v1::Cursor {
                room: id,
                offset: head,
                unread: 3,
            }),
            _ => Answer::Done(v1::Done {}),
        },
    )
}

fn any_frame() -> impl Strategy<Value = v1::ServerFrame> {
    let tag = (1_u64..=10, 0_u64..1 << 48).prop_map(|(kind, value)| value << 4 | kind);
    let ack = (tag, any_answer()).prop_map(|(number, result)| {
        Frame::Ack(v1::Ack {
            id: Tag::from_number(number).unwrap().text(),
            result: Some(result),
        })
    });
    let error = (any_text(), 0_i32..=14, any_text(), any::<u32>()).prop_map(
        |(id, code, message, retry_after_ms)| {
            Frame::Error(v1::Error {
                id,
                code,
                message,
                retry_after_ms,
                ..v1::Error::default()
            })
        },
    );
    let rest = (any_text(), 0..4).prop_map(|(text, kind)| match kind {
        0 => Frame::Welcome(v1::Welcome {
            session_id: text,
            ..v1::Welcome::default()
        }),
        1 => Frame::Signal(v1::Signal {
            room: text,
            body: Some(signal::Body::Typing(v1::TypingSignal::default())),
        }),
        2 => Frame::Notice(v1::Notice {
            // Never of no room: protobuf leaves an empty name out.
            body: Some(notice::Body::ResumeRoom(v1::ResumeRoom {
                room: format!("r{text}"),
            })),
        }),
        _ => Frame::Notice(v1::Notice {
            body: Some(notice::Body::GoingAway(v1::GoingAway::default())),
        }),
    });
    let frame = prop_oneof![any_event().prop_map(Frame::Event), ack, error, rest];
    frame.prop_map(|frame| v1::ServerFrame { frame: Some(frame) })
}

proptest! {
    #[test]
    fn what_is_heard_is_what_the_schema_says(frame in any_frame()) {
        let told = heard(Dialect::RookeryProtobuf, &frame.encode_to_vec());
        prop_assert_eq!(told.unwrap(), expected(&frame, false));
        let text = serde_json::to_string(&frame).unwrap();
        prop_assert_eq!(heard(Dialect::RookeryJson, text.as_bytes()).unwrap(), expected(&frame, true));
    }

    #[test]
    fn bytes_at_random_end_without_a_panic(bytes: Vec<u8>, cut in any_frame(), at: prop::sample::Index) {
        let _ = heard(Dialect::RookeryProtobuf, &bytes);
        let _ = heard(Dialect::RookeryJson, &bytes);
        let text = serde_json::to_vec(&cut).unwrap();
        let at = at.index(text.len());
        prop_assert!(heard(Dialect::RookeryJson, &text[..at]).is_err());
    }
}

#[test]
fn every_thing_said_is_the_command_the_schema_has() {
    let users = ["eve".to_owned()];
    let said = [
        (Say::Login { user: "ada" }, "authenticate"),
        (
            Say::Open {
                room: "r-1",
                kind: RoomKind::Channel,
            },
            "createRoom",
        ),
        (
            Say::Join {
                room: "r-1",
                after: Some(0),
                session: "",
            },
            "join",
        ),
        (
            Say::Send {
                room: "r-1",
                text: "hi",
            },
            "send",
        ),
        (Say::Typing { room: "r-1" }, "typing"),
        (
            Say::Read {
                room: "r-1",
                offset: 3,
            },
            "markRead",
        ),
        (Say::History { room: "r-1" }, "history"),
        (Say::Head { room: "r-1" }, "history"),
        (Say::Presence { away: true }, "setPresence"),
        (Say::Watch { users: &users }, "watchPresence"),
    ];
    for (index, (say, name)) in said.into_iter().enumerate() {
        let tag = Tag::from_number(77 << 4 | (index as u64 + 1)).unwrap();
        let mut parsed = Vec::new();
        for json in [false, true] {
            let mut out = Vec::new();
            assert!(Dialect::of(Wire::Rookery, json).say(tag, &say, &mut out));
            // The reader refuses masked frames; this one's mask is zero.
            let unmasked = [&[out[0], out[1] & 0x7F][..], &out[6..]].concat();
            FrameReader::default()
                .feed(&unmasked, |frame| {
                    parsed.push(if json {
                        serde_json::from_slice(frame.payload).unwrap()
                    } else {
                        v1::ClientFrame::decode(frame.payload).unwrap()
                    });
                })
                .unwrap();
        }
        assert_eq!(parsed[0], parsed[1]);
        assert_eq!(Tag::from_text(parsed[0].id.as_bytes()), Some(tag));
        let shown = serde_json::to_value(&parsed[0]).unwrap();
        assert!(shown.get(name).is_some(), "{shown}");
    }
}
