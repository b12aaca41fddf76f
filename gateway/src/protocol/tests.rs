use proptest::prelude::*;
use prost::Message as _;
use rookery_proto::{
    errors::Code,
    v1::{self, ClientFrame, Event, ServerFrame, client_frame::Command, server_frame::Frame},
};

use super::*;

fn json(text: &str) -> Result<(String, Command), BadFrame> {
    decode(Encoding::Json, text.as_bytes())
}

/// Decodes a bad frame and compares id, code and field.
fn check_bad(text: &str, id: &str, code: Code, field: &str) {
    let bad = json(text).expect_err(text);
    assert_eq!(
        (bad.id.as_str(), bad.code, bad.field.as_str()),
        (id, code, field),
        "{text}: {}",
        bad.message
    );
}

#[test]
fn bad_json_frame_names_its_field_and_echoes_its_id() {
    check_bad("", "", Code::Invalid, "");
    check_bad("[]", "", Code::Invalid, "");
    check_bad("{\"id\": \"7\", ", "7", Code::Invalid, "");
    check_bad(
        r#"{"id":"7","send":{"room":"a","text":5}}"#,
        "7",
        Code::Invalid,
        "send.text",
    );
    check_bad(
        r#"{"send":{"text":[]},"id":"7"}"#,
        "7",
        Code::Invalid,
        "send.text",
    );
    check_bad(r#"{"id":"7","send":[1]}"#, "7", Code::Invalid, "send");
    check_bad(r#"{"id":"7","send":"x"}"#, "7", Code::Invalid, "send");
    check_bad(
        r#"{"id":"7","createRoom":{"members":["a",1]}}"#,
        "7",
        Code::Invalid,
        "createRoom.members[1]",
    );
    check_bad(
        r#"{"id":"7","createRoom":{"kind":"PALACE"}}"#,
        "7",
        Code::Invalid,
        "createRoom.kind",
    );
    check_bad(
        r#"{"id":"7","join":{"afterOffset":-1}}"#,
        "7",
        Code::Invalid,
        "join.afterOffset",
    );
    check_bad(
        r#"{"id":"7","join":{"afterOffset":1e400}}"#,
        "7",
        Code::Invalid,
        "join.afterOffset",
    );
    check_bad(
        r#"{"id":"7","fly":{"to":"moon"}}"#,
        "7",
        Code::Unsupported,
        "fly",
    );
    check_bad(r#"{"id":"7"}"#, "7", Code::Invalid, "");
    check_bad(r#"{"id":"7","ping":null}"#, "7", Code::Invalid, "");
    check_bad(r#"{"id":"7","ping":{},"join":{}}"#, "7", Code::Invalid, "");
    check_bad(r#"{"id":"7","ping":{}} {}"#, "7", Code::Invalid, "");
    check_bad(r#"{"ping":{}}"#, "", Code::Invalid, "id");
    check_bad(r#"{"id":"","ping":{}}"#, "", Code::Invalid, "id");
    check_bad(r#"{"id":7,"ping":{}}"#, "", Code::Invalid, "id");
}

#[test]
fn long_id_is_refused_and_echoed_as_far_as_allowed() {
    let bad = json(&format!(r#"{{"id":"{}","ping":{{}}}}"#, "é".repeat(33))).unwrap_err();
    assert_eq!((bad.field.as_str(), bad.id), ("id", "é".repeat(32)));
}

#[test]
fn deep_nesting_and_long_numbers_are_errors() {
    let deep = "[".repeat(60_000);
    assert_eq!(json(&deep).unwrap_err().code, Code::Invalid);
    let unknown = format!(r#"{{"id":"1","x":{deep}"#);
    assert_eq!(json(&unknown).unwrap_err().id, "1");
    let number = format!(
        r#"{{"id":"1","markRead":{{"offset":{}}}}}"#,
        "9".repeat(60_000)
    );
    assert_eq!(json(&number).unwrap_err().field, "markRead.offset");
    let quoted = format!(
        r#"{{"id":"1","setPresence":{{"status":"{}"}}}}"#,
        "x".repeat(60_000)
    );
    assert!(json(&quoted).unwrap_err().message.len() <= 200);
}

#[test]
fn unknown_fields_are_ignored() {
    let (id, command) =
        json(r#"{"id":"1","x":[{}],"send":{"room":"a","y":1,"text":"t"}}"#).unwrap();
    assert_eq!(id, "1");
    assert!(matches!(command, Command::Send(send) if send.text == "t"));
    let mut bytes = ClientFrame {
        id: "1".into(),
        command: Some(Command::Ping(v1::Ping {})),
    }
    .encode_to_vec();
    bytes.extend_from_slice(&[0xf8, 0x07, 1]); // field 127, varint
    assert!(decode(Encoding::Protobuf, &bytes).is_ok());
}

#[test]
fn protobuf_frame_without_known_command_names_the_unknown_field() {
    // id = "1", field 99 as bytes "x".
    let bad = decode(Encoding::Protobuf, b"\x0a\x011\x9a\x06\x01x").unwrap_err();
    assert_eq!(
        (bad.id.as_str(), bad.code, bad.field.as_str()),
        ("1", Code::Unsupported, "99")
    );
    let bad = decode(Encoding::Protobuf, b"\x0a\x011\x3a\x05").unwrap_err();
    assert_eq!((bad.id.as_str(), bad.code), ("1", Code::Invalid));
}

#[test]
fn shared_frame_is_the_same_message_in_both_encodings() {
    let event = Event {
        room: "general".into(),
        offset: 42,
        body: Some(v1::event::Body::Message(v1::Message {
            text: "a".repeat(300),
            ..v1::Message::default()
        })),
        ..Event::default()
    };
    let signal = v1::Signal {
        room: "general".into(),
        body: None,
    };
    let notice = v1::Notice { body: None };
    let cases = [
        (Body::Event, event.encode_to_vec(), Frame::Event(event)),
        (Body::Signal, signal.encode_to_vec(), Frame::Signal(signal)),
        (Body::Notice, notice.encode_to_vec(), Frame::Notice(notice)),
    ];
    for (body, encoded, frame) in cases {
        let expected = ServerFrame { frame: Some(frame) };
        let shared = SharedFrame::new(body, encoded.into());
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            assert_eq!(*shared.frame(encoding), encode(encoding, &expected));
        }
        let binary = shared.frame(Encoding::Protobuf);
        let header_len = if binary[1] == 126 { 4 } else { 2 };
        assert_eq!(
            ServerFrame::decode(&binary[header_len..]).unwrap(),
            expected
        );
    }
}

#[test]
fn message_without_json_form_is_an_empty_object() {
    let presence = v1::Presence {
        status: 99,
        ..v1::Presence::default()
    };
    let signal = v1::Signal {
        room: String::new(),
        body: Some(v1::signal::Body::Presence(presence)),
    };
    let shared = SharedFrame::new(Body::Signal, signal.encode_to_vec().into());
    assert_eq!(&shared.frame(Encoding::Json)[..], b"\x81\x02{}");
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(Encoding::Json, &bytes);
        let _ = decode(Encoding::Protobuf, &bytes);
    }

    #[test]
    fn random_json_like_text_never_panics(text in "[\\[\\]{}\":,a-z0-9 é.-]{0,80}") {
        let _ = json(&text);
    }
}
