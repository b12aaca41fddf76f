//! What a delete removed from the final log, and what was told of it before.

use rookery_proto::v1::{self, event::Body, server_frame::Frame};

use super::made::{History, ROOM, appended, event_of};
use crate::{
    checker::{Report, Verdict, check},
    client::command,
    history::What,
};

fn event(offset: u64, body: Body) -> v1::Event {
    event_of("ada", offset, body)
}

fn edit(text: &str) -> v1::Event {
    let text = text.to_owned();
    event(
        2,
        Body::MessageEdited(v1::MessageEdited { target: 1, text }),
    )
}

/// Ada tries to edit her message to each of these texts and is never answered. One edit is in the
/// log, and bob was shown it with that text. Then the message is deleted.
fn told(tried: &[&str], shown: &str) -> Report {
    let message = |text: &str| {
        Body::Message(v1::Message {
            text: text.to_owned(),
            client_id: "m".to_owned(),
            ..v1::Message::default()
        })
    };
    let deleted = event(3, Body::MessageDeleted(v1::MessageDeleted { target: 1 }));
    let mut history = History::new();
    history.ask(0, "m", command::send(ROOM, "first", "m"));
    history.frame(1, Frame::Event(event(1, message("first"))));
    history.ack(0, "m", appended(1));
    for (number, text) in tried.iter().enumerate() {
        let id = number.to_string();
        history.ask(0, &id, command::edit(ROOM, 1, text));
        history.add(0, What::GaveUp { id });
    }
    history.frame(1, Frame::Event(edit(shown)));
    history.ask(0, "d", command::delete(ROOM, 1));
    history.frame(1, Frame::Event(deleted.clone()));
    history.ack(0, "d", appended(3));
    history.read(vec![
        event(
            1,
            Body::Message(v1::Message {
                client_id: "m".to_owned(),
                deleted: true,
                ..v1::Message::default()
            }),
        ),
        edit(""),
        deleted,
    ]);
    check(&history.0)
}

#[test]
fn edit_shown_before_its_text_was_removed_is_any_of_those_that_were_tried() {
    for shown in ["one", "two"] {
        let report = told(&["one", "two"], shown);
        assert!(report.is_sound(), "{shown}:\n{report}");
    }
}

#[test]
fn edit_shown_with_a_text_that_was_not_asked_for_is_found_after_its_text_was_removed() {
    let report = told(&["one"], "another");
    assert_eq!(report.verdicts(), [Verdict::Phantom], "{report}");
    assert!(told(&["one"], "one").is_sound());
}
