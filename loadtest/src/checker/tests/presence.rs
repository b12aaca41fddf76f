//! Ghosts: who is shown online long after they went, or offline while they are there.

use rookery_proto::v1::{
    self, ack::Result as Answer, presence::Status, server_frame::Frame, signal,
};

use crate::{
    checker::{Report, Verdict, check},
    client::Closed,
    history::{Purpose, Record, What},
};

const WATCHER: u32 = 9;
const BOB: u32 = 1;
const BOB_ELSEWHERE: u32 = 2;

fn opened(user: &str) -> What {
    What::Opened {
        user: user.to_owned(),
        purpose: Purpose::Take,
        session_id: String::new(),
    }
}

fn presence(status: Status) -> v1::Presence {
    v1::Presence {
        user: "bob".to_owned(),
        status: status.into(),
        ..v1::Presence::default()
    }
}

fn received(frame: Frame) -> What {
    What::Received(Box::new(v1::ServerFrame { frame: Some(frame) }))
}

/// The answer to a watch.
fn listed(status: Status) -> What {
    let users = vec![presence(status)];
    let result = Some(Answer::Presence(v1::PresenceList { users }));
    let id = String::new();
    received(Frame::Ack(v1::Ack { id, result }))
}

fn shown(status: Status) -> What {
    received(Frame::Signal(v1::Signal {
        body: Some(signal::Body::Presence(presence(status))),
        ..v1::Signal::default()
    }))
}

fn closed() -> What {
    What::Closed(Closed::cut("made"))
}

/// What happens at which second, to whom.
fn judge(happened: Vec<(u64, u32, What)>) -> Report {
    let mut records = vec![(0, WATCHER, opened("ann"))];
    records.extend(happened);
    let records: Vec<Record> = records
        .into_iter()
        .map(|(second, client, what)| Record {
            at: second * 1_000_000,
            client,
            session: 1,
            what,
        })
        .collect();
    check(&records)
}

#[test]
fn status_that_follows_within_the_bound_is_sound() {
    let report = judge(vec![
        (1, WATCHER, listed(Status::Offline)),
        (2, BOB, opened("bob")),
        (50, WATCHER, shown(Status::Online)),
        (60, BOB_ELSEWHERE, opened("bob")),
        (70, BOB, closed()),
        // One device is left.
        (200, BOB_ELSEWHERE, closed()),
        (255, WATCHER, shown(Status::Offline)),
        (999, WATCHER, closed()),
    ]);
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.totals.statuses, 3);
}

#[test]
fn user_shown_online_for_too_long_after_the_last_device_ended_is_a_ghost() {
    let report = judge(vec![
        (1, BOB, opened("bob")),
        (2, WATCHER, listed(Status::Away)),
        (3, BOB, closed()),
        (65, WATCHER, shown(Status::Offline)),
    ]);
    assert_eq!(report.verdicts(), [Verdict::Ghost], "{report}");
}

#[test]
fn user_shown_offline_for_too_long_while_connected_is_a_ghost() {
    let wrong = vec![
        (1, BOB, opened("bob")),
        (2, WATCHER, shown(Status::Offline)),
    ];
    let ends = [
        (63, WATCHER, closed()),
        (63, BOB, closed()),
        (63, 5, opened("eve")),
    ];
    for end in ends {
        let report = judge([wrong.clone(), vec![end]].concat());
        assert_eq!(report.count(Verdict::Ghost), 1, "{report}");
    }
}

#[test]
fn status_not_known_yet_and_a_watcher_that_is_gone_show_nobody() {
    let report = judge(vec![
        (1, BOB, opened("bob")),
        (2, WATCHER, listed(Status::Unspecified)),
        (200, WATCHER, shown(Status::Offline)),
        (210, WATCHER, closed()),
        (900, BOB, closed()),
    ]);
    assert!(report.is_sound(), "{report}");
}

#[test]
fn status_not_known_to_who_answers_takes_back_nothing() {
    let report = judge(vec![
        (1, BOB, opened("bob")),
        (2, WATCHER, shown(Status::Online)),
        (3, WATCHER, listed(Status::Unspecified)),
        (4, BOB, closed()),
        (70, WATCHER, closed()),
    ]);
    assert_eq!(report.verdicts(), [Verdict::Ghost], "{report}");
}
