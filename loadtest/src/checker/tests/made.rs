//! Histories made by hand, of one room, of ada and bob.

use rookery_proto::v1::{self, ack::Result as Answer, event::Body, server_frame::Frame};

use crate::{
    client::Command,
    history::{Purpose, Record, What},
};

pub(super) const ROOM: &str = "red";
/// Who writes, who listens on two devices, and who reads the final log.
const CLIENTS: [(u32, &str, Purpose); 4] = [
    (0, "ada", Purpose::Take),
    (1, "bob", Purpose::Take),
    (JUDGE, "ada", Purpose::Judge),
    (3, "bob", Purpose::Take),
];
const JUDGE: u32 = 2;

/// Grows record by record.
#[derive(Default)]
pub(super) struct History(pub(super) Vec<Record>);

impl History {
    pub(super) fn new() -> Self {
        let mut history = Self::default();
        for (client, user, purpose) in CLIENTS {
            let what = What::Opened {
                user: user.to_owned(),
                purpose,
                session_id: client.to_string(),
            };
            history.add(client, what);
        }
        history
    }

    pub(super) fn add(&mut self, client: u32, what: What) {
        let at = self.0.len() as u64 + 1;
        self.0.push(Record {
            at,
            client,
            session: 1,
            what,
        });
    }

    pub(super) fn ask(&mut self, client: u32, id: &str, command: Command) {
        let frame = v1::ClientFrame {
            id: id.to_owned(),
            command: Some(command),
        };
        self.add(client, What::Sent(Box::new(frame)));
    }

    pub(super) fn frame(&mut self, client: u32, frame: Frame) {
        let frame = v1::ServerFrame { frame: Some(frame) };
        self.add(client, What::Received(Box::new(frame)));
    }

    pub(super) fn ack(&mut self, client: u32, id: &str, result: Answer) {
        let ack = v1::Ack {
            id: id.to_owned(),
            result: Some(result),
        };
        self.frame(client, Frame::Ack(ack));
    }

    /// The judge reads the whole log.
    pub(super) fn read(&mut self, events: Vec<v1::Event>) {
        self.ask(
            JUDGE,
            "h",
            crate::client::command::history_after(ROOM, 0, 100),
        );
        let page = v1::HistoryPage {
            room: ROOM.to_owned(),
            head: events.len() as u64,
            events,
        };
        self.ack(JUDGE, "h", Answer::History(page));
    }
}

pub(super) fn appended(offset: u64) -> Answer {
    Answer::Appended(v1::Appended {
        room: ROOM.to_owned(),
        offset,
        epoch: 1,
        ..v1::Appended::default()
    })
}

pub(super) fn event_of(user: &str, offset: u64, body: Body) -> v1::Event {
    v1::Event {
        room: ROOM.to_owned(),
        epoch: 1,
        offset,
        actor: Some(person(user)),
        body: Some(body),
        ..v1::Event::default()
    }
}

pub(super) fn person(user: &str) -> v1::User {
    v1::User {
        id: user.to_owned(),
        name: String::new(),
    }
}
