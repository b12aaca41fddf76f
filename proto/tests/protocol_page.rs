//! `docs/protocol.md` is true: every example parses, survives both encodings, and none is missing.

#![expect(clippy::unwrap_used, reason = "a test: a panic is its answer")]

use std::{collections::BTreeSet, fs, path::Path};

use prost::Message;
use rookery_proto::{
    close::CloseCode,
    v1::{ClientFrame, ServerFrame},
};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    fs::read_to_string(root().join("../docs/protocol.md")).unwrap()
}

/// The fenced examples with that info string.
fn examples(info: &str) -> Vec<String> {
    let page = page();
    let mut examples = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line == format!("```json {info}") {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            examples.push(body.join("\n"));
        }
    }
    examples
}

fn check_round_trip<F>(example: &str)
where
    F: Message
        + Default
        + PartialEq
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let frame: F =
        serde_json::from_str(example).unwrap_or_else(|error| panic!("{error}: {example}"));
    let again = F::decode(frame.encode_to_vec().as_slice()).unwrap();
    assert_eq!(frame, again, "protobuf: {example}");
    let shown: Value = serde_json::from_str(example).unwrap();
    let written = serde_json::to_value(&frame).unwrap();
    assert_eq!(shown, written, "JSON: {example}");
}

#[test]
fn every_example_survives_both_encodings() {
    let (client, server) = (examples("client"), examples("server"));
    assert!(
        client.len() >= 20 && server.len() >= 30,
        "the examples are found"
    );
    client
        .iter()
        .for_each(|example| check_round_trip::<ClientFrame>(example));
    server
        .iter()
        .for_each(|example| check_round_trip::<ServerFrame>(example));
}

/// All keys that stand in JSON objects, and all texts.
fn collect(value: &Value, words: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                words.insert(key.clone());
                collect(value, words);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, words)),
        Value::String(text) => {
            words.insert(text.clone());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn every_field_of_the_wire_has_an_example() {
    let mut words = BTreeSet::new();
    for example in examples("client").iter().chain(&examples("server")) {
        collect(&serde_json::from_str(example).unwrap(), &mut words);
    }
    let descriptors = protox::compile([root().join("rookery/v1/wire.proto")], [root()]).unwrap();
    // Shown in prose: a flag that stands only in a failure, and the users of a direct room.
    let prose = ["unavailable", "directUsers"];
    let missing: Vec<String> = descriptors.file[0]
        .message_type
        .iter()
        .flat_map(|message| {
            message
                .field
                .iter()
                .map(move |field| (message.name(), field.json_name()))
        })
        .filter(|(_, field)| !words.contains(*field) && !prose.contains(field))
        .map(|(message, field)| format!("{message}.{field}"))
        .collect();
    assert!(missing.is_empty(), "no example shows {missing:?}");
}

#[test]
fn every_error_code_and_close_code_is_in_its_table() {
    let page = page();
    let descriptors = protox::compile([root().join("rookery/v1/wire.proto")], [root()]).unwrap();
    let error = descriptors.file[0]
        .message_type
        .iter()
        .find(|message| message.name() == "Error")
        .unwrap();
    for value in &error.enum_type[0].value[1..] {
        assert!(
            page.contains(&format!("| `{}` |", value.name())),
            "{} is missing",
            value.name()
        );
    }
    for code in CloseCode::ALL {
        assert!(
            page.contains(&format!("| {} | {}", code.number(), code.reason())),
            "{code}"
        );
    }
}
