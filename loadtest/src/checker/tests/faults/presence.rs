//! Ghosts.

use fastrand::Rng;
use rookery_proto::v1::{self, server_frame::Frame};

use super::{Fault, places::*};
use crate::{
    checker::Verdict,
    history::{Record, What},
};

pub(super) const FAULTS: &[Fault] = &[
    (
        "shown online long after",
        Verdict::Ghost,
        shown_online_for_ever,
    ),
    (
        "shown offline while connected",
        Verdict::Ghost,
        shown_offline_while_connected,
    ),
];

/// A watcher is told this of the user of a device, and a long time passes after that record.
fn show(records: &mut Vec<Record>, index: usize, client: u32, online: bool) -> Option<()> {
    use v1::presence::Status;
    let user = user_of(
        &judged(records),
        records.iter().find(|it| it.client == client)?,
    )
    .to_owned();
    let watcher = judge_client(records) + 1;
    let status = if online {
        Status::Online
    } else {
        Status::Offline
    };
    let told = Frame::Signal(v1::Signal {
        body: Some(v1::signal::Body::Presence(v1::Presence {
            user,
            status: status.into(),
            ..v1::Presence::default()
        })),
        ..v1::Signal::default()
    });
    let opened = What::Opened {
        user: "watcher".to_owned(),
        purpose: crate::history::Purpose::Take,
        session_id: "watcher".to_owned(),
    };
    let told = What::Received(Box::new(v1::ServerFrame { frame: Some(told) }));
    let at = records[index].at;
    let long = u64::try_from(crate::limits::GHOST_MAX.as_micros()).unwrap() * 2;
    for later in &mut records[index + 1..] {
        later.at += long;
    }
    let ended = What::Closed(crate::client::Closed::cut("made"));
    let end = records.last()?.at.max(at + long) + 1;
    for (number, what) in [opened, told].into_iter().enumerate() {
        let record = Record {
            at,
            client: watcher,
            session: 1,
            what,
        };
        records.insert(index + 1 + number, record);
    }
    records.push(Record {
        at: end,
        client: watcher,
        session: 1,
        what: ended,
    });
    Some(())
}

fn shown_online_for_ever(records: &mut Vec<Record>, _: &mut Rng) -> Option<()> {
    // At the end all devices have ended but the judge's, which is of u0.
    let last = records.len() - 1;
    show(records, last, 1, true)
}

fn shown_offline_while_connected(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let opened = places(records, |_, record| {
        matches!(record.what, What::Opened { .. })
    });
    let index = pick(&opened, random)?;
    let client = records[index].client;
    show(records, index, client, false)
}
